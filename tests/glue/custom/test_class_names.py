"""--label_names: names of the classes beside their spelling in the files."""

import json

import pytest
import tiny

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args


def run(tmp_path, model, *flags: str, out: str = "out"):
    rows = [f"{i % 2}\tthe {tiny.WORDS[i % 20]} sat on {i}\n" for i in range(24)]
    path = tmp_path / "rows.tsv"
    path.write_text("label\tsentence\n" + "".join(rows))
    argv = ["--model_name_or_path", str(model), "--output_dir", str(tmp_path / out)]
    argv += ["--test_file", str(path), "--report", "0", "--max_seq_length", "16", *flags]
    return finetune.run(parse_args([str(part) for part in argv]))


def test_names_are_in_predictions_run_json_and_the_model(tiny_dir, tmp_path, capsys):
    train = ["--train_file", tmp_path / "rows.tsv", "--max_steps", "2"]
    (tmp_path / "rows.tsv").write_text("")
    named = run(tmp_path, tiny_dir, *train, "--label_names", "wrong,right")
    plain = run(tmp_path, tiny_dir, *train, out="plain")
    assert named["eval_loss"] == plain["eval_loss"]
    assert named["test_accuracy"] == plain["test_accuracy"]
    out = tmp_path / "out"
    info = json.loads((out / "run.json").read_text())
    assert info["labels"] == ["wrong", "right"]
    assert sum(info["class_counts"]["train"]) == info["rows"]["train"]
    rows = [json.loads(line) for line in (out / "test_predictions_rows.jsonl").open()]
    assert [row["label"] for row in rows[:2]] == ["wrong", "right"]
    assert "2 classes: wrong, right; f1 is computed for right" in capsys.readouterr().err
    config = json.loads((out / "model_2/config.json").read_text())
    assert config["id2label"] == {"0": "wrong", "1": "right"}

    # The saved model reads files with the spelling that it was trained on.
    again = run(tmp_path, out / "model_2", "--do_predict", out="again")
    assert again["test_accuracy"] == named["test_accuracy"]


def test_the_example_of_run_json_is_padded_as_in_a_batch(tiny_dir, tmp_path):
    (tmp_path / "rows.tsv").write_text("")
    run(tmp_path, tiny_dir, "--train_file", tmp_path / "rows.tsv", "--max_steps", "1")
    example = json.loads((tmp_path / "out/run.json").read_text())["example"]
    lengths = {len(example[key]) for key in ("pieces", "input_ids", "input_mask", "segment_ids")}
    assert len(lengths) == 1 and example["label"] in ("0", "1")
    real = sum(example["input_mask"])
    assert example["pieces"][0] == "[CLS]" and example["pieces"][real - 1] == "[SEP]"
    assert set(example["pieces"][real:]) <= {"[PAD]"}


def test_another_number_of_names_than_classes(tiny_dir, tmp_path):
    (tmp_path / "rows.tsv").write_text("")
    with pytest.raises(DataError, match=r"3 names for 2 classes \(0, 1\)"):
        run(tmp_path, tiny_dir, "--train_file", tmp_path / "rows.tsv", "--label_names", "a,b,c")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--label_names a,a", "give two or more distinct names"),
        ("--label_names a,b --regression", "contradict each other"),
        ("--label_names a,b --labels 0,1,2", "2 names for the 3 classes of --labels"),
        ("--label_names a,b --task_name cola", "--label_names and --task_name are mutually"),
    ],
)
def test_mistakes_in_the_flag(tmp_path, flags, message):
    (tmp_path / "rows.tsv").write_text("label\tsentence\n0\ta\n1\tb\n")
    argv = ["--model_name_or_path", "m", "--output_dir", "o", *flags.split()]
    if "task_name" not in flags:
        argv += ["--train_file", str(tmp_path / "rows.tsv")]
    with pytest.raises(FlagError, match=message):
        parse_args(argv)
