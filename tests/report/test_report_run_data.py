"""Folders as they are found: whole, cut short, half written, of something else."""

import errno
import json
import os

import pytest
import run_folders

from bert_paddle.cli import report
from bert_paddle.common import atomic_files
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import OutputError
from bert_paddle.report import build, curves, plots, run_data, tables


def test_the_mistakes_it_was_surest_of_come_first(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    found = tables.mistakes(run.predictions[0], run.labels)
    assert [m.text_a for m in found] == [f"sentence number {34 - i}" for i in range(10)]
    assert (found[0].label, found[0].prediction, found[0].sure) == ("no", "yes", "85.0%")


def test_scores_furthest_off_come_first(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", labels=[], metric=["pearson", "spearmanr"])
    rows = [
        {"index": i, "text_a": f"t{i}", "label": 2.5, "prediction": 2.5 + off}
        for i, off in enumerate((0.5, -2.0, 1.0))
    ]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    run = run_data.read(folder)
    assert [m.text_a for m in tables.mistakes(run.predictions[0], [])] == ["t1", "t2", "t0"]
    assert "scatter" in {picture.name for picture in plots.of_run(run)}


def test_the_confusion_counts_labels_by_prediction(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    names, counts = plots.confusion(run.predictions[0], run.labels)
    assert names == ["no", "yes"] and counts.tolist() == [[0, 15], [0, 20]]


def test_matthews_by_batches_of_the_test_set(tmp_path):
    """The dev set has 35 rows; the labelled test set, which counts, has 40: batches of 32 and 8."""
    folder = run_folders.write_run(tmp_path / "a", metric=["matthews_correlation"])
    rows = [run_folders.prediction(i, "yes" if i % 2 else "no", "yes", 0.9) for i in range(32)]
    rows += [run_folders.prediction(i, *["yes", "no"][i % 2 :][:1] * 2, 0.9) for i in range(8)]
    run_folders.write_lines(folder / "test_predictions_ood.jsonl", rows)
    found = [p for p in plots.of_run(run_data.read(folder)) if p.name == "mcc_by_batch"]
    drawn = bars(found[0])
    assert "test set ood" in found[0].note
    assert drawn == pytest.approx([0.0, 1.0])


def bars(picture) -> list[float]:
    from matplotlib.figure import Figure

    from bert_paddle.report.figures import PRINT

    axes = Figure().add_subplot()
    picture.draw(axes, PRINT)
    return [patch.get_height() for patch in axes.patches]


def test_cut_rows_are_told_and_stacked_on_the_longest(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    picture = next(p for p in plots.of_run(run) if p.name == "lengths")
    assert "6 of 40 rows (15.0%) were cut to 8" in picture.note
    assert bars(picture) == [0, 0, 0, 5, 10, 5, 5, 5, 4, 6]  # 4 whole ones and 6 cut


def test_what_is_there_of_a_run_cut_short_is_shown(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", finished=None)
    (folder / "all_results.json").unlink()
    (folder / "dev_predictions.jsonl").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    text = build.write_run_report(folder).read_text()
    assert "The run was not finished: the last record is of update 10 of 10." in text
    assert "<svg" in text and "0.6000" in text  # f1 of the last evaluation on record
    (folder / ".in_use").touch()
    assert "still at work, or was killed" in build.write_run_report(folder).read_text()


def test_broken_files_become_remarks(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    (folder / "run.json").write_text("{half")
    (folder / "all_results.json").write_text("[]")
    (folder / "dev_predictions.jsonl").write_bytes(b"\xff\xfe\n[1]\n")
    run = run_data.read(folder)
    assert len(run.remarks) == 3
    text = build.write_run_report(folder).read_text()
    assert all(name in text for name in ("run.json cannot be read", "all_results.json does not"))


@pytest.mark.parametrize(
    "odd",
    [
        {"labels": "x", "metric": 3, "lengths": [1], "rows": 5, "versions": None, "steps": "s"},
        {"settings": [], "given": 7, "lengths": {"counts": ["a", -5]}, "task": ["t"]},
        {"parameters": 10**400, "steps": {"planned": 1e999}, "machine": {"a": 1}},
    ],
)
def test_no_content_of_run_json_breaks_the_page(tmp_path, odd):
    assert (
        "<svg" in build.write_run_report(run_folders.write_run(tmp_path / "a", **odd)).read_text()
    )


def test_numbers_that_are_none_are_left_out_of_curves(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    odd = [None, float("nan"), float("inf"), True, "3", 10**400, [], 0.25]
    rows = [{"kind": "train", "step": i, "loss": value} for i, value in enumerate(odd)]
    run_folders.write_lines(folder / "metrics.jsonl", rows)
    assert run_data.by_step(run_data.read(folder).train, "loss") == ([7.0], [0.25])


def test_an_evaluation_of_a_later_command_is_no_point_of_the_curve(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    later = {"kind": "eval", "step": 0, "loss": 9.0, "accuracy": 0.1}
    run_folders.write_lines(folder / "metrics.jsonl", [*run_folders.records(), later])
    assert run_data.by_step(run_data.read(folder).evals[""], "accuracy")[0] == [5.0, 10.0]
    run_folders.write_lines(folder / "metrics.jsonl", [later])  # an evaluation alone
    assert run_data.by_step(run_data.read(folder).evals[""], "accuracy") == ([0.0], [0.1])


def test_long_curves_are_means_of_neighbours(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    rows = [{"kind": "train", "step": i, "loss": i % 2} for i in range(1, 2001)]
    run_folders.write_lines(folder / "metrics.jsonl", rows)
    picture = curves.pictures([run_data.read(folder)])[0]
    assert picture.note == "each point is the mean of 5 log lines"


def test_demo_data_is_marked(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    assert "Demo data" not in build.write_run_report(folder).read_text()
    run_folders.write_lines(folder / "metrics.jsonl", run_folders.records(data="demo"))
    assert "Demo data" in build.write_run_report(folder).read_text()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: None, "no such folder"),
        (lambda f: f.mkdir(), "holds no run"),
        (lambda f: f.write_text("x"), "x is a file; give the --output_dir"),
        (lambda f: [f.mkdir(), (f / "metrics.jsonl").touch()], "before its first log line"),
        (lambda f: [f.mkdir(), (f / "metrics.jsonl").write_bytes(b"\xff")], "cannot be read"),
        (lambda f: [f.mkdir(), (f / "all_results.json").write_text("{")], "cannot be read"),
    ],
)
def test_a_folder_without_a_measurement_is_refused(tmp_path, make, said):
    make(tmp_path / "x")
    with pytest.raises(OutputError, match=said):
        report.main([str(tmp_path / "x")])


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EROFS, errno.ENOSPC])
def test_a_page_that_cannot_be_written_is_told_by_its_name(tmp_path, monkeypatch, capsys, code):
    """By the name that was asked for, not by that of the file that is built beside it."""
    folder, page = run_folders.write_run(tmp_path / "a"), tmp_path / "page.html"

    def refuse(path, text):
        raise OSError(code, os.strerror(code), str(path.with_name(f".{path.name}.77.part")))

    monkeypatch.setattr(atomic_files, "write_text", refuse)
    for argv, named in (([str(folder)], folder), ([str(folder), "-o", str(page)], page)):
        with pytest.raises(SystemExit) as ended, exit_with_one_line(debug=False):
            report.main(argv)
        said = capsys.readouterr().err
        assert ended.value.code == (1 if code == errno.ENOSPC else 2)
        assert str(named) in said and ".part" not in said
        assert ("free some space" if code == errno.ENOSPC else "--output") in said


def test_a_checkpoint_points_to_its_run(tmp_path):
    checkpoint = tmp_path / "run" / "model_5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").touch()
    with pytest.raises(OutputError, match="is a checkpoint: give the run's folder, .*run$"):
        run_data.read(checkpoint)


def test_flags_of_a_run_from_before_run_json(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    (folder / "run.json").unlink()
    (folder / "model_5/state").mkdir(parents=True)
    state = {"args": {"seed": 7}, "step": 5}
    (folder / "model_5/state/train_state.json").write_text(json.dumps(state))
    assert run_data.read(folder).settings == {"seed": 7}
