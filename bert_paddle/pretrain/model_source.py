"""The model configuration and vocabulary of a pre-training run. No paddle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import hub, model_config, tokenizer
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.args import SIZES, PretrainArgs
from bert_paddle.pretrain.data import schema

_HEAD_SIZE = 64  # of all published BERT models


@dataclass(frozen=True)
class ModelSource:
    """config: BertConfig's names and values. tokenizer: None without a vocabulary, for the reason
    `no_vocabulary_reason`. name: where the configuration is from, for messages."""

    config: dict[str, Any]
    tokenizer: Tokenizer | None
    no_vocabulary_reason: str
    name: str


def read_model_source(args: PretrainArgs, home: Path) -> ModelSource:
    """Read the configuration, with the sizes of the flags, and the vocabulary if one is found.

    --model_name_or_path is a folder, a configuration file, a name under home/models, or a
    published name, whose configuration is built in. The vocabulary is that of --vocab_file, else
    the model folder's, else the one next to the shards, else the published name's from the hub.

    Raises WeightsError for a configuration that is missing or not a BERT's, a malformed
    vocabulary, or one with more word pieces than the model embeds.
    """
    name = args.model_name_or_path
    folder, config = _read_config(name, home)
    config = _override_sizes(config, args)
    vocabulary, no_vocabulary_reason = _find_vocabulary(args, folder, home)
    if vocabulary is not None and len(vocabulary) > config["vocab_size"]:
        raise WeightsError(
            f"the vocabulary has {len(vocabulary)} word pieces, but the model embeds "
            f"{config['vocab_size']}: give the vocabulary that the shards were made with "
            "(--vocab_file), or --vocab_size"
        )
    if vocabulary is not None:
        _check_same_vocabulary(vocabulary, Path(args.input_dir))
    return ModelSource(config, vocabulary, no_vocabulary_reason, name)


def _check_same_vocabulary(vocabulary: Tokenizer, input_dir: Path) -> None:
    """Raise WeightsError when the shards' metadata has another vocabulary. Shards of other tools
    have no metadata."""
    digest = schema.vocabulary_sha256(vocabulary.vocab)
    for path in sorted(input_dir.glob(f"*{schema.METADATA_SUFFIX}")):
        made_from = model_config.read_json_object(path).get("made_from")
        recorded = made_from.get("vocabulary") if isinstance(made_from, dict) else None
        if not isinstance(recorded, dict):
            continue
        if recorded.get("sha256") not in (None, digest):
            raise WeightsError(
                f"{path}: the shards were made with another vocabulary than this one of "
                f"{len(vocabulary)} word pieces: give theirs with --vocab_file"
            )
        if recorded.get("do_lower_case") not in (None, vocabulary.do_lower_case):
            raise WeightsError(
                f"{path}: the shards were made with do_lower_case {recorded['do_lower_case']}, "
                "unlike the vocabulary's settings: give the folder's own vocab.txt with "
                "--vocab_file, next to its tokenizer_config.json"
            )


def _read_config(name: str, home: Path) -> tuple[Path | None, dict[str, Any]]:
    """The model folder, if there is one, and its configuration."""
    path = Path(name).expanduser()
    if path.is_file():
        return None, _bert_config(model_config.read_config_file(path))
    built_in = hub.built_in_config(name)
    if built_in and not path.is_dir() and not (home / "models" / name).is_dir():
        return None, built_in
    folder = hub.find_model_dir(name, home)
    return folder, _bert_config(model_config.read_config(folder))


def _bert_config(config: model_config.ModelConfig) -> dict[str, Any]:
    return {key: value for key, value in config.values.items() if key != "labels"}


def _override_sizes(config: dict[str, Any], args: PretrainArgs) -> dict[str, Any]:
    sizes = {name: getattr(args, name) for name in SIZES if getattr(args, name) > 0}
    if "hidden_size" in sizes:
        sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
        sizes.setdefault("num_attention_heads", max(1, sizes["hidden_size"] // _HEAD_SIZE))
    if sizes:
        flags = ", ".join(f"--{name}" for name in sizes)
        model_config.check_config_values(config | sizes, {}, f"the model's sizes ({flags})")
    return config | sizes


def _find_vocabulary(
    args: PretrainArgs, folder: Path | None, home: Path
) -> tuple[Tokenizer | None, str]:
    """The vocabulary, or None and the reason."""
    input_dir = Path(args.input_dir)
    if args.vocab_file:
        return tokenizer.load_tokenizer(folder or Path(args.vocab_file).parent, args.vocab_file), ""
    for candidate in (folder, input_dir):
        if candidate is not None and tokenizer.has_vocabulary(candidate):
            return tokenizer.load_tokenizer(candidate), ""
    if args.model_name_or_path not in hub.HUB_MODELS:
        return None, f"none in {folder or args.model_name_or_path}, none in {input_dir}"
    try:
        return tokenizer.load_tokenizer(hub.download_vocabulary(args.model_name_or_path, home)), ""
    except WeightsError as error:
        return None, str(error)
