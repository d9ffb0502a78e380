"""Where the time of a training step goes: one table, of the processor time of one thread.

    python -m benchmarks.step_profile --layers 6 --hidden 384 --rows 32 --length 32 --steps 10

Random weights and token ids of a normal distribution's frequencies, dropout as in fine-tuning. One
thread, so that a processor that others use too does not count waiting; what two threads share in
two is therefore overstated beside what only one does (Python, allocation).
"""

import argparse
import collections
import functools
import io
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

VOCABULARY, HEADS = 30522, 12
KINDS = {
    "squares": "norm of the gradients",
    "adamw": "AdamW",
    "embed": "embeddings",
    "embed_grad": "embeddings",
    "attention": "attention",
    "attention_grad": "attention",
}


class Clock:
    """Processor time by name, of each name without what is measured within it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._within: list[float] = []

    def measured(self, function: Callable[..., Any], name: Any) -> Callable[..., Any]:
        """The function, which adds its time to `name`, or to what `name` makes of its arguments."""

        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            key = name(*arguments) if callable(name) else name
            begun = time.thread_time()
            self._within.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                spent = time.thread_time() - begun
                self.seconds[key] += spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent

        return run


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of a step by what they are spent on."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from bert_paddle.distributed import device

    device.set_up_device("cpu")
    import paddle

    from bert_paddle.models.kernels import compile_kernels, embedding, encoder_layer, products

    clock, trainer = Clock(), _trainer(options)
    kernels, kind, optimizer = compile_kernels.Kernels, products.Products, trainer.optimizer
    kernels.run = clock.measured(  # type: ignore[method-assign]
        kernels.run, lambda _, name, *rest: KINDS.get(name, "GELU, norms, bias sums")
    )
    kind.multiply = clock.measured(kind.multiply, "matrix products")
    for module in (embedding, encoder_layer):
        for name in ("_forward", "_backward"):
            setattr(module, name, clock.measured(getattr(module, name), "between the kernels"))
    for name in ("step", "clip_gradients", "clear_grad"):
        setattr(optimizer, name, clock.measured(getattr(optimizer, name), "the optimizer's Python"))
    paddle.Tensor.backward = clock.measured(paddle.Tensor.backward, "classifier, loss, engine")
    trainer.step = clock.measured(trainer.step, "classifier, loss, engine")

    rng = np.random.default_rng(0)
    size = options.rows, options.length
    for number in range(options.warmup + options.steps):
        if number == options.warmup:
            clock.seconds.clear()
        ids = (np.abs(rng.standard_normal(size)) * VOCABULARY / 6).astype(np.int64) % VOCABULARY
        ones, zeros = np.ones(size, np.int64), np.zeros(size, np.int64)
        batch = {"input_ids": ids, "input_mask": ones, "segment_ids": zeros}
        batch["labels"] = np.arange(options.rows) % 2
        trainer.step([batch], 2e-5, number + 1, {})
    return {name: 1e3 * spent / options.steps for name, spent in clock.seconds.items()}


def _trainer(options: argparse.Namespace) -> Any:
    from bert_paddle.common.run_log import RunLog
    from bert_paddle.glue import args, loss
    from bert_paddle.models import compute_mode, paddlenlp_bert
    from bert_paddle.training.step import Trainer

    bert, log = paddlenlp_bert.bert_module(), RunLog(False, io.StringIO(), io.StringIO())
    config = bert.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=HEADS,
        intermediate_size=4 * options.hidden,
    )
    network = bert.BertForSequenceClassification(config)
    network.train()
    flags = args.parse_args("--task_name SST-2 --model_name_or_path x --output_dir x".split())
    if not compute_mode.set_compute_mode(network, flags, log):
        raise SystemExit("error: no kernels: see what `bert-paddle check` says")
    forward = loss.forward_pass(network, True)
    return Trainer(network, loss.objective(), flags, False, log, forward)


def table(spent: dict[str, float]) -> str:
    """The lines of a Markdown table."""
    total = sum(spent.values())
    rows = sorted(spent.items(), key=lambda item: -item[1])
    lines = ["| | ms | share |", "|---|---|---|"]
    lines += [f"| {name} | {ms:.1f} | {100 * ms / total:.1f} % |" for name, ms in rows]
    return "\n".join([*lines, f"| **all** | **{total:.1f}** | |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in {"layers": 6, "hidden": 384, "rows": 32, "length": 32}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=5)
    print(table(measure(parser.parse_args())))


if __name__ == "__main__":
    main()
