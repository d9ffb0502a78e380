"""Runs on rows with any number of labels: training, files, prediction, export, report."""

import json
import shutil
from pathlib import Path

import pytest
import same
import tiny

from bert_paddle import api
from bert_paddle.cli import predict as predict_command
from bert_paddle.common.errors import DataError, FlagError, WeightsError
from bert_paddle.export.export import export_model
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.report import label_table
from bert_paddle.report.run_data import read

LABELS = tuple(sorted(tiny.NAMED.values()))
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("labels")
    tiny.write_encoder(
        base / "model",
        num_hidden_layers=1,
        hidden_size=32,
        initializer_range=0.1,
        **NO_DROPOUT,
    )
    for seed, (name, rows) in enumerate({"train": 400, "dev": 80, "test": 40}.items()):
        tiny.write_named_rows(base / f"{name}.jsonl", rows, seed)
    return base


@pytest.fixture(scope="module")
def trained(place) -> Path:
    """A finished run with fitted thresholds; its folder."""
    argv = f"--model_name_or_path {place / 'model'} --output_dir {place / 'out'} --multi_label "
    argv += f"--train_file {place / 'train.jsonl'} --validation_file {place / 'dev.jsonl'} "
    argv += f"--test_file {place / 'test.jsonl'} --threshold auto --max_seq_length 32 "
    argv += "--learning_rate 3e-3 --warmup_ratio 0.1 --num_train_epochs 10 --batch_size 16 "
    argv += "--predict_probabilities"
    finetune.run(parse_args(argv.split()))
    return place / "out"


@pytest.fixture
def model(trained) -> Path:
    return next(trained.glob("model_*"))


def values(folder: Path, name: str = "all_results.json") -> dict:
    return json.loads((folder / name).read_text())


def test_a_clear_rule_is_learnt(trained):
    results = values(trained)
    for split in ("eval", "test"):
        assert results[f"{split}_f1_micro"] > 0.95, results
        assert results[f"{split}_f1_macro"] > 0.95 and results[f"{split}_exact_match"] > 0.8
        assert set(results[f"{split}_f1_per_label"]) == set(LABELS)
    assert values(trained, "run.json")["metric"] == ["f1_micro"]


def test_thresholds_are_saved_and_used(trained, model, place, tmp_path):
    config = values(model, "config.json")
    assert config["problem_type"] == "multi_label_classification"
    saved = config["thresholds"]
    assert tuple(saved) == LABELS and saved == values(trained)["thresholds"]
    argv = f"--model_name_or_path {model} --validation_file {place / 'dev.jsonl'} --report 0 "
    argv += f"--max_seq_length 32 --output_dir {tmp_path / 'out'}"
    again = finetune.run(parse_args(argv.split()))
    assert again["eval_f1_micro"] == values(trained)["eval_f1_micro"]
    high = finetune.run(parse_args([*argv.split(), "--threshold", "0.999999"]))
    assert high["eval_exact_match"] < again["eval_exact_match"]
    assert set(high["thresholds"].values()) == {0.999999}


def test_a_resumed_run_equals_an_uninterrupted_one(place, tmp_path):
    """Its thresholds, too, in the model's config.json and card."""
    argv = f"--model_name_or_path {place / 'model'} --output_dir {tmp_path / 'out'} --multi_label "
    argv += f"--train_file {place / 'dev.jsonl'} --validation_file {place / 'test.jsonl'} "
    argv += "--threshold auto --max_seq_length 32 --num_train_epochs 2 --batch_size 16 --report 0 "
    argv += "--save_steps 5 --learning_rate 3e-3"
    found = []
    for resume in ("", " --resume_from_checkpoint auto"):
        results = finetune.run(parse_args((argv + resume).split()))
        files = same.checkpoint_files(tmp_path / "out" / "model_10")
        found.append((files, results["thresholds"], results["eval_f1_per_label"]))
        shutil.rmtree(tmp_path / "out" / "model_10")
    assert found[0] == found[1] and "config.json" in found[0][0]
    saved = values(tmp_path / "out" / "model_5", "config.json")["thresholds"]
    assert saved != found[0][1]  # of its own weights


def test_prediction_files(trained, place):
    lines = (trained / "predictions" / "test.tsv").read_text().splitlines()
    names = [f"probability_{name}" for name in LABELS]
    assert lines[0].split("\t") == ["index", "prediction", *names]
    thresholds = values(trained)["thresholds"]
    for line in lines[1:]:
        _, prediction, *shares = line.split("\t")
        reached = [n for n, p in zip(LABELS, shares, strict=True) if float(p) >= thresholds[n]]
        assert json.loads(prediction) == reached
    rows = [json.loads(s) for s in (trained / "test_predictions_test.jsonl").open()]
    expected = [json.loads(s)["labels"] for s in (place / "test.jsonl").open()]
    assert [row["label"] for row in rows] == expected
    assert all(isinstance(row["prediction"], list) for row in rows)


def test_predict_and_api(model, capsys):
    predictor = api.load(model)
    found = predictor.predict(["the cat sat on the red mat", "the film was dull"])
    assert [p.labels for p in found] == [("cat", "red thing"), ()]
    assert found[0].label is None and sum(found[0].probabilities.values()) > 1.5
    predict_command.main([str(model), "the dog ran", "the film was dull"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["dog", "-"]
    predict_command.main([str(model), "the dog ran", "--json"])
    assert json.loads(capsys.readouterr().out)["labels"] == ["dog"]


def test_predict_with_other_thresholds(model, capsys):
    """The dog's is between its probability and 1; the others are below all probabilities."""
    texts = ["the dog ran", "--json"]
    predict_command.main([str(model), *texts])
    share = json.loads(capsys.readouterr().out)["probabilities"]["dog"]
    for given, expected in (
        ("0.000001", list(LABELS)),
        (f"1e-6,1e-6,{(1 + share) / 2},1e-6", ["blue thing", "cat", "red thing"]),
    ):
        predict_command.main([str(model), *texts, "--threshold", given])
        assert json.loads(capsys.readouterr().out)["labels"] == expected
        numbers = [float(text) for text in given.split(",")]
        threshold = numbers[0] if len(numbers) == 1 else numbers
        found = api.load(model, threshold=threshold).predict(texts[:1])
        assert found[0].labels == tuple(expected)
    with pytest.raises(DataError, match="3 thresholds for 4 labels .blue thing, cat, dog, red thi"):
        predict_command.main([str(model), *texts, "--threshold", "0.1,0.2,0.3"])
    with pytest.raises(DataError, match="a threshold is between 0 and 1, and one is 2"):
        api.load(model, threshold=2)
    for wrong in ("0", "1.5", "auto", "0.5,"):
        with pytest.raises(FlagError, match="--threshold .*: give a number between 0 and 1"):
            predict_command.main([str(model), *texts, "--threshold", wrong])


def test_shown_thresholds_are_those_that_are_used(trained, model, place, tmp_path):
    """A rounded one might give other predictions."""
    saved = values(model, "config.json")["thresholds"]
    card, page = (model / "README.md").read_text(), (trained / "report.html").read_text()
    for threshold in saved.values():
        assert f" | {threshold} | " in card and f">{threshold}<" in page


def test_a_hugging_face_folder_is_what_it_is(model, tmp_path):
    export_model(str(model), "hf", str(tmp_path / "hf"))
    config = values(tmp_path / "hf", "config.json")
    assert config["problem_type"] == "multi_label_classification"
    assert config["thresholds"] == values(model, "config.json")["thresholds"]
    text = "a blue cat"
    assert api.load(tmp_path / "hf").predict([text])[0].labels == ("blue thing", "cat")
    # Without what this package adds: thresholds are 0.5.
    path = tmp_path / "hf" / "config.json"
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("thresholds",)}))
    assert set(api.load(tmp_path / "hf").thresholds) == {0.5}
    path.write_text(json.dumps(config | {"thresholds": {"cat": 2}}))
    with pytest.raises(WeightsError, match="thresholds must have a number between 0 and 1"):
        api.load(tmp_path / "hf")


def test_report_and_card(trained, model):
    run = read(trained)
    (dev, test) = run.predictions
    table = label_table.per_label(test, run)
    assert table is not None and [row[0] for row in table.rows] == list(LABELS)
    assert "Each label, dev set" in (trained / "report.html").read_text()
    assert not list((trained / "pictures").glob("confusion*"))
    card = (model / "README.md").read_text()
    assert "any number of 4 labels" in card and "| logit | label | threshold | F1 |" in card


def test_a_model_for_one_class_is_no_model_for_several(place, tmp_path):
    tiny.write_model(tmp_path / "one", labels=LABELS)
    argv = f"--model_name_or_path {tmp_path / 'one'} --output_dir {tmp_path / 'out'} "
    argv += f"--max_seq_length 32 --validation_file {place / 'dev.jsonl'} "
    with pytest.raises(DataError, match="was fine-tuned on one label per row"):
        finetune.run(parse_args([*argv.split(), "--multi_label"]))
    with pytest.raises(DataError, match="--threshold is for several labels per row"):
        finetune.run(parse_args([*argv.split(), "--threshold", "0.4"]))
    with pytest.raises(DataError, match="a threshold is for several labels per text"):
        api.load(tmp_path / "one", threshold=0.4)


def test_a_separator_is_written_as_it_is_read(place, tmp_path):
    rows = [f"{text},{'|'.join(labels)}\n" for text, labels in tiny.named_rows(24)]
    (tmp_path / "t.csv").write_text("text,tags\n" + "".join(rows))
    argv = f"--model_name_or_path {place / 'model'} --output_dir {tmp_path / 'out'} --report 0 "
    argv += (
        f"--max_seq_length 32 --train_file {tmp_path / 't.csv'} --label_column tags --max_steps 1 "
    )
    argv += f"--label_separator pipe --validation_share 0 --test_file {tmp_path / 't.csv'} "
    finetune.run(parse_args([*argv.split(), "--threshold", "0.000001"]))
    predictions = (tmp_path / "out" / "predictions" / "t.tsv").read_text().splitlines()
    assert predictions[1].split("\t")[1] == "|".join(LABELS)
    config = values(tmp_path / "out" / "model_1", "config.json")
    assert config["own_data"]["label_separator"] == "|"
    assert set(config["thresholds"].values()) == {0.000001}


def test_one_output_is_not_several_labels(tmp_path):
    tiny.write_model(tmp_path / "model", ("cat",), multi_label=True)
    with pytest.raises(WeightsError, match="the model has one label only"):
        api.load(tmp_path / "model")
