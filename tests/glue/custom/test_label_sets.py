"""Files whose rows have any number of labels: what is read, and what stops the run."""

import json
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.custom import load
from bert_paddle.models.model_config import ModelConfig

ROWS = [("one", ["b", "a"]), ("two", []), ("three", ["c"]), ("four", ["a", "a"]), ("five", ["10"])]
LABELS = ("10", "a", "b", "c")
MATRIX = [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read the data of a training run; the files are written first, by name."""
    monkeypatch.chdir(tmp_path)

    def call(flags: str, **files: str):
        for name, text in files.items():
            Path(name.replace("_", ".")).write_text(text)
        argv = f"--model_name_or_path m --output_dir o --validation_share 0 {flags}".split()
        config = ModelConfig({"labels": None}, frozenset(), "", tmp_path / "config.json")
        return load.read_custom_data(parse_args(argv), config, RunLog(active=False))

    return call


def rows_as(form: str) -> str:
    """ROWS as JSON lines with lists, as CSV with a separator or lists, or with a column for each
    label."""
    if form == "jsonl":
        return "".join(json.dumps({"text": t, "labels": labels}) + "\n" for t, labels in ROWS)
    if form == "separator":
        return "text,labels\n" + "".join(f"{t},{'; '.join(labels)}\n" for t, labels in ROWS)
    if form in ("json text", "python text"):
        dump = json.dumps if form == "json text" else repr
        quoted = [dump(labels).replace('"', '""') for _, labels in ROWS]
        rows = zip(ROWS, quoted, strict=True)
        return "text,labels\n" + "".join(f'{t},"{q}"\n' for (t, _), q in rows)
    marks = ["1.0,0", "true,false"][len(form) % 2].split(",")
    lines = [",".join(["text", *LABELS])]
    lines += [",".join([t, *(marks[0] if n in y else marks[1] for n in LABELS)]) for t, y in ROWS]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("form", "flags"),
    [
        ("jsonl", "--train_file t.jsonl --multi_label"),
        ("separator", "--train_file t.csv --label_separator ;"),
        ("json text", "--train_file t.csv --multi_label"),
        ("python text", "--train_file t.csv --multi_label"),
        ("columns", "--train_file t.csv --label_columns 10,a,b,c"),
        ("columns.", "--train_file t.csv --label_columns 10,a,b,c"),
    ],
)
def test_every_form_gives_the_same_labels(read, form, flags):
    name = "t_jsonl" if form == "jsonl" else "t_csv"
    task, data = read(flags, **{name: rows_as(form)})
    assert task.labels == LABELS and task.multi_label and task.primary.names == ("f1_micro",)
    assert data.train.texts_a == [text for text, _ in ROWS]
    np.testing.assert_array_equal(data.train.labels, MATRIX)
    assert data.train.labels.dtype == np.float32 and task.thresholds == (0.5,) * 4


def test_order_names_and_numbers(read):
    rows = "text,tags\na,10|9\nb,9\nc,\n"
    task, data = read("--train_file t.csv --label_column tags --label_separator pipe", t_csv=rows)
    assert task.labels == ("9", "10")  # by their size
    flags = "--train_file t.csv --label_column tags --label_separator | --labels 10,9,8 "
    task, data = read(f"{flags} --label_names ten,nine,eight --threshold 0.3", t_csv=rows)
    assert task.labels == ("ten", "nine", "eight") and task.thresholds == (0.3, 0.3, 0.3)
    task, data = read(f"{flags} --threshold 0.1,0.2,0.3", t_csv=rows)
    assert task.thresholds == (0.1, 0.2, 0.3)
    with pytest.raises(DataError, match="--threshold: 2 thresholds for 3 labels"):
        read(f"{flags} --threshold 0.1,0.2", t_csv=rows)
    np.testing.assert_array_equal(data.train.labels, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_a_file_without_labels_is_predicted_and_not_scored(read):
    train = rows_as("columns.")
    for test in ("text\none\n", "text,10,a,b,c\none,-1,-1,-1,-1\n"):
        flags = "--train_file t.csv --label_columns 10,a,b,c --test_file p.csv"
        task, data = read(flags, t_csv=train, p_csv=test)
        assert data.test[0][2].labels is None
    flags = "--train_file t.csv --label_separator ; --test_file p.csv"
    assert (
        read(flags, t_csv=rows_as("separator"), p_csv="text,labels\nx,\n")[1].test[0][2].labels
        is None
    )


@pytest.mark.parametrize(
    ("flags", "rows", "message"),
    [
        ("", '{"text": "x", "label": ["a"]}\n', "a list where a label is expected (give --multi_l"),
        (
            "--multi_label",
            '{"text": "x", "label": "a"}\n',
            "t.jsonl:1: 'label' is 'a' where a list",
        ),
        (
            "--multi_label",
            '{"text": "x", "label": [["a"]]}\n{}',
            "an item that is no label: \"['a']\"",
        ),
        ("--multi_label", '{"text": "x", "label": [" "]}\n', "a label that is blank"),
        ("--multi_label", '{"text": "x", "label": ["a"]}\n', "the only label is a: there must be"),
        ("--multi_label", '{"text": "x", "label": []}\n', "no row has a label"),
        (
            "--multi_label --labels a,b",
            '{"text": "x", "label": ["c"]}\n',
            "label 'c' where one of a",
        ),
        (
            "--multi_label --labels a,b",
            '{"text": "x", "label": null}\n',
            "an empty label where one",
        ),
        ("--label_columns a,b", '{"text": "x", "a": 1}\n', "t.jsonl has no column 'b'"),
        (
            "--label_columns a,b",
            '{"text": "x", "a": 1, "b": 2}\n',
            "'b' is '2' where 0 or 1 is exp",
        ),
        ("--label_columns a,b", '{"text": "x", "a": 1, "b": null}\n', "1 of the 2 label columns"),
        ("--multi_label --class_weights 1,2", "{}", "--class_weights: only for one class per row"),
        ("--label_columns a,b --label_column c", "{}", "--label_columns and --label_column are bo"),
        ("--label_columns a,a", "{}", "--label_columns a,a: give two or more distinct names"),
        ("--label_columns a,text --text_column text", "{}", "which is the column of a text"),
        ("--label_separator ; --regression", "{}", "several labels per row contradict"),
        (
            "--multi_label --metric accuracy",
            "{}",
            "choose from f1_micro, f1_macro, exact_match, los",
        ),
        (
            "--multi_label --threshold 1.5",
            "{}",
            "--threshold 1.5: give a number between 0 and 1, or one for each label, or auto",
        ),
        ("--multi_label --threshold auto", "{}", "--threshold auto is fitted to the dev set: eval"),
        ("--threshold 0.4", "{}", "--threshold is for several labels per row (--multi_label)"),
    ],
)
def test_what_stops_the_run(read, flags, rows, message):
    with pytest.raises((DataError, FlagError)) as caught:
        read(f"--train_file t.jsonl {flags}", t_jsonl=rows)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_glue_task_has_one_label_per_row():
    argv = "--task_name sst2 --model_name_or_path m --output_dir o".split()
    for flags in ("--multi_label", "--label_separator ,", "--label_columns a,b"):
        with pytest.raises(FlagError, match="and --task_name are mutually exclusive"):
            parse_args([*argv, *flags.split()])
    with pytest.raises(FlagError, match="--threshold is for several labels per row"):
        parse_args([*argv, "--threshold", "0.5"])


def test_a_label_of_the_model_without_a_column_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dev.csv").write_text("text,a,b,c\none,1,0,0\ntwo,0,1,1\n")
    Path("config.json").write_text('{"problem_type": "multi_label_classification"}')
    config = ModelConfig(
        {"labels": ("a", "b", "c")},
        frozenset(),
        "",
        tmp_path / "config.json",
        "multi_label_classification",
    )

    def read(columns: str):
        flags = f"--validation_file dev.csv --label_columns {columns} --do_eval"
        args = parse_args(f"--model_name_or_path m --output_dir o {flags}".split())
        return load.read_custom_data(args, config, RunLog(active=False))

    with pytest.raises(DataError, match="--label_columns a,c leaves out 'b', a label of the model"):
        read("a,c")
    _, data = read("c,a,b")
    assert data.dev[0][1].labels.tolist() == [[1, 0, 0], [0, 1, 1]]
