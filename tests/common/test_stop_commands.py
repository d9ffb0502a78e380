"""Stop signals to the other commands, and while paddle is imported: real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny
from jobs import finish, without_job

from bert_paddle.common import signals
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import Interrupted

ROOT = Path(__file__).parents[2]
REST = "the files written so far are complete, run the same command again for the rest"


def start(*argv: str, **options) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-u", *argv],
        cwd=ROOT,
        env=without_job() | options.pop("env", {}),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        **options,
    )


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_command_that_waits_for_input(name, code):
    command = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command += "print('ready', flush=True); sys.argv[1:] = ['predict', 'nowhere'];"
    command += "runpy.run_module('bert_paddle', run_name='__main__', alter_sys=True)"
    job = start("-c", command)
    assert job.stdout.readline() == "ready\n"
    time.sleep(2)
    job.send_signal(getattr(signal, name))
    assert job.wait(60) == code
    assert job.stderr.read() == f"error: {name}: stopped; {REST}\n"
    finish(job)


def test_a_signal_during_the_import_of_paddle_is_delivered_after_it():
    """Paddle replaces the handler of SIGTERM without Python's knowledge."""
    command = (
        "import os, signal, sys, threading, time\n"
        "from bert_paddle.common import runtime\n"
        "from bert_paddle.common.error_exit import exit_with_one_line\n"
        "with exit_with_one_line(debug=False):\n"
        "    if sys.argv[1] == 'during':\n"
        "        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "    runtime.import_paddle()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    for when in ("during", "after"):
        code, _, err = finish(start("-c", command, when))
        assert code == 143 and f"error: SIGTERM: stopped; {REST}" in err.splitlines(), err
        assert "FatalError" not in err


def test_a_signal_ignored_by_the_starter_stays_ignored():
    """nohup; a program in the background of a script."""
    command = (
        "import os, signal\n"
        "from bert_paddle.common.error_exit import exit_with_one_line\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with exit_with_one_line(debug=False):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    assert finish(start("-c", command)) == (0, "", "")


def test_code_that_does_not_return_to_python_is_ended_by_a_thread():
    """As Paddle's wait for the other ranks of a job."""
    command = (
        "import ctypes, os, signal, sys, threading\n"
        "from bert_paddle.common import signals\n"
        "def end(line):\n"
        "    print(line, file=sys.stderr, flush=True)\n"
        "    os._exit(signals.exit_code_of(line))\n"
        "with signals.requests.installed(), signals.requests.ending_in_thread(end):\n"
        "    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        # It restarts its wait after a signal.
        "    libc, thread = ctypes.CDLL('libc.so.6'), ctypes.c_ulong()\n"
        "    sleep = ctypes.cast(libc.sleep, ctypes.c_void_p)\n"
        "    libc.pthread_create(ctypes.byref(thread), None, sleep, ctypes.c_void_p(100))\n"
        "    libc.pthread_join(thread, None)\n"
    )
    code, _, err = finish(start("-c", command), 60)
    assert code == 143 and err == f"SIGTERM: stopped; {REST}\n"


def test_create_data_is_stopped_and_finished(tmp_path):
    sentence = " ".join(tiny.WORDS)
    text = "\n\n".join("\n".join([f"{sentence} {i}"] * 9) for i in range(5000))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text(text)
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")

    def create(out: str) -> subprocess.Popen:
        argv = f"-m bert_paddle create-data --input_files {tmp_path}/text --shards 4 --workers 2 "
        argv += f"--vocab_file {tmp_path}/vocab.txt --output_dir {tmp_path / out}"
        return start(*argv.split())

    assert finish(create("uninterrupted"))[0] == 0
    job = create("out")
    while not (line := job.stderr.readline()).startswith("training:"):
        assert line, "ended early"
    time.sleep(0.5)
    job.send_signal(signal.SIGTERM)
    code, _, err = finish(job)
    assert code == 143 and err.splitlines()[-1] == f"error: SIGTERM: stopped; {REST}", err
    assert finish(create("out"))[0] == 0
    for path in (tmp_path / "uninterrupted").glob("*.hdf5"):
        with (
            h5py.File(path) as a,
            h5py.File(tmp_path / "out" / path.name.replace(path.parent.name, "out")) as b,
        ):
            assert all(np.array_equal(a[key], b[key]) for key in a)


def test_a_swallowed_signal_is_seen_by_the_next_check(monkeypatch):
    """Code of a library may catch any exception."""
    with pytest.raises(SystemExit) as ended, exit_with_one_line(debug=False):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
        except BaseException:  # noqa: S110
            pass
        with signals.requests.deferred():
            assert signals.requests.poll() == {"SIGTERM": 1}
            raise Interrupted("SIGTERM: saved", signal.SIGTERM)
    assert ended.value.code == 143
    assert signals.requests.poll() == {}
