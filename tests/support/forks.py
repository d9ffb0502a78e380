"""Programs in forks of a process that has imported paddle: a start takes a tenth of a second, not
three. For tests in which starting Python is not the point; the processes that a program spawns are
forks of it, unless the test asks for new ones.
"""

import atexit
import functools
import io
import json
import multiprocessing
import multiprocessing.context
import os
import runpy
import select
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


# A `python` for shell scripts: it sends its command line to the server.
_CLIENT = """#!{python} -IS
import json, os, socket, sys

case = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}}
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.connect({address!r})
socket.send_fds(server, [json.dumps(case).encode()], [0, 1, 2])
sys.exit(json.loads(server.recv(64)))
"""


def _run(case: dict[str, Any], files: list[int]) -> None:
    """Become the program of a case, and end as Python ends. files: standard input, output and
    error."""
    if case.get("new_session"):
        os.setsid()
    if not case.get("spawn"):
        multiprocessing.get_context = _forking_context
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(case["cwd"])
    os.environ.clear()
    os.environ.update(case["environment"])
    # As from a terminal: a shell starts what runs in its background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 0
    try:
        _run_arguments(case["argv"])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run_arguments(argv: list[str]) -> None:
    """Run what Python's command line names after its options: a script, `-m module`, `-c code`."""
    while argv[0] == "-u":
        argv = argv[1:]
    if argv[0] == "-m":
        sys.argv, sys.path[0] = argv[1:], ""
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *argv[2:]], ""
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = argv, str(Path(argv[0]).absolute().parent)
        runpy.run_path(argv[0], run_name="__main__")


_get_context = multiprocessing.get_context


class _ForkedProcess(multiprocessing.context.ForkProcess):
    """Begins with the signal handlers of a new Python: what is ignored stays ignored."""

    def run(self) -> None:
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                default = number == signal.SIGINT
                signal.signal(number, signal.default_int_handler if default else signal.SIG_DFL)
        super().run()


def _forking_context(method: str | None = None) -> Any:
    """multiprocessing.get_context, which gives what forks where what spawns is asked for."""
    context = _get_context("fork" if method == "spawn" else method)
    if method == "spawn":
        context.Process = _ForkedProcess  # type: ignore[misc, assignment]
    return context


def _run_for_client(client: socket.socket) -> None:
    """Run the program of a client, and answer with its exit code."""
    message, files, *_ = socket.recv_fds(client, _MESSAGE_BYTES, 3)
    pid = os.fork()
    if not pid:
        client.close()
        _run(json.loads(message), files)
    for file in files:
        os.close(file)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    client.send(json.dumps(code if code >= 0 else 128 - code).encode())


def serve(connection: socket.socket, listener: socket.socket) -> None:
    """Answer a program with its process id, and a process id with the exit code, or null while it
    runs; run the programs of clients (see `python_for_scripts`)."""
    # The first place is that of the program's own folder.
    sys.path[:0] = ["", str(ROOT), str(Path(__file__).parent)]
    from bert_paddle.common import runtime
    from bert_paddle.models import paddlenlp_bert

    runtime.configure(2)
    runtime.import_paddle()
    paddlenlp_bert.bert_module()
    import h5py  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401

    import bert_paddle.glue.finetune
    import bert_paddle.pretrain.pretrain  # noqa: F401

    while True:
        if listener in select.select([connection, listener], [], [])[0]:
            client, _ = listener.accept()
            if not os.fork():
                connection.close()
                listener.close()
                _run_for_client(client)
                os._exit(0)
            client.close()
            continue
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
                listener.close()
                _run(case, [os.open(os.devnull, os.O_RDONLY), *files])
            for file in files:
                os.close(file)
        connection.send(json.dumps(answer).encode())


class Fork:
    """A started program, with what tests use of a `subprocess.Popen`."""

    def __init__(self, argv: list[str], cwd: Path, environment: dict[str, str], **options: bool):
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        case = {"argv": argv, "cwd": str(cwd), "environment": environment}
        self.pid = _ask(case | options, [out_end, err_end])
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
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(_address())
    listener.listen()
    files = [theirs.fileno(), listener.fileno()]
    subprocess.Popen(
        [sys.executable, __file__, *map(str, files)],
        env=without_job() | {"OMP_NUM_THREADS": "1"},
        pass_fds=files,
    )
    theirs.close()
    listener.close()
    return ours


def _address() -> str:
    """Where clients find the server: in the abstract namespace, so without a file."""
    return f"\0bert_paddle_forks_{os.getpid()}"


def python_for_scripts(path: Path) -> Path:
    """Write an executable file that is a `python` for scripts, and starts at once. A signal to it
    does not reach the program."""
    _server()
    path.write_text(_CLIENT.format(python=sys.executable, address=_address()))
    path.chmod(0o755)
    return path


def _ask(case: Any, files: list[int] | None = None) -> Any:
    socket.send_fds(_server(), [json.dumps(case).encode()], files or [])
    return json.loads(_server().recv(_MESSAGE_BYTES))


def start(argv: list[str], cwd: Path, environment: dict[str, str], **options: bool) -> Fork:
    """Start a program. argv: its path and its flags. options: new_session; spawn, whether the
    processes that it spawns are new ones."""
    return Fork(argv, cwd, environment, **options)


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
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
