"""Whole commands: from their start to the first training step, to the help, and their memory."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.suite import contest, inputs, load
from benchmarks.suite.contest import OURS, PEERS, Job
from benchmarks.suite.options import ROOT, Options, folder

_DROP = Path("/proc/sys/vm/drop_caches")
_MEMORY_STEPS = 60


def start(options: Options, scratch: Path) -> Iterator[Job]:
    """Seconds from the command to the end of the first step, with the disk's cache and without."""
    cache, peer = scratch / "start-cache", not options.peers or "hf_documented" in options.peers
    for name in ("cached", "cold"):
        cold = name == "cold"
        job = Job(f"start {name}", "s", False, {"task": "SST-2", "batch": options.batch}, {}, {})
        commands = {"ours": (ours(scratch, 1, False), "global step 1,")}
        job.labels["ours"] = "ours" + (", nothing kept of earlier starts" if cold else "")
        if not cold:
            commands["ours_new"] = commands["ours"]
            job.labels["ours_new"] = "ours, nothing kept of earlier starts"
        if peer:
            commands["hf_documented"] = (hugging_face(scratch, "max_length", 1, True), "step 1")
            job.labels["hf_documented"] = "(a) HF Trainer, padded to 128"
        if cold and (why := _forget_the_disk()):
            job.notes.append(f"not measured: the disk's cache cannot be dropped here ({why})")
            job.blocks = {key: [] for key in job.labels}
            yield job
            continue
        if not cold:  # the first of all, which leave what the next ones find
            for command, words in commands.values():
                _until(command, words, cache)
        for _ in range(options.rounds):
            for key, (command, words) in commands.items():
                time.sleep(contest.PAUSE)
                if cold:
                    _forget_the_disk()
                new = cold or key == "ours_new"
                own = scratch / "start-new-cache" if new else cache
                shutil.rmtree(scratch / "start-new-cache", ignore_errors=True)
                block = _watched(partial(_until, command, words, own))
                _keep(job, key, block, block["seconds"])
        yield job
    yield _help(options)


def memory(options: Options, scratch: Path) -> Iterator[Job]:
    """The most memory that an epoch with one save in its middle and one at its end holds at a time.

    The rows are drawn from SST-2 with the longest among them, since each side meets those at
    another time of an epoch, and an epoch of all of them takes half an hour.
    """
    steps = 4 if options.quick else _MEMORY_STEPS
    data = scratch / "memory" / "SST-2"
    data.mkdir(parents=True, exist_ok=True)
    inputs.write_sst2(steps * options.batch, data)
    job = Job("memory SST-2", "MiB", False, {"steps": steps, "batch": options.batch}, {}, {})
    commands = {"ours": ours(scratch, steps, True, data)}
    job.labels["ours"] = "ours, default flags"
    if not options.peers or "hf_best" in options.peers:
        commands["hf_best"] = hugging_face(scratch, "longest", steps, False, data)
        job.labels["hf_best"] = "(b) HF Trainer at its best"
    for _ in range(options.rounds):
        for key, command in commands.items():
            time.sleep(contest.PAUSE)
            _forget_output(command)
            shutil.rmtree(scratch / "memory-cache", ignore_errors=True)
            block = _watched(partial(_peak, command, scratch))
            _keep(job, key, block, block["peak_mib"])
    yield job


def ours(scratch: Path, steps: int, train_alone: bool, data: Path | None = None) -> list[str]:
    """run_glue.py on SST-2 for some steps."""
    command = [str(OURS), "-u", "run_glue.py", "--task_name", "SST-2"]
    command += ["--model_name_or_path", str(inputs.weights()), "--batch_size", "32"]
    command += ["--learning_rate", "2e-5", "--max_steps", str(steps)]
    command += ["--output_dir", str(scratch / "run"), "--overwrite_output_dir"]
    command += ["--data_dir", str(data)] if data else []
    if train_alone:
        return [*command, "--save_steps", str(steps // 2), "--do_train"]
    return [*command, "--save_steps", str(steps), "--logging_steps", "1"]


def hugging_face(
    scratch: Path, padding: str, steps: int, evaluate: bool, data: Path | None = None
) -> list[str]:
    """benchmarks/peers/hf_run.py likewise."""
    data = data or folder("GLUE_DATA_DIR") / "SST-2"
    command = [str(PEERS), "-u", "benchmarks/peers/hf_run.py", "--model", str(inputs.weights())]
    command += ["--data", str(data), "--padding", padding]
    command += ["--output", str(scratch / "hf_run"), "--max_steps", str(steps)]
    return [*command, "--eval"] if evaluate else [*command, "--save_steps", str(steps // 2)]


def _help(options: Options) -> Job:
    job = Job("help", "s", False, {}, {}, {})
    for _ in range(options.rounds):
        for program in ("run_glue.py", "run_pretrain.py"):
            job.labels[program] = f"{program} --help"
            block = _watched(partial(_seconds, [str(OURS), program, "--help"]))
            _keep(job, program, block, block["seconds"])
    return job


def _keep(job: Job, key: str, block: dict[str, Any], value: float) -> None:
    contest.say(f"{job.name}, {key}: {value:.2f} {job.unit}")
    job.blocks.setdefault(key, []).append(block | {"value": value})


def _watched(measure: Callable[[], dict[str, float]]) -> dict[str, Any]:
    watch = load.Watch(load.of_children)
    return measure() | watch.seen()


def _environment(cache: Path) -> dict[str, str]:
    return contest.environment(2) | {"XDG_CACHE_HOME": str(cache)}


def _until(command: list[str], words: str, cache: Path) -> dict[str, float]:
    """Seconds until a command prints a line that begins with `words`; it is ended then."""
    _forget_output(command)
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(cache),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            if not any(line.startswith(words) for line in process.stdout):
                errors.seek(0)
                raise RuntimeError(f"{' '.join(command)} ended:\n{errors.read().strip()[-3000:]}")
            return {"seconds": time.perf_counter() - begun}
        finally:
            process.kill()
            process.communicate()


def _peak(command: list[str], scratch: Path) -> dict[str, float]:
    """The most memory of a command's process, to its end."""
    begun = time.perf_counter()
    with (scratch / "memory.log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(scratch / "memory-cache"), stdout=log, stderr=log
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended:\n{log.read()[-3000:]}")
    return {"seconds": time.perf_counter() - begun, "peak_mib": round(used.ru_maxrss / 1024, 1)}


def _seconds(command: list[str]) -> dict[str, float]:
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=contest.environment(2), capture_output=True, check=True)
    return {"seconds": time.perf_counter() - begun}


def _forget_output(command: list[str]) -> None:
    for name in ("--output_dir", "--output"):
        if name in command:
            shutil.rmtree(command[command.index(name) + 1], ignore_errors=True)


def _forget_the_disk() -> str:
    """Empty the disk's cache; returns why that is not possible, or ""."""
    os.sync()
    try:
        _DROP.write_text("3\n")
    except OSError as error:
        return error.strerror or str(error)
    return ""
