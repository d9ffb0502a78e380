"""The documented command lines, verbatim, and exit code and message of mistakes."""

import os
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from documented_lines import COMMAND_A, COMMAND_C

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A folder with run_glue.py, a model with the documented name, and invented GLUE files."""
    base = tmp_path_factory.mktemp("workdir")
    (base / "run_glue.py").symlink_to(ROOT / "run_glue.py")
    (base / "bin").mkdir()
    (base / "bin" / "python").symlink_to(sys.executable)
    home = base / "home" / "models"
    tiny.write_encoder(home / "bert-base-uncased", max_position_embeddings=128)
    tiny.write_sst2(base / "glue" / "SST-2")
    (base / "glue" / "CoLA").mkdir()
    for name in ("train", "dev"):
        text = "".join(f"src\t{i % 2}\t\tthe cat sat on the {i % 7}\n" for i in range(40))
        (base / "glue" / "CoLA" / f"{name}.tsv").write_text(text)
    return base


def run_shell(workdir: Path, script: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "GLUE_DATA_DIR": str(workdir / "glue"),
        "BERT_PADDLE_HOME": str(workdir / "home"),
        "PATH": f"{workdir / 'nvidia'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-c", script], cwd=workdir, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def run_here(workdir, monkeypatch, capfd):
    """Run a command line of run_glue.py in this process, which has imported paddle already."""
    monkeypatch.chdir(workdir)
    monkeypatch.setenv("GLUE_DATA_DIR", str(workdir / "glue"))
    monkeypatch.setenv("BERT_PADDLE_HOME", str(workdir / "home"))
    kept = signal.getsignal(signal.SIGUSR1)

    def run(script: str) -> subprocess.CompletedProcess:
        *before, command = script.split(";")
        for line in before:
            subprocess.run(["bash", "-c", line], check=True)
        python, *argv = shlex.split(command.replace("\\\n", " "))
        assert python == "python" and argv[0] == "run_glue.py"
        monkeypatch.setattr(sys, "argv", argv)
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(ROOT / "run_glue.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(argv, code, *capfd.readouterr())

    yield run
    signal.signal(signal.SIGUSR1, kept)


def test_command_a_verbatim(workdir):
    driver = workdir / "nvidia" / "nvidia-smi"  # a GPU, which Paddle's CPU build cannot use
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\necho 'NVIDIA A100, 81920 MiB, 8.0, 550.1'\n")
    driver.chmod(0o755)
    process = run_shell(workdir, COMMAND_A)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    # 48 rows in batches of 32: two steps an epoch; no save before the end.
    assert [line.split(", loss")[0] for line in lines[:-1]] == [
        f"global step {step}, epoch: {(step - 1) // 2}, batch: {(step - 1) % 2 + 1}"
        for step in range(1, 7)
    ]
    assert lines[-1].startswith("eval loss: ")
    assert (workdir / "tmp/SST-2/model_6/manifest.json").is_file()
    assert (workdir / "tmp/SST-2/report.html").is_file()
    assert "no GPU is visible; running 1 process(es) on the CPU" in process.stderr
    assert "warning: the CPU build of Paddle beside 1 GPU(s): bash scripts/env" in process.stderr
    assert "Traceback" not in process.stderr


def test_command_c_verbatim(workdir, run_here):
    process = run_here(COMMAND_C)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1].split(", ")[-1].startswith("mcc: ")
    assert (workdir / "res/cola/all_results.json").is_file()


BASE = "python run_glue.py --task_name sst2 --model_name_or_path bert-base-uncased --output_dir o "
MISTAKES = {
    "no such model": (BASE + "--model_name_or_path ./none", "there is no model folder ./none"),
    "no such flag": (BASE + "--learning_rat 1", "did you mean --learning_rate?"),
    "bad row": (
        "mkdir -p x/SST-2; cp glue/SST-2/*.tsv x/SST-2; printf 'a\\t7\\n' >> x/SST-2/train.tsv;"
        + BASE
        + "--data_dir x",
        "x/SST-2/train.tsv:50: label '7'",
    ),
    "output in a file": ("touch f; " + BASE + "--output_dir f/o", "--output_dir f/o"),
    "head needed": (BASE + "--do_eval", "fine-tune it first with --do_train"),
    "more GPUs than there are": (BASE + "--device gpu", "sees no GPU"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(workdir, run_here, name):
    script, message = MISTAKES[name]
    # One of those found before and one of those found after paddle is imported: by the shell.
    by_shell = name in ("no such flag", "no such model")
    process = run_shell(workdir, script) if by_shell else run_here(script)
    assert process.returncode == 2, process.stderr
    errors = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in process.stderr and not process.stdout


def test_debug_shows_the_traceback(run_here):
    process = run_here(BASE + "--model_name_or_path ./none --debug")
    assert process.returncode == 2
    assert "Traceback" in process.stderr and process.stderr.splitlines()[-1].startswith("error: ")


def test_a_full_disk_is_one_line_and_leaves_no_partial_checkpoint(workdir):
    """A limit on file sizes allows small files but not the checkpoint's tensors."""
    flags = "--max_seq_length 16 --batch_size 8 --save_steps 2 --max_steps 4 --output_dir full "
    process = run_shell(workdir, "trap '' XFSZ; ulimit -f 20; " + BASE + flags)
    assert process.returncode == 1, process.stderr
    assert process.stderr.splitlines()[-1].startswith("error: the disk is full")
    assert not list((workdir / "full").glob("model_*"))
