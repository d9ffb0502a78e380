"""The sources of a pre-training run's configuration and vocabulary."""

import json

import pytest
import tiny

from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.models import hub
from bert_paddle.models.tokenizer import SPECIAL_TOKENS, Tokenizer
from bert_paddle.pretrain import model_source
from bert_paddle.pretrain.args import SIZES, parse_args
from bert_paddle.pretrain.data import schema


def make_args(tmp_path, *flags, name="bert-base-uncased"):
    shards = tmp_path / "shards"
    shards.mkdir(exist_ok=True)
    required = ["--model_name_or_path", str(name), "--input_dir", str(shards), "--output_dir", "o"]
    return parse_args([*required, *flags])


def test_a_published_name_needs_no_network(tmp_path):
    source = model_source.read_model_source(make_args(tmp_path), tmp_path / "home")
    assert source.config == hub.built_in_config("bert-base-uncased")
    assert source.tokenizer is None and "bert-base-uncased" in source.no_vocabulary_reason


def test_sizes_by_flags_set_the_dependent_sizes(tmp_path):
    source = model_source.read_model_source(
        make_args(tmp_path, "--num_hidden_layers", "4", "--hidden_size", "256"), tmp_path / "home"
    )
    sizes = {name: source.config[name] for name in SIZES}
    assert sizes == {
        "vocab_size": 30522,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "max_position_embeddings": 512,
    }
    wide = make_args(tmp_path, "--hidden_size", "250", "--num_attention_heads", "3")
    with pytest.raises(WeightsError, match="--hidden_size, --num_attention_heads.*not divisible"):
        model_source.read_model_source(wide, tmp_path / "home")


def test_a_single_configuration_file(tmp_path):
    path = tmp_path / "small.json"
    path.write_text(json.dumps(tiny.CONFIG | {"model_type": "bert"}))
    source = model_source.read_model_source(make_args(tmp_path, name=path), tmp_path / "home")
    assert source.config["hidden_size"] == 16 and "labels" not in source.config
    path.write_text("[1]")
    with pytest.raises(WeightsError, match="small.json"):
        model_source.read_model_source(make_args(tmp_path, name=path), tmp_path / "home")


def test_vocabulary_of_the_flag_then_the_folder_then_the_shards(tmp_path):
    home = tmp_path / "home"
    folder = tiny.write_encoder(home / "models" / "bert-base-uncased")
    source = model_source.read_model_source(make_args(tmp_path), home)
    assert source.config["hidden_size"] == 16 and len(source.tokenizer) == len(tiny.VOCAB)

    (folder / "vocab.txt").unlink()
    source = model_source.read_model_source(make_args(tmp_path), home)
    assert source.tokenizer is None
    Tokenizer([*SPECIAL_TOKENS, "shards"]).save(tmp_path / "shards")
    assert model_source.read_model_source(make_args(tmp_path), home).tokenizer.vocab[-1] == "shards"

    own = tmp_path / "own.txt"
    own.write_text("\n".join([*SPECIAL_TOKENS, "Mine"]))
    source = model_source.read_model_source(make_args(tmp_path, "--vocab_file", str(own)), home)
    assert source.tokenizer.vocab[-1] == "Mine"


def test_a_vocabulary_larger_than_the_embeddings_is_rejected(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("\n".join([*SPECIAL_TOKENS, *map(str, range(100))]))
    small = make_args(tmp_path, "--vocab_size", "50", "--vocab_file", str(own))
    with pytest.raises(WeightsError, match="105 word pieces.*vocab_size is 50"):
        model_source.read_model_source(small, tmp_path / "home")


def test_an_unknown_name_and_missing_shards_are_errors(tmp_path):
    with pytest.raises(WeightsError, match="no-such-bert"):
        model_source.read_model_source(make_args(tmp_path, name="no-such-bert"), tmp_path / "home")
    argv = "--model_name_or_path m --output_dir o --input_dir nowhere --load_best_model_at_end "
    with pytest.raises(FlagError) as raised:
        parse_args([*argv.split(), "--do_eval", "0"])
    assert len(raised.value.problems) == 2 and "nowhere: no such folder" in str(raised.value)


def test_a_vocabulary_other_than_that_of_the_shards_is_rejected(tmp_path):
    own, pieces = tmp_path / "own.txt", [*SPECIAL_TOKENS, "the", "a"]
    own.write_text("\n".join(pieces))
    flags = make_args(tmp_path, "--vocab_file", str(own))
    metadata = tmp_path / "shards" / "x_metadata.json"
    made_from = {"vocabulary": {"sha256": schema.vocabulary_sha256(pieces)}}
    metadata.write_text(json.dumps({"made_from": made_from}))
    assert model_source.read_model_source(flags, tmp_path / "home").tokenizer.vocab == pieces
    own.write_text("\n".join(reversed(pieces)))
    with pytest.raises(WeightsError, match="x_metadata.json.*different vocabulary"):
        model_source.read_model_source(flags, tmp_path / "home")


@pytest.mark.parametrize("with_weights", [True, False])
def test_weights_that_are_not_used_are_told(tmp_path, capsys, with_weights):
    from bert_paddle.common.run_log import RunLog
    from bert_paddle.pretrain import pretrain

    folder = tiny.write_model(tmp_path / "model")
    if not with_weights:
        (folder / "model.safetensors").unlink()
    assert pretrain._load_init_weights(make_args(tmp_path, name=folder), RunLog()) is None
    warned = f"to begin with them, add --init_from {folder}" in capsys.readouterr().err
    assert warned == with_weights
