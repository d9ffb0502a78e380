"""A stop signal at any place of a run, in a real process: the run ends there with one line and the
signal's exit code, and the resumed run equals the uninterrupted one."""

from pathlib import Path

import pytest
import same
from faults import STEPS, Server

GLUE = "--do_eval --do_predict --load_best_model_at_end --eval_batch_size 4 --learning_rate 1e-3"
PRETRAIN = "--load_best_model_at_end --eval_batch_size 2 --learning_rate 1e-3"
# 16 rows are evaluated in four batches at steps 2, 4 and 6; step 4 or 2 is the best, or 6.
LAST = "stopped and saved at step 6 of 6; resume with --resume_from_checkpoint auto"
BEFORE = "stopped before a step was made; start again with --resume_from_checkpoint auto"
START = "stopped; the files written so far are complete, run the same command again for the rest"
TABLE = {
    # name: program, place, call, signal, message (or its beginning)
    "reading data": ("glue", "reading data", 1, "SIGTERM", START),
    "building the model": ("glue", "building the model", 1, "SIGINT", START),
    "between start and training": ("glue", "run.json", 1, "SIGTERM", BEFORE),
    # Noticed at the next step.
    "a step before one that is evaluated": (
        "glue",
        "step",
        1,
        "SIGTERM",
        "stopped and saved at step 2",
    ),
    "the first batch of an evaluation": (
        "glue",
        "evaluation",
        1,
        "SIGTERM",
        "stopped and saved at step 2 of 6",
    ),
    "a later batch": ("glue", "evaluation", 6, "SIGINT", "stopped and saved at step 4 of 6"),
    "the last batch": ("glue", "evaluation", 8, "SIGTERM", "stopped and saved at step 5 of 6"),
    "between evaluation and save": (
        "glue",
        "snapshot",
        1,
        "SIGTERM",
        "stopped and saved at step 3",
    ),
    "the evaluation of the last step": ("glue", "evaluation", 10, "SIGTERM", LAST),
    "the last snapshot": ("glue", "snapshot", 3, "SIGTERM", LAST),
    "while the last checkpoint is written": ("glue", "writing a checkpoint", 3, "SIGTERM", LAST),
    "while checkpoints are deleted": ("glue", "deleting checkpoints", 3, "SIGTERM", LAST),
    "the epoch table": ("glue", "epoch table", 1, "SIGHUP", LAST),
    "loading the best": ("glue", "loading the best", 1, "SIGTERM", LAST),
    "the first batch after training": ("glue", "evaluation", 13, "SIGTERM", LAST),
    "writing predictions": ("glue", "predictions", 1, "SIGTERM", LAST),
    "writing results": ("glue", "results", 1, "SIGINT", LAST),
    "the report": ("glue", "report", 1, "SIGTERM", LAST),
    "opening shards": ("pretrain", "opening shards", 2, "SIGTERM", START),
    "held-out evaluation": (
        "pretrain",
        "held-out evaluation",
        2,
        "SIGTERM",
        "stopped and saved at step 2 of 6",
    ),
    "held-out evaluation of the last step": ("pretrain", "held-out evaluation", 8, "SIGINT", LAST),
    "writing results of pre-training": ("pretrain", "results", 1, "SIGTERM", LAST),
}
CODES = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def uninterrupted(server, tmp_path_factory):
    """The uninterrupted run of each program: its folder and its log lines."""
    runs = {}
    for program, flags in (("glue", GLUE), ("pretrain", PRETRAIN)):
        out = tmp_path_factory.mktemp("reference") / program
        done = server.run(program, out, *flags.split())
        assert done.code == 0, done.err
        runs[program] = out, same.plain_lines(done.out)
    return runs


@pytest.mark.parametrize("name", TABLE)
def test_a_signal_ends_the_run_and_a_resume_finishes_it(server, uninterrupted, tmp_path, name):
    program, place, call, signal_name, message = TABLE[name]
    reference, lines = uninterrupted[program]
    flags = {"glue": GLUE, "pretrain": PRETRAIN}[program].split()
    if place == "report":
        flags += ["--report", "1"]
    out = tmp_path / "out"
    plan = {"place": place, "call": call, "signal": signal_name}
    stopped = server.run(program, out, *flags, plan=plan)
    assert stopped.code == CODES[signal_name], stopped.err
    [error] = [line for line in stopped.err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {signal_name}: {message}") and "Traceback" not in stopped.err
    assert not (out / ".in_use").exists()
    resumed = server.run(program, out, *flags)
    assert resumed.code == 0, resumed.err
    expected = ["model_6/state/train_state.json"] if place == "report" else []  # it has the flag
    assert same.differences(reference, out, STEPS) == expected
    assert predictions(reference) == predictions(out)
    before, after = same.plain_lines(stopped.out), same.plain_lines(resumed.out)
    assert before == lines[: len(before)] and after == lines[len(lines) - len(after) :]
    assert len(before) + len(after) >= len(lines)


def predictions(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("predictions/*")}


@pytest.mark.parametrize(
    ("signal_name", "message"),
    [
        # As Paddle's launcher stops its ranks.
        ("SIGTERM", "stopped and saved at step 2 of 6"),
        # Ctrl-C pressed again.
        ("SIGINT", "a second signal, ended immediately; checkpoints are complete"),
    ],
)
def test_several_signals(server, uninterrupted, tmp_path, signal_name, message):
    """Copies of a SIGTERM do not prevent the save; a second Ctrl-C does, and harms nothing."""
    out, (reference, _) = tmp_path / "out", uninterrupted["glue"]
    plan = {"place": "evaluation", "call": 2, "signal": signal_name, "times": 3}
    stopped = server.run("glue", out, *GLUE.split(), plan=plan)
    assert stopped.code == CODES[signal_name], stopped.err
    [error] = [line for line in stopped.err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {signal_name}: {message}")
    assert server.run("glue", out, *GLUE.split()).code == 0
    assert not same.differences(reference, out, STEPS)
