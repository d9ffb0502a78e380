"""The first lines of a run on GPUs: their number, names and memory. Paddle's answers are faked."""

import types

import pytest

from bert_paddle.common import runtime
from bert_paddle.distributed import collectives, launch, startup_notes
from bert_paddle.glue.args import parse_args

KINDS = ["NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", "Tesla T4"]


@pytest.fixture
def gpus(monkeypatch):
    """Three GPUs, and a program that does nothing."""
    cuda = pytest.importorskip("paddle").device.cuda

    def properties(index):
        memory = (80 if "A100" in KINDS[index] else 16) * 2**30
        return types.SimpleNamespace(name=KINDS[index], total_memory=memory)

    monkeypatch.setattr(cuda, "get_device_properties", properties)
    monkeypatch.setattr(runtime, "configure", lambda *_, **__: "")
    monkeypatch.setattr(runtime, "import_paddle", lambda: None)
    monkeypatch.setattr(launch, "select_device", lambda *_: len(KINDS))
    monkeypatch.setattr(launch.signals, "ignore_until_training", lambda: None)
    monkeypatch.setattr(launch, "_run_in_this_process", lambda *_: None)
    monkeypatch.setattr(launch, "_spawn", lambda *_: None)
    return cuda


def first_lines(capsys, *flags: str) -> list[str]:
    required = "--task_name sst2 --model_name_or_path m --output_dir o".split()
    launch.launch("no:program", parse_args([*required, *flags]))
    return capsys.readouterr().err.splitlines()


def test_the_gpus_of_a_run_are_named(gpus, capsys):
    assert first_lines(capsys) == [
        "GPU: 1 x NVIDIA A100-SXM4-80GB, 80 GiB (3 are visible; --n_gpu uses more)"
    ]
    assert first_lines(capsys, "--n_gpu", "2") == [
        "GPU: 2 x NVIDIA A100-SXM4-80GB, 80 GiB (3 are visible; --n_gpu uses more)"
    ]
    assert first_lines(capsys, "--n_gpu", "3") == [
        "GPU: 2 x NVIDIA A100-SXM4-80GB, 80 GiB + 1 x Tesla T4, 16 GiB"
    ]


def test_the_gpus_of_a_rank_of_paddles_launcher(gpus, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "is_launched", lambda: True)
    monkeypatch.setattr(runtime, "parent_is_paddles_launcher", lambda: False)
    world = types.SimpleNamespace(size=6, rank=0, is_main=True)
    monkeypatch.setattr(collectives, "get_world", lambda: world)
    assert first_lines(capsys) == [
        "GPU: 6 process(es), one GPU each; on this host: 2 x NVIDIA A100-SXM4-80GB, 80 GiB + "
        "1 x Tesla T4, 16 GiB"
    ]
    world.is_main = False
    assert first_lines(capsys) == []


def test_a_driver_that_tells_no_names_does_not_stop_the_run(gpus, monkeypatch):
    def fail(index):
        raise OSError("(External) CUDA error(804)\nsecond line")

    monkeypatch.setattr(gpus, "get_device_properties", fail)
    assert startup_notes.gpu_names(range(2)) == "2, of unknown kind ((External) CUDA error(804))"
