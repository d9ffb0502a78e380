"""The flags for custom data: valid combinations, derived actions, messages for mistakes."""

import custom_tables
import pytest

from bert_paddle.common.errors import FlagError
from bert_paddle.common.flags import save_settings
from bert_paddle.glue import custom_args
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.custom import task


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """Parse flags in a folder with the files that these tests name."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "dev.csv", "test.csv", "t.tsv", "x.jsonl", "x.xlsx", "x"):
        (tmp_path / name).write_text("text,label\n")

    def parse(text: str):
        return parse_args(["--model_name_or_path", "m", "--output_dir", "o", *text.split()])

    return parse


@pytest.mark.parametrize(
    ("given", "actions", "share"),
    [
        ("--train_file train.csv", (1, 1, 0), 0.1),
        ("--train_file train.csv --validation_share 0", (1, 0, 0), 0),
        ("--train_file train.csv --validation_share 0.2", (1, 1, 0), 0.2),
        ("--train_file train.csv --validation_file dev.csv", (1, 1, 0), 0),
        ("--train_file train.csv --test_file test.csv", (1, 1, 1), 0.1),
        ("--validation_file dev.csv", (0, 1, 0), 0),
        ("--test_file test.csv", (0, 0, 1), 0.1),
        ("--train_file train.csv --do_train", (1, 0, 0), 0.1),
        ("--train_file train.csv --do_eval", (0, 1, 0), 0.1),
        ("--task_name sst2 --test_file test.csv", (1, 1, 1), 0.1),
        ("--task_name sst2 --test_file test.csv --do_predict", (0, 0, 1), 0.1),
    ],
)
def test_actions_follow_from_the_files(flags, given, actions, share):
    args = flags(given)
    assert (args.do_train, args.do_eval, args.do_predict) == actions
    assert args.resolved_validation_share() == share


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "--task_name is required (or --train_file, for your own data)"),
        (
            "--task_name sst2 --train_file train.csv",
            "--train_file and --task_name are mutually exclusive",
        ),
        ("--task_name sst2 --metric f1", "--metric f1: SST-2 has accuracy, loss"),
        ("--task_name sst2 --text_column x", "--text_column: no data file is given"),
        ("--train_file train.csv --data_dir .", "--data_dir is for GLUE tasks"),
        ("--train_file no.csv", "--train_file no.csv: no such file"),
        ("--train_file .", "--train_file .: is a folder"),
        ("--test_file x.xlsx", "--test_file x.xlsx: unknown extension .xlsx"),
        ("--test_file x", "--test_file x: the name has no extension"),
        ("--train_file train.csv --file_format xml", "--file_format must be one of tsv,"),
        ("--train_file x.jsonl --column_names a,b", "x.jsonl has named fields"),
        ("--train_file t.tsv --column_names a,b,a", "give distinct, non-empty names"),
        ("--train_file t.tsv --column_names a,,b", "give distinct, non-empty names"),
        ("--train_file t.tsv --column_names a,b --text_column c", "c is not among"),
        ("--train_file t.tsv --text_pair_column b", "--text_pair_column needs --text_column"),
        ("--train_file t.tsv --text_column b --label_column b", "name the same column"),
        ("--train_file t.tsv --labels a", "give two or more distinct names"),
        ("--train_file t.tsv --labels a,b,a", "give two or more distinct names"),
        ("--train_file t.tsv --labels a,b --regression", "contradict each other"),
        (
            "--train_file t.tsv --regression --metric accuracy",
            "--metric accuracy is a classification metric",
        ),
        ("--train_file t.tsv --labels a,b --metric mse", "--metric mse is a regression metric"),
        ("--train_file t.tsv --labels a,b,c --metric f1", "give f1_macro"),
        ("--train_file t.tsv --validation_share 1", "must be at most 0.9"),
        ("--train_file t.tsv --validation_file dev.csv --validation_share .1", "are both set"),
        ("--do_train --test_file test.csv", "--do_train needs --train_file"),
        ("--do_eval --test_file test.csv", "--do_eval needs --validation_file, or"),
        ("--do_eval --train_file t.tsv --validation_share 0", "--do_eval needs --validation_file"),
        ("--do_predict --train_file t.tsv", "--do_predict needs --test_file"),
        ("--test_file test.csv --overwrite_output_dir", "needs training"),
    ],
)
def test_mistakes_have_one_message(flags, given, message):
    with pytest.raises(FlagError) as caught:
        flags(given)
    assert len(caught.value.problems) == 1 and message in caught.value.problems[0]


@pytest.mark.parametrize(
    "given",
    ["--train_file train.csv --validation_file dev.csv", "--task_name sst2", "--test_file x.jsonl"],
)
def test_saved_settings_are_read_back(flags, tmp_path, given):
    """The file has every flag, also those at their defaults."""
    args = flags(given)
    save_settings(args, tmp_path)
    again = flags("--config settings.yaml")
    assert again.as_dict() == args.as_dict()


def test_lists_in_a_settings_file(flags, tmp_path):
    (tmp_path / "c.yaml").write_text("train_file: t.tsv\ncolumn_names: [text, label]\n")
    assert custom_args.split_names(flags("--config c.yaml").column_names) == ("text", "label")


def test_formats_by_extension():
    for file_format in custom_tables.FORMATS:
        assert custom_args.detect_format("x.bin", file_format) == file_format
    assert custom_args.detect_format("A.CSV", None) == "csv"
    assert custom_args.detect_format("a.ndjson", None) == "jsonl"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("in_domain_train.tsv", "in_domain"),
        ("reviews/train.csv", "reviews"),
        ("x/my-reviews.train.csv", "my-reviews"),
        ("mine/training_data.jsonl", "mine"),
        ("SST-2/train.tsv", "own"),
        ("data/MNLI.tsv", "own"),
        ("x/strained.csv", "strained"),
    ],
)
def test_task_names(path, name):
    assert task.task_name(f"/data/{path}") == name
