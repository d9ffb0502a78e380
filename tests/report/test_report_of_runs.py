"""Complete runs in this process: run.json, predictions and report that they write."""

import json
from pathlib import Path

import pytest
import run_folders
import tiny
from run_folders import plain_pictures  # noqa: F401

from bert_paddle.common import run_log
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.report import build
from bert_paddle.training import checkpoint, run_info


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write_sst2(tmp_path_factory.mktemp("glue") / "SST-2").parent


@pytest.fixture
def run(tiny_dir, data, tmp_path):
    def call(flags: str, out: str = "out", model: Path = tiny_dir):
        argv = f"--task_name sst-2 --model_name_or_path {model} --data_dir {data} "
        argv += f"--output_dir {tmp_path / out} --batch_size 8 --max_seq_length 12 "
        return finetune.run(parse_args(f"{argv} {flags}".split()))

    return call


def read_run_json(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_a_run_writes_its_report_and_a_new_run_replaces_it(run, tmp_path, data, capsys):
    values = run("--max_steps 4 --save_steps 2 --logging_steps 1")
    out = tmp_path / "out"
    assert f"report: {out / 'report.html'}" in capsys.readouterr().err
    run_json = read_run_json(out)
    assert (run_json["program"], run_json["task"], run_json["data"]) == (
        "run_glue",
        "SST-2",
        "glue",
    )
    assert run_json["labels"] == ["negative", "positive"] and run_json["metric"] == ["accuracy"]
    assert run_json["rows"] == {"train": 48, "dev": 16}
    assert run_json["steps"] == {"planned": 4, "per_epoch": 6}
    assert (
        run_json["settings"]["max_seq_length"] == 12 and run_json["finished"] >= run_json["started"]
    )
    lengths = run_json["lengths"]
    assert sum(lengths["counts"]) == 48 and len(lengths["counts"]) == 13
    assert 0 < lengths["cut"] <= lengths["counts"][12]

    rows = [json.loads(line) for line in (out / "dev_predictions.jsonl").open()]
    source_lines = (data / "SST-2/dev.tsv").read_text().splitlines()[1:]
    assert [row["text_a"] for row in rows] == [line.split("\t")[0] for line in source_lines]
    names = run_json["labels"]
    assert [names.index(row["label"]) for row in rows] == [int(line[-1]) for line in source_lines]
    accuracy = sum(row["label"] == row["prediction"] for row in rows) / 16
    assert accuracy == values["eval_accuracy"]
    for row in rows:
        best = max(range(2), key=lambda i: row["probabilities"][i])
        assert names[best] == row["prediction"] and sum(row["probabilities"]) == pytest.approx(1)

    run("--max_steps 1 --overwrite_output_dir --report 0")
    assert not (out / "report.html").exists() and not (out / "pictures").exists()
    assert read_run_json(out)["steps"]["planned"] == 1
    assert checkpoint.saved_steps(out) == [1]


def test_predictions_are_of_the_best_step_with_load_best_model_at_end(run, tmp_path, monkeypatch):
    """The best step is evaluated again, and its predictions are written."""
    values = run(
        "--max_steps 4 --save_steps 2 --learning_rate 0.1 --load_best_model_at_end --report 0 "
        "--do_train --do_eval"
    )
    rows = [json.loads(line) for line in (tmp_path / "out/dev_predictions.jsonl").open()]
    assert sum(row["label"] == row["prediction"] for row in rows) / 16 == values["eval_accuracy"]


def test_a_resumed_run_keeps_its_start_time(run, tmp_path, monkeypatch):
    times = iter(f"2026-01-0{i}" for i in range(1, 9))
    monkeypatch.setattr(run_info, "_now", lambda: next(times))
    run("--max_steps 4 --save_steps 2 --report 0")
    run("--max_steps 4 --save_steps 2 --report 0 --resume_from_checkpoint auto")
    run_json = read_run_json(tmp_path / "out")
    assert (run_json["started"], run_json["resumed"]) == ("2026-01-01", ["2026-01-03"])
    assert run_json["finished"] == "2026-01-04"


@pytest.mark.parametrize("odd", [5, "yesterday", {"a": 1}], ids=repr)
def test_a_resume_after_odd_times_in_run_json(tmp_path, odd):
    """run.json may have been edited; what cannot be a list of times is not continued."""
    folder = run_folders.write_run(tmp_path / "out", resumed=odd)
    args = parse_args(
        ["--task_name", "mrpc", "--model_name_or_path", "m", "--output_dir", str(folder)]
    )
    info = run_info.RunInfo("run_glue", "MRPC", "glue", 1, [])
    run_info.RunInfoFile(args, folder, run_log.RunLog()).start(info, True, resumed=True)
    run_json = read_run_json(folder)
    assert run_json["started"] == "2026-01-02T03:04:05+00:00" and len(run_json["resumed"]) == 1


@pytest.mark.usefixtures("plain_pictures")
def test_an_interrupted_run_is_reported_as_unfinished(run, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "prune", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("--max_steps 4 --save_steps 2 --logging_steps 1 --report 0")
    assert read_run_json(tmp_path / "out")["finished"] is None
    assert "was not finished" in build.write_run_report(tmp_path / "out").read_text()


def test_a_later_evaluation_keeps_run_json_of_the_training(run, tmp_path):
    run("--max_steps 2 --report 0 --do_train")
    before = read_run_json(tmp_path / "out")
    model = tmp_path / "out/model_2"
    run("--do_eval --report 0", model=model)
    assert read_run_json(tmp_path / "out") == before
    run("--do_eval --report 0", out="other", model=model)
    run_json = read_run_json(tmp_path / "other")
    assert run_json["model"] == str(model) and run_json["trains"] is False and run_json["finished"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), KeyError("x")]
)
def test_a_report_that_fails_does_not_fail_the_run(run, tmp_path, monkeypatch, capsys, error):
    def fail(folder):
        raise error

    monkeypatch.setattr(build, "write_run_report", fail)
    values = run("--max_steps 1")
    assert values["global_step"] == 1 and read_run_json(tmp_path / "out")["finished"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "no report" in line]
    assert len(warnings) == 1 and warnings[0].startswith("warning: ")


def test_regression_predictions_have_no_classes(tiny_dir, tmp_path):
    folder = tmp_path / "glue/STS-B"
    folder.mkdir(parents=True)
    head = "\t".join(["index", *"abcdef", "sentence1", "sentence2", "score"])
    for split in ("train", "dev"):
        rows = [f"{i}\ta\tb\tc\td\te\tf\tthe cat\ta dog\t{i % 6}.25" for i in range(9)]
        (folder / f"{split}.tsv").write_text("\n".join([head, *rows]).replace("5.25", "5.0") + "\n")
    argv = f"--task_name stsb --model_name_or_path {tiny_dir} --data_dir {folder.parent} "
    argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --max_steps 2"
    finetune.run(parse_args(argv.split()))
    rows = [json.loads(line) for line in (tmp_path / "out/dev_predictions.jsonl").open()]
    assert [row["label"] for row in rows] == [0.25, 1.25, 2.25, 3.25, 4.25, 5.0, 0.25, 1.25, 2.25]
    assert rows[0]["text_b"] == "a dog" and "probabilities" not in rows[0]
    assert isinstance(rows[0]["prediction"], float)
    assert (tmp_path / "out/pictures/scatter.png").is_file()
