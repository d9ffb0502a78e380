"""Fault injection: runs that are killed, or get disk errors, at any point of what they write.

    python tests/support/faults.py      a server: answers cases, one JSON object per line

It imports paddle once and runs every case in a fork, which takes half a second instead of ten.
Each call that changes the output folder is an event with a name, such as "rename
model_4.partial". A case can name the event at which its fault is injected. The package itself is
not modified.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import places

from bert_paddle.common import atomic_files, run_log, runtime
from bert_paddle.distributed import collectives
from bert_paddle.models import paddlenlp_bert

STEPS = 6  # per run; a checkpoint every two steps, of which one is kept
_FLAGS = f"--max_steps {STEPS} --save_steps 2 --save_total_limit 1 --logging_steps 1 --report 0"
_PROGRAMS = {
    "glue": "--task_name sst2 --data_dir {place}/glue --max_seq_length 32 --do_train",
    "pretrain": "--input_dir {place}/shards --max_predictions_per_seq 4",
}
# The fault at the event that a case names. "torn" and "kill after" let it happen first; "torn" then
# truncates the file to half.
KINDS = ("kill", "kill after", "torn", "full", "readonly")
_ERRORS = {"full": (28, "No space left on device"), "readonly": (30, "Read-only file system")}


class Events:
    """Names the calls that change the output folder, and injects one fault."""

    def __init__(self, folder: Path, trace: Path, at: str | None = None, kind: str = "kill"):
        self.folder, self.at, self.kind = folder.resolve(), at, kind
        self.trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.lock, self.counts = threading.Lock(), dict[str, int]()

    def wrap(self, verb: str, original: Any) -> Any:
        def wrapped(path: Any, *rest: Any, **options: Any) -> Any:
            name = self._name(verb, path, options.get("dir_fd"))
            fault = name is not None and name == self.at
            if fault and self.kind == "kill":
                self._kill()
            if fault and self.kind in _ERRORS:
                self.at = None
                raise OSError(*_ERRORS[self.kind], str(path))
            result = original(path, *rest, **options)
            if fault and self.kind == "torn":
                os.truncate(path, os.path.getsize(path) // 2)
            if fault:
                self._kill()
            if name is not None:
                os.write(self.trace, f"{name}\n".encode())
            return result

        return wrapped

    def _name(self, verb: str, path: Any, dir_fd: int | None) -> str | None:
        """The event's name, with a number if it has occurred before."""
        if dir_fd is not None:
            path = Path(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        # absolute(), not resolve(): the renamed path may be a link.
        if not Path(path).absolute().is_relative_to(self.folder):
            return None
        where = Path(path).absolute().relative_to(self.folder).as_posix()
        name = f"{verb} {where.replace(f'.{os.getpid()}.', '.')}"
        with self.lock:
            self.counts[name] = count = self.counts.get(name, 0) + 1
        return name if count == 1 else f"{name} #{count}"

    def _kill(self) -> None:
        time.sleep(0.03)  # training continues while its checkpoint is written
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(9)

    def install(self) -> None:
        """Wrap the calls in this process."""
        for verb in ("replace", "rename", "unlink", "rmdir", "mkdir"):
            setattr(os, verb, self.wrap(verb, getattr(os, verb)))
        for verb in ("sync", "write_tensors"):
            setattr(atomic_files, verb, self.wrap(verb, getattr(atomic_files, verb)))
        write_text: Any = self.wrap("write", Path.write_text)
        Path.write_text = lambda self, *a, **k: write_text(self, *a, **k)
        # Lines of metrics.jsonl are appended by `log_metrics`, whose arguments include no path.
        original = run_log.RunLog.log_metrics
        append = self.wrap("append", lambda path, log, *a, **k: original(log, *a, **k))
        run_log.RunLog.log_metrics = lambda log, *a, **k: append(
            log.metrics_path or self.folder, log, *a, **k
        )


def prepare(place: Path) -> None:
    """A tiny model, GLUE files and pre-training shards."""
    import shard_files
    import tiny

    from bert_paddle.pretrain.data import schema

    tiny.write_model(place / "tiny")
    tiny.write_sst2(place / "glue" / "SST-2")
    for kind, number, count in ((schema.TRAINING, 0, 21), (schema.TEST, 0, 6)):
        rows = shard_files.make_rows(count, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(place / "shards" / schema.shard_name("t", kind, number), rows)


def run(case: dict[str, Any], rank: int) -> None:
    """Run one case in this process. Keys: program, argv, out (folder), log (path without suffix),
    event and kind, file_size (a limit in bytes), ports (one for each process of the job), plan (of
    a signal: see places.py)."""
    from bert_paddle.common.error_exit import exit_with_one_line

    # Only the output of the main process is kept.
    log_path = case["log"] if rank == 0 else "/dev/null"
    for number, suffix in ((1, ".out"), (2, ".err")):
        path = log_path + suffix if rank == 0 else log_path
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if case["program"] == "prepare":
        return prepare(Path(case["out"]))
    if case["program"] == "glue":
        from bert_paddle.glue import args
        from bert_paddle.glue import finetune as program
    else:
        from bert_paddle.pretrain import args
        from bert_paddle.pretrain import pretrain as program
    if "file_size" in case:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["file_size"],) * 2)
    if rank == 0:
        trace = Path(case["log"] + ".events")
        trace.unlink(missing_ok=True)
        Events(Path(case["out"]), trace, case.get("event"), case.get("kind", "kill")).install()
    if "plan" in case:
        places.install(case["plan"], rank)
    with exit_with_one_line(debug=False):
        if ports := case.get("ports"):
            import paddle.distributed

            runtime.set_rank_environment(rank, [f"127.0.0.1:{port}" for port in ports], gpus=False)
            paddle.distributed.init_parallel_env()
            collectives.connect(lambda message: os._exit(1))
        program.run(args.parse_args(case["argv"]))


def fork(case: dict[str, Any], rank: int) -> int:
    """Run the case in a new process; returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        run(case, rank)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer every case with {"code": exit code, or minus the signal that killed it, "seconds"}.

    A case's kill_after: seconds after which the main process is killed; the other processes of its
    job are killed too, as the launcher does.
    """
    runtime.configure(1)
    runtime.import_paddle()
    paddlenlp_bert.bert_module()
    import h5py  # noqa: F401

    import bert_paddle.glue.finetune
    import bert_paddle.pretrain.pretrain  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        case, start = json.loads(line), time.perf_counter()
        main, *others = [fork(case, rank) for rank in range(max(1, len(case.get("ports", ()))))]
        if "kill_after" in case:
            while time.perf_counter() - start < case["kill_after"]:
                if os.waitid(os.P_PID, main, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
                time.sleep(0.002)
            os.kill(main, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(main, 0)[1])
        for other in others:
            if code:
                os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
        print(json.dumps({"code": code, "seconds": time.perf_counter() - start}), file=answers)
        answers.flush()


class Server:
    """Runs tests/support/faults.py in a folder with a model and data."""

    def __init__(self, place: Path):
        self.place = place
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PADDLE_")}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=environment | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask({"program": "prepare", "out": str(place), "log": str(place / "prepare")})

    def ask(self, case: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(case), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def run(self, program: str, out: Path, *flags: str, **fault: Any) -> "RunResult":
        """A run with --resume_from_checkpoint auto, as a supervisor would restart it.

        fault: further keys of the case (see `run`).
        """
        argv = f"--model_name_or_path {self.place}/tiny --output_dir {out} --batch_size 8 "
        argv += f"{_FLAGS} {_PROGRAMS[program].format(place=self.place)} "
        argv += "--resume_from_checkpoint auto " + " ".join(flags)
        name = str(out) + ".log"
        case = {"program": program, "out": str(out), "log": name, "argv": argv.split(), **fault}
        paths = [Path(name + suffix) for suffix in (".out", ".err", ".events")]
        for path in paths:
            path.unlink(missing_ok=True)
        answer = self.ask(case)
        # A run that was killed immediately has no files yet.
        out, err, events = (path.read_text() if path.exists() else "" for path in paths)
        return RunResult(answer["code"], answer["seconds"], out, err, events.splitlines())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@dataclass
class RunResult:
    """A run's exit code (negative: the signal), seconds, output and events."""

    code: int
    seconds: float
    out: str
    err: str
    events: list[str]

    def resumed_from(self) -> str:
        match = re.search(r"resuming from \S*/(model_\d+)", self.err)
        return match[1] if match else "the beginning"


if __name__ == "__main__":
    serve()
