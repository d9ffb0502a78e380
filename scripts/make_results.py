"""Rewrites the tables of docs/RESULTS.md from finished runs.

    python scripts/make_results.py RUNS [--to docs/RESULTS.md]
    python scripts/make_results.py --machine      one line: versions and processor

RUNS holds <model>/<task>/all_results.json, as scripts/reproduce_results.sh leaves them, each with
a log <model>/<task>.log beside it whose first lines give the command and the machine. Only what
stands between the two marker lines is replaced. The file is made where it is missing.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bert_paddle.common import hardware  # noqa: E402
from bert_paddle.glue.tasks import TASKS, Task, get_task  # noqa: E402
from bert_paddle.sweep.benchmark import scores  # noqa: E402
from bert_paddle.sweep.benchmark.table import METRIC_NAMES  # noqa: E402

BEGIN, END = "<!-- results: begin (scripts/make_results.py) -->", "<!-- results: end -->"
ABSENT = "–"

# Tasks whose kind of text the model has seen in its earlier training.
SEEN_BEFORE = {"all-minilm-l6-v2": ("MNLI", "QQP")}


@dataclass
class Run:
    """One finished run: its task, results, and what its log and file tell about how it was made."""

    model: str
    task: Task
    results: dict[str, object]
    command: str
    machine: str
    date: str

    def number(self, key: str) -> float | None:
        """A figure of all_results.json, or None where it is missing or no number."""
        value = self.results.get(key)
        return float(value) if isinstance(value, int | float) else None


def read_runs(folder: Path) -> list[Run]:
    """All finished GLUE runs below `folder`, by model and in the order of the tasks. A results
    file that cannot be read is told on stderr and left out."""
    runs = []
    for path in sorted(folder.glob("*/*/all_results.json")):
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            task = get_task(path.parent.name)
            runs.append(_run(path, task, dict(results)))
        except Exception as error:
            print(f"warning: {path} is left out: {error}", file=sys.stderr)
    order = list(TASKS)
    return sorted(runs, key=lambda run: (run.model, order.index(run.task.name)))


def _run(path: Path, task: Task, results: dict[str, object]) -> Run:
    notes = {"command": ABSENT, "machine": ABSENT}
    log = path.parent.with_name(path.parent.name + ".log")
    if log.is_file():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.removeprefix("# ").partition(": ")
            if line.startswith("# ") and name in notes:
                notes[name] = text
    date = time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
    return Run(path.parent.parent.name, task, results, date=date, **notes)


def tables(runs: list[Run]) -> str:
    """Markdown for all runs: figures beside the published ones, then how each was made."""
    if not runs:
        return "No finished run yet."
    models = list(dict.fromkeys(run.model for run in runs))
    return "\n\n".join(_of_model([run for run in runs if run.model == name]) for name in models)


def _of_model(runs: list[Run]) -> str:
    model = runs[0].model
    published = scores.published()
    tasks = {run.task.name for run in runs}
    published = {name: figures for name, figures in published.items() if tasks & set(figures)}
    head = ["task", "training data", "metric (dev set)", f"**{model}**, ours", *published]
    rows = [
        [
            run.task.name,
            _data(run),
            " / ".join(METRIC_NAMES.get(name, name) for name in run.task.metrics),
            f"**{_figures(run)}**",
            *(figures.get(run.task.name, ABSENT) for figures in published.values()),
        ]
        for run in runs
    ]
    parts = [
        f"### {model}",
        "Percent. Ours are of the weights at the end of the training. The columns right of ours "
        "are other models' figures, as published, for comparison.",
        _table(head, rows),
    ]
    seen = [r.task.name for r in runs if r.task.name in SEEN_BEFORE.get(model, ())]
    if seen:
        parts.append(f"{model} saw texts like those of {', '.join(seen)} before fine-tuning.")
    head = ["task", "best checkpoint", "training time", "date", "machine and versions"]
    parts.append(_table(head, [[r.task.name, _best(r), _time(r), r.date, r.machine] for r in runs]))
    commands = "\n".join(run.command for run in runs)
    parts.append(f"Commands:\n\n```shell\n{commands}\n```")
    return "\n\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in x) + " |" for x in lines
    )


def _data(run: Run) -> str:
    if run.results.get("data") == "demo":
        return "demo set: no GLUE result"
    rows, official = run.number("train_samples"), run.task.train.rows if run.task.train else 0
    if rows is None:
        return ABSENT
    if int(rows) in run.task.official_rows(run.task.train_file or ""):
        said = f"{int(rows):,} rows, official"
    else:
        said = f"{int(rows):,} rows: **subset**, official has {official:,}"
    for dev in run.task.dev_sets:
        dev_rows = run.number(f"eval_samples{dev.suffix}")
        if dev_rows is not None and int(dev_rows) not in run.task.official_rows(dev.file):
            said += f"; {dev.file} has {int(dev_rows):,} rows, official {dev.rows:,}"
    return said


def _figures(run: Run) -> str:
    """The task's metrics in percent, for MNLI on both dev sets."""
    found = []
    for dev in run.task.dev_sets:
        values = [run.number(f"eval_{name}{dev.suffix}") for name in run.task.metrics]
        if dev.suffix and None in values:
            continue
        found += [ABSENT if value is None else f"{100 * value:.2f}" for value in values]
    return " / ".join(found)


def _best(run: Run) -> str:
    step, metric = run.number("best_step"), run.number("best_metric")
    if step is None or metric is None:
        return ABSENT
    several = len(run.task.primary.names) > 1
    return f"step {step:.0f}: {100 * metric:.2f}" + (" (mean of the two)" if several else "")


def _time(run: Run) -> str:
    seconds = run.number("train_runtime")
    if seconds is None:
        return ABSENT
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def rewrite(path: Path, text: str) -> None:
    """Put `text` between the marker lines of `path`, whose rest stays as it is. Raises ValueError
    for a file without the two markers, in this order."""
    before, after = "# Results\n\n", "\n"
    if path.exists():
        old = path.read_text(encoding="utf-8")
        begin, end = old.find(BEGIN), old.find(END)
        if not 0 <= begin < end:
            raise ValueError(f"{path} needs the two lines {BEGIN} and {END}, in this order")
        before, after = old[:begin], old[end + len(END) :]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    part.replace(path)


def main() -> None:
    """Parse the command line and rewrite the file; a mistake ends in one line and exit code 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="?", help="folder of <model>/<task> runs")
    parser.add_argument("--to", type=Path, default=Path("docs/RESULTS.md"), help="file to rewrite")
    parser.add_argument("--machine", action="store_true", help="print versions and processor")
    args = parser.parse_args()
    if args.machine:
        print(f"# machine: {hardware.describe()}")
        return
    try:
        if args.runs is None or not args.runs.is_dir():
            raise ValueError(f"{args.runs or 'RUNS'}: no such folder of runs")
        rewrite(args.to, tables(read_runs(args.runs)))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
