"""`bert-paddle check --speed`: what is timed where, the operations of a step, peaks of GPUs."""

import json

import pytest

from bert_paddle.cli.selfcheck import peaks, speed
from bert_paddle.cli.selfcheck.small_model import FINE_TUNING, HEADS, PRETRAINING
from bert_paddle.cli.selfcheck.speed import Shape
from bert_paddle.cli.selfcheck.ways import Device
from bert_paddle.glue.args import GlueArgs
from bert_paddle.models import hub

BASE = "bert-base-uncased"


def test_operations_of_a_step():
    """Against the rule of thumb of 6 operations for each weight and token."""
    config = hub.built_in_config(BASE)
    flops = speed.flops_per_step(config, Shape(BASE, FINE_TUNING, 32, 128))
    assert flops == pytest.approx(6 * 85e6 * 32 * 128, rel=0.04)
    longer = speed.flops_per_step(config, Shape(BASE, FINE_TUNING, 8, 512))
    assert 1.03 < longer / flops < 1.12  # the same tokens, more attention
    pretraining = speed.flops_per_step(config, Shape(BASE, PRETRAINING, 32, 128))
    masked = 32 * 19 * 6 * (768 * 30522 + 768**2)
    assert pretraining - flops == pytest.approx(masked)


@pytest.mark.parametrize(
    ("device", "precisions"),
    [
        (Device(), {"float32"}),
        (Device(1, (6, 1)), {"float32"}),
        (Device(1, (7, 5)), {"float32", "float16"}),
        (Device(1, (9, 0)), {"float32", "bfloat16"}),
    ],
)
def test_shapes_fit_the_device(device, precisions):
    shapes = speed.shapes(device)
    assert {shape.precision for shape in shapes} == precisions
    assert {shape.head for shape in shapes} == set(HEADS)
    assert {shape.model for shape in shapes} == {BASE, "bert-large-uncased"}
    assert len({shape.name for shape in shapes}) == len(shapes)
    tokens = [shape.rows * shape.length for shape in shapes]
    assert max(tokens) <= 512 if not device.gpus else min(tokens) >= 2048


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312),
        ("NVIDIA A100-SXM4-80GB", "float32", 156),  # TF32
        ("NVIDIA A100 80GB PCIe", "bfloat16", 312),
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4),
        ("NVIDIA H100 PCIe", "bfloat16", 756),
        ("Tesla V100-SXM2-16GB", "float16", 125),
        ("Tesla V100-SXM2-16GB", "bfloat16", None),
        ("Tesla V100-SXM2-16GB", "float32", 15.7),
        ("Tesla T4", "float16", 65),
        ("NVIDIA A10", "bfloat16", 125),
        ("NVIDIA A10G", "bfloat16", None),  # another chip
        ("NVIDIA L4", "bfloat16", 121),
        ("NVIDIA L40S", "bfloat16", 362),
        ("NVIDIA GeForce RTX 4090", "float16", 165.2),
        ("NVIDIA GeForce RTX 4090 D", "float16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "float16", None),
        ("Some Other Card", "float32", None),
    ],
)
def test_peaks_by_name(name, precision, expected):
    assert peaks.peak_tflops(name, precision) == expected


@pytest.mark.parametrize("head", HEADS)
def test_a_small_shape_is_timed(head, tmp_path, monkeypatch):
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = hub.built_in_config(BASE) | small | {"intermediate_size": 64, "vocab_size": 1100}
    monkeypatch.setattr(hub, "built_in_config", lambda name: config)
    monkeypatch.setattr(speed, "_SECONDS", {"cpu": 0.05})
    shape = Shape(BASE, head, 2, 16)
    result = tmp_path / "result.json"
    argument = {"shape": vars(shape), "device": "cpu"}
    speed.measure_and_write(argument, result)
    found = json.loads(result.read_text())
    assert found["rows"] == 2 and found["head"] == head and found["steps"] >= 2
    assert found["samples_per_second"] == pytest.approx(2 * found["steps_per_second"])
    assert found["tokens_per_second"] == pytest.approx(32 * found["steps_per_second"])
    expected = speed.flops_per_step(config, shape) * found["steps_per_second"] / 1e12
    assert found["tflops"] == pytest.approx(expected)
    assert found["peak_memory"] > 1e7 and found["share_of_peak"] is None


def test_flags_of_timed_shapes_are_valid():
    from bert_paddle.cli.selfcheck import train
    from bert_paddle.cli.selfcheck.ways import Way

    for capability in ((6, 1), (7, 0), (8, 0)):
        for shape in speed.shapes(Device(1, capability)):
            args = train.training_args(shape.head, Way(shape.name, shape.flags))
            assert args.use_amp == (shape.precision != "float32")
            assert not args.use_amp or args.amp_dtype == shape.precision
            assert isinstance(args, GlueArgs) == (shape.head == FINE_TUNING)
