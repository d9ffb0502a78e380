"""Where configuration and vocabulary of a pre-training come from."""

import json

import pytest
import tiny

from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.models import hub
from bert_paddle.models.tokenizer import SPECIAL, Tokenizer
from bert_paddle.pretrain import model_source
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema


def args(tmp_path, *flags, name="bert-base-uncased"):
    shards = tmp_path / "shards"
    shards.mkdir(exist_ok=True)
    needed = ["--model_name_or_path", str(name), "--input_dir", str(shards), "--output_dir", "o"]
    return parse_args([*needed, *flags])


def test_a_published_name_needs_no_network(tmp_path):
    found = model_source.read(args(tmp_path), tmp_path / "home")
    assert found.config == hub.built_in_config("bert-base-uncased")
    assert found.tokens is None and "bert-base-uncased" in found.silence


def test_sizes_by_flags_bring_what_follows_from_them(tmp_path):
    found = model_source.read(
        args(tmp_path, "--num_hidden_layers", "4", "--hidden_size", "256"), tmp_path / "home"
    )
    sizes = {name: found.config[name] for name in model_source.SIZES}
    assert sizes == {
        "vocab_size": 30522,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "max_position_embeddings": 512,
    }
    wide = args(tmp_path, "--hidden_size", "250", "--num_attention_heads", "3")
    with pytest.raises(WeightsError, match="--hidden_size, --num_attention_heads.*not divisible"):
        model_source.read(wide, tmp_path / "home")


def test_a_configuration_file_alone(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(tiny.CONFIG | {"model_type": "bert"}))
    found = model_source.read(args(tmp_path, name=path), tmp_path / "home")
    assert found.config["hidden_size"] == 16 and "labels" not in found.config
    path.write_text("[1]")
    with pytest.raises(WeightsError, match="small.json"):
        model_source.read(args(tmp_path, name=path), tmp_path / "home")


def test_vocabulary_of_the_flag_then_the_folder_then_the_shards(tmp_path):
    home = tmp_path / "home"
    folder = tiny.write_encoder(home / "models" / "bert-base-uncased")
    found = model_source.read(args(tmp_path), home)
    assert found.config["hidden_size"] == 16 and len(found.tokens) == len(tiny.VOCAB)

    (folder / "vocab.txt").unlink()
    found = model_source.read(args(tmp_path), home)
    assert found.tokens is None
    Tokenizer([*SPECIAL, "beside"]).save(tmp_path / "shards")
    assert model_source.read(args(tmp_path), home).tokens.vocab[-1] == "beside"

    mine = tmp_path / "mine.txt"
    mine.write_text("\n".join([*SPECIAL, "Mine"]))
    found = model_source.read(args(tmp_path, "--vocab_file", str(mine)), home)
    assert found.tokens.vocab[-1] == "Mine"


def test_a_vocabulary_larger_than_the_embeddings_is_refused(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("\n".join([*SPECIAL, *map(str, range(100))]))
    small = args(tmp_path, "--vocab_size", "50", "--vocab_file", str(mine))
    with pytest.raises(WeightsError, match="105 pieces.*embeds 50"):
        model_source.read(small, tmp_path / "home")


def test_an_unknown_name_and_missing_shards_are_told(tmp_path):
    with pytest.raises(WeightsError, match="no-such-bert"):
        model_source.read(args(tmp_path, name="no-such-bert"), tmp_path / "home")
    argv = "--model_name_or_path m --output_dir o --input_dir nowhere --load_best_model_at_end "
    with pytest.raises(FlagError) as told:
        parse_args([*argv.split(), "--do_eval", "0"])
    assert len(told.value.problems) == 2 and "nowhere: no such folder" in str(told.value)


def test_a_vocabulary_that_the_shards_were_not_made_with_is_refused(tmp_path):
    mine, pieces = tmp_path / "mine.txt", [*SPECIAL, "the", "a"]
    mine.write_text("\n".join(pieces))
    flags = args(tmp_path, "--vocab_file", str(mine))
    record = tmp_path / "shards" / "x_metadata.json"
    made = {"vocabulary": {"sha256": schema.vocabulary_sha256(pieces)}}
    record.write_text(json.dumps({"made_from": made}))
    assert model_source.read(flags, tmp_path / "home").tokens.vocab == pieces
    mine.write_text("\n".join(reversed(pieces)))
    with pytest.raises(WeightsError, match="x_metadata.json.*another vocabulary"):
        model_source.read(flags, tmp_path / "home")
