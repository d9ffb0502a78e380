"""Programs in forks of a process that has imported paddle: a start takes a tenth of a second instead
of three. For tests in which starting Python is not the point.

    python forks.py      a server: starts programs and tells how they ended, one JSON object per line
"""

import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(case: dict[str, Any]) -> None:
    """Become the program of a case and end as Python ends."""
    os.setsid()
    for number, path in enumerate((os.devnull, case["out"], case["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.chdir(case["cwd"])
    os.environ.clear()
    os.environ.update(case["environment"])
    sys.argv = case["argv"]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Answer a program with its process id, and a process id with the exit code, or null while it
    runs."""
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    from bert_paddle.common import runtime
    from bert_paddle.models import paddlenlp_bert

    runtime.configure(2)
    runtime.import_paddle()
    paddlenlp_bert.bert_module()
    import bert_paddle.glue.finetune
    import bert_paddle.pretrain.pretrain  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        case = json.loads(line)
        if isinstance(case, int):
            pid, status = os.waitpid(case, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                run(case)
        print(json.dumps(answer), file=answers, flush=True)


class Server:
    def __init__(self) -> None:
        from jobs import without_job

        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=without_job() | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started = 0

    def ask(self, case: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(case), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def start(self, argv: list[str], cwd: Path, environment: dict[str, str]) -> "Fork":
        """Start a program, in a session of its own. argv: its path and its flags."""
        self.started += 1
        out, err = (f"{self.folder.name}/{self.started}.{name}" for name in ("out", "err"))
        case = {"argv": argv, "cwd": str(cwd), "environment": environment, "out": out, "err": err}
        return Fork(self, self.ask(case), Path(out), Path(err))

    def start_ranks(
        self, argvs: list[list[str]], cwd: Path, environments: list[dict[str, str]]
    ) -> list["Fork"]:
        """Start one process for each argv, as Paddle's launcher starts the ranks of a job."""
        endpoints = [f"127.0.0.1:{free_port()}" for _ in argvs]
        ranks = []
        for rank, (argv, environment) in enumerate(zip(argvs, environments, strict=True)):
            variables = {
                "PADDLE_TRAINER_ID": str(rank),
                "PADDLE_TRAINERS_NUM": str(len(argvs)),
                "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
                "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
                "PADDLE_DISTRI_BACKEND": "gloo",
            }
            ranks.append(self.start(argv, cwd, environment | variables))
        return ranks

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Fork:
    """A started program, with what tests use of a `subprocess.Popen`."""

    def __init__(self, server: Server, pid: int, out: Path, err: Path):
        self.server, self.pid, self.paths = server, pid, (out, err)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.server.ask(self.pid)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written, when it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout or 120)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", timeout or 120)
            time.sleep(0.02)
        out, err = (path.read_text() for path in self.paths)
        return out, err

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
