"""The model configuration and vocabulary of a pre-training run. Does not import paddle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import hub, model_config
from bert_paddle.models.added_tokens import check_embeddings
from bert_paddle.models.tokenizer import Tokenizer, has_vocabulary, load_tokenizer
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data import schema


@dataclass(frozen=True)
class ModelSource:
    """What --model_name_or_path and --vocab_file refer to.

    config: keyword arguments of BertConfig. tokenizer: None if no vocabulary was found; then
    no_vocabulary_reason says why. name: --model_name_or_path, for messages.
    """

    config: dict[str, Any]
    tokenizer: Tokenizer | None
    no_vocabulary_reason: str
    name: str


def read_model_source(args: PretrainArgs, home: Path) -> ModelSource:
    """Read the configuration, overridden by the size flags, and the vocabulary if one is found.

    --model_name_or_path is a folder, a configuration file, a name under home/models, or a
    published name, whose configuration is built in. The vocabulary is the first that exists: that
    of --tokenizer_name_or_path or --vocab_file, of the model folder, of the folder of the shards,
    or of the published name on the hub.

    Raises WeightsError for a configuration that is missing or not that of a BERT, for a malformed
    vocabulary, and for one that is larger than the model's vocab_size or differs from the shards'.
    """
    name = args.model_name_or_path
    folder, config = _read_config(name, home)
    config = _override_sizes(config, args)
    tokenizer, no_vocabulary_reason = _find_vocabulary(args, folder, home)
    if tokenizer is not None and args.init_from and args.vocab_size < 0:
        _check_appended(tokenizer, Path(args.init_from).expanduser(), config["vocab_size"])
        config["vocab_size"] = max(config["vocab_size"], len(tokenizer))
    if tokenizer is not None:
        check_embeddings(tokenizer.added_tokens, config["vocab_size"], folder or Path(name))
    if tokenizer is not None and len(tokenizer) > config["vocab_size"]:
        raise WeightsError(
            f"the vocabulary has {len(tokenizer)} word pieces, but the model's vocab_size is "
            f"{config['vocab_size']}: give the vocabulary that the shards were created with "
            "(--vocab_file), or --vocab_size"
        )
    if tokenizer is not None:
        _check_same_vocabulary(tokenizer, Path(args.input_dir))
    return ModelSource(config, tokenizer, no_vocabulary_reason, name)


def _check_appended(tokenizer: Tokenizer, initial_model: Path, vocab_size: int) -> None:
    """Raise WeightsError for a vocabulary with more word pieces than the initial model has
    embeddings that does not begin with the model's own, if that is known."""
    if len(tokenizer) <= vocab_size or not has_vocabulary(initial_model):
        return
    own = load_tokenizer(initial_model, None, tokenizer.do_lower_case).vocab
    if tokenizer.vocab[: len(own)] != own[: len(tokenizer.vocab)]:
        raise WeightsError(
            f"the vocabulary has {len(tokenizer)} word pieces and does not begin with the "
            f"{len(own)} of {initial_model}: for further pre-training append new ones to the "
            "model's vocab.txt"
        )


def _check_same_vocabulary(tokenizer: Tokenizer, input_dir: Path) -> None:
    """Raise WeightsError when the shards' metadata records a different vocabulary. Shards written
    by other tools have no metadata and are not checked."""
    digest = schema.vocabulary_sha256(tokenizer.vocab)
    for path in sorted(input_dir.glob(f"*{schema.METADATA_SUFFIX}")):
        made_from = model_config.read_json_object(path).get("made_from")
        recorded = made_from.get("vocabulary") if isinstance(made_from, dict) else None
        if not isinstance(recorded, dict):
            continue
        if recorded.get("sha256") not in (None, digest):
            raise WeightsError(
                f"{path}: the shards were created with a different vocabulary, not this one of "
                f"{len(tokenizer)} word pieces: give theirs with --vocab_file"
            )
        if recorded.get("do_lower_case") not in (None, tokenizer.do_lower_case):
            raise WeightsError(
                f"{path}: the shards were created with do_lower_case {recorded['do_lower_case']}, "
                f"but this tokenizer has do_lower_case {tokenizer.do_lower_case}: give "
                "--vocab_file FOLDER_OF_THE_SHARDS/vocab.txt, with tokenizer_config.json next to "
                f"it, or --do_lower_case {int(bool(recorded['do_lower_case']))}"
            )


def _read_config(name: str, home: Path) -> tuple[Path | None, dict[str, Any]]:
    """The configuration, and the model folder; None for a file or a built-in configuration."""
    path = Path(name).expanduser()
    if path.is_file():
        return None, _bert_config(model_config.read_config_file(path))
    built_in = hub.built_in_config(name)
    if built_in and not path.is_dir() and not (home / "models" / name).is_dir():
        return None, built_in
    folder = hub.find_model_dir(name, home)
    return folder, _bert_config(model_config.read_config(folder))


def _bert_config(config: model_config.ModelConfig) -> dict[str, Any]:
    """The values without the labels of a classifier."""
    return {key: value for key, value in config.values.items() if key != "labels"}


def _override_sizes(config: dict[str, Any], args: PretrainArgs) -> dict[str, Any]:
    """The configuration with the sizes that are given as flags; --hidden_size also sets the number
    of heads and the feed-forward width unless these are given. Raises WeightsError."""
    sizes = args.given_sizes()
    if sizes:
        flags = ", ".join(f"--{name}" for name in sizes)
        model_config.check_config_values(config | sizes, {}, f"the model's sizes ({flags})")
    return config | sizes


def _find_vocabulary(
    args: PretrainArgs, folder: Path | None, home: Path
) -> tuple[Tokenizer | None, str]:
    """The tokenizer and "", or None and the reason why there is no vocabulary."""
    input_dir = Path(args.input_dir)
    if args.tokenizer_name_or_path:
        found, vocab_file = hub.find_tokenizer(args.tokenizer_name_or_path, home)
        return load_tokenizer(found, vocab_file, args.do_lower_case), ""
    if args.vocab_file:
        model_dir = folder or Path(args.vocab_file).parent
        return load_tokenizer(model_dir, args.vocab_file, args.do_lower_case), ""
    for candidate in (folder, input_dir):
        if candidate is not None and has_vocabulary(candidate):
            return load_tokenizer(candidate, None, args.do_lower_case), ""
    if args.model_name_or_path not in hub.HUB_MODELS:
        return None, f"none in {folder or args.model_name_or_path} or {input_dir}"
    try:
        downloaded = hub.download_vocabulary(args.model_name_or_path, home)
    except WeightsError as error:
        return None, str(error)
    return load_tokenizer(downloaded, None, args.do_lower_case), ""
