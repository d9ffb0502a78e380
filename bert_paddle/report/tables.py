"""Tables of a report as plain rows of text: results, settings, epochs, mistakes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.report.run_data import Predictions, RunData, number

MISTAKES = 10
_LONGEST = 1200  # characters of a text that is shown
# Settings that say where, not what: they differ between any two runs.
_PLACES = ("output_dir", "visualdl_dir", "report", "overwrite_output_dir", "resume_from_checkpoint")


@dataclass(frozen=True)
class Table:
    """head: a column's name each; rows: as many cells. The first column names the row."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Mistake:
    """A row that the model got wrong. text_b: "" where there is one text; sure: how sure it was,
    or by how much a score is off."""

    text_a: str
    text_b: str
    label: str
    prediction: str
    sure: str


def shown(value: Any) -> str:
    """A value of a results file for people."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
    return setting(value)


def setting(value: Any) -> str:
    """A flag's value as it would be typed, unrounded."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(setting, value))
    return str(value)


def duration(seconds: Any) -> str:
    """Seconds as hours, minutes and seconds."""
    found = number(seconds)
    if found is None:
        return "–"
    minutes, rest = divmod(round(found), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{found:.1f} s"


def highlights(run: RunData) -> list[tuple[str, str]]:
    """What one wants to know first, as (name, value)."""
    found, results = [], run.results or _last_evaluation(run)
    for key, value in results.items():
        name = key.removeprefix("eval_")
        if key != name and any(name.removesuffix("_mm") == metric for metric in run.metric):
            found.append((name.replace("_", " "), shown(value)))
    tests = [key for key in results if key.startswith("test_") and key.endswith(tuple(run.metric))]
    found += [(key.replace("_", " "), shown(results[key])) for key in tests]
    if "loss" not in run.metric and "eval_loss" in results:
        found.append(("validation loss", shown(results["eval_loss"])))
    if run.last_step:
        found.append(("updates", str(results.get("global_step") or run.last_step)))
    if results.get("best_step") is not None:
        found.append(("best step", shown(results["best_step"])))
    if "train_runtime" in results:
        found.append(("training time", duration(results["train_runtime"])))
    if (speed := number(results.get("train_samples_per_second"))) is not None:
        found.append(("rows/s in training", f"{speed:.1f}"))
    return found


def _last_evaluation(run: RunData) -> dict[str, Any]:
    """The last evaluation on record, named as a results file has it."""
    records = next(iter(run.evals.values()), [])
    return {f"eval_{name}": value for name, value in records[-1].items()} if records else {}


def results(runs: Sequence[RunData]) -> Table:
    """all_results.json, a column for each run."""
    keys = dict.fromkeys(key for run in runs for key in run.results)
    return _columns("result", runs, keys, [run.results for run in runs], shown)


def differing(runs: Sequence[RunData]) -> Table:
    """The settings in which runs differ, and what else sets them apart."""
    whole = [_identity(run) | run.settings for run in runs]
    keys = dict.fromkeys(key for values in whole for key in values if key not in _PLACES)
    apart = [key for key in keys if len({setting(values.get(key)) for values in whole}) > 1]
    return _columns("setting", runs, apart, whole, setting)


def settings(run: RunData) -> tuple[Table, Table]:
    """The flags that were given, and all others."""
    given = run.about.get("given")
    chosen = [name for name in given if name in run.settings] if isinstance(given, list) else []
    rest = [name for name in run.settings if name not in chosen]
    one, other = (
        Table(["flag", "value"], [[f"--{name}", setting(run.settings[name])] for name in names])
        for names in (chosen, rest)
    )
    return one, other


def environment(run: RunData) -> Table:
    """Where and with what a run was made."""
    about, rows = run.about, list[list[str]]()
    for name in ("program", "model", "parameters", "data", "machine", "processes"):
        if about.get(name) is not None:
            rows.append([name, _counted(about[name])])
    rows += [[name, setting(v)] for name, v in _object(about.get("versions")).items()]
    rows += [[f"{name} rows", _counted(n)] for name, n in _object(about.get("rows")).items()]
    for name in ("started", "resumed", "finished"):
        if about.get(name):
            rows.append([name, setting(about[name])])
    return Table(["", ""], rows)


def epochs(run: RunData) -> Table | None:
    """The run's epochs, where they were recorded."""
    if not run.epochs:
        return None
    skipped = ("kind", "step", "epoch", "data", "dev")
    names = [n for n in dict.fromkeys(n for one in run.epochs for n in one) if n not in skipped]
    head = ["epoch", "update", *(name.replace("_", " ") for name in names)]
    rows = [
        [
            setting(one.get("epoch")),
            setting(one["step"]),
            *(duration(one[n]) if n.endswith("seconds") else shown(one.get(n)) for n in names),
        ]
        for one in run.epochs
    ]
    return Table(head, rows)


def mistakes(one: Predictions, labels: list[str]) -> list[Mistake]:
    """The mistakes the model is surest of, surest first; of scores, those furthest off."""
    found: list[tuple[float, Mistake]] = []
    for row in one.rows:
        label, answer, sure = row["label"], row["prediction"], _sure(row, labels)
        a, b = number(label), number(answer)
        if a is not None and b is not None and "probabilities" not in row:
            found.append(
                (abs(a - b), _mistake(row, shown(a), shown(b), f"off by {abs(a - b):.2f}"))
            )
        elif label != answer:
            words = "" if sure is None else f"{sure:.1%}"
            found.append((sure or 0.0, _mistake(row, str(label), str(answer), words)))
    found.sort(key=lambda pair: -pair[0])  # equals stay in the order of the file
    return [mistake for _, mistake in found[:MISTAKES]]


def _mistake(row: dict[str, Any], label: str, answer: str, sure: str) -> Mistake:
    texts = (_cut(row["text_a"]), _cut(row["text_b"]) if row.get("text_b") is not None else "")
    return Mistake(*texts, label, answer, sure)


def _sure(row: dict[str, Any], labels: list[str]) -> float | None:
    """The probability of the answer; None where the row has none."""
    shares = row.get("probabilities")
    if not isinstance(shares, list):
        return None
    answer = row["prediction"]
    place = labels.index(answer) if answer in labels else None
    known = [number(share) or 0.0 for share in shares]
    return known[place] if place is not None and place < len(known) else max(known, default=None)


def _cut(text: Any) -> str:
    words = str(text)
    return words if len(words) <= _LONGEST else words[:_LONGEST] + " …"


def _identity(run: RunData) -> dict[str, Any]:
    """What sets a run apart besides its flags."""
    found = {name: run.about.get(name) for name in ("task", "data", "machine", "processes")}
    return found | _object(run.about.get("versions"))


def _columns(
    first: str, runs: Sequence[RunData], keys: Iterable[str], values: Sequence[dict], show: Any
) -> Table:
    head = [first, *(run.name for run in runs)] if len(runs) > 1 else [first, "value"]
    return Table(head, [[key, *(show(one.get(key)) for one in values)] for key in keys])


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else setting(value)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
