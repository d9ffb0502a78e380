"""Paddle or PyTorch as a contestant in matrix products (suite/protocol.py). spec: `with` which
library; `products` as in suite/limit.py; `least` seconds for each."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol  # noqa: E402


def build(spec: dict[str, Any]) -> protocol.Block:
    prepare = _paddle if spec["with"] == "paddle" else _torch
    multiply = prepare()
    cases, counts = {}, {}
    for one in spec["products"]:
        name = f"{one['kind']} {one['batch']}x[{one['m']},{one['k']}]x[{one['k']},{one['n']}]"
        cases[name], counts[name] = multiply(one), one["count"]

    def block(number: int) -> dict[str, Any]:
        begun = time.perf_counter()
        seconds = {name: _time(run, spec["least"]) for name, run in cases.items()}
        # As if a step were nothing but its products.
        rate = spec["batch"] / sum(counts[name] * seconds[name] for name in cases)
        return {"seconds": time.perf_counter() - begun, "value": rate, "products": seconds}

    return block


def _time(run: Callable[[], Any], least: float) -> float:
    """The shortest time of one run, of as many as fit into `least` seconds."""
    best, until = float("inf"), time.perf_counter() + least
    run()
    while True:
        begun = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - begun)
        if now > until:
            return best


def _operands(one: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    left, right = (one["m"], one["k"]), (one["k"], one["n"])
    left = left[::-1] if one["kind"] == "tn" else left
    right = right[::-1] if one["kind"] == "nt" else right
    count = (one["batch"],) if one["batch"] > 1 else ()
    a, b = (rng.standard_normal((*count, *size), np.float32) for size in (left, right))
    return a, b


def _paddle() -> Callable[[dict[str, Any]], Callable[[], Any]]:
    from bert_paddle.distributed import device

    device.set_up_device("cpu")
    import paddle

    def multiply(one: dict[str, Any]) -> Callable[[], Any]:
        a, b = map(paddle.to_tensor, _operands(one))
        turned = {"transpose_x": one["kind"] == "tn", "transpose_y": one["kind"] == "nt"}

        def run() -> Any:
            with paddle.no_grad():
                return paddle.matmul(a, b, **turned)

        return run

    return multiply


def _torch() -> Callable[[dict[str, Any]], Callable[[], Any]]:
    import torch

    torch.set_num_threads(2)

    def multiply(one: dict[str, Any]) -> Callable[[], Any]:
        a, b = map(torch.from_numpy, _operands(one))
        a = a.mT if one["kind"] == "tn" else a
        b = b.mT if one["kind"] == "nt" else b
        return lambda: torch.matmul(a, b)

    return multiply


if __name__ == "__main__":
    protocol.serve(build)
