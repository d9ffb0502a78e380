"""What a rank has read, described for the comparison of all ranks (distributed.rank_agreement), and
each rank's own path of the checkpoint to resume from."""

import hashlib
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import read_files
from bert_paddle.common.args import CommonArgs
from bert_paddle.distributed import collectives
from bert_paddle.models import model_state
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import checkpoint, fingerprints
from bert_paddle.training.output_lock import LOCK_FILE

# Files of up to this size in total are compared byte by byte if the ranks read different copies:
# this takes a second or two.
_MAX_HASHED_BYTES = 1 << 30
_SHOWN_DIGITS = 12


def local_checkpoint(args: CommonArgs, chosen: str | None) -> str | None:
    """The path on this rank's host of the checkpoint that the main process has chosen: an output
    folder may have different paths on different hosts."""
    if chosen is not None and args.resume_from_checkpoint == "auto":
        return str(Path(args.output_dir) / Path(chosen).name)
    return chosen and args.resume_from_checkpoint


def describe_model(model: Any) -> dict[str, str]:
    """The model's configuration, device, encoder and weights, by name."""
    config = model_state.config_values(model)
    facts = {f"the model's {name}": str(value) for name, value in sorted(config.items())}
    facts["the device"] = "a GPU" if collectives.on_gpu() else "the CPU"
    facts["the initial weights"] = _digest_text(model_state.weights_digest(model))
    return facts


def describe_tokenizer(tokenizer: Tokenizer | None) -> dict[str, str]:
    """The vocabulary and the settings of a tokenizer, by name."""
    if tokenizer is None:
        return {"the vocabulary": "none"}
    digest = fingerprints.of_vocabulary(tokenizer)
    settings = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    return {
        "the vocabulary": f"{len(tokenizer)} word pieces with {_digest_text(digest)}",
        **{f"the tokenizer's {name}": str(getattr(tokenizer, name)) for name in settings},
    }


def describe_rows(count: int, fingerprint: str, content: str = "") -> str:
    """A data set by its size and digest. content: see `describe_files`."""
    return f"{count} rows with {_digest_text(fingerprint)}" + (f", {content}" if content else "")


def describe_output(
    args: CommonArgs, output_dir: Path, resume_from: str | None, shared: bool
) -> dict[str, str]:
    """What this rank would read from the output folder: the checkpoint to resume from, and with
    --load_best_model_at_end the checkpoints to come. shared: whether all ranks read the same files
    of the checkpoint to resume from, whose main process has verified them."""
    facts = {}
    if args.load_best_model_at_end:
        name = f"--output_dir, which --load_best_model_at_end needs on a shared disk ({LOCK_FILE})"
        facts[name] = _read_lock(output_dir)
    if args.resume_from_checkpoint == "auto":
        steps = checkpoint.saved_steps(output_dir)
        newest = checkpoint.checkpoint_dir(output_dir, steps[-1]).name if steps else "none"
        facts["the newest checkpoint in --output_dir (put it on a shared disk)"] = newest
    if resume_from is not None and not shared:
        facts["the checkpoint to resume from"] = _describe_checkpoint(Path(resume_from))
    return facts


def checkpoint_files(resume_from: str | None) -> list[Path]:
    """The file by which to tell whether ranks resume from the same copy of a checkpoint."""
    return [] if resume_from is None else [Path(resume_from) / checkpoint.MANIFEST_FILE]


def read_by_all(files: Mapping[str, Sequence[Path]]) -> set[str]:
    """The names under which all ranks have the very same files, so that their content need not be
    compared. All ranks must call this together, in a single collective operation."""
    own = {name: [_identity(path) for path in paths] for name, paths in files.items()}
    all_identities = collectives.all_gather(own)
    return {name for name in own if all(ranks.get(name) == own[name] for ranks in all_identities)}


def describe_files(paths: Sequence[Path]) -> str:
    """A digest of the files' bytes; of very large ones, of samples."""
    return f"files with {_digest_text(fingerprints.of_files(paths, _MAX_HASHED_BYTES))}"


def _identity(path: Path) -> tuple[Any, ...]:
    """Equal on two ranks if, and only if, they read the same file of the same host."""
    try:
        stat = path.stat()
    except OSError:
        return (str(path), os.getpid(), socket.gethostname())  # missing: shared with nobody
    return socket.gethostname(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _describe_checkpoint(folder: Path) -> str:
    damage = checkpoint.find_damage(folder) if folder.is_dir() else "no such folder"
    if damage:
        return f"{folder}, which is not a complete checkpoint ({damage})"
    digest = hashlib.sha256((folder / checkpoint.MANIFEST_FILE).read_bytes()).hexdigest()
    state = read_files.read_json_object(folder / checkpoint.STATE_FILE) or {}
    return f"step {state.get('step')} with {_digest_text(digest)}"


def _read_lock(output_dir: Path) -> str:
    try:
        return (output_dir / LOCK_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "another folder"


def _digest_text(digest: str) -> str:
    return f"digest {digest[:_SHOWN_DIGITS]}"
