"""Rows as contestants read them (standard library and numpy, in any environment)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Given:
    """texts_b: None for single texts. labels: indices into `names`."""

    texts_a: list[str]
    texts_b: list[str] | None
    labels: list[int]
    names: list[str]


def read(path: str) -> Given:
    """Rows of inputs.write_rows."""
    return Given(**json.loads(Path(path).read_text(encoding="utf-8")))


def batches(path: str) -> list[dict[str, np.ndarray]]:
    """Batches of inputs.write_pretraining_rows, in order."""
    with np.load(path) as arrays:
        made: dict[int, dict[str, np.ndarray]] = {}
        for name in arrays.files:
            number, _, key = name.partition("/")
            made.setdefault(int(number), {})[key] = arrays[name]
    return [made[number] for number in sorted(made)]


def random_ids(size: int, length: int, count: int) -> np.ndarray:
    """int64 [count, size, length] word pieces of no meaning, the same at every call."""
    return np.random.default_rng(0).integers(1000, 30000, (count, size, length))


def measurement(seconds: float, samples: int, tokens: int) -> dict[str, Any]:
    """What a block of rows came to. tokens: word pieces without padding."""
    return {
        "seconds": seconds,
        "samples": samples,
        "tokens": tokens,
        "value": samples / seconds,
    }
