"""Where a model's folder is: a path, our own models folder, or PaddleNLP's hub. No paddle."""

import http.client
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import WeightsError

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 20
_WEIGHTS = "https://bj.bcebos.com/paddlenlp/models/transformers/"
_VOCAB = "https://bj.bcebos.com/paddle-hapi/models/bert/"


@dataclass(frozen=True)
class Published:
    """A model of PaddleNLP's hub: the sizes that differ, and the addresses of its files."""

    vocab_size: int
    weights: str
    vocab: str
    do_lower_case: bool = False
    large: bool = False


# As in PaddleNLP's BERT_PRETRAINED_* tables, all over https; a test compares them.
PUBLISHED = {
    "bert-base-uncased": Published(
        30522,
        _WEIGHTS + "bert-base-uncased.pdparams",
        _VOCAB + "bert-base-uncased-vocab.txt",
        do_lower_case=True,
    ),
    "bert-large-uncased": Published(
        30522,
        _WEIGHTS + "bert-large-uncased.pdparams",
        _VOCAB + "bert-large-uncased-vocab.txt",
        do_lower_case=True,
        large=True,
    ),
    "bert-base-cased": Published(
        28996,
        _WEIGHTS + "bert/bert-base-cased.pdparams",
        _VOCAB + "bert-base-cased-vocab.txt",
    ),
    "bert-large-cased": Published(
        28996,
        _WEIGHTS + "bert/bert-large-cased.pdparams",
        _VOCAB + "bert-large-cased-vocab.txt",
        large=True,
    ),
    "bert-base-chinese": Published(
        21128,
        _WEIGHTS + "bert/bert-base-chinese.pdparams",
        _VOCAB + "bert-base-chinese-vocab.txt",
    ),
    "bert-base-multilingual-cased": Published(
        119547,
        _WEIGHTS + "bert/bert-base-multilingual-cased.pdparams",
        _VOCAB + "bert-base-multilingual-cased-vocab.txt",
    ),
}


def built_in_config(name: str) -> dict[str, Any] | None:
    """BertConfig's values of a published name, without any file; None for another name."""
    model = PUBLISHED.get(name)
    if model is None:
        return None
    return {
        "vocab_size": model.vocab_size,
        "hidden_size": 1024 if model.large else 768,
        "num_hidden_layers": 24 if model.large else 12,
        "num_attention_heads": 16 if model.large else 12,
        "intermediate_size": 4096 if model.large else 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


def find_model_dir(
    name_or_path: str, home: Path, say: Callable[[str], None] = lambda line: None
) -> Path:
    """The folder of a model: a directory given -> home/models/<name> -> PaddleNLP's hub.

    say: told in one line when a download begins. Raises WeightsError, naming every place looked
    in and the ways to supply the model.
    """
    given = Path(name_or_path).expanduser()
    if not name_or_path.strip():
        raise WeightsError(
            "the model's name is empty: give a folder or a name such as bert-base-uncased"
        )
    if given.is_dir():
        return given
    if given.exists():
        raise WeightsError(f"{given} is a file: give the folder that holds it ({given.parent})")
    is_path = name_or_path.startswith((".", "~", os.sep)) or given.is_absolute()
    ours = home / "models" / name_or_path
    if not is_path and ".." not in given.parts and ours.is_dir():
        return ours
    if is_path or "/" in name_or_path:
        raise WeightsError(
            f"there is no model folder {name_or_path} (looked in {Path.cwd()}"
            f"{'' if is_path else f', and at {ours}'}): give an existing folder, or a name such as "
            "bert-base-uncased"
        )
    if name_or_path not in PUBLISHED:
        raise WeightsError(
            f"model {name_or_path!r} not found: no such folder here, none at {ours}, and "
            f"PaddleNLP's hub has no BERT of that name (it has {', '.join(PUBLISHED)}); give the "
            "path of a folder with config.json, weights and vocab.txt, or put one there"
        )
    return download(name_or_path, home, say)


def download(name: str, home: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Fetch a published model into home/models/<name> and return that folder.

    Built beside and renamed, so the folder is whole or absent; of several processes doing this
    at once one wins and the others use its folder. Raises WeightsError when it cannot be fetched.
    """
    model, target = PUBLISHED[name], home / "models" / name
    beside = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
        say(f"downloading {name} from {model.weights} to {target}")
        _fetch(model.vocab, beside / "vocab.txt")
        _fetch(model.weights, beside / "model_state.pdparams")
        config = {"model_type": "bert", "architectures": ["BertForPretraining"]}
        atomic_files.write_json(beside / "config.json", config | (built_in_config(name) or {}))
        atomic_files.write_json(
            beside / "tokenizer_config.json",
            {"do_lower_case": model.do_lower_case, "tokenizer_class": "BertTokenizer"},
        )
        beside.chmod(0o755)  # mkdtemp gives 0700, and the cache may be shared
        _move_into_place(beside, target)
    except (OSError, http.client.HTTPException, ValueError) as error:
        address = error.url if isinstance(error, HTTPError) else model.weights
        raise WeightsError(
            f"model {name!r} not found: no folder {name} here, none at {target}, and "
            f"PaddleNLP's hub did not give it ({address}: {error}); give the path of a folder with "
            f"config.json, weights and vocab.txt, or put one at {target}"
        ) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
    return target


def vocabulary(name: str, home: Path) -> Path:
    """The folder home/vocabularies/<name> with a published model's vocabulary alone, fetched when
    it is not there. Raises WeightsError when it cannot be fetched."""
    model, target = PUBLISHED[name], home / "vocabularies" / name
    if (target / "vocab.txt").is_file():
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        settings = {"do_lower_case": model.do_lower_case, "tokenizer_class": "BertTokenizer"}
        atomic_files.write_json(target / "tokenizer_config.json", settings)
        beside = target / f".vocab.{os.getpid()}.part"
        _fetch(model.vocab, beside)
        beside.rename(target / "vocab.txt")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(
            f"the vocabulary of {name} is not at {target} and PaddleNLP's hub did not give it "
            f"({model.vocab}: {error})"
        ) from error
    return target


def _fetch(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file, _CHUNK)
        file.flush()
        os.fsync(file.fileno())
        announced = answer.headers.get("Content-Length")
    # A connection that closes early ends a chunked copy without an error.
    if announced is not None and target.stat().st_size != int(announced):
        raise OSError(f"{target.stat().st_size} of {announced} bytes arrived")
    if target.stat().st_size == 0:
        raise OSError("an empty file arrived")


def _move_into_place(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not (target / "config.json").is_file():  # not another process's finished download
            raise
