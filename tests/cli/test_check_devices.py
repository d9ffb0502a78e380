"""`bert-paddle check`: what it decides from the devices it finds, with invented devices."""

import types

import pytest

from bert_paddle.cli.selfcheck import devices, paddle_facts, ways
from bert_paddle.cli.selfcheck.ways import BY_NAME, Device, skip_reason
from bert_paddle.common import gpu_driver
from bert_paddle.common.gpu_driver import Driver

GPU = {"name": "NVIDIA A100-SXM4-80GB", "memory": 85e9, "capability": [8, 0]}
FACTS = {
    "version": "3.3.1",
    "commit": "abc",
    "gpu_build": True,
    "cuda": "12.6",
    "cudnn": "9.5",
    "gpus": [GPU],
    "threads": "2 threads",
}
CPU_BUILD = FACTS | {"gpu_build": False, "gpus": [], "kernels": ""}
SEES_NOTHING = FACTS | {"gpus": [], "kernels": ""}
NO_DRIVER = Driver(problem="nvidia-smi is not there", is_installed=False)
DRIVER = Driver(("NVIDIA A100-SXM4-80GB, 81920 MiB, compute capability 8.0, driver 550.1",))


@pytest.mark.parametrize(
    ("facts", "driver", "device", "visible", "message"),
    [
        (FACTS, DRIVER, "auto", None, ""),
        (CPU_BUILD, NO_DRIVER, "auto", None, ""),
        (CPU_BUILD, DRIVER, "auto", None, "the CPU build of Paddle beside 1 GPU"),
        (CPU_BUILD, DRIVER, "cpu", None, ""),
        (SEES_NOTHING, NO_DRIVER, "auto", None, r"but no GPU \(nvidia-smi is not there\)"),
        (SEES_NOTHING, Driver(), "auto", None, r"but no GPU \(none is listed\)"),
        (
            SEES_NOTHING,
            DRIVER,
            "auto",
            None,
            r"\(CUDA 12.6\) sees no GPU: bash scripts/environment.sh",
        ),
        (SEES_NOTHING, DRIVER, "auto", "", ""),
        (SEES_NOTHING, DRIVER, "auto", "-1", ""),
        (SEES_NOTHING, DRIVER, "auto", "0", "sees no GPU"),
        (SEES_NOTHING | {"gpus": "OSError: CUDA 804"}, DRIVER, "auto", None, "GPU: OSError: CUDA"),
        ({}, DRIVER, "auto", None, ""),
    ],
)
def test_a_build_that_does_not_fit_is_told(facts, driver, device, visible, message):
    import re

    problem = gpu_driver.build_problem(facts, driver, device, visible)
    assert re.search(message, problem) if message else problem == ""


CPU = Device()
A100, T4, PASCAL = (Device(1, capability) for capability in ((8, 0), (7, 5), (6, 1)))


@pytest.mark.parametrize(
    ("way", "device", "reason"),
    [
        ("float32, C kernels", CPU, ""),
        ("float32, C kernels", Device(kernels="no C compiler found"), "no C compiler found"),
        ("float32, C kernels", A100, "for CPUs: give --device cpu"),
        ("float32", CPU, ""),
        ("float32", A100, ""),
        ("2 processes", CPU, ""),
        ("2 processes", A100, "needs 2 GPUs"),
        ("2 processes", Device(2, (8, 0)), ""),
        ("fused AdamW", CPU, "needs a GPU"),
        ("fused AdamW", PASCAL, ""),
        ("float16 O1", T4, ""),
        ("float16 O2", PASCAL, "needs compute capability 7.0, this GPU has 6.1"),
        ("bfloat16 O1", T4, "needs compute capability 8.0, this GPU has 7.5"),
        ("bfloat16 O1", A100, ""),
        ("float16 O1, flash attention", T4, "needs compute capability 8.0, this GPU has 7.5"),
        ("float16 O1, flash attention", A100, ""),
    ],
)
def test_ways_that_cannot_run_here_are_skipped_with_a_reason(way, device, reason):
    assert skip_reason(BY_NAME[way], device) == reason


def test_on_a_gpu_of_today_all_but_the_kernels_run():
    skipped = [way.name for way in ways.WAYS if skip_reason(way, Device(2, (9, 0)))]
    assert skipped == ["float32, C kernels"]


def test_the_weakest_gpu_decides():
    older = GPU | {"capability": [7, 0]}
    device = devices.make_device(FACTS | {"gpus": [GPU, older]})
    assert (device.gpus, device.capability) == (2, (7, 0))
    assert devices.make_device(CPU_BUILD | {"kernels": "no compiler"}).kernels == "no compiler"
    # Nothing is known: Paddle cannot be imported, or cannot ask its GPUs.
    for unknown in ({}, FACTS | {"gpus": "RuntimeError: no driver"}):
        device = devices.make_device(unknown)
        assert device.gpus == 0 and "not known" in device.kernels


def lines(facts, reason="", driver=NO_DRIVER, device="auto"):
    found = devices.device_facts(facts, reason, driver, device)
    return {fact.name: (fact.status, fact.value) for fact in found}


def test_facts_of_devices(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu = lines(FACTS, driver=DRIVER)
    assert gpu["Paddle"] == ("ok", "3.3.1 (abc), CUDA 12.6, cuDNN 9.5")
    assert gpu["GPUs by Paddle"][1] == "NVIDIA A100-SXM4-80GB, 79.2 GiB, compute capability 8.0"
    assert "build" not in gpu and "C kernels" not in gpu
    cpu = lines(CPU_BUILD)
    assert cpu["Paddle"][1].endswith("CPU build") and cpu["C kernels"] == ("ok", "compiled")
    assert cpu["NVIDIA driver"] == ("ok", "nvidia-smi is not there")
    assert lines(CPU_BUILD | {"kernels": "no C compiler"})["C kernels"] == ("note", "no C compiler")
    assert lines(CPU_BUILD, driver=DRIVER)["build"][0] == "off"
    assert lines({}, "killed by SIGILL")["Paddle"] == ("off", "cannot be used: killed by SIGILL")
    assert lines(FACTS | {"gpus": "OSError: x"}, driver=DRIVER)["GPUs by Paddle"][0] == "off"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of this name and script on the PATH."""

    def install(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return install


def test_the_driver_is_asked(nvidia_smi, monkeypatch):
    nvidia_smi("echo 'NVIDIA A100, 81920 MiB, 8.0, 550.1'; echo 'Other, row'")
    expected = "NVIDIA A100, 81920 MiB, compute capability 8.0, driver 550.1"
    assert gpu_driver.ask_driver() == Driver((expected, "Other, row"))
    nvidia_smi("echo 'NVIDIA-SMI has failed because it could not talk to the driver.'; exit 9")
    driver = gpu_driver.ask_driver()
    assert driver.gpus == () and "could not talk" in driver.problem and driver.is_installed
    assert lines(CPU_BUILD, driver=driver)["NVIDIA driver"][0] == "note"
    monkeypatch.setattr(gpu_driver, "_TIMEOUT", 0.2)
    nvidia_smi("exec sleep 60")
    assert "timed out" in gpu_driver.ask_driver().problem
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpu_driver.ask_driver() == NO_DRIVER


def test_gpus_as_paddle_lists_them(monkeypatch):
    from paddle.device import cuda

    properties = types.SimpleNamespace(name="A100", total_memory=8, major=8, minor=0)
    monkeypatch.setattr(cuda, "device_count", lambda: 2)
    monkeypatch.setattr(cuda, "get_device_properties", lambda index: properties)
    assert paddle_facts._gpus() == [{"name": "A100", "memory": 8, "capability": [8, 0]}] * 2

    def fails(index):
        raise OSError("(External) CUDA error(804)\nsecond line")

    monkeypatch.setattr(cuda, "get_device_properties", fails)
    assert paddle_facts._or_error(paddle_facts._gpus) == "OSError: (External) CUDA error(804)"
