"""Paddle and PaddleNLP can be imported without a home directory that can be written."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle.common import error_exit, runtime
from bert_paddle.common.errors import RunError

_CODE = """
import os
from bert_paddle.common import runtime
from bert_paddle.models import paddlenlp_bert
runtime.configure(processes=1)
runtime.import_paddle()
print(paddlenlp_bert.bert_module().__name__, os.environ["HOME"])
"""


def test_a_home_that_cannot_be_written(tmp_path):
    environment = {**runtime.child_environment(), "HOME": "/proc", "TMPDIR": str(tmp_path)}
    environment.pop("PPNLP_HOME", None)
    run = subprocess.run([sys.executable, "-c", _CODE], env=environment, capture_output=True)
    assert run.stdout.split() == [b"paddlenlp.transformers.bert.modeling", b"/proc"], run.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_folder_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(RunError, match="set HOME or TMPDIR to a folder"):
        with runtime.writable_home():
            pass
    assert os.environ["HOME"] == "/proc"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
@pytest.mark.parametrize("mebibytes", [300, 586])  # of 586, OpenBLAS tries for ever
def test_a_limit_on_memory_is_told(tmp_path, mebibytes):
    program = Path(__file__).parents[2] / "run_glue.py"
    flags = ["--task_name=sst-2", "--model_name_or_path=m", f"--output_dir={tmp_path}"]
    limit = mebibytes << 20
    run = subprocess.run(
        [sys.executable, str(program), *flags],
        env=runtime.child_environment(),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        timeout=60,
    )
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run.stderr
    assert (
        f"error: {mebibytes} MiB of memory, the limit that is set, are too little" in run.stderr
        and "ulimit -v unlimited" in run.stderr
    )


def test_a_step_that_fails_at_the_limit(monkeypatch, capsys):
    text = "(PreconditionNotMet) x.so: failed to map segment from shared object"
    with pytest.raises(RuntimeError, match="failed to map"), error_exit.exit_with_one_line(False):
        raise RuntimeError(text)  # without a limit, it is no matter of memory
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 30, 1 << 30))
    with pytest.raises(SystemExit) as ended, error_exit.exit_with_one_line(False):
        raise RuntimeError(text)
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: 1,024 MiB of memory, the limit that is set, are too little (failed to map "
        "segment): raise it (ulimit -v unlimited)\n"
    )
