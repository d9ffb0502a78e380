"""Words appended to vocab.txt for further pre-training get embeddings of their own."""

import numpy as np
import pytest
import shard_files
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema

EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def test_embeddings_grow(tiny_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    size = tiny.CONFIG["vocab_size"]
    path = tmp_path / "shards" / schema.shard_name("t", schema.TRAINING, 0)
    shard_files.write_shard(path, shard_files.make_rows(16, vocab_size=size + 3))
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join([*tiny.VOCAB, "covid", "##vax", "mrna"]) + "\n")
    argv = f"--model_name_or_path {tiny_dir} --init_from {tiny_dir} --input_dir shards --report 0 "
    argv += f"--vocab_file {vocab} --max_steps 1 --learning_rate 1e-9 --do_lower_case 1 "
    pretrain.run(parse_args(f"{argv} --output_dir out".split()))
    assert f"3 new word embeddings behind the {size} of the weights" in capsys.readouterr().err
    grown = load_file("out/model_1/model.safetensors")[EMBEDDINGS]
    assert grown.shape[0] == size + 3 and 0.005 < grown[size:].std() < 0.04
    before = load_file(tiny_dir / "model.safetensors")[EMBEDDINGS]
    np.testing.assert_allclose(grown[:size], before, atol=1e-6)
    # A run that continues from the grown model does not grow again, a resume neither.
    pretrain.run(parse_args(f"{argv} --output_dir out --resume_from_checkpoint auto".split()))
    vocab.write_text("\n".join(["covid", "##vax", "mrna", *tiny.VOCAB]) + "\n")
    with pytest.raises(WeightsError, match="does not begin with .* append new ones"):
        pretrain.run(parse_args(f"{argv} --output_dir out2".split()))


def test_a_new_head_keeps_the_loaded_embeddings(tiny_dir):
    """The decoder of the masked-LM head is the same parameter as the word embeddings."""
    loaded = load_weights.load_weights(tiny_dir)
    config = {name: value for name, value in loaded.config.items() if name != "labels"}
    model, notes = pretrain_model.build_model(config, 1, loaded)
    assert any("no cls.predictions" in note for note in notes)
    embeddings = model.bert.embeddings.word_embeddings.weight.numpy()
    assert np.array_equal(embeddings, loaded.tensors[EMBEDDINGS])
