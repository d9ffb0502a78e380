"""Finds a model folder: an existing path, a name under $BERT_PADDLE_HOME/models, or a download, a
BERT from PaddleNLP's hub and a GPT-2 from Hugging Face's. Does not import paddle."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.download import DownloadError, RemoteFile, download_lock, fetch_file
from bert_paddle.common.errors import WeightsError
from bert_paddle.models import gpt2_hub
from bert_paddle.models.bert_hub import HUB, HUB_MODELS, built_in_config
from bert_paddle.models.gpt2_hub import GPT2_MODELS

BERT, GPT2 = "bert", "gpt2"  # families of models
# Of a home directory that is read-only, or none.
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)


def find_model_dir(
    name_or_path: str,
    home: Path,
    log: Callable[[str], None] = lambda line: None,
    family: str = BERT,
) -> Path:
    """The folder of a model: an existing directory, else home/models/<name>, else a download from
    the hub.

    log: called with one line when a download begins. family: BERT or GPT2; a published model of the
    other one is not downloaded. Raises WeightsError, which names the places searched and the ways
    to supply the model.
    """
    path = Path(name_or_path).expanduser()
    published = list(GPT2_MODELS if family == GPT2 else HUB_MODELS)
    if not name_or_path.strip():
        raise WeightsError(
            f"the model's name is empty: give a folder or a name such as {published[0]}"
        )
    if read_files.is_dir(path):
        return path
    if path.exists():
        raise WeightsError(f"{path} is a file: give the folder that holds it ({path.parent})")
    is_path = name_or_path.startswith((".", "~", os.sep)) or path.is_absolute()
    in_home = home / "models" / name_or_path
    if not is_path and ".." not in path.parts and read_files.is_dir(in_home):
        return in_home
    if is_path or "/" in name_or_path:
        raise WeightsError(
            f"there is no model folder {name_or_path} (looked in {Path.cwd()}"
            f"{'' if is_path else f' and at {in_home}'}): give an existing folder, or a name such "
            f"as {published[0]}"
        )
    if name_or_path not in published:
        raise _not_published(name_or_path, in_home, family)
    return download_model(name_or_path, home, log)


def _not_published(name: str, in_home: Path, family: str) -> WeightsError:
    if name in HUB_MODELS or name in GPT2_MODELS:
        kind = "BERT, but a GPT-2" if family == GPT2 else "GPT-2, but a BERT"
        return WeightsError(f"model {name!r}: this is a {kind} is needed here")
    models, kind = (GPT2_MODELS, "GPT-2") if family == GPT2 else (HUB_MODELS, "BERT")
    return WeightsError(
        f"model {name!r} not found: no such folder here, none at {in_home}, and "
        f"{_hub_of(next(iter(models)))} has no {kind} of that name (it has {', '.join(models)}); "
        f"give the path of a folder with "
        f"{_contents(family)}, or put one there"
    )


def _hub_of(name: str) -> str:
    """The hub of a published model, for a message."""
    return "Hugging Face's hub" if name in GPT2_MODELS else "PaddleNLP's hub"


def _contents(family: str) -> str:
    """What a model's folder has, for a message."""
    vocabulary = "vocab.json with merges.txt" if family == GPT2 else "vocab.txt"
    return f"config.json, weights and {vocabulary}"


def download_model(name: str, home: Path, log: Callable[[str], None] = lambda line: None) -> Path:
    """Download a hub model into home/models/<name> and return that folder.

    The files are written to the folder .<name>.download, which is renamed at the end, so that the
    model's folder is complete or absent; the next call resumes an interrupted download there. Of
    several processes that download the same model, one does, and the others wait for it. Raises
    WeightsError if the download fails.
    """
    family, target = GPT2 if name in GPT2_MODELS else BERT, home / "models" / name
    source = _weights_url(name)
    folder = target.with_name(f".{name}.download")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with download_lock(target.with_name(f".{name}.lock")):
            if read_files.is_dir(target):
                return target  # another process downloaded it while this one waited for the lock
            log(f"downloading {name} from {source} to {target}")
            folder.mkdir(exist_ok=True)
            (_download_gpt2 if family == GPT2 else _download_bert)(name, folder)
            folder.rename(target)
            atomic_files.sync(target.parent)
    except (OSError, DownloadError) as error:
        raise WeightsError(
            f"model {name!r} not found: no folder {name} here, none at {target}, and "
            f"the download from {_hub_of(name)} failed ({error}); give the path of a folder "
            f"with {_contents(family)}, or put one at {target}{_other_home(error)}"
        ) from error
    finally:
        _remove_if_empty(folder)
    return target


def _weights_url(name: str) -> str:
    """The URL of a model's weights."""
    if name in GPT2_MODELS:
        return gpt2_hub.file_url(name, gpt2_hub.WEIGHTS_FILE)
    return _mirrored(HUB_MODELS[name].weights_url)


def _download_bert(name: str, folder: Path) -> None:
    """Write all files of a model. Raises OSError, DownloadError."""
    _download_bert_vocabulary(name, folder)
    _download_file(_weights_url(name), folder / "model_state.pdparams")
    config = {"model_type": "bert", "architectures": ["BertForPretraining"]}
    config |= built_in_config(name) or {}
    atomic_files.write_json(folder / "config.json", config)


def _download_bert_vocabulary(name: str, folder: Path) -> None:
    model = HUB_MODELS[name]
    settings = {"do_lower_case": model.do_lower_case, "tokenizer_class": "BertTokenizer"}
    _download_file(_mirrored(model.vocab_url), folder / "vocab.txt")
    atomic_files.write_json(folder / "tokenizer_config.json", settings)


def _download_gpt2(name: str, folder: Path) -> None:
    _download_gpt2_vocabulary(folder)
    weights = gpt2_hub.WEIGHTS_FILE
    sha256 = GPT2_MODELS[name].weights_sha256
    _download_file(gpt2_hub.file_url(name, weights), folder / weights, sha256)
    atomic_files.write_json(folder / "config.json", gpt2_hub.config_json(name))


def _download_gpt2_vocabulary(folder: Path) -> None:
    for file, sha256 in gpt2_hub.vocabulary_files().items():
        _download_file(gpt2_hub.file_url("gpt2", file), folder / file, sha256)


def download_vocabulary(name: str, home: Path) -> Path:
    """The folder home/vocabularies/<name> with a hub model's vocabulary but no weights, downloaded
    if missing. Raises WeightsError if the download fails."""
    target = home / "vocabularies" / name
    files = list(gpt2_hub.vocabulary_files()) if name in GPT2_MODELS else ["vocab.txt"]
    if all(read_files.is_file(target / file) for file in files):
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        with download_lock(target.with_name(f".{name}.lock")):
            if name in GPT2_MODELS:
                _download_gpt2_vocabulary(target)
            else:
                _download_bert_vocabulary(name, target)
    except (OSError, DownloadError) as error:
        raise WeightsError(
            f"the vocabulary of {name} is not at {target} and the download from {_hub_of(name)} "
            f"failed ({error}){_other_home(error)}"
        ) from error
    return target


def _other_home(error: Exception) -> str:
    """The end of a message on a folder for models that cannot be made or written; else ""."""
    if isinstance(error, DownloadError) or getattr(error, "errno", None) not in _UNWRITABLE:
        return ""
    return "; or set BERT_PADDLE_HOME to a folder that can be written"


def _download_file(url: str, target: Path, sha256: str | None = None) -> None:
    """Download `target`, unless it is there. Raises DownloadError and OSError; what was received
    of the file is kept beside it, and the next call resumes from there."""
    source = RemoteFile(target.name, size=None, sha256=sha256)  # PaddleNLP's hub publishes neither
    fetched = fetch_file(url, source, target.parent)
    if fetched != target:
        atomic_files.move_into_place(fetched, target)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not there, or with files from which to resume
        folder.rmdir()


def find_tokenizer(name_or_path: str, home: Path, family: str = BERT) -> tuple[Path, str | None]:
    """The folder and, if it is named, the vocabulary file of --tokenizer_name_or_path: a folder, a
    vocabulary file, a name under home/models, or a published name of the family, BERT or GPT2.
    Raises WeightsError."""
    path = Path(name_or_path).expanduser()
    if read_files.is_file(path):
        return path.parent, str(path)
    published = GPT2_MODELS if family == GPT2 else HUB_MODELS
    if name_or_path in published and not read_files.is_dir(path):
        if not read_files.is_dir(home / "models" / name_or_path):
            return download_vocabulary(name_or_path, home), None
    try:
        return find_model_dir(name_or_path, home, family=family), None
    except WeightsError as error:
        raise WeightsError(f"--tokenizer_name_or_path: {error}") from None


def _mirrored(url: str) -> str:
    """The URL on the mirror in PaddleNLP's variable PPNLP_ENDPOINT, if it is set."""
    mirror = os.environ.get("PPNLP_ENDPOINT", "").rstrip("/").removesuffix("/paddlenlp")
    return url.replace(HUB, mirror, 1) if mirror else url
