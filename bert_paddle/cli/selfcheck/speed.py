"""--speed: steps of BERT-base and BERT-large, timed in the product's own trainer."""

import math
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.cli.selfcheck import peaks, train
from bert_paddle.cli.selfcheck.small_model import FINE_TUNING, PRETRAINING
from bert_paddle.cli.selfcheck.ways import Device, Way
from bert_paddle.common import atomic_files
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.distributed.device import set_up_device
from bert_paddle.models import hub, paddlenlp_bert
from bert_paddle.models.forward_pass import Batch
from bert_paddle.training.step import Trainer

_MASKED = 0.15  # of the tokens
# Steps before the timed ones, and the time to fill with timed steps, in seconds.
_WARM_UP = {"cpu": 1, "gpu": 5}
_SECONDS = {"cpu": 6.0, "gpu": 10.0}
_MIN_STEPS = 2
_HALF_FLAGS = "--use_amp --amp_level O1 --amp_dtype"


@dataclass(frozen=True)
class Shape:
    """What a step computes. model: a name of PaddleNLP's hub, for its configuration. rows: of a
    step; length: tokens of each row, none of them padding."""

    model: str
    head: str
    rows: int
    length: int
    precision: str = "float32"
    flags: str = ""

    @property
    def name(self) -> str:
        size = self.model.removesuffix("-uncased")
        return f"{size}, {self.head}, {self.rows} x {self.length}, {self.precision}"


def shapes(device: Device) -> list[Shape]:
    """What is timed on this device: on a CPU small batches, so that it takes minutes."""
    base, large = "bert-base-uncased", "bert-large-uncased"
    if not device.gpus:
        return [
            Shape(base, FINE_TUNING, 4, 128),
            Shape(base, PRETRAINING, 4, 128),
            Shape(base, PRETRAINING, 1, 512),
            Shape(large, FINE_TUNING, 1, 128),
        ]
    precisions = {"float32": ""}
    if device.capability >= (8, 0):
        extra = "--flash_attention --fused_adamw"
        precisions["bfloat16"] = f"{_HALF_FLAGS} bfloat16 {extra}"
    elif device.capability >= (7, 0):
        precisions["float16"] = f"{_HALF_FLAGS} float16 --fused_adamw"
    return [
        Shape(model, head, rows // (1 if model == base else 2), length, precision, flags)
        for model in (base, large)
        for head, rows, length in (
            (FINE_TUNING, 32, 128),
            (PRETRAINING, 64, 128),
            (PRETRAINING, 16, 512),
        )
        for precision, flags in precisions.items()
    ]


def flops_per_step(config: Mapping[str, Any], shape: Shape) -> float:
    """Floating-point operations of the matrix products of a step: forward, and twice that backward.
    Recomputation and everything but products are not counted."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    tokens = shape.rows * shape.length
    linear = 2 * (4 * hidden**2 + 2 * hidden * inner)
    attention = 4 * shape.length * hidden  # scores, and values weighted by them
    forward = tokens * config["num_hidden_layers"] * (linear + attention)
    forward += shape.rows * 2 * hidden**2  # the pooler
    if shape.head == PRETRAINING:
        masked = shape.rows * round(shape.length * _MASKED)
        forward += masked * 2 * (hidden**2 + hidden * config["vocab_size"])
    return 3.0 * forward


def measure_and_write(argument: Mapping[str, Any], result: Path) -> None:
    """Time the shape argument["shape"] on argument["device"], and write what `measure` returns."""
    set_up_device(argument["device"])
    shape = Shape(**argument["shape"])
    atomic_files.write_json(result, asdict(shape) | measure(shape))


def measure(shape: Shape) -> dict[str, Any]:
    """The speed of a shape: steps, samples and tokens per second, peak memory in bytes, TFLOP/s,
    and the share of the GPU's peak, None if that is not known."""
    config = hub.built_in_config(shape.model)
    assert config is not None
    trainer = _make_trainer(config, shape)
    batches = [_batch(config, shape, seed) for seed in range(4)]
    device = "gpu" if collectives.on_gpu() else "cpu"
    trainer.model.train()
    step = 0

    def take_steps(count: int) -> None:
        nonlocal step
        for _ in range(count):
            step += 1
            trainer.step([batches[step % len(batches)]], 1e-5, step, {})
        _wait_for_device()

    def time_steps(count: int) -> float:
        started = time.perf_counter()
        take_steps(count)
        return (time.perf_counter() - started) / count

    take_steps(_WARM_UP[device])
    count, seconds = _MIN_STEPS, time_steps(_MIN_STEPS)
    if seconds * count < _SECONDS[device]:  # once more, to fill that time
        count = math.ceil(_SECONDS[device] / seconds)
        seconds = time_steps(count)
    tflops = flops_per_step(config, shape) / seconds / 1e12
    peak = peaks.peak_tflops(_gpu_name(), shape.precision) if device == "gpu" else None
    return {
        "steps": count,
        "steps_per_second": 1 / seconds,
        "samples_per_second": shape.rows / seconds,
        "tokens_per_second": shape.rows * shape.length / seconds,
        "peak_memory": _peak_memory(),
        "tflops": tflops,
        "share_of_peak": tflops / peak if peak else None,
    }


def _make_trainer(config: Mapping[str, Any], shape: Shape) -> Trainer:
    """The trainer of a model with Paddle's random weights."""
    args = train.training_args(shape.head, Way(shape.name, shape.flags))
    bert, log = paddlenlp_bert.bert_module(), RunLog(active=True)
    if shape.head == FINE_TUNING:
        model = bert.BertForSequenceClassification(bert.BertConfig(**config, num_labels=2))
    else:
        model = bert.BertForPretraining(bert.BertConfig(**config))
    return train.make_trainer(shape.head, model, args, log)


def _batch(config: Mapping[str, Any], shape: Shape, seed: int) -> Batch:
    """Random rows."""
    random = np.random.RandomState(seed)
    size = shape.rows, shape.length
    batch = {
        "input_ids": random.randint(1000, config["vocab_size"], size),
        "input_mask": np.ones(size, np.int64),
        "segment_ids": np.zeros(size, np.int64),
    }
    if shape.head == FINE_TUNING:
        return batch | {"labels": random.randint(0, 2, shape.rows)}
    masked = round(shape.length * _MASKED)
    places = [random.choice(shape.length, masked, replace=False) for _ in range(shape.rows)]
    flat = [row * shape.length + np.sort(one) for row, one in enumerate(places)]
    return batch | {
        "masked_positions": np.concatenate(flat),
        "masked_lm_ids": random.randint(1000, config["vocab_size"], masked * shape.rows),
        "next_sentence_labels": random.randint(0, 2, shape.rows),
    }


def _wait_for_device() -> None:
    import paddle

    if collectives.on_gpu():
        paddle.device.synchronize()


def _gpu_name() -> str:
    from paddle.device import cuda

    return cuda.get_device_name()


def _peak_memory() -> int:
    """In bytes: of the GPU's memory, or on a CPU of this process."""
    if collectives.on_gpu():
        from paddle.device import cuda

        return cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
