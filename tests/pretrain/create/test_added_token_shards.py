"""Shards and pre-training models of a tokenizer with added tokens, and --do_lower_case."""

import json
from pathlib import Path

import h5py
import pytest
import tiny

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.tokenizer import load_tokenizer
from bert_paddle.pretrain import model_source
from bert_paddle.pretrain.args import parse_args as parse_pretrain_args
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import parse_args

NEW = len(tiny.VOCAB)


@pytest.fixture
def shards(tmp_path, capsys) -> Path:
    """Shards of 20 documents, made with the added token <url>."""
    vocabulary, text = tmp_path / "vocabulary", tmp_path / "text.txt"
    vocabulary.mkdir()
    (vocabulary / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    (vocabulary / "added_tokens.json").write_text(json.dumps({"<url>": NEW}))
    text.write_text("\n\n".join(["The cat<url>sat\nthe dog ran\na man sees <URL>"] * 20))
    argv = f"--input_files {text} --vocab_file {vocabulary} --output_dir {tmp_path / 'shards'} "
    create_data.run(parse_args(f"{argv} --max_seq_length 32 --test_share 0".split()))
    assert "text is lower-cased (0 of " in capsys.readouterr().err
    return tmp_path / "shards"


def test_added_tokens_are_whole_in_shards_and_beside_them(shards):
    with h5py.File(shards / "shards_training_0.hdf5") as file:
        assert NEW in file["input_ids"][:]
    made_from = json.loads((shards / "shards_metadata.json").read_text())["made_from"]
    assert made_from["vocabulary"]["added_tokens"][0]["content"] == "<url>"
    assert load_tokenizer(shards).vocab[NEW] == "<url>"


def read_source(shards: Path, *flags: str) -> model_source.ModelSource:
    argv = f"--model_name_or_path bert-base-uncased --input_dir {shards} --output_dir out".split()
    return model_source.read_model_source(parse_pretrain_args([*argv, *flags]), shards / "home")


def test_pretraining_takes_the_shards_tokenizer_and_the_flag(shards):
    source = read_source(shards)
    assert source.tokenizer is not None and source.tokenizer.vocab[NEW] == "<url>"
    with pytest.raises(WeightsError, match=rf"'<url>' has the id {NEW}, but the model has {NEW}"):
        read_source(shards, "--vocab_size", str(NEW))
    with pytest.raises(WeightsError, match="or --do_lower_case 1"):
        read_source(shards, "--do_lower_case", "0")
