"""Imports the packages of the optional extras in pyproject.toml, where they are first used."""

import importlib
from typing import Any

from bert_paddle.common.errors import UserError

# Packages that only some commands need, and the extra of bert-paddle that installs each.
EXTRAS = {
    "sentencex": "data",
    "jieba": "zh",
    "distributed": "cluster",
    "shtab": "completion",
    "onnx": "export",
    "onnxruntime": "export",
    "visualdl": "board",
}


def import_extra(name: str, purpose: str) -> Any:
    """The module `name`. purpose: the flag or command that needs it. Raises UserError, which names
    the extra, when it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise UserError(
            f"{purpose} needs {name}, which is not installed: pip install {name} "
            f"(it is in the extra bert-paddle[{EXTRAS[name]}])"
        ) from None
