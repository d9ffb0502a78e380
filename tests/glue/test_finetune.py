"""Complete runs of a two-layer model: files, log lines, resuming, best and last checkpoint."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import same
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import DataError, OutputError, WeightsError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training import checkpoint

TRAIN_LINE = re.compile(
    r"global step (\d+), epoch: (\d+), batch: (\d+), loss: \d+\.\d{6}, speed: \d+\.\d\d step/s"
)


@pytest.fixture(scope="session")
def sst2_dir(tmp_path_factory) -> Path:
    return tiny.write_sst2(tmp_path_factory.mktemp("glue") / "SST-2").parent


@pytest.fixture
def run(tiny_dir, sst2_dir, tmp_path):
    """Call finetune.run in this process with flags that fit the tiny model."""

    def call(*flags: str, out: str = "out", model: Path = tiny_dir, task: str = "sst-2"):
        argv = f"--task_name {task} --model_name_or_path {model} --data_dir {sst2_dir} "
        argv += f"--output_dir {tmp_path / out} --batch_size 8 --max_seq_length 32 --report 0 "
        return finetune.run(parse_args([*argv.split(), *flags]))

    return call


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def assert_same_checkpoint(expected: Path, actual: Path) -> None:
    """Weights, optimizer and state are equal bit for bit, except for times and folder names."""
    for name in ("model.safetensors", checkpoint.OPTIMIZER_FILE):
        a, b = load_file(expected / name), load_file(actual / name)
        assert a.keys() == b.keys()
        for key in a:
            assert np.array_equal(a[key], b[key]), key
    states = [
        json.loads((folder / checkpoint.STATE_FILE).read_text()) for folder in (expected, actual)
    ]
    for state in states:
        state.pop("train_seconds")
        state.pop("seconds_before_epoch")
        for name in ("output_dir", "resume_from_checkpoint"):
            state["args"].pop(name)
    assert states[0] == states[1]


def test_exact_files_lines_and_results(run, tmp_path, capsys):
    values = run(
        *"--max_steps 14 --save_steps 5 --logging_steps 4 --do_train --do_eval --do_predict".split()
    )
    out = tmp_path / "out"
    model_files = {
        "README.md",
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
        "manifest.json",
        "state/train_state.json",
        "state/optimizer.safetensors",
    }
    checkpoint_files = {f"model_{step}/{name}" for step in (5, 10, 14) for name in model_files}
    assert files_in(out) == checkpoint_files | {
        "all_results.json",
        "metrics.jsonl",
        "predictions/SST-2.tsv",
        "settings.yaml",
        "run.json",
        "dev_predictions.jsonl",
    }

    lines = capsys.readouterr().out.splitlines()
    train_lines = [TRAIN_LINE.fullmatch(line) for line in lines if line.startswith("global")]
    # 48 rows in batches of 8: six batches an epoch.
    assert [m and m.groups() for m in train_lines] == [
        ("4", "0", "4"),
        ("8", "1", "2"),
        ("12", "1", "6"),
    ]
    eval_lines = [line for line in lines if line.startswith("eval")]
    assert len(eval_lines) == 3 and len(lines) == 6
    assert all(
        re.fullmatch(r"eval loss: \d\.\d{6}, accu: [01]\.\d{6}", line) for line in eval_lines
    )

    results = json.loads((out / "all_results.json").read_text())
    assert results["eval_accuracy"] == values["eval_accuracy"]
    assert (results["global_step"], results["eval_samples"]) == (14, 16)
    assert eval_lines[-1].endswith(f"accu: {results['eval_accuracy']:.6f}")
    predictions = (out / "predictions/SST-2.tsv").read_text().splitlines()
    assert predictions[0] == "index\tprediction" and len(predictions) == 9
    assert {line.split("\t")[1] for line in predictions[1:]} <= {"0", "1"}
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(r["kind"], r["step"]) for r in records] == [
        ("train", 4),
        ("eval", 5),
        ("train", 8),
        ("eval", 10),
        ("train", 12),
        ("eval", 14),
    ]


def test_train_alone_does_not_evaluate(run, tmp_path, capsys):
    values = run(*"--do_train --max_steps 2 --logging_steps 1".split())
    assert "eval_loss" not in values
    assert "eval loss" not in capsys.readouterr().out
    assert files_in(tmp_path / "out" / "model_2")


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_and_resumed_equals_uninterrupted(run, tmp_path, monkeypatch, workers):
    """Six steps, interrupted after the third (mid-epoch, between two log lines)."""
    flags = f"--max_steps 6 --save_steps 3 --logging_steps 2 --num_workers {workers} ".split()
    flags += ["--gradient_accumulation_steps", "2", "--batch_size", "4"]
    run(*flags, out="uninterrupted")

    prune = checkpoint.prune

    def interrupt(*args):
        monkeypatch.setattr(checkpoint, "prune", prune)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "prune", interrupt)  # right after the first checkpoint
    with pytest.raises(KeyboardInterrupt):
        run(*flags, out="interrupted")
    assert checkpoint.saved_steps(tmp_path / "interrupted") == [3]
    run(*flags, "--resume_from_checkpoint", "auto", out="interrupted")
    for step in (3, 6):
        assert_same_checkpoint(
            tmp_path / "uninterrupted" / f"model_{step}", tmp_path / "interrupted" / f"model_{step}"
        )
    assert same.records(tmp_path / "uninterrupted") == same.records(tmp_path / "interrupted")


def test_resume_after_the_end_changes_nothing(run, tmp_path):
    flags = "--max_steps 3 --save_steps 3".split()
    first = run(*flags)
    before = (tmp_path / "out/model_3/model.safetensors").read_bytes()
    records = (tmp_path / "out/metrics.jsonl").read_text()
    again = run(*flags, "--resume_from_checkpoint", "auto")
    assert (tmp_path / "out/model_3/model.safetensors").read_bytes() == before
    assert again["eval_loss"] == first["eval_loss"]
    assert (tmp_path / "out/metrics.jsonl").read_text() == records


def test_no_dropout_after_training(run, tmp_path, monkeypatch, capsys):
    """Predictions and the evaluation of the best step are those of the saved model, exactly."""
    dropout = {"hidden_dropout_prob": 0.9, "attention_probs_dropout_prob": 0.9}
    encoder = tiny.write_encoder(tmp_path / "encoder", **dropout)
    logits = []
    compute_logits = finetune.evaluate.compute_logits

    def spy(*args):
        logits.append(compute_logits(*args))
        return logits[-1]

    monkeypatch.setattr(finetune.evaluate, "compute_logits", spy)
    run(*"--max_steps 3 --do_train --do_eval --do_predict".split(), model=encoder)
    logits_after_training = logits[-1]
    run("--do_predict", "--do_eval", out="again", model=tmp_path / "out/model_3")
    assert np.array_equal(logits_after_training, logits[-1])
    eval_lines = [line for line in capsys.readouterr().out.splitlines() if "eval" in line]
    assert len(eval_lines) == 2 and eval_lines[0] == eval_lines[1]


def test_resumed_run_keeps_its_schedule_and_stops_at_max_steps(run, tmp_path, capsys):
    run(*"--max_steps 6 --save_steps 2 --logging_steps 1".split())
    resume = ["--logging_steps", "1", "--resume_from_checkpoint", str(tmp_path / "out/model_2")]
    values = run("--max_steps", "9", *resume)
    assert values["global_step"] == 6
    assert "keeps its 6" in capsys.readouterr().err
    learning_rates = [
        r["learning_rate"]
        for r in map(json.loads, (tmp_path / "out/metrics.jsonl").open())
        if r["kind"] == "train"
    ]
    assert learning_rates == pytest.approx(
        [5e-5 * steps_left / 6 for steps_left in (6, 5, 4, 3, 2, 1)]
    )
    assert run("--max_steps", "3", *resume)["global_step"] == 3


def test_newer_checkpoints_are_set_aside_when_resuming_from_an_older_one(run, tmp_path):
    flags = "--save_steps 2 --save_total_limit 1 --resume_from_checkpoint".split()
    run(*"--max_steps 6 --save_steps 2".split())
    run(*flags, str(tmp_path / "out/model_2"), "--max_steps", "4")
    assert checkpoint.saved_steps(tmp_path / "out") in ([4], [2, 4])
    assert (tmp_path / "out/model_6.aside").is_dir()


def test_resuming_another_runs_checkpoint_in_a_folder_with_a_run_is_refused(run, tmp_path):
    run(*"--max_steps 2".split(), out="a")
    run(*"--max_steps 2".split(), out="b")
    with pytest.raises(OutputError, match="already contains a run"):
        run("--resume_from_checkpoint", str(tmp_path / "a/model_2"), out="b")


def test_nothing_is_overwritten_before_the_model_is_checked(run, tmp_path):
    run(*"--max_steps 2".split())
    with pytest.raises(WeightsError):
        run("--overwrite_output_dir", model=tmp_path / "typo")
    with pytest.raises(OutputError, match="model_2 would be lost"):
        run("--overwrite_output_dir", model=tmp_path / "out/model_2")
    assert checkpoint.find_damage(tmp_path / "out/model_2") is None


def test_evaluation_alone_is_logged_with_its_model(run, tmp_path, tiny_dir):
    model = tiny.write_model(tmp_path / "m", labels=("negative", "positive"))
    values = run("--do_eval", model=model)
    assert values["eval_model"] == str(model)
    assert '"kind": "eval"' in (tmp_path / "out/metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--weight_decay 1e-3", "--weight_decay was 0.0"),
        ("--max_seq_length 8", "training data"),
    ],
)
def test_resume_with_other_settings_is_refused(run, flag, message):
    run(*"--max_steps 2 --save_steps 1".split())
    with pytest.raises(OutputError, match=message):
        run(*"--max_steps 2 --resume_from_checkpoint auto".split(), *flag.split())


def test_damaged_checkpoint_is_skipped(run, tmp_path, capsys):
    run(*"--max_steps 4 --save_steps 2".split())
    path = tmp_path / "out/model_4/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    run(*"--max_steps 4 --save_steps 2 --resume_from_checkpoint auto".split())
    assert "model_4 is not a complete checkpoint" in capsys.readouterr().err
    assert checkpoint.find_damage(tmp_path / "out/model_4") is None


def test_output_folder_with_a_run_is_refused_or_overwritten(run, tmp_path):
    run(*"--max_steps 2 --save_steps 1".split())
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="already contains a run"):
        run("--max_steps", "1")
    run("--max_steps", "1", "--overwrite_output_dir")
    assert checkpoint.saved_steps(tmp_path / "out") == [1]
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_save_total_limit_keeps_best_and_last(run, tmp_path, monkeypatch):
    """Accuracies fall from the second on: model_2 is the best and model_6 the last."""
    fake_accuracies(
        monkeypatch, [0.5, 0.9, 0.8, 0.7, 0.6, 0.5, 0.9]
    )  # and model_2 again at the end
    flags = "--max_steps 6 --save_steps 1 --save_total_limit 1 --load_best_model_at_end".split()
    values = run(*flags)
    assert checkpoint.saved_steps(tmp_path / "out") == [2, 6]
    assert (values["best_step"], values["best_metric"]) == (2, 0.9)


def test_load_best_model_predicts_with_it(run, tmp_path, monkeypatch):
    fake_accuracies(monkeypatch, [0.9, 0.1, 0.9])  # the third is the evaluation of the best again
    values = run(
        *"--max_steps 4 --save_steps 2 --learning_rate 0.1 --load_best_model_at_end "
        "--do_train --do_eval --do_predict".split()
    )
    assert values["best_step"] == 2 and values["eval_accuracy"] == 0.9
    predictions_of_best = (tmp_path / "out/predictions/SST-2.tsv").read_text()
    monkeypatch.undo()
    for step in (2, 4):
        run("--do_predict", out=f"p{step}", model=tmp_path / f"out/model_{step}")
    assert (tmp_path / "p2/predictions/SST-2.tsv").read_text() == predictions_of_best


def test_early_stopping(run, tmp_path, monkeypatch):
    fake_accuracies(monkeypatch, [0.5, 0.9, 0.9, 0.4])
    values = run(*"--max_steps 12 --save_steps 1 --early_stopping_patience 2".split())
    # The third equals the best, which is not better: the earliest stays the best.
    assert (values["global_step"], values["best_step"]) == (4, 2)


def test_a_stopped_run_stays_stopped_unless_given_more_patience(run, tmp_path, monkeypatch):
    fake_accuracies(monkeypatch, [0.5, 0.4, 0.4, 0.3, 0.3])
    flags = "--max_steps 5 --save_steps 1 --resume_from_checkpoint auto".split()
    assert run(*flags, "--early_stopping_patience", "1")["global_step"] == 2
    assert run(*flags, "--early_stopping_patience", "1")["global_step"] == 2
    assert run(*flags, "--early_stopping_patience", "3")["global_step"] == 4


def test_resuming_in_another_folder_drops_the_old_best_step(run, tmp_path, capsys):
    run(*"--max_steps 4 --save_steps 2".split())
    flags = "--max_steps 4 --save_steps 2 --load_best_model_at_end --resume_from_checkpoint".split()
    values = run(*flags, str(tmp_path / "out/model_2"), out="elsewhere")
    assert values["best_step"] == 4 and values["global_step"] == 4
    assert "it is ignored" in capsys.readouterr().err


def fake_accuracies(monkeypatch, accuracies):
    """Make the evaluations return these accuracies, in order."""
    from bert_paddle.glue import results
    from bert_paddle.glue.evaluate import EvalResult

    remaining = iter(accuracies)
    monkeypatch.setattr(
        results, "evaluate", lambda *args: EvalResult(0.5, {"accuracy": next(remaining)})
    )


def test_demo_results_are_labelled(run, sst2_dir, tmp_path, capsys):
    demo = tiny.write_sst2(tmp_path / "demo" / "SST-2")
    (demo / "DEMO").write_text("invented\n")
    values = run("--max_steps", "1", "--data_dir", str(demo))
    assert values["data"] == "demo"
    lines = capsys.readouterr().out.splitlines()
    assert lines and lines[-1].endswith(", data: demo")


def test_a_new_head_is_noted_in_one_line(run, tmp_path, capsys):
    encoder = tiny.write_encoder(tmp_path / "encoder")
    run("--max_steps", "1", model=encoder)
    notes = [line for line in capsys.readouterr().err.splitlines() if "new classifier head" in line]
    assert len(notes) == 1


def test_no_silent_random_head_without_training(run, tmp_path):
    encoder = tiny.write_encoder(tmp_path / "encoder")
    for flag in ("--do_eval", "--do_predict"):
        with pytest.raises(WeightsError, match="no classifier for this task"):
            run(flag, model=encoder)


def test_labels_in_another_order_predict_the_same(run, tmp_path):
    """A checkpoint whose classes are stored as (positive, negative) is read by their names."""
    ours = tiny.write_model(tmp_path / "ours", labels=("negative", "positive"))
    theirs = tiny.write_model(tmp_path / "theirs", labels=("Positive", "Negative"))
    path = theirs / "model.safetensors"
    tensors = load_file(path)
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][..., ::-1])
    from safetensors.numpy import save_file

    save_file(tensors, path, metadata={"format": "np"})
    for name, folder in (("a", ours), ("b", theirs)):
        run("--do_predict", "--do_eval", out=name, model=folder)
    tsv_files = [(tmp_path / n / "predictions/SST-2.tsv").read_text() for n in ("a", "b")]
    assert tsv_files[0] == tsv_files[1]


def test_rows_beyond_the_positions_are_refused(run):
    with pytest.raises(WeightsError, match="64 positions"):
        run("--max_seq_length", "65")


def test_non_finite_loss_stops_and_keeps_the_last_checkpoint(run, tmp_path):
    from bert_paddle.common.errors import RunError

    with pytest.raises(RunError, match="step 2 .*learning rate"):
        run(*"--max_steps 5 --save_steps 1 --learning_rate 1e38 --max_grad_norm 0".split())
    assert checkpoint.find_damage(tmp_path / "out/model_1") is None
    assert checkpoint.saved_steps(tmp_path / "out") == [1]


def test_missing_data_names_every_location(run, tmp_path, monkeypatch):
    from bert_paddle.glue.data import download

    monkeypatch.setattr(download, "BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="GLUE_DATA_DIR"):
        run("--max_steps", "1", "--data_dir", str(tmp_path))


def test_saved_folder_loads_in_paddlenlp_bit_for_bit(run, tmp_path):
    from paddlenlp.transformers.bert.modeling import BertForSequenceClassification

    run("--max_steps", "2")
    folder = tmp_path / "out/model_2"
    loaded = BertForSequenceClassification.from_pretrained(str(folder))
    ours = load_file(folder / "model.safetensors")
    theirs = {name: value.numpy() for name, value in loaded.state_dict().items()}
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name
    assert loaded.config.id2label == {0: "negative", 1: "positive"}
