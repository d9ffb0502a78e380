"""One reading of labels for all formats, and header lines where rows are expected."""

import json
from pathlib import Path

import custom_tables
import pytest
import tiny

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.custom import load
from bert_paddle.glue.custom.label_values import label_of, normalize_label
from bert_paddle.glue.data.load import encode_data
from bert_paddle.models.model_config import ModelConfig
from bert_paddle.models.tokenizer import Tokenizer


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read data files with flags; returns the task and the data. id2label: the model's classes."""
    monkeypatch.chdir(tmp_path)

    def call(flags: str, id2label: tuple[str, ...] | None = None):
        Path("config.json").write_text(json.dumps({}))
        config = ModelConfig({"labels": id2label}, frozenset(), "", Path("config.json"))
        args = parse_args(["--model_name_or_path", "m", "--output_dir", "o", *flags.split()])
        args.finalize()
        return load.read_custom_data(args, config, RunLog())

    return call


def write_all(name: str, rows: list[dict]) -> list[str]:
    """The rows in every format; True, False and None as pandas writes them into text formats."""
    texts = [{k: "" if v is None else v for k, v in row.items()} for row in rows]
    for file_format in ("csv", "tsv"):
        custom_tables.write(Path(f"{name}.{file_format}"), texts)
    for file_format in ("jsonl", "json"):
        custom_tables.write(Path(f"{name}.{file_format}"), rows)
    return [f"{name}.{suffix}" for suffix in ("csv", "tsv", "jsonl", "json")]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((True, False), ("false", "true")),
        (("TRUE", "False"), ("false", "true")),
        ((1, 0), ("0", "1")),
        ((1.0, 0.0), ("0", "1")),
        (("+1", "-1.0"), ("-1", "1")),
        ((" spam ", "ham"), ("ham", "spam")),
        (("caf\u00e9", "cafe\u0301s"), ("caf\u00e9", "caf\u00e9s")),
    ],
)
def test_every_format_has_the_same_classes(read, labels, classes):
    rows = [{"text": f"a cat {i}", "label": labels[i % 2]} for i in range(6)]
    indices = set()
    for path in write_all("x", rows):
        found, data = read(f"--train_file {path} --validation_share 0")
        assert found.labels == classes
        indices.add(tuple(data.train.labels.tolist()))
        # A test file in any other format means the same labels.
        for test in write_all("new", rows[:2]):
            _, tested = read(f"--test_file {test} --label_column label", classes)
            assert tested.test[0][2].labels.tolist() == data.train.labels[:2].tolist()
    assert len(indices) == 1


def test_truth_values_of_one_format_match_text_of_another(read, capsys):
    custom_tables.write(Path("x.jsonl"), [{"text": "a", "label": i % 2 == 0} for i in range(4)])
    custom_tables.write(Path("new.csv"), [{"text": "a", "label": i % 2 == 0} for i in range(4)])
    _, data = read("--train_file x.jsonl --validation_share 0 --test_file new.csv")
    assert data.test[0][2].labels.tolist() == data.train.labels.tolist() == [1, 0, 1, 0]
    assert "not scored" not in capsys.readouterr().err


@pytest.mark.parametrize("classes", [("False", "True"), ("0.0", "1.0"), ("+0", "+1")])
def test_class_names_of_other_models_are_read_in_the_same_way(read, classes):
    rows = [{"text": "a", "label": normalize_label(classes[i % 2])} for i in range(4)]
    custom_tables.write(Path("new.csv"), rows)
    found, data = read("--test_file new.csv", classes)
    assert data.test[0][2].labels.tolist() == [0, 1, 0, 1]
    assert found.labels == classes  # predictions have the model's own names


def test_classes_that_are_one_label_are_an_error(read):
    custom_tables.write(Path("new.csv"), [{"text": "a", "label": 1}])
    with pytest.raises(DataError, match="'1' and '1.0' are the same label"):
        read("--test_file new.csv", ("1", "1.0"))
    custom_tables.write(Path("x.csv"), custom_tables.rows(4))
    for flag, message in (("1,1.0", "1 and 1.0 are the same"), ("a,nan", "nan is read as a miss")):
        with pytest.raises(DataError, match=message):
            read(f"--train_file x.csv --labels {flag}")


@pytest.mark.parametrize("missing", [None, float("nan"), "nan", "NaN", " ", "-nan"])
@pytest.mark.parametrize("flags", ["", "--regression", "--labels 0,1"])
def test_a_missing_label_is_an_error_in_every_format(read, missing, flags):
    rows = [{"text": "a", "label": label} for label in (0, 1, 1, missing)]
    for path in write_all("x", rows):
        with pytest.raises(DataError, match=rf"{path}(:5|:4|, object 4): an empty label where"):
            read(f"--train_file {path} {flags}")


def test_missing_labels_of_a_test_file_are_no_labels(read, capsys):
    for path in write_all("new", [{"text": "a", "label": v} for v in (None, float("nan"))]):
        _, data = read(f"--test_file {path}", ("0", "1"))
        assert data.test[0][2].labels is None
        assert f"{path}: no labels (all blank): not scored" in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity_is_no_score(read, value):
    rows = [{"text": "a", "label": label} for label in (0.5, 1.5, value)]
    for path in write_all("x", rows):
        with pytest.raises(DataError, match=r"label '-?inf' where a number is expected"):
            read(f"--train_file {path}")


def test_numbers_keep_what_is_no_spelling_of_an_integer():
    same = ("007", "1.50", "3.10", "1.", "v1.0", "1e3", "None", "none", "Yes", "-", "+", "")
    assert [normalize_label(text) for text in same] == list(same)
    assert [label_of(v) for v in (1e22, -0.0, 2**70)] == [str(10**22), "0", str(2**70)]


def test_unusual_classes_are_told(read, capsys):
    labels = ["Yes", "yes", "None", "odd"] + ["Yes", "yes", "None"] * 3
    custom_tables.write(Path("x.csv"), [{"text": "a", "label": label} for label in labels])
    found, _ = read("--train_file x.csv --validation_share 0")
    assert len(found.labels) == 4
    err = capsys.readouterr().err
    assert "only one row has the label 'odd' (x.csv:5)" in err
    assert "the labels 'Yes' and 'yes' differ only in case" in err
    assert "4 row(s) have the label 'None', which is a class" in err
    read("--train_file x.csv --validation_share 0 --labels Yes,yes,None,odd")
    assert "warning" not in capsys.readouterr().err


def test_words_for_missing_texts_are_told(read, capsys):
    texts = ["nan", "None", "nan", "a cat", "text"]
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(texts)]
    for path in write_all("x", rows):
        read(f"--train_file {path} --validation_share 0")
        err = capsys.readouterr().err
        assert f"{path}: 2 row(s) have the text 'nan': a missing value?" in err
        assert f"{path}: 1 row(s) have the text 'None'" in err
        assert f"{path}: 1 row(s) have the text 'text': the column's name?" in err
    custom_tables.write(Path("x.jsonl"), [{"text": float("nan"), "label": 1}])
    with pytest.raises(DataError, match="'text' is NaN or infinite where a text"):
        read("--train_file x.jsonl")


# Header lines


NAMES = "--column_names text,label --validation_share 0 "
BODY = "a cat,pos\na dog,neg\na fox,pos\na hen,neg\n"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("sentence,target", BODY),
        ("Text,Label", BODY),
        ("review,sentiment", BODY),
        ("what was said,class", BODY),
        ("column a,column b", "a cat,1\na dog,0\na fox,1\n"),
        ("column a,column b", "a cat,1.5\na dog,0.5\na fox,1\n"),
    ],
)
def test_a_header_in_other_words_is_an_error(read, header, body):
    Path("x.csv").write_text(f"{header}\n{body}")
    with pytest.raises(DataError, match=r"x.csv:1.* header line"):
        read(f"{NAMES}--train_file x.csv")
    Path("x.csv").write_text(body)
    _, data = read(f"{NAMES}--train_file x.csv")
    assert len(data.train) == body.count("\n")


def test_a_header_anywhere_and_in_any_file_is_an_error(read):
    Path("x.csv").write_text(BODY)
    Path("joined.csv").write_text(f"{BODY}sentence,target\n{BODY}")
    with pytest.raises(DataError, match="joined.csv:5: looks like a header line"):
        read(f"{NAMES}--train_file joined.csv")
    Path("dev.csv").write_text(f"sentence,target\n{BODY}")
    with pytest.raises(DataError, match="dev.csv:1: looks like a header line"):
        read("--column_names text,label --train_file x.csv --validation_file dev.csv")
    Path("new.csv").write_text("sentence\na cat\n")
    with pytest.raises(DataError, match="new.csv:1: looks like a header line"):
        read("--column_names text --test_file new.csv", ("neg", "pos"))


def test_a_class_named_like_a_column_is_given_by_labels(read):
    Path("x.csv").write_text("a cat,score\na dog,neg\na fox,neg\n")
    with pytest.raises(DataError, match="give --labels with score"):
        read(f"{NAMES}--train_file x.csv")
    found, data = read(f"{NAMES}--train_file x.csv --labels score,neg")
    assert data.train.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_repeated_header_is_an_error(read, suffix):
    sep = "," if suffix == "csv" else "\t"
    content = f"text,label\n{BODY}Text,LABEL\n{BODY}".replace(",", sep)
    Path(f"x.{suffix}").write_text(content)
    with pytest.raises(DataError, match=rf"x.{suffix}:6: the header line again"):
        read(f"--train_file x.{suffix}")


def test_a_first_row_that_is_read_as_the_header(read, capsys):
    Path("new.csv").write_text("a fine story of a cat\nloud and empty\n")
    with pytest.raises(DataError, match="new.csv:1: 'a fine story of a cat' looks like a text"):
        read("--test_file new.csv", ("neg", "pos"))
    _, data = read("--test_file new.csv --column_names text", ("neg", "pos"))
    assert len(data.test[0][2]) == 2
    Path("new.csv").write_text("bad plot\nloud and empty\n")
    read("--test_file new.csv", ("neg", "pos"))
    assert "new.csv:1 is read as the header line, with the column 'bad plot'" in (
        capsys.readouterr().err
    )
    Path("new.jsonl").write_text('{"a fine story of a cat": "loud"}\n')
    _, data = read("--test_file new.jsonl", ("neg", "pos"))
    assert len(data.test[0][2]) == 1


@pytest.mark.parametrize("labels", [("neg",) * 3, (0.5,) * 3])
def test_a_dev_set_of_one_label_is_told(read, capsys, labels):
    scores = isinstance(labels[0], float)
    train = [{"text": "a", "label": v} for v in ((0.5, 1.5) if scores else ("neg", "pos"))]
    custom_tables.write(Path("x.csv"), train * 2)
    custom_tables.write(Path("dev.csv"), [{"text": "a", "label": v} for v in labels])
    _, data = read("--train_file x.csv --validation_file dev.csv")
    args = parse_args("--model_name_or_path m --output_dir o --train_file x.csv".split())
    encode_data(data, Tokenizer(tiny.VOCAB), args, RunLog())
    err = capsys.readouterr().err
    assert "dev.csv: all 3 rows have the same label" in err and "x.csv: all" not in err


def test_one_row_cannot_be_split(read):
    Path("x.csv").write_text("text,score\na cat,1.5\n")
    with pytest.raises(DataError, match="x.csv has one row, of which none can be held out"):
        read("--train_file x.csv --regression")
