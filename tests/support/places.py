"""Signals at a chosen place of a run.

    python places.py run_glue|run_pretrain FLAGS...     like run_glue.py, in any number of processes

$PLACES_PLAN, as JSON, says where a process sends which signal (see `install`).
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import forks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# name: (module, function or class.method): the signal is sent when it is called.
PLACES = {
    "reading data": ("bert_paddle.glue.run_inputs", "read_data"),
    "building the model": ("bert_paddle.glue.run_inputs", "build_model"),
    "opening shards": ("bert_paddle.pretrain.open_shards", "check_shards"),
    "run.json": ("bert_paddle.training.run_info", "RunInfoFile.start"),
    "step": ("bert_paddle.training.step", "Trainer.step"),
    "evaluation": ("bert_paddle.glue.evaluate", "_logits"),
    "held-out evaluation": ("bert_paddle.pretrain.evaluate", "_logits"),
    "eval line": ("bert_paddle.common.run_log", "eval_line"),
    "snapshot": ("bert_paddle.training.run", "TrainingRun._save"),
    "writing a checkpoint": ("bert_paddle.training.checkpoint", "save"),
    "deleting checkpoints": ("bert_paddle.training.checkpoint", "prune"),
    "epoch table": ("bert_paddle.training.epoch_metrics", "print_epoch_table"),
    "loading the best": ("bert_paddle.training.run", "TrainingRun.load_best"),
    "predictions": ("bert_paddle.glue.finetune", "write_test_predictions"),
    "results": ("bert_paddle.training.run", "write_results"),
    "starting a rank": ("multiprocessing.process", "BaseProcess.start"),
    "report": ("bert_paddle.report.build", "write_run_report"),
}


def install(plan: dict[str, Any], rank: int) -> None:
    """Send a signal at a place, once. plan: "place", "call" (which call of it, from 1), "signal"
    (a name), "rank" (which sends it), "to": "self", "parent" or "group", and "times"."""
    if rank != plan.get("rank", 0):
        return
    module_name, name = PLACES[plan["place"]]
    owner: Any = importlib.import_module(module_name)
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), []

    def wrapped(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == plan.get("call", 1):
            for _ in range(plan.get("times", 1)):
                send(getattr(signal, plan.get("signal", "SIGTERM")), plan.get("to", "self"))
                time.sleep(0.2)
        return original(*args, **options)

    setattr(owner, name, wrapped)


def send(number: int, to: str) -> None:
    if to == "group":
        os.killpg(os.getpgrp(), number)
    else:
        os.kill(os.getppid() if to == "parent" else os.getpid(), number)


def start(
    program: str, flags: str, *launcher: str, spawn: bool = False, **plan: Any
) -> "subprocess.Popen | forks.Fork":
    """Start a job in a process group of its own, in the environment of a user without GPUs. spawn:
    see `forks.start`."""
    import forks
    from jobs import without_job

    environment = without_job() | {"PYTHONPATH": f"{ROOT}:{HERE}"}
    if plan:
        environment["PLACES_PLAN"] = json.dumps(plan)
    argv = [str(HERE / "places.py"), program, *flags.split()]
    if not launcher:
        return forks.start(argv, Path.cwd(), environment, new_session=True, spawn=spawn)
    return subprocess.Popen(
        [sys.executable, "-u", *launcher, *argv],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_glue(args: Any) -> None:
    _run("bert_paddle.glue.finetune", args)


def run_pretrain(args: Any) -> None:
    _run("bert_paddle.pretrain.pretrain", args)


def _run(module: str, args: Any) -> None:
    from bert_paddle.distributed import collectives

    if plan := os.environ.get("PLACES_PLAN"):
        install(json.loads(plan), collectives.get_world().rank)
    importlib.import_module(module).run(args)


if __name__ == "__main__":
    from bert_paddle.common.error_exit import exit_with_one_line
    from bert_paddle.distributed.launch import launch
    from bert_paddle.glue.args import parse_args as glue_args
    from bert_paddle.pretrain.args import parse_args as pretrain_args

    parsers = {"run_glue": glue_args, "run_pretrain": pretrain_args}
    if "starting a rank" in (plan := os.environ.get("PLACES_PLAN", "")):
        install(json.loads(plan), 0)  # in the parent
    with exit_with_one_line():
        launch(f"places:{sys.argv[1]}", parsers[sys.argv[1]](sys.argv[2:]))
