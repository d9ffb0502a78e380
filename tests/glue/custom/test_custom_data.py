"""End-to-end runs on custom files with a two-layer model: every format, classes and scores."""

import json
from pathlib import Path

import custom_tables
import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import DataError, OutputError, WeightsError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.custom import load
from bert_paddle.glue.custom.task import task_name
from bert_paddle.glue.data.tsv import Examples


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return tiny.write_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture
def run(encoder, tmp_path, monkeypatch):
    """Run run_glue.py's main function in this process, in a temporary folder."""
    monkeypatch.chdir(tmp_path)

    def call(flags: str, out: str = "out", model: Path | str = encoder):
        argv = f"--model_name_or_path {model} --output_dir {out} --batch_size 8 --report 0 "
        return finetune.run(
            parse_args([*argv.split(), *"--max_seq_length 32".split(), *flags.split()])
        )

    return call


def config(folder: str) -> dict:
    return json.loads(Path(folder, "config.json").read_text())


def lines(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.mark.parametrize("file_format", custom_tables.FORMATS)
def test_every_format_trains_evaluates_and_predicts_alike(run, file_format, capsys):
    for name, count in (("reviews", 24), ("dev", 8), ("new", 6)):
        custom_tables.write(
            Path(f"{name}.{file_format}"), custom_tables.rows(count, seed=count), file_format
        )
    suffix = f"--file_format {file_format}" if file_format == "quoted_tsv" else ""
    values = run(
        f"--train_file reviews.{file_format} --validation_file dev.{file_format} "
        f"--test_file new.{file_format} "
        f"--max_steps 2 {suffix}"
    )
    assert (values["task"], values["data"]) == ("reviews", "own")
    assert (values["train_samples"], values["eval_samples"], values["test_samples"]) == (24, 8, 6)
    output = capsys.readouterr()
    assert (
        f"data: reviews.{file_format}: 24 rows, text from 'text', label from 'label'" in output.err
    )
    assert "labels: 2 classes: neg, pos; f1 is computed for pos" in output.err
    assert f"test new.{file_format} loss: " in output.out
    for prefix in ("eval", "test"):
        assert {
            f"{prefix}_{name}" for name in ("loss", "accuracy", "f1", "matthews_correlation")
        } < set(values)
    saved_config = config("out/model_2")
    assert (
        saved_config["id2label"] == {"0": "neg", "1": "pos"}
        and saved_config["finetuning_task"] == "reviews"
    )
    predicted = Path("out/predictions/new.tsv").read_text().splitlines()
    assert predicted[0] == "index\tprediction" and len(predicted) == 7
    rows = lines("out/test_predictions_new.jsonl")
    assert [f"{row['index']}\t{row['prediction']}" for row in rows] == predicted[1:]
    written = custom_tables.rows(6, seed=6)
    assert [(r["text_a"], r["label"]) for r in rows] == [(r["text"], r["label"]) for r in written]
    assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in rows)
    assert len(lines("out/dev_predictions.jsonl")) == 8
    if file_format == "csv":
        _check_predictions_of_the_reloaded_model(run, rows)


def _check_predictions_of_the_reloaded_model(run, expected):
    """Without other flags, classes and columns come from the model's config.json."""
    values = run("--test_file new.csv --do_predict", out="again", model="out/model_2")
    assert lines("again/test_predictions_new.jsonl") == expected
    assert (values["task"], values["test_samples"]) == ("reviews", 6)
    values = run("--validation_file dev.csv", out="again", model="out/model_2")
    first = json.loads(Path("out/all_results.json").read_text())
    assert values["eval_loss"] == first["eval_loss"]


def test_pairs_with_named_columns_and_integer_classes_in_numeric_order(run, capsys):
    pairs = [
        {"b": f"the dog {i}", "stars": (10, 9, 2)[i % 3], "a": f"the cat {i}"} for i in range(12)
    ]
    custom_tables.write(Path("train.jsonl"), pairs)
    run(
        "--train_file train.jsonl --text_column a --text_pair_column b --label_column stars "
        "--validation_share 0.25 --max_steps 1"
    )
    saved_config = config("out/model_1")
    assert list(saved_config["id2label"].values()) == ["2", "9", "10"]
    row = lines("out/dev_predictions.jsonl")[0]
    assert row["text_a"].startswith("the cat") and row["text_b"].startswith("the dog")
    assert "f1_macro:" in capsys.readouterr().out
    # The columns come from the model; a file without labels is predicted, not scored.
    custom_tables.write(Path("new.csv"), [{"a": "x", "b": "y", "note": "z"}] * 3)
    values = run("--test_file new.csv", out="new", model="out/model_1")
    assert "test_loss" not in values and not Path("new/test_predictions_new.jsonl").exists()
    assert len(Path("new/predictions/new.tsv").read_text().splitlines()) == 4
    custom_tables.write(Path("one.csv"), [{"text": "x"}] * 3)
    with pytest.raises(DataError, match="which columns are the two texts"):
        run("--test_file one.csv", out="one", model="out/model_1")


def test_decimals_are_a_regression(run, capsys):
    rows = [{"text": f"the cat {i}", "score": i / 4} for i in range(16)]
    custom_tables.write(Path("scores.tsv"), rows)
    values = run("--train_file scores.tsv --max_steps 2 --save_steps 1 --metric mse")
    assert "labels are numbers with decimals: regression" in capsys.readouterr().err
    assert values["eval_mse"] == pytest.approx(values["eval_loss"], rel=1e-5)
    assert {"eval_pearson", "eval_spearmanr"} < set(values)
    saved_config = config("out/model_2")
    assert saved_config["problem_type"] == "regression" and len(saved_config["id2label"]) == 1
    # The best step is that of the lowest error.
    errors = [r["mse"] for r in lines("out/metrics.jsonl") if r["kind"] == "eval"]
    assert values["best_metric"] == min(errors)
    run("--test_file scores.tsv", out="again", model="out/model_2")
    first = Path("again/predictions/scores.tsv").read_text().splitlines()[1].split("\t")[1]
    assert float(first) == pytest.approx(
        lines("again/test_predictions_scores.jsonl")[0]["prediction"], abs=1e-6
    )
    custom_tables.write(Path("bad.tsv"), [*rows, {"text": "x", "score": "nan"}])
    for flag in ("", "--regression "):
        with pytest.raises(DataError, match=r"bad.tsv:18: an empty label where a"):
            run(f"{flag}--train_file bad.tsv", out="bad")


def test_integers_are_scores_with_the_regression_flag(run):
    custom_tables.write(Path("x.csv"), [{"text": f"cat {i}", "label": i % 5} for i in range(10)])
    values = run("--train_file x.csv --regression --max_steps 1")
    assert "eval_pearson" in values and values["task"] == "x"


def test_labels_flag_sets_the_order_and_other_labels_are_errors(run, capsys):
    custom_tables.write(Path("x.csv"), custom_tables.rows(12))
    values = run("--train_file x.csv --labels pos,neg,none --max_steps 1 --metric f1_macro")
    assert list(config("out/model_1")["id2label"].values()) == ["pos", "neg", "none"]
    assert "no row of class none" in capsys.readouterr().err
    assert values["best_metric"] == values["eval_f1_macro"]
    with pytest.raises(DataError, match=r"x.csv:3: label 'pos' where one of neg, good is expected"):
        run("--train_file x.csv --labels neg,good", out="other")


def test_classes_that_differ_by_case_are_kept_apart_after_reloading(run):
    rows = custom_tables.rows(12, names=("Yes", "yes"))
    custom_tables.write(Path("x.csv"), rows)
    run("--train_file x.csv --max_steps 1 --learning_rate 0.1 --do_train --do_eval")
    first = lines("out/dev_predictions.jsonl")
    run("--train_file x.csv --do_eval", out="again", model="out/model_1")
    assert lines("again/dev_predictions.jsonl") == first
    assert list(config("out/model_1")["label2id"]) in (["Yes", "yes"], ["yes", "Yes"])


def test_the_split_is_disjoint_complete_and_by_seed():
    examples = Examples([f"t{i}" for i in range(41)], None, np.arange(41), "x.csv")
    train, dev = load.split_dev_rows(examples, 0.1, seed=1)
    assert len(dev) == 5  # never less than the share
    assert sorted([*train.texts_a, *dev.texts_a]) == sorted(examples.texts_a)
    assert list(dev.labels) == sorted(dev.labels)  # in the file's order
    assert [f"t{i}" for i in dev.labels] == dev.texts_a
    again, other = (load.split_dev_rows(examples, 0.1, seed=seed)[1].texts_a for seed in (1, 2))
    assert again == dev.texts_a != other
    assert load.split_dev_rows(examples, 0.0, seed=1) == (examples, None)
    small = Examples(["a", "b"], None, np.arange(2), "x.csv")
    assert [len(part) for part in load.split_dev_rows(small, 0.9, seed=1)] == [1, 1]


def test_the_published_cola_split():
    """8,551 rows give 7,695 and 856, as the well-known walk-through has them."""
    examples = Examples(["t"] * 8551, None, np.zeros(8551), "x.tsv")
    assert [len(part) for part in load.split_dev_rows(examples, 0.1, 42)] == [7695, 856]


def test_held_out_rows_do_not_depend_on_the_actions(run):
    custom_tables.write(Path("x.csv"), custom_tables.rows(20))
    trained = run("--train_file x.csv --do_train --max_steps 1")
    assert trained["train_samples"] == 18
    values = run("--train_file x.csv --do_eval", out="eval", model="out/model_1")
    assert values["eval_samples"] == 2
    assert (
        run("--train_file x.csv --max_steps 1 --validation_share 0", out="all")["train_samples"]
        == 20
    )


def test_resuming_needs_the_same_rows(run):
    custom_tables.write(Path("x.csv"), custom_tables.rows(20))
    flags = "--train_file {} --max_steps 4 --save_steps 2 --resume_from_checkpoint auto "
    straight = run(flags.format("x.csv"), out="straight")
    run(flags.format("x.csv") + "--max_steps 2")
    Path("x.csv").rename("moved.csv")
    with pytest.raises(OutputError, match="training data"):
        custom_tables.write(Path("x.csv"), custom_tables.rows(20, seed=5))
        run(flags.format("x.csv"))
    with pytest.raises(OutputError, match="validation_share"):
        run(flags.format("moved.csv") + "--validation_share 0.3")
    resumed = "--train_file moved.csv --max_steps 4 --resume_from_checkpoint straight/model_2"
    assert run(resumed + " --save_steps 2", out="on")["eval_loss"] == straight["eval_loss"]


def test_a_glue_model_predicts_any_file(run, tmp_path):
    tiny.write_sst2(tmp_path / "glue" / "SST-2")
    run("--task_name sst2 --data_dir glue --max_steps 1")
    custom_tables.write(Path("new.jsonl"), custom_tables.rows(6, names=("0", "positive")))
    flags = ["--task_name sst2 --do_predict --test_file new.jsonl", "--test_file new.jsonl"]
    for i, given in enumerate(flags):
        values = run(given, out=f"new{i}", model="out/model_1")
        assert (values["task"], values["test_samples"]) == ("SST-2", 6)
        assert values["predictions_new.tsv"] == "own"
        rows = lines(f"new{i}/test_predictions_new.jsonl")
        assert [row["label"] for row in rows] == ["negative", "positive"] * 3
        message = Path(f"new{i}/predictions/new.tsv").read_text().splitlines()[1:]
        assert {line.split("\t")[1] for line in message} <= {"negative", "positive"}
    assert not Path("new0/predictions/SST-2.tsv").exists()
    values = run("--validation_file new.jsonl --metric f1", out="f1", model="out/model_1")
    assert "eval_f1" in values


def test_custom_files_train_like_glue_files(run, tmp_path):
    """The same rows in the same order: the same weights, bit for bit."""
    folder = tiny.write_sst2(tmp_path / "glue" / "SST-2")
    run("--task_name sst2 --data_dir glue --max_steps 3", out="glue_run")
    run(f"--train_file {folder}/train.tsv --validation_file {folder}/dev.tsv --max_steps 3")
    weights = [Path(f"{out}/model_3/model.safetensors").read_bytes() for out in ("glue_run", "out")]
    assert weights[0] == weights[1]
    # It is no GLUE result, though the folder has the task's name.
    results = json.loads(Path("out/all_results.json").read_text())
    assert (results["task"], results["data"]) == ("own", "own")


def test_test_file_without_usable_labels(run, capsys):
    custom_tables.write(Path("x.csv"), custom_tables.rows(8))
    run("--train_file x.csv --do_train --max_steps 1")
    for blank, message in (
        ("", "all blank"),
        (-1, "-1"),
        ("else", "no value in 'label' is a class"),
    ):
        custom_tables.write(Path("new.csv"), [{"text": "a", "label": blank}] * 2)
        values = run("--test_file new.csv", out="new", model="out/model_1")
        assert "test_loss" not in values and message in capsys.readouterr().err
    with pytest.raises(DataError, match=r"new.csv:2: label 'else' where one of neg, pos"):
        run("--test_file new.csv --label_column label", out="new", model="out/model_1")


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([{"text": "a", "label": "x"}] * 3, "", "all 3 rows have the label x"),
        ([{"text": "a", "label": ""}] * 3, "", "x.csv:2: an empty label where a class or"),
        ([{"text": "a", "label": "x\ty"}, {"text": "a", "label": "y"}], "", "cannot be a class"),
        (custom_tables.rows(4), "--metric pearson", "the labels are classes: choose from"),
        (custom_tables.rows(4), "--regression", "x.csv:2: label 'neg' where a number is expected"),
        (custom_tables.rows(4), "--text_column body", "has no column 'body'"),
        (
            [{"text": "a", "label": i} for i in range(4)],
            "--metric f1",
            "--metric f1 is for two classes, and there are 4",
        ),
    ],
)
def test_unusable_data_is_an_error(run, rows, more, message):
    custom_tables.write(Path("x.csv"), rows)
    with pytest.raises(DataError) as caught:
        run(f"--train_file x.csv --validation_share 0 {more}")
    assert message in str(caught.value)


def test_a_dev_label_missing_from_training_is_an_error(run):
    custom_tables.write(Path("x.csv"), custom_tables.rows(8))
    custom_tables.write(Path("dev.csv"), custom_tables.rows(8, names=("neg", "new")))
    with pytest.raises(DataError, match=r"dev.csv:3: label 'new' where one of neg, pos is expect"):
        run("--train_file x.csv --validation_file dev.csv")


def test_unsuitable_models_are_errors(run, encoder, tmp_path):
    custom_tables.write(Path("x.csv"), custom_tables.rows(8))
    with pytest.raises(WeightsError, match="no classifier"):
        run("--test_file x.csv")
    pairs = [{"text_a": "a", "text_b": "b", "label": i % 2} for i in range(8)]
    custom_tables.write(Path("pairs.csv"), pairs)
    narrow = tiny.write_encoder(tmp_path / "narrow", type_vocab_size=1)
    with pytest.raises(WeightsError, match="one segment embedding"):
        run("--train_file pairs.csv", out="narrow_out", model=narrow)


def test_many_classes_and_empty_texts_give_warnings(run, capsys):
    rows = [{"text": "" if i == 3 else "a cat", "label": i} for i in range(30)]
    custom_tables.write(Path("x.csv"), rows)
    run("--train_file x.csv --max_steps 1 --do_train")
    message = capsys.readouterr().err
    assert "30 classes in 30 rows: give --regression if the labels are scores" in message
    assert "1 row(s) have an empty text" in message


def test_a_long_file_name_gives_a_task_name_of_60_characters():
    assert task_name(f"/data/{'x' * 80}.csv") == "x" * 60
