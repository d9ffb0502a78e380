"""macOS and Windows, as far as taking away what they lack can show."""

import subprocess
import sys

LACKING = """
import errno, multiprocessing.connection, os, select, signal, socket, subprocess, sys, tempfile
for module, name in ((errno, "EREMOTEIO"), (errno, "EUCLEAN"), (os, "sched_getaffinity")):
    delattr(module, name)
"""
WINDOWS = """
del signal.SIGHUP, signal.SIGUSR1
sys.modules["fcntl"] = None
sys.platform = "win32"
"""


def run(script: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


def test_the_programs_start_without_what_macos_lacks():
    done = run(
        LACKING
        + """
from bert_paddle.common import hardware
assert hardware.available_cores() == os.cpu_count() and "core(s)" in hardware.machine()
from bert_paddle.glue import finetune
from bert_paddle.pretrain import pretrain
from bert_paddle.sweep import child_processes
sys.argv = ["bert-paddle", "glue", "--help"]
from bert_paddle.__main__ import main
main()
"""
    )
    assert done.returncode == 0 and "--task_name" in done.stdout, done.stderr


def test_windows_is_told_the_way_out_in_one_line():
    for program in ("bert_paddle.__main__", "run_glue", "run_pretrain"):
        done = run(f"{LACKING}{WINDOWS}sys.argv = ['x', 'glue']\nimport {program} as p; p.main()")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ") and "WSL2" in done.stderr
