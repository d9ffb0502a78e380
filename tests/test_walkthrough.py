"""What the CoLA walk-through shows: the data, the model, its files, the test set by batch."""

import json
import os
from pathlib import Path

import pytest
import tiny

from bert_paddle import api, walkthrough
from bert_paddle.common.errors import DataError, FlagError, OutputError
from bert_paddle.glue.data import cola_release
from bert_paddle.models import tokenizer

RELEASE = os.environ.get("COLA_PUBLIC_DIR", "")


def shown(action, *args) -> str:
    lines: list[str] = []
    action(*args, lines.append)
    return "\n".join(lines)


def test_the_data_with_its_longest_sentence_and_one_in_pieces(tiny_dir, tmp_path):
    rows = ["1\t\tthe cat sat", "0\t*\tcat the on mat the on", "1\t\tit ran", "1\t\tthe dog"]
    for name in (cola_release.TRAIN_FILE, cola_release.TEST_FILE):
        (tmp_path / name).write_text("".join(f"gj04\t{row}\n" for row in rows))
    tokens = tokenizer.load(tiny_dir)
    said = shown(walkthrough.show_data, tmp_path, tokens, 7)
    assert "in_domain_train.tsv: 4 sentences, 3 of them acceptable (label 1): 75.0%" in said
    assert "the longest, in line 2: 8 word pieces with [CLS] and [SEP]; 1 longer than 7" in said
    assert "  text    the cat sat\n  pieces  [CLS] the cat sat [SEP]\n" in said
    ids = [tokens.vocab.index(piece) for piece in "[CLS] the cat sat [SEP]".split()]
    assert said.endswith(f"  ids     {' '.join(map(str, ids))}")


def test_a_model_of_twelve_layers_has_201_tensors(tmp_path):
    """As bert-base has: 5 of the embeddings, 16 of each layer, 4 of the output."""
    folder = tiny.write_model(tmp_path / "model", num_hidden_layers=12)
    said = shown(walkthrough.show_model, api.load(folder))
    assert said.startswith(f"The model, loaded from {folder}: 201 tensors, ")
    titles = [line for line in said.splitlines() if line.startswith("  ") and line[2] != " "]
    assert titles == ["  embeddings", "  first layer", "  output"]
    named = [line.split()[0] for line in said.splitlines() if line.startswith("    ")]
    assert len(named) == 5 + 16 + 4 and named[0] == "bert.embeddings.word_embeddings.weight"
    assert named[-1] == "classifier.bias" and not any(".layers.1" in name for name in named)
    words = tiny.CONFIG["vocab_size"], tiny.CONFIG["hidden_size"]
    assert f"bert.embeddings.word_embeddings.weight                      {words}" in said


def test_the_files_with_their_sizes(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "state" / "tensors").write_bytes(bytes(1234567))
    lines = shown(walkthrough.show_files, tmp_path).splitlines()[1:]
    assert [line.split() for line in lines] == [
        ["config.json", "2", "bytes"],
        ["state/tensors", "1,234,567", "bytes"],
    ]


def test_mcc_by_batch_of_32_the_last_smaller_and_0_where_one_side_is_constant(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "eval", "step": 1, "loss": 0.5}\n')
    right = [("1", "1"), ("0", "0")] * 16  # 1.0
    wrong = [("1", "0"), ("0", "1")] * 16  # -1.0
    alone = [("1", "1")] * 3  # a batch of three rows with one label
    rows = [
        {"text_a": "a", "label": label, "prediction": answer}
        for label, answer in (*right, *wrong, *alone)
    ]
    path = tmp_path / "test_predictions_set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = shown(walkthrough.show_test, tmp_path).splitlines()
    assert lines[1].split() == "batches 1 to 3 1.000 -1.000 0.000".split()
    assert lines[-1].startswith("  all 67 rows together: 0.0")


def test_a_sentence_gets_the_model_s_probabilities(tiny_dir):
    model = api.load(tiny_dir)
    said = shown(walkthrough.show_sentence, model, "the cat sat")
    (wanted,) = model.predict(["the cat sat"])
    for name, share in wanted.probabilities.items():
        assert f"  label {name}: {share:.4f}" in said
    assert [line for line in said.splitlines() if "<-" in line][0].startswith(
        f"  label {wanted.label}"
    )


def test_a_run_without_checkpoint_or_test_set_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "eval", "step": 1, "loss": 0.5}\n')
    with pytest.raises(OutputError, match="no model_<step>"):
        walkthrough.last_model(tmp_path)
    with pytest.raises(OutputError, match="no predictions of a labelled test set"):
        walkthrough.show_test(tmp_path, print)


@pytest.mark.real_data
@pytest.mark.real_weights
@pytest.mark.skipif(not RELEASE, reason="COLA_PUBLIC_DIR is not set to the original release")
def test_the_real_release(minilm_dir):
    warned: list[str] = []
    folder = cola_release.locate(RELEASE, {}, Path("nowhere"), warned.append)
    assert warned == []
    said = shown(walkthrough.show_data, folder, tokenizer.load(minilm_dir), 64)
    assert "in_domain_train.tsv: 8551 sentences, 6023 of them acceptable (label 1): 70.4%" in said
    assert "47 word pieces with [CLS] and [SEP]; none longer than 64" in said
    # As anybody's bert-base-uncased vocabulary gives it.
    assert "101 2256 2814 2180 1005 1056 4965 2023 4106 1010 2292 2894 1996 2279 2028" in said


def test_a_finished_run_of_other_settings_is_not_shown_for_what_is_asked(tmp_path):
    flags = ["--model_name_or_path=m", "--label_column=label", "--num_train_epochs=4"]
    assert walkthrough.check(tmp_path, [*flags, "--seed=42"]) == "begin"
    with pytest.raises(FlagError, match="--sed is not a flag"):
        walkthrough.check(tmp_path, [*flags, "--sed=42"])
    settings = {"seed": 42, "num_train_epochs": 4.0, "model_name_or_path": "m", "n_gpu": 1}
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    (tmp_path / "all_results.json").write_text("{}")
    assert walkthrough.check(tmp_path, [*flags, "--seed=42"]) == "finished"
    with pytest.raises(OutputError, match="--seed was 42 and is 7; give another OUTPUT_DIR"):
        walkthrough.check(tmp_path, [*flags, "--seed=7"])
    assert walkthrough.check(tmp_path, [*flags, "--seed=7", "--overwrite_output_dir"]) == "anew"


def test_the_epochs_of_a_finished_run_are_shown(tmp_path):
    told: list[str] = []
    walkthrough.show_epochs(tmp_path, told.append)
    assert told == []
    entry = {"kind": "epoch", "step": 5, "epoch": 1, "train_loss": 0.5, "eval_loss": 0.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(entry) + "\n")
    walkthrough.show_epochs(tmp_path, told.append)
    assert "train loss" in told[0] and "0.2500" in told[0]


def test_an_empty_data_dir_is_refused(tmp_path):
    with pytest.raises(DataError, match="--data_dir is empty"):
        cola_release.locate("", {}, tmp_path, print)
