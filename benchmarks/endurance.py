"""Does a long run grow? 5,000 steps of a tiny model with each program, watched from outside.

    python benchmarks/endurance.py [--steps 5000]

Memory (RSS), open files and threads of the process, read from /proc at every log line, after the
warm-up of 500 steps against the end; saves and evaluations on the way. Prints Markdown; exits 1
where memory grew by 2 % or more, or where there are more files or threads at the end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests" / "support")]
_WARM_UP, _WINDOW, _LIMIT = 500, 500, 0.02
_MODEL = "--model_name_or_path {place}/tiny --batch_size 8 --logging_steps 10 --save_steps 250 "
_MODEL += "--save_total_limit 2 --num_train_epochs 1e5 --num_workers 2 --n_gpu 0 "
_PROGRAMS = {
    "run_glue": "--task_name sst2 --data_dir {place}/glue --max_seq_length 32",
    "run_pretrain": "--input_dir {place}/shards --max_predictions_per_seq 4",
}


@dataclass
class Sample:
    """A process at a step: memory in MiB, open files, threads."""

    step: int
    memory: float
    files: int
    threads: int


def prepare(place: Path) -> None:
    """A model, GLUE files and shards; in a process of its own, as paddle is imported for it."""
    import shard_files
    import tiny

    from bert_paddle.pretrain.data import schema

    tiny.write_model(place / "tiny")
    tiny.write_sst2(place / "glue" / "SST-2", train=2000, dev=200)
    for kind, number, count in ((schema.TRAINING, 0, 1200), (schema.TRAINING, 1, 800)):
        rows = shard_files.make_rows(count, number * 1200, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(place / "shards" / schema.shard_name("t", kind, number), rows)
    rows = shard_files.make_rows(200, 2000, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.write_shard(place / "shards" / schema.shard_name("t", schema.TEST, 0), rows)


def look(pid: int, step: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    values = dict(line.split(":", 1) for line in status.splitlines())
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(step, int(values["VmRSS"].split()[0]) / 1024, files, int(values["Threads"]))


def watch(program: str, place: Path, steps: int) -> list[Sample]:
    """Run a program to its end; a sample at each of its log lines."""
    argv = [sys.executable, "-u", str(REPO / f"{program}.py"), "--max_steps", str(steps)]
    argv += (_MODEL + _PROGRAMS[program]).format(place=place).split()
    argv += ["--output_dir", str(place / program)]
    samples = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None and job.stderr is not None
        for line in job.stdout:
            if line.startswith("global step "):
                step = int(line.split()[2].rstrip(","))
                if step < steps:  # after the last line it may be gone
                    samples.append(look(job.pid, step))
        said = job.stderr.read()
    if job.returncode:
        raise SystemExit(f"{program} ended with {job.returncode}:\n{said}")
    return samples


def row(program: str, samples: list[Sample], steps: int) -> tuple[str, bool]:
    """A line of the table, and whether it is as it should be."""
    first = [s for s in samples if _WARM_UP <= s.step < _WARM_UP + _WINDOW]
    last = [s for s in samples if s.step >= steps - _WINDOW]
    memory = [statistics.median(s.memory for s in some) for some in (first, last)]
    growth = memory[1] / memory[0] - 1
    # A checkpoint under way has a thread and files of its own: the least is what stays.
    files = [min(s.files for s in some) for some in (first, last)]
    threads = [min(s.threads for s in some) for some in (first, last)]
    peak = max(s.memory for s in samples)
    line = f"| {program} | {memory[0]:.1f} | {memory[1]:.1f} | {growth:+.2%} | {peak:.1f} "
    line += f"| {files[0]} → {files[1]} | {threads[0]} → {threads[1]} |"
    return line, growth < _LIMIT and files[1] <= files[0] and threads[1] <= threads[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000, help="of each program")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.prepare:
        return prepare(flags.prepare)
    if flags.steps < _WARM_UP + 2 * _WINDOW:
        parser.error(f"--steps must be at least {_WARM_UP + 2 * _WINDOW}")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, "--prepare", folder], check=True)
        print(f"{flags.steps} steps, a checkpoint and an evaluation every 250, two kept\n")
        first, last = f"{_WARM_UP} to {_WARM_UP + _WINDOW}", f"the last {_WINDOW}"
        print(f"| program | MiB, steps {first} | MiB, {last} | growth | peak | files | threads |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for program in _PROGRAMS:
            line, fine = row(program, watch(program, Path(folder), flags.steps), flags.steps)
            print(line, flush=True)
            good = good and fine
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
