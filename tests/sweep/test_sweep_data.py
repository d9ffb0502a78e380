"""What a sweep says and does where its runs are of other data: demo rows among real ones."""

import json
import sys
from pathlib import Path

import pytest

from bert_paddle.common.errors import OutputError
from bert_paddle.glue.args import parse_args
from bert_paddle.sweep import plan, seeds, sweep, table
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
    page = table.markdown(summary, [])
    assert ("**Demo data**" in page) == ("demo" in kinds)
    assert ("not comparable" in page) == ("comparable" in remark)
    sweep_summary.write_results(summary)
    results = json.loads((folders / "out" / "all_results.json").read_text())
    assert results["data"] == ("demo" if "demo" in kinds else "glue")
    assert results.get("warning", "") == (remark if "comparable" in remark else "")
