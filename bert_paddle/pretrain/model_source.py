"""What a pre-training starts from: a configuration, a vocabulary, perhaps weights. No paddle."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import hub, model_config, tokenizer
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.args import SIZES, PretrainArgs
from bert_paddle.pretrain.data import schema

Say = Callable[[str], None]
_HEAD_SIZE = 64  # of all published BERTs


@dataclass(frozen=True)
class ModelSource:
    """config: BertConfig's names and values. tokens: the vocabulary, or None and `silence` says
    why. where: what the configuration came from, for messages."""

    config: dict[str, Any]
    tokens: Tokenizer | None
    silence: str
    where: str


def read(args: PretrainArgs, home: Path) -> ModelSource:
    """The configuration with the flags' sizes put in, and the vocabulary where one is found.

    --model_name_or_path is a folder, a configuration file, a name under home/models, or a
    published name, whose configuration is built in. The vocabulary is --vocab_file's, else the
    folder's, else that which lies beside the shards, else the published name's from the hub.

    Raises WeightsError for a configuration that is missing or makes no BERT, a malformed
    vocabulary, or one with more word pieces than the model embeds.
    """
    name = args.model_name_or_path
    folder, config = _configuration(name, home)
    config = _with_sizes(config, args)
    tokens, silence = _vocabulary(args, folder, home)
    if tokens is not None and len(tokens) > config["vocab_size"]:
        raise WeightsError(
            f"the vocabulary has {len(tokens)} pieces, but the model embeds {config['vocab_size']}:"
            " give the vocabulary that the shards were made with (--vocab_file), or --vocab_size"
        )
    if tokens is not None:
        _check_same_vocabulary(tokens, Path(args.input_dir))
    return ModelSource(config, tokens, silence, name)


def _check_same_vocabulary(tokens: Tokenizer, shards: Path) -> None:
    """Raise WeightsError when the shards' own record names another vocabulary. Shards of other
    tools have none."""
    digest = schema.vocabulary_sha256(tokens.vocab)
    for path in sorted(shards.glob(f"*{schema.METADATA_SUFFIX}")):
        made = model_config.read_object(path).get("made_from")
        rules = made.get("vocabulary") if isinstance(made, dict) else None
        if not isinstance(rules, dict):
            continue
        if rules.get("sha256") not in (None, digest):
            raise WeightsError(
                f"{path} says that the shards were made with another vocabulary than this one of "
                f"{len(tokens)} pieces: give theirs with --vocab_file"
            )
        if rules.get("do_lower_case") not in (None, tokens.do_lower_case):
            raise WeightsError(
                f"{path} says that the shards were made with do_lower_case "
                f"{rules['do_lower_case']}, and the vocabulary's settings say otherwise: give the "
                "folder's own vocab.txt with --vocab_file, beside its tokenizer_config.json"
            )


def _configuration(name: str, home: Path) -> tuple[Path | None, dict[str, Any]]:
    """The model's folder, where there is one, and its configuration."""
    given = Path(name).expanduser()
    if given.is_file():
        return None, _values(model_config.read_config_file(given))
    built_in = hub.built_in_config(name)
    if built_in and not given.is_dir() and not (home / "models" / name).is_dir():
        return None, built_in
    folder = hub.find_model_dir(name, home)
    return folder, _values(model_config.read_config(folder))


def _values(config: model_config.ModelConfig) -> dict[str, Any]:
    return {key: value for key, value in config.values.items() if key != "labels"}


def _with_sizes(config: dict[str, Any], args: PretrainArgs) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in SIZES if getattr(args, name) > 0}
    if "hidden_size" in given:
        given.setdefault("intermediate_size", 4 * given["hidden_size"])
        given.setdefault("num_attention_heads", max(1, given["hidden_size"] // _HEAD_SIZE))
    if given:
        flags = ", ".join(f"--{name}" for name in given)
        model_config.check_values(config | given, {}, f"the model's sizes ({flags})")
    return config | given


def _vocabulary(
    args: PretrainArgs, folder: Path | None, home: Path
) -> tuple[Tokenizer | None, str]:
    shards = Path(args.input_dir)
    if args.vocab_file:
        return tokenizer.load(folder or Path(args.vocab_file).parent, args.vocab_file), ""
    for place in (folder, shards):
        if place is not None and tokenizer.holds_vocabulary(place):
            return tokenizer.load(place), ""
    if args.model_name_or_path not in hub.PUBLISHED:
        return None, f"none in {folder or args.model_name_or_path}, none in {shards}"
    try:
        return tokenizer.load(hub.vocabulary(args.model_name_or_path, home)), ""
    except WeightsError as error:
        return None, str(error)
