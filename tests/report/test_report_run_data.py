"""Reading run folders: complete, cut short, half written, of something else."""

import errno
import json
import os

import pytest
import run_folders
from run_folders import plain_pictures  # noqa: F401

from bert_paddle.cli import report
from bert_paddle.common import atomic_files
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import OutputError
from bert_paddle.report import build, curves, plots, run_data, tables


def test_most_confident_mistakes_come_first(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    mistakes = tables.top_mistakes(run.predictions[0], run.labels)
    assert [m.text_a for m in mistakes] == [f"sentence number {34 - i}" for i in range(10)]
    assert (mistakes[0].label, mistakes[0].prediction, mistakes[0].confidence) == (
        "no",
        "yes",
        "85.0%",
    )


def test_largest_score_errors_come_first(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", labels=[], metric=["pearson", "spearmanr"])
    rows = [
        {"index": i, "text_a": f"t{i}", "label": 2.5, "prediction": 2.5 + off}
        for i, off in enumerate((0.5, -2.0, 1.0))
    ]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    run = run_data.read(folder)
    assert [m.text_a for m in tables.top_mistakes(run.predictions[0], [])] == ["t1", "t2", "t0"]
    assert "scatter" in {picture.name for picture in plots.pictures(run)}


def test_confusion_counts_are_labels_by_prediction(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    names, counts = plots.confusion_counts(run.predictions[0], run.labels)
    assert names == ["no", "yes"] and counts.tolist() == [[0, 15], [0, 20]]


def test_matthews_by_batches_of_the_test_set(tmp_path):
    """The labelled test set is used, of 40 rows (batches of 32 and 8), not the dev set of 35."""
    folder = run_folders.write_run(tmp_path / "a", metric=["matthews_correlation"])
    rows = [run_folders.prediction(i, "yes" if i % 2 else "no", "yes", 0.9) for i in range(32)]
    rows += [run_folders.prediction(i, *["yes", "no"][i % 2 :][:1] * 2, 0.9) for i in range(8)]
    run_folders.write_lines(folder / "test_predictions_ood.jsonl", rows)
    matching = [p for p in plots.pictures(run_data.read(folder)) if p.name == "mcc_by_batch"]
    heights = bars(matching[0])
    assert "test set ood" in matching[0].note
    assert heights == pytest.approx([0.0, 1.0])


def bars(picture) -> list[float]:
    from matplotlib.figure import Figure

    from bert_paddle.report.figures import PRINT_PALETTE

    axes = Figure().add_subplot()
    picture.draw(axes, PRINT_PALETTE)
    return [patch.get_height() for patch in axes.patches]


def test_truncated_rows_are_noted_and_stacked_on_the_last_bar(tmp_path):
    run = run_data.read(run_folders.write_run(tmp_path / "a"))
    picture = next(p for p in plots.pictures(run) if p.name == "lengths")
    assert "6 of 40 rows (15.0%) were truncated to 8" in picture.note
    assert bars(picture) == [0, 0, 0, 5, 10, 5, 5, 5, 4, 6]  # 4 complete and 6 truncated


@pytest.mark.usefixtures("plain_pictures")
def test_unfinished_run_is_shown(tmp_path):
    folder = run_folders.write_run(tmp_path / "a", finished=None)
    (folder / "all_results.json").unlink()
    (folder / "dev_predictions.jsonl").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    text = build.write_run_report(folder).read_text()
    assert "The run was not finished: the last record is of step 10 of 10." in text
    assert "<svg" in text and "0.6000" in text  # f1 of the last recorded evaluation
    (folder / ".in_use").touch()
    assert "still in progress, or was killed" in build.write_run_report(folder).read_text()


@pytest.mark.usefixtures("plain_pictures")
def test_unreadable_files_become_problems(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    (folder / "run.json").write_text("{half")
    (folder / "all_results.json").write_text("[]")
    (folder / "dev_predictions.jsonl").write_bytes(b"\xff\xfe\n[1]\n")
    run = run_data.read(folder)
    assert len(run.problems) == 3
    text = build.write_run_report(folder).read_text()
    assert all(name in text for name in ("run.json cannot be read", "all_results.json does not"))


@pytest.mark.parametrize(
    "odd",
    [
        {"labels": "x", "metric": 3, "lengths": [1], "rows": 5, "versions": None, "steps": "s"},
        {"settings": [], "given": 7, "lengths": {"counts": ["a", -5]}, "task": ["t"]},
        {"given": [["seed"], {}, 7]},
        {"parameters": 10**400, "steps": {"planned": 1e999}, "machine": {"a": 1}},
    ],
)
def test_no_content_of_run_json_breaks_the_page(tmp_path, odd):
    assert (
        "<svg" in build.write_run_report(run_folders.write_run(tmp_path / "a", **odd)).read_text()
    )


def test_a_pipe_in_place_of_the_metrics_is_not_waited_for(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    (folder / "metrics.jsonl").unlink()
    os.mkfifo(folder / "metrics.jsonl")
    (problem,) = run_data.read(folder).problems
    assert "is not a regular file" in problem


def test_non_finite_numbers_are_left_out_of_curves(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    odd = [None, float("nan"), float("inf"), True, "3", 10**400, [], 0.25]
    rows = [{"kind": "train", "step": i, "loss": value} for i, value in enumerate(odd)]
    run_folders.write_lines(folder / "metrics.jsonl", rows)
    assert run_data.by_step(run_data.read(folder).train, "loss") == ([7.0], [0.25])


def test_a_later_evaluation_is_not_on_the_curve(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    later = {"kind": "eval", "step": 0, "loss": 9.0, "accuracy": 0.1}
    run_folders.write_lines(folder / "metrics.jsonl", [*run_folders.records(), later])
    assert run_data.by_step(run_data.read(folder).evals[""], "accuracy")[0] == [5.0, 10.0]
    run_folders.write_lines(folder / "metrics.jsonl", [later])  # an evaluation alone
    assert run_data.by_step(run_data.read(folder).evals[""], "accuracy") == ([0.0], [0.1])


def test_long_curves_are_downsampled(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    rows = [{"kind": "train", "step": i, "loss": i % 2} for i in range(1, 2001)]
    run_folders.write_lines(folder / "metrics.jsonl", rows)
    picture = curves.pictures([run_data.read(folder)])[0]
    assert picture.note.endswith("Each point is the mean of 5 log lines.")


@pytest.mark.usefixtures("plain_pictures")
def test_demo_data_is_marked(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    assert "Demo data" not in build.write_run_report(folder).read_text()
    run_folders.write_lines(folder / "metrics.jsonl", run_folders.records(data="demo"))
    assert "Demo data" in build.write_run_report(folder).read_text()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: None, "no such folder"),
        (lambda f: f.mkdir(), "contains no run"),
        (lambda f: f.write_text("x"), "x is a file; give the --output_dir"),
        (lambda f: [f.mkdir(), (f / "metrics.jsonl").touch()], "no log line yet"),
        (lambda f: [f.mkdir(), (f / "metrics.jsonl").write_bytes(b"\xff")], "no log line yet"),
        (lambda f: [f.mkdir(), (f / "all_results.json").write_text("{")], "cannot be read"),
    ],
)
def test_folder_without_metrics_is_refused(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(OutputError, match=message):
        report.main([str(tmp_path / "x")])


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EROFS, errno.ENOSPC])
@pytest.mark.usefixtures("plain_pictures")
def test_unwritable_page_error_names_the_page(tmp_path, monkeypatch, capsys, code):
    """The message has the requested name, not that of the temporary file."""
    folder, page = run_folders.write_run(tmp_path / "a"), tmp_path / "page.html"

    def refuse(path, text):
        raise OSError(code, os.strerror(code), str(path.with_name(f".{path.name}.77.part")))

    monkeypatch.setattr(atomic_files, "write_text", refuse)
    for argv, named in (([str(folder)], folder), ([str(folder), "-o", str(page)], page)):
        with pytest.raises(SystemExit) as ended, exit_with_one_line(debug=False):
            report.main(argv)
        message = capsys.readouterr().err
        assert ended.value.code == (1 if code == errno.ENOSPC else 2)
        assert str(named) in message and ".part" not in message
        assert ("free some space" if code == errno.ENOSPC else "--output") in message


@pytest.mark.usefixtures("plain_pictures")
def test_only_pages_of_reports_are_replaced(tmp_path):
    folder, other = run_folders.write_run(tmp_path / "a"), run_folders.write_run(tmp_path / "b")
    page = tmp_path / "page.html"
    for path in (page, page, folder / "report.html", folder / "report.html"):
        build.write_reports([folder, other], path)
    metrics = folder / "metrics.jsonl"
    os.link(metrics, tmp_path / "hard.html")
    (tmp_path / "link.html").symlink_to(metrics)
    before = metrics.read_bytes()
    for path in (metrics, tmp_path / "hard.html", tmp_path / "link.html"):
        with pytest.raises(OutputError, match="is not a report's page, so it is not replaced"):
            report.main([str(folder), "-o", str(path)])
    assert metrics.read_bytes() == before


@pytest.mark.usefixtures("plain_pictures")
def test_page_and_pictures_of_others_are_kept(tmp_path):
    for name in ("report.html", "pictures/loss.png"):
        folder = run_folders.write_run(tmp_path / name.partition(".")[0])
        (folder / "pictures").mkdir()
        (folder / name).write_text("mine")
        (folder / "pictures" / "scatter_7.png").write_text("mine")
        with pytest.raises(OutputError, match="move what is yours"):
            report.main([str(folder)])
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
        (folder / "pictures" / "scatter_7.png").unlink()
        report.main([str(folder)])
        (folder / "pictures" / "mine_too.png").write_text("mine")
        report.main([str(folder)])  # of an earlier report, they are replaced
        assert (folder / "pictures" / "mine_too.png").is_file()


def test_checkpoint_error_names_the_run(tmp_path):
    checkpoint = tmp_path / "run" / "model_5"
    checkpoint.mkdir(parents=True)
    (checkpoint / "config.json").touch()
    with pytest.raises(OutputError, match="is a checkpoint: give the run's folder, .*run$"):
        run_data.read(checkpoint)


def test_settings_come_from_a_checkpoint_without_run_json(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    (folder / "run.json").unlink()
    (folder / "model_5/state").mkdir(parents=True)
    state = {"args": {"seed": 7}, "step": 5}
    (folder / "model_5/state/train_state.json").write_text(json.dumps(state))
    assert run_data.read(folder).settings == {"seed": 7}
