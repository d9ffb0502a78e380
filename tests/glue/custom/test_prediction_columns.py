"""--predict_probabilities and --id_column: what predictions of a user's file have besides."""

import csv
import json
from pathlib import Path

import custom_tables
import pytest
import tiny

from bert_paddle import api
from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.models import load_weights
from bert_paddle.training import run_files

LABELS = ("neg", "pos")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.write_model(folder / "classes", LABELS)
    tiny.write_model(folder / "many", tuple(f"c{i}" for i in range(150)))
    tiny.write_model(folder / "scores", ())
    return folder


@pytest.fixture
def predict(models, tmp_path, monkeypatch):
    """Predict a file with a model; returns the rows of the TSV file."""
    monkeypatch.chdir(tmp_path)

    def call(file: str, *flags: str, model: str = "classes") -> list[dict[str, str]]:
        argv = ["--model_name_or_path", str(models / model), "--output_dir", "out"]
        argv += ["--test_file", file, "--max_seq_length", "32", "--report", "0"]
        finetune.run(parse_args([*argv, *flags]))
        with Path(f"out/predictions/{Path(file).stem}.tsv").open(newline="") as written:
            return list(csv.DictReader(written, delimiter="\t", quoting=csv.QUOTE_NONE))

    return call


def unlabelled(count: int = 5, extra: str = "review_no") -> list[dict]:
    texts = [row["text"] for row in custom_tables.rows(count)]
    return [{extra: f"r-{70 + i}", "what": text} for i, text in enumerate(texts)]


@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl", "json"])
def test_an_unlabelled_file_with_ids_and_probabilities(predict, models, file_format):
    """The column that is not the ids' is the text, without a flag that says so."""
    content = unlabelled()
    custom_tables.write(Path(f"new.{file_format}"), content)
    rows = predict(f"new.{file_format}", "--predict_probabilities", "--id_column", "review_no")
    names = ["index", "prediction", "review_no", "probability_neg", "probability_pos"]
    assert [list(row) for row in rows] == [names] * 5
    assert [row["review_no"] for row in rows] == [row["review_no"] for row in content]
    expected = api.load(models / "classes").predict([row["what"] for row in content])
    for row, prediction in zip(rows, expected, strict=True):
        assert row["prediction"] == prediction.label
        shares = [float(row[f"probability_{name}"]) for name in LABELS]
        assert shares == pytest.approx(list(prediction.probabilities.values()), abs=1e-5)
    # The file is still recognized as a run's.
    assert run_files.contains_run(Path("out"))
    predict(f"new.{file_format}", "--id_column", "review_no")  # overwrites it


def test_each_flag_alone_and_neither(predict):
    custom_tables.write(Path("new.csv"), [{"text": row["what"], "n": 7} for row in unlabelled()])
    assert list(predict("new.csv")[0]) == ["index", "prediction"]
    assert list(predict("new.csv", "--id_column", "n")[0]) == ["index", "prediction", "n"]
    shares = ["probability_neg", "probability_pos"]
    assert list(predict("new.csv", "--predict_probabilities")[0])[2:] == shares


def test_many_classes(predict):
    custom_tables.write(Path("new.csv"), [{"text": "a film"}])
    (row,) = predict("new.csv", "--predict_probabilities", model="many")
    top = json.loads(row["top_probabilities"])
    assert len(top) == 10 and next(iter(top)) == row["prediction"]


def test_a_labelled_file_and_its_first_rows(predict):
    content = [{"id": 100 + i, **row} for i, row in enumerate(custom_tables.rows(6))]
    custom_tables.write(Path("test.jsonl"), content)
    rows = predict("test.jsonl", "--id_column", "id", "--max_predict_samples", "4")
    assert [row["id"] for row in rows] == ["100", "101", "102", "103"]
    lines = Path("out/test_predictions_test.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["100", "101", "102", "103"]


def test_the_file_to_train_on_needs_no_ids(predict):
    custom_tables.write(Path("train.csv"), custom_tables.rows(8))
    custom_tables.write(Path("new.csv"), [{"text": "a film", "no": "x 1"}])
    flags = "--train_file train.csv --validation_share 0 --max_steps 1 --id_column no"
    (row,) = predict("new.csv", *flags.split())
    assert row["no"] == "x 1"


@pytest.mark.parametrize("name", ["index", "a\u202eb"])
def test_a_column_named_like_one_of_ours_becomes_id(predict, name):
    custom_tables.write(Path("new.jsonl"), [{"what": "a film", name: "7"}])
    (row,) = predict("new.jsonl", "--id_column", name, "--predict_probabilities")
    assert list(row) == ["index", "prediction", "id", "probability_neg", "probability_pos"]
    assert row["id"] == "7"


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        (
            {"text": "a", "b": "c"},
            "--id_column no",
            "no column 'no'; its columns are 'text, b'",
        ),
        ({"text": "a", "no": "1\t2"}, "--id_column no", "new.jsonl:1: the id '1.t2' has a tab"),
        ({"text": "a", "no": "1\n"}, "--id_column no", "the id .* has a tab or a line break"),
        ({"text": "a", "no": None}, "--id_column no", "'no' is nothing .null. where a text is"),
    ],
)
def test_mistakes_in_the_file_are_told_before_weights_are_read(
    predict, monkeypatch, content, flags, message
):
    monkeypatch.setattr(load_weights, "load_weights", None)
    custom_tables.write(Path("new.jsonl"), [content])
    with pytest.raises(DataError, match=message):
        predict("new.jsonl", *flags.split())


def test_scores_have_no_probabilities(predict):
    custom_tables.write(Path("new.csv"), [{"text": "a"}])
    with pytest.raises(DataError, match="--predict_probabilities is for classes, and own predicts"):
        predict("new.csv", "--predict_probabilities", model="scores")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--task_name sst2 --predict_probabilities", "--predict_probabilities is for the predict"),
        ("--train_file x.csv --id_column a", "--id_column is for the predictions of --test_file"),
        ("--test_file x.csv --regression --predict_probabilities", "--regression predicts numbers"),
        ("--test_file x.csv --column_names a,b --id_column c", "--id_column c is not among"),
    ],
)
def test_mistakes_of_flags(tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("text,label\n")
    with pytest.raises(FlagError, match=message):
        parse_args([*"--model_name_or_path m --output_dir o".split(), *flags.split()])


def test_a_task_on_the_command_line_drops_them_from_a_settings_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("text,label\n")
    Path("s.yaml").write_text(
        "train_file: x.csv\ntest_file: x.csv\nid_column: n\npredict_probabilities: true\n"
    )
    argv = "--config s.yaml --task_name sst2 --model_name_or_path m --output_dir o"
    args = parse_args(argv.split())
    assert args.id_column is None and not args.predict_probabilities
