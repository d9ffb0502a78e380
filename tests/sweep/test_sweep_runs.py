"""Sweeps of a fake program: which runs are started, in which order, and how exits are handled."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bert_paddle.common.errors import FlagError, Interrupted, OutputError, RunError
from bert_paddle.glue.args import parse_args
from bert_paddle.sweep import child_processes, plan, seeds, sweep

HERE = Path(__file__).parent
FAKE = (sys.executable, str(HERE.parent / "support" / "fake_run.py"))
BASE = "--task_name sst2 --model_name_or_path m".split()


@pytest.fixture
def go(tmp_path):
    """Sweep the fake program over a grid in tmp_path/out."""

    def call(grid: dict[str, list[str]], *base: str, parallel: int | None = None, seeds=None):
        made = plan.plan_grid(tmp_path / "out", grid, [*BASE, *base], seeds)
        return sweep.run_sweep(made, parallel, FAKE)

    return call


def calls(folder: Path) -> list[list]:
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))


def test_every_combination_with_every_seed_ranked(go, tmp_path, capsys):
    go({"batch_size": ["8", "32", "16"], "learning_rate": ["2e-5"]}, seeds="1,3")
    out = tmp_path / "out"
    names = [f"batch_size_{b}-learning_rate_2e-5-seed_{s}" for b in (8, 32, 16) for s in (1, 3)]
    assert {p.name for p in out.iterdir() if p.is_dir()} == set(names)
    assert [row["batch_size"] for row in rows(out)] == ["32", "16", "8"]
    best = rows(out)[0]
    assert float(best["eval_accuracy"]) == pytest.approx(0.322)
    assert float(best["eval_accuracy_std"]) == pytest.approx(0.002**0.5 / 1000**0.5)
    assert "eval_samples" not in best and "eval_runtime" not in best
    page = (out / "sweep.md").read_text()
    # The t-interval of two values: their mean ± 12.7062 times half their distance.
    assert "| 32 | 2e-5 | 2 | 0.3220 ± 0.0014 [0.3093 to 0.3347] | 1.5000 ± 0.0000 " in page
    assert float(best["eval_accuracy_ci95_low"]) == pytest.approx(0.322 - 0.0127062, abs=1e-7)
    assert float(best["eval_accuracy_ci95_high"]) == pytest.approx(0.322 + 0.0127062, abs=1e-7)
    output = capsys.readouterr().out
    best_run = "Best run: batch_size 32, learning_rate 2e-5, seed 3, 0.3230"
    assert best_run in output and best_run in page
    assert f"# command: {sys.executable}" in (out / names[0] / "log.txt").read_text()


def test_finished_runs_are_not_repeated_and_a_grid_can_grow(go, tmp_path, capsys):
    go({"batch_size": ["8"]}, seeds="1")
    go({"batch_size": ["8", "16"]}, "--logging_steps", "7", seeds="1,2")
    done = calls(tmp_path / "out")
    assert [c[0] for c in done] == [1, 2, 1, 2] and {c[1] for c in done} == {"auto"}
    assert "[1/4] batch_size 8, seed 1: already finished" in capsys.readouterr().out
    assert [row["finished"] for row in rows(tmp_path / "out")] == ["2", "2"]


def test_other_settings_are_refused_unless_to_be_overwritten(go, tmp_path):
    go({"batch_size": ["8"]})
    with pytest.raises(OutputError, match=r"--max_steps was -1 and is 5; give those settings"):
        go({"batch_size": ["8"]}, "--max_steps", "5")
    assert len(calls(tmp_path / "out")) == 1
    go({"batch_size": ["8"]}, "--max_steps", "5", "--overwrite_output_dir")
    assert [c[1] for c in calls(tmp_path / "out")] == ["auto", None]


def test_a_finished_run_is_called_again_for_predictions(go, tmp_path):
    go({"batch_size": ["8"]})
    go({"batch_size": ["8"]}, "--do_train", "--do_eval", "--do_predict")
    go({"batch_size": ["8"]})
    assert len(calls(tmp_path / "out")) == 2


def test_a_failure_is_shown_and_the_others_run(go, tmp_path, capsys):
    grid = {"weight_decay": ["0.9", "0.8", "0.1"]}
    with pytest.raises(RunError, match=r"2 of 3 runs failed .*the same command runs them again"):
        go(grid)
    out = tmp_path / "out"
    page = (out / "sweep.md").read_text()
    log = "weight_decay_0.9-seed_42/log.txt"
    assert f"exit code 2: a &lt; b \\| c is wrong; see `{log}`" in page
    assert "ended without all_results.json" in page
    assert [row["weight_decay"] for row in rows(out)] == ["0.1", "0.9", "0.8"]
    assert [row["failed"] for row in rows(out)] == ["0", "1", "1"]
    assert log in capsys.readouterr().err
    with pytest.raises(RunError):
        go(grid)
    assert len(calls(out)) == 3 + 2


def test_results_of_an_earlier_start_do_not_hide_a_failure(go, tmp_path):
    folder = tmp_path / "out" / "weight_decay_0.9-seed_42"
    folder.mkdir(parents=True)
    (folder / "all_results.json").write_text('{"task": "x", "data": "y", "eval_accuracy": 1.0}')
    with pytest.raises(RunError):
        go({"weight_decay": ["0.9"]})
    assert rows(tmp_path / "out")[0]["finished"] == "0"


def test_ctrl_c_lets_the_runs_save_and_says_how_to_resume(go, tmp_path):
    out = tmp_path / "out"

    def interrupt():
        until = time.monotonic() + 30
        while len(list(out.glob("*/waiting"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        Interrupted, match="SIGINT: stopped with 0 of 3 .*same command resumes"
    ) as e:
        go({"weight_decay": ["0.7"]}, seeds="1,2,3", parallel=2)
    assert e.value.exit_code == 130 and signal.getsignal(signal.SIGINT) is before
    assert len(list(out.glob("*/saved"))) == 2 and len(calls(out)) == 2
    assert "Failed" not in (out / "sweep.md").read_text() and rows(out)[0]["failed"] == "0"


def test_a_run_killed_by_somebody_else_counts_as_failed(go, tmp_path):
    out = tmp_path / "out"

    def kill():
        while not (found := list(out.glob("*/waiting"))):
            time.sleep(0.05)
        os.kill(int(found[0].read_text()), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(RunError):
        go({"weight_decay": ["0.7"]})
    assert "stopped by SIGKILL" in (out / "sweep.md").read_text()


@pytest.mark.parametrize(
    ("script", "gpus", "message"),
    [
        (None, [], ""),  # no driver
        ("echo 0; echo 1", ["0", "1"], ""),
        ("echo 'Driver/library version mismatch'; exit 18", [], "Driver/library version mismatch"),
        ("exit 9", [], "exit code 9"),
    ],
)
def test_a_failure_of_nvidia_smi_is_said(tmp_path, monkeypatch, capsys, script, gpus, message):
    monkeypatch.setattr(child_processes.importlib.metadata, "version", lambda name: "3.3.1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if script:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert child_processes.visible_gpus() == gpus
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(message) and message in "".join(lines)


def test_gpus_are_dealt_out(go, tmp_path, monkeypatch):
    monkeypatch.setattr(child_processes, "visible_gpus", lambda: ["0", "3"])
    go({"batch_size": ["8"]}, seeds="1,2,3")
    given = [c[2] for c in calls(tmp_path / "out")]
    assert sorted(given[:2]) == ["0", "3"] and given[2] in ("0", "3")
    assert child_processes.make_slots(2, ["0", "1", "2", "3", "4"], None) == [
        {"CUDA_VISIBLE_DEVICES": "0,1"},
        {"CUDA_VISIBLE_DEVICES": "2,3"},
    ]
    assert (
        len(child_processes.make_slots(1, ["0", "1"], 4)) == 4
        and len(child_processes.make_slots(1, ["0", "1"], 1)) == 1
    )
    assert (
        len(child_processes.make_slots(4, ["0", "1"], None)) == 1
    )  # the run itself says that it needs more


def test_parallel_runs_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert child_processes.make_slots(2, [], 2) == [{"OMP_NUM_THREADS": "2"}] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert child_processes.make_slots(1, [], 2) == [{}, {}]


def test_seeds_write_mean_and_deviation(tmp_path, capsys):
    flags = [*BASE, "--batch_size", "16", "--output_dir", str(tmp_path / "out")]
    seeds.run_seeds(parse_args([*flags, "--seeds", "1,2,3"]), FAKE)
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert results["seeds"] == [1, 2, 3] and results["failed_seeds"] == []
    assert results["eval_accuracy"] == pytest.approx(0.162)
    assert results["eval_accuracy_std"] == pytest.approx(0.001)
    reach = 4.302653 * 0.001 / 3**0.5  # Student's t with two degrees of freedom
    assert results["eval_accuracy_ci95"] == pytest.approx([0.162 - reach, 0.162 + reach])
    assert results["per_seed"]["3"] == {"eval_accuracy": 0.163, "eval_loss": 1.5}
    output = capsys.readouterr().out
    assert "eval_accuracy: 0.162000 ± 0.001000 (seeds: 3)" in output
    page = (tmp_path / "out" / "seeds.md").read_text()
    spread = "0.1620 ± 0.0010 [0.1595 to 0.1645] | 1.5000 ± 0.0000 [1.5000 to 1.5000] |"
    assert f"| mean ± standard deviation | {spread}" in page
    with pytest.raises(OutputError, match="already contains runs .*--resume_from_checkpoint auto"):
        seeds.run_seeds(parse_args([*flags, "--seeds", "1,2,3,4"]), FAKE)
    resume = ["--resume_from_checkpoint", "auto"]
    seeds.run_seeds(parse_args([*flags, "--seeds", "1,2,3,4", *resume]), FAKE)
    assert [c[0] for c in calls(tmp_path / "out")] == [1, 2, 3, 4]
    again = parse_args(["--config", str(tmp_path / "out" / "settings.yaml")])
    assert (again.seeds, again.batch_size) == ("1,2,3,4", 16)
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert results["eval_accuracy"] == pytest.approx(0.1625)


def test_seeds_of_which_one_fails(tmp_path):
    flags = [*BASE, "--output_dir", str(tmp_path / "out"), "--seeds", "1,2"]
    broken = tmp_path / "broken.py"
    broken.write_text(
        f"import runpy, sys\nif '--seed=1' in sys.argv: sys.exit('error: no')\n"
        f"runpy.run_path({FAKE[1]!r}, run_name='__main__')\n"
    )
    with pytest.raises(RunError, match=r"1 of 2 runs failed \(seed_1\)"):
        seeds.run_seeds(parse_args(flags), (sys.executable, str(broken)))
    results = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert (results["seeds"], results["failed_seeds"]) == ([2], [1])
    assert results["eval_accuracy"] == pytest.approx(0.082)
    assert results["eval_accuracy_std"] is None


def test_seeds_are_not_for_the_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINER_ID", "0")
    with pytest.raises(FlagError, match="without paddle.distributed.launch"):
        seeds.run_seeds(parse_args([*BASE, "--output_dir", str(tmp_path / "out"), "--seeds", "1"]))


def test_the_folder_of_a_single_run_is_not_taken(go, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.jsonl").touch()
    with pytest.raises(OutputError, match="is itself a run's folder"):
        go({"batch_size": ["8"]})


def test_the_parent_never_imports_paddle():
    code = "import sys; from bert_paddle.sweep import seeds, grid; print('paddle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
