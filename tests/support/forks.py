"""Programs in forks of a process that has imported paddle: a start takes a tenth of a second, not
three. For tests in which starting Python is not the point; the ranks that a program spawns are
new processes as ever.
"""

import atexit
import functools
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_MESSAGE_BYTES = 1 << 17


def _run(case: dict[str, Any], output: list[int]) -> None:
    """Become the program of a case, and end as Python ends."""
    if case["new_session"]:
        os.setsid()
    for number, file in enumerate([os.open(os.devnull, os.O_RDONLY), *output]):
        os.dup2(file, number)
        os.close(file)
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


def serve(connection: socket.socket) -> None:
    """Answer a program with its process id, and a process id with the exit code, or null while it
    runs."""
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    from bert_paddle.common import runtime
    from bert_paddle.models import paddlenlp_bert

    runtime.configure(2)
    runtime.import_paddle()
    paddlenlp_bert.bert_module()
    import h5py  # noqa: F401

    import bert_paddle.glue.finetune
    import bert_paddle.pretrain.pretrain  # noqa: F401

    while True:
        message, files, *_ = socket.recv_fds(connection, _MESSAGE_BYTES, 2)
        if not message:  # the tests have ended
            return
        case = json.loads(message)
        if isinstance(case, int):
            pid, status = os.waitpid(case, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                connection.close()
                _run(case, files)
            for file in files:
                os.close(file)
        connection.send(json.dumps(answer).encode())


class Fork:
    """A started program, with what tests use of a `subprocess.Popen`."""

    def __init__(self, argv: list[str], cwd: Path, environment: dict[str, str], new_session: bool):
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        case = {"argv": argv, "cwd": str(cwd), "environment": environment}
        self.pid = _ask(case | {"new_session": new_session}, [out_end, err_end])
        os.close(out_end)
        os.close(err_end)
        self.stdout, self.stderr = open(out), open(err)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask(self.pid)
        return self.returncode

    def wait(self, timeout: float = 120) -> int:
        """Its exit code, when it has ended. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", timeout)
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """The rest of its output, when it and all that write there have ended. Raises
        subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        texts: dict[io.TextIOWrapper, str] = {}

        def read(file: io.TextIOWrapper) -> None:
            texts[file] = file.read()

        readers = [threading.Thread(target=read, args=(f,)) for f in (self.stdout, self.stderr)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0, deadline - time.monotonic()))
        if any(reader.is_alive() for reader in readers):
            raise subprocess.TimeoutExpired("a fork", timeout)
        self.wait(max(1, deadline - time.monotonic()))
        return texts[self.stdout], texts[self.stderr]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> socket.socket:
    """The connection to the server, which ends with this process."""
    from jobs import without_job

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())],
        env=without_job() | {"OMP_NUM_THREADS": "1"},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    return ours


def _ask(case: Any, files: list[int] | None = None) -> Any:
    socket.send_fds(_server(), [json.dumps(case).encode()], files or [])
    return json.loads(_server().recv(_MESSAGE_BYTES))


def start(
    argv: list[str], cwd: Path, environment: dict[str, str], new_session: bool = False
) -> Fork:
    """Start a program. argv: its path and its flags."""
    return Fork(argv, cwd, environment, new_session)


def start_ranks(
    argvs: list[list[str]], cwd: Path, environments: list[dict[str, str]]
) -> list[Fork]:
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
        ranks.append(start(argv, cwd, environment | variables))
    return ranks


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
