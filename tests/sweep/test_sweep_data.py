"""What a sweep says and does where its runs are of other data: demo rows among real ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle.common.errors import OutputError
from bert_paddle.glue.args import parse_args
from bert_paddle.sweep import csv_table, plan, seeds, sweep, table
from bert_paddle.sweep import summary as sweep_summary

FAKE = (sys.executable, str(Path(__file__).parents[1] / "support" / "fake_run.py"))
BASE = "--task_name sst2 --model_name_or_path m".split()


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """A folder of real data and one of demo data, neither of them found unless it is named."""
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GLUE_DATA_DIR", raising=False)
    for kind in ("real", "demo"):
        task = tmp_path / kind / "SST-2"
        task.mkdir(parents=True)
        for name in ("train.tsv", "dev.tsv"):
            (task / name).touch()
    (tmp_path / "demo" / "SST-2" / "DEMO").touch()
    return tmp_path


def mark(folder: Path, data: str, rows: int) -> None:
    """Have a run's files say what data it was of."""
    for name in ("run.json", "all_results.json"):
        info = json.loads((folder / name).read_text())
        info |= {"data": data, "rows": {"train": rows}} if name == "run.json" else {"data": data}
        (folder / name).write_text(json.dumps(info))


def grid_of(root: Path, *more: str, rates: str = "1e-5"):
    base = [*BASE, *more]
    return plan.plan_grid(root / "out", {"learning_rate": rates.split(",")}, base, "1")


def test_demo_runs_are_not_gone_on_with_on_real_data(folders, monkeypatch):
    data = ["--data_dir", str(folders / "demo")]
    sweep.run_sweep(grid_of(folders, *data), program=FAKE)
    mark(folders / "out" / "learning_rate_1e-5-seed_1", "demo", 8)
    sweep.run_sweep(grid_of(folders, *data), program=FAKE)  # the same again is finished
    monkeypatch.setenv("GLUE_DATA_DIR", str(folders / "real"))
    with pytest.raises(OutputError, match="the data were 'demo' and are 'glue'"):
        sweep.run_sweep(grid_of(folders, rates="1e-5,2e-5"), program=FAKE)
    calls = (folders / "out" / "calls").read_text().splitlines()
    assert len(calls) == 1


def test_demo_seeds_are_not_gone_on_with_on_real_data(folders):
    flags = [*BASE, "--output_dir", str(folders / "out"), "--seeds"]
    demo, real = (["--data_dir", str(folders / kind)] for kind in ("demo", "real"))
    seeds.run_seeds(parse_args([*flags, "1", *demo]), FAKE)
    mark(folders / "out" / "seed_1", "demo", 8)
    with pytest.raises(OutputError, match="the data were 'demo' and are 'glue'"):
        seeds.run_seeds(
            parse_args([*flags, "1,2", *real, "--resume_from_checkpoint", "auto"]), FAKE
        )


@pytest.mark.parametrize(
    ("kinds", "rows", "remark"),
    [
        (("demo", "glue"), (8, 8), "mixed data (demo, glue): the runs are not comparable"),
        (("glue", "glue"), (8, 9), "data sets of different sizes: the runs are not comparable"),
        (("demo", "demo"), (8, 8), "data: demo"),
        (("glue", "glue"), (8, 8), ""),
    ],
)
def test_a_table_says_what_data_its_runs_are_of(folders, kinds, rows, remark):
    made = grid_of(folders, rates="1e-5,2e-5")
    sweep.run_sweep(made, program=FAKE)
    for run, kind, count in zip(made.runs, kinds, rows, strict=True):
        mark(run.folder, kind, count)
    outcomes = [
        table.RunOutcome(run, sweep_summary.results_or_none(run.folder)) for run in made.runs
    ]
    summary = table.summarize(made, outcomes)
    (last,) = sweep_summary.summary_lines(summary)
    assert last.endswith(f"seed_1; {remark}" if remark else "seed_1.")
    page = table.page(summary, [])
    assert ("**Demo data**" in page) == ("demo" in kinds)
    assert ("not comparable" in page) == ("comparable" in remark)
    sweep_summary.write_results(summary)
    results = json.loads((folders / "out" / "all_results.json").read_text())
    assert results["data"] == ("demo" if "demo" in kinds else "glue")
    assert results.get("warning", "") == (remark if "comparable" in remark else "")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "run.json: in the way of this run's files, and not written by a run"),
        ('{"settings": 5, "finished": "now"}', "run.json: in the way of this run's files"),
        ('{"settings": {}, "finished": "now"}', "--model_name_or_path was None and is 'm'"),
    ],
)
def test_a_damaged_run_json_is_not_taken_for_the_planned_run(folders, content, line):
    sweep.run_sweep(grid_of(folders), program=FAKE)
    (folders / "out" / "learning_rate_1e-5-seed_1" / "run.json").write_text(content)
    with pytest.raises(OutputError) as caught:
        sweep.run_sweep(grid_of(folders), program=FAKE)
    assert line in str(caught.value)
    assert len((folders / "out" / "calls").read_text().splitlines()) == 1


def test_what_comes_from_files_neither_breaks_a_table_nor_reaches_a_terminal(folders):
    """Crafted names and numbers in the files of finished runs."""
    made = grid_of(folders, rates="1e-5,2e-5")
    sweep.run_sweep(made, program=FAKE)
    strange = "a|b\n# x\x1b[2J\u202e"
    for run in made.runs:
        mark(run.folder, strange, [1])  # type: ignore[arg-type]
        for name in ("run.json", "all_results.json"):
            info = json.loads((run.folder / name).read_text())
            info |= {"metric": [strange], f"eval_{strange}": 0.5, "eval_accuracy": 10**400}
            (run.folder / name).write_text(json.dumps(info | {"train_runtime": 1e308}))
    results = [sweep_summary.results_or_none(run.folder) for run in made.runs]
    results[1] = {"eval_x": 1e308, "eval_y": 1, "data": "other"}
    outcomes = [table.RunOutcome(*pair) for pair in zip(made.runs, results, strict=True)]
    outcomes.append(table.RunOutcome(made.runs[0], failure=f"exit code 2: {strange}"))
    summary = table.summarize(made, outcomes)
    page, text = table.page(summary, sweep_summary.heading(made)), csv_table.as_csv(summary)
    for written in (page, text):
        assert "\x1b" not in written and "\u202e" not in written and "\\x1b[2J" in written
    lines = page.splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows if "e-5" in line}) == 2
    assert not any(line.startswith("# x") for line in lines)


def test_tables_that_a_killed_sweep_has_half_written_are_removed(folders):
    with subprocess.Popen(["true"]) as ended:
        pass
    out = folders / "out"
    out.mkdir()
    for name in (f".sweep.md.{ended.pid}.part", f".sweep.csv.{ended.pid}.part", ".mine.1.part"):
        (out / name).touch()
    sweep.run_sweep(grid_of(folders), program=FAKE)
    assert [path.name for path in out.glob(".*.part")] == [".mine.1.part"]
