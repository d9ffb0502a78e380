"""The CoLA walk-through's output: data, model, files, Matthews correlation of the test set."""

import json
import os
from pathlib import Path

import pytest
import tiny

from bert_paddle import api, walkthrough
from bert_paddle.common.errors import DataError, FlagError, OutputError
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import cola_release
from bert_paddle.models import tokenizer

RELEASE = os.environ.get("COLA_PUBLIC_DIR", "")


def output_of(show, *args) -> str:
    lines: list[str] = []
    show(*args, lines.append)
    return "\n".join(lines)


def test_show_data_with_the_longest_sentence_and_an_encoded_one(tiny_dir, tmp_path):
    rows = ["1\t\tthe cat sat", "0\t*\tcat the on mat the on", "1\t\tit ran", "1\t\tthe dog"]
    for name in (cola_release.TRAIN_FILE, cola_release.TEST_FILE):
        (tmp_path / name).write_text("".join(f"gj04\t{row}\n" for row in rows))
    tokens = tokenizer.load_tokenizer(tiny_dir)
    output = output_of(walkthrough.show_data, tmp_path, tokens, 7)
    assert "in_domain_train.tsv: 4 sentences, 3 of them acceptable (label 1): 75.0%" in output
    assert "the longest, in line 2: 8 word pieces with [CLS] and [SEP]; 1 longer than 7" in output
    assert "4 sentences, drawn at random\n  line    1  acceptable    the cat sat\n" in output
    assert "1 unacceptable sentences\n  line    2  unacceptable  cat the on mat the on\n" in output
    padded = "[CLS] the cat sat [SEP] [PAD] [PAD] [PAD]"
    assert f"  text    the cat sat\n  pieces  {padded}\n" in output
    ids = [tokens.vocab.index(piece) for piece in padded.split()]
    assert f"  ids     {' '.join(map(str, ids))}\n  mask    1 1 1 1 1 0 0 0\n" in output
    assert output.endswith("  mask    1 1 1 1 1 1 1 1")


def test_a_model_of_twelve_layers_has_201_tensors(tmp_path):
    """As in bert-base: 5 of the embeddings, 16 per layer, 4 of the output."""
    folder = tiny.write_model(tmp_path / "model", num_hidden_layers=12)
    output = output_of(walkthrough.show_model, api.load(folder))
    assert output.startswith(f"The model, loaded from {folder}: 201 tensors, ")
    titles = [line for line in output.splitlines() if line.startswith("  ") and line[2] != " "]
    assert titles == ["  embeddings", "  first layer", "  output"]
    names = [line.split()[0] for line in output.splitlines() if line.startswith("    ")]
    assert len(names) == 5 + 16 + 4 and names[0] == "bert.embeddings.word_embeddings.weight"
    assert names[-1] == "classifier.bias" and not any(".layers.1" in name for name in names)
    shape = tiny.CONFIG["vocab_size"], tiny.CONFIG["hidden_size"]
    assert f"bert.embeddings.word_embeddings.weight                      {shape}" in output


def test_show_files_with_their_sizes(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "state" / "tensors").write_bytes(bytes(1234567))
    lines = output_of(walkthrough.show_files, tmp_path).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["config.json", "2", "bytes"],
        ["state/tensors", "1,234,567", "bytes"],
    ]


def test_mcc_per_batch_of_32_is_0_where_one_side_is_constant(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "eval", "step": 1, "loss": 0.5}\n')
    right = [("1", "1"), ("0", "0")] * 16  # 1.0
    wrong = [("1", "0"), ("0", "1")] * 16  # -1.0
    constant = [("1", "1")] * 3  # a last batch of three rows with one label
    rows = [
        {"text_a": "a", "label": label, "prediction": prediction}
        for label, prediction in (*right, *wrong, *constant)
    ]
    path = tmp_path / "test_predictions_set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = output_of(walkthrough.show_test, tmp_path).splitlines()
    assert lines[1].split() == "batches 1 to 3 1.000 -1.000 0.000".split()
    assert lines[-1].startswith("  all 67 rows together: 0.0")


def test_show_sentence_with_the_probabilities(tiny_dir):
    model = api.load(tiny_dir)
    output = output_of(walkthrough.show_sentence, model, "the cat sat")
    (prediction,) = model.predict(["the cat sat"])
    for name, probability in prediction.probabilities.items():
        assert f"  label {name}: {probability:.4f}" in output
    assert [line for line in output.splitlines() if "<-" in line][0].startswith(
        f"  label {prediction.label}"
    )


def test_a_run_without_checkpoint_or_test_set_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "eval", "step": 1, "loss": 0.5}\n')
    with pytest.raises(OutputError, match="no model_<step>"):
        walkthrough.last_checkpoint_dir(tmp_path)
    with pytest.raises(OutputError, match="no predictions for a labelled test set"):
        walkthrough.show_test(tmp_path, print)


@pytest.mark.real_data
@pytest.mark.real_weights
@pytest.mark.skipif(not RELEASE, reason="COLA_PUBLIC_DIR is not set to the original release")
def test_the_real_release(minilm_dir):
    warnings: list[str] = []
    folder = cola_release.find_release(RELEASE, {}, Path("nowhere"), warnings.append)
    assert warnings == []
    output = output_of(walkthrough.show_data, folder, tokenizer.load_tokenizer(minilm_dir), 64)
    assert "in_domain_train.tsv: 8551 sentences, 6023 of them acceptable (label 1): 70.4%" in output
    assert "47 word pieces with [CLS] and [SEP]; none longer than 64" in output
    # As encoded with the bert-base-uncased vocabulary.
    assert "101 2256 2814 2180 1005 1056 4965 2023 4106 1010 2292 2894 1996 2279 2028" in output


def test_run_state_and_a_finished_run_with_other_settings(tmp_path, monkeypatch):
    flags = ["--model_name_or_path=m", "--label_column=label", "--num_train_epochs=4"]
    assert walkthrough.run_state(tmp_path, [*flags, "--seed=42"]) == "start"
    with pytest.raises(FlagError, match="--sed is not a flag"):
        walkthrough.run_state(tmp_path, [*flags, "--sed=42"])
    files = ["--train_file=a.tsv", "--test_file=a.tsv", "--output_dir=o", "--n_gpu=1"]
    monkeypatch.chdir(tmp_path)
    Path("a.tsv").touch()
    settings = parse_args([*flags, *files]).as_dict()
    del settings["lr_scheduler_type"]  # a version without this flag did what its default does
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    (tmp_path / "all_results.json").write_text("{}")
    assert walkthrough.run_state(tmp_path, [*flags, "--seed=42"]) == "finished"
    with pytest.raises(OutputError, match="--seed was 42 and is 7; give another OUTPUT_DIR"):
        walkthrough.run_state(tmp_path, [*flags, "--seed=7"])
    overwrite = [*flags, "--seed=7", "--overwrite_output_dir"]
    assert walkthrough.run_state(tmp_path, overwrite) == "overwrite"


def test_run_state_of_several_seeds(tmp_path):
    """The folder of several seeds has their means, and no run.json."""
    (tmp_path / "all_results.json").write_text("{}")
    flags = ["--model_name_or_path=m", "--label_column=label", "--seeds=1,2"]
    assert walkthrough.run_state(tmp_path, flags) == "start"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"settings": 3}'])
def test_a_finished_run_with_a_damaged_run_json_is_refused(tmp_path, content):
    """Nothing tells whether it is the run that the flags ask for."""
    (tmp_path / "all_results.json").write_text("{}")
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    flags = ["--model_name_or_path=m", "--label_column=label"]
    with pytest.raises(OutputError, match="settings are unknown: its run.json is missing or dam"):
        walkthrough.run_state(tmp_path, flags)
    assert walkthrough.run_state(tmp_path, [*flags, "--overwrite_output_dir"]) == "overwrite"


def test_the_epochs_of_a_finished_run_are_shown(tmp_path):
    lines: list[str] = []
    walkthrough.show_epochs(tmp_path, lines.append)
    assert lines == []
    entry = {"kind": "epoch", "step": 5, "epoch": 1, "train_loss": 0.5, "eval_loss": 0.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(entry) + "\n")
    walkthrough.show_epochs(tmp_path, lines.append)
    assert "train loss" in lines[0] and "0.2500" in lines[1]


def test_an_empty_data_dir_is_refused(tmp_path):
    with pytest.raises(DataError, match="--data_dir is empty"):
        cola_release.find_release("", {}, tmp_path, print)
