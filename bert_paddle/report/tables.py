"""The tables of a report, with all cells as text: results, settings, epochs, wrong predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.common.intervals import Interval, interval_key, interval_or_none, is_interval_key
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report import result_names
from bert_paddle.report.data_rows import answer_text
from bert_paddle.report.run_data import PredictionSet, RunData

MAX_MISTAKES = 10
MAX_SAMPLES = 8
_MAX_CHARACTERS = 1200  # longer texts of the data are truncated on the page


@dataclass(frozen=True)
class Table:
    """head: the column names; rows: cells, one for each column. The first cell names the row."""

    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction. text_b: "" for single texts; confidence: the probability of the
    predicted class; for a regression, the error, such as "off by 0.50"."""

    text_a: str
    text_b: str
    label: str
    prediction: str
    confidence: str


def format_result(value: Any) -> str:
    """A value of all_results.json, rounded."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.4g}"
    return format_setting(value)


def format_setting(value: Any) -> str:
    """A flag's value as on the command line, unrounded; a list with commas, "–" for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(format_setting, value))
    return str(value)


def format_duration(seconds: Any) -> str:
    """Seconds as text, such as "2 h 5 min", "3 min 20 s" or "8.1 s"; "–" if not a number."""
    value = finite_float_or_none(seconds)
    if value is None:
        return "–"
    minutes, remaining_seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {remaining_seconds} s" if minutes else f"{value:.1f} s"


def format_interval(interval: Interval | None) -> str:
    """An interval as text, such as "0.8871 to 0.9204"; "" for None."""
    return "" if interval is None else " to ".join(map(format_result, interval))


def interval_notes(run: RunData) -> dict[str, str]:
    """The intervals of the results, as text for the tiles, by the names that `highlights` gives."""
    found = {key: interval_or_none(run.results.get(interval_key(key))) for key in run.results}
    return {result_names.in_words(k): format_interval(i) for k, i in found.items() if i}


def highlights(run: RunData) -> list[tuple[str, str]]:
    """The most important results, as (name, value), for the top of the page."""
    tiles, results = [], run.results or _last_evaluation(run)
    for key, value in results.items():
        name = key.removeprefix("eval_")
        if key.startswith("eval_") and any(
            name.removesuffix("_mm") == metric for metric in run.selection_metrics
        ):
            tiles.append((result_names.in_words(key), format_result(value)))
    tests = [
        key
        for key in results
        if key.startswith("test_") and key.endswith(tuple(run.selection_metrics))
    ]
    tiles += [(result_names.in_words(key), format_result(results[key])) for key in tests]
    if "loss" not in run.selection_metrics and "eval_loss" in results:
        tiles.append(("validation loss", format_result(results["eval_loss"])))
    if run.last_step:
        tiles.append(("steps", _format_count(results.get("global_step") or run.last_step)))
    if results.get("best_step") is not None:
        tiles.append(("best step", _format_count(results["best_step"])))
    if "train_runtime" in results:
        tiles.append(("training time", format_duration(results["train_runtime"])))
    if (speed := finite_float_or_none(results.get("train_samples_per_second"))) is not None:
        tiles.append(("rows/s in training", f"{speed:.1f}"))
    return tiles


def _last_evaluation(run: RunData) -> dict[str, Any]:
    """The last recorded evaluation on the first dev set, with the keys of all_results.json."""
    records = next(iter(run.evals.values()), [])
    return {f"eval_{name}": value for name, value in records[-1].items()} if records else {}


def results(runs: Sequence[RunData]) -> Table:
    """The contents of all_results.json in words, with a column for each run; for a single run the
    keys stand beside the words."""
    keys = dict.fromkeys(
        key for run in runs for key, value in run.results.items() if not isinstance(value, dict)
    )
    words = {key: result_names.in_words(key) for key in keys}
    if len(runs) == 1:
        values = runs[0].results
        rows = [[words[key], _format_named(key, values[key]), key] for key in keys]
        return Table(["result", "value", "key"], rows)
    head = ["result", *(run.name for run in runs)]
    return Table(
        head,
        [[words[key], *(_format_named(key, run.results.get(key)) for run in runs)] for key in keys],
    )


def _format_named(key: str, value: Any) -> str:
    """A value of all_results.json: times and intervals as such, other numbers rounded."""
    if is_interval_key(key):
        return format_interval(interval_or_none(value)) or format_result(None)
    return format_duration(value) if key.endswith("runtime") else format_result(value)


def differing_settings(runs: Sequence[RunData]) -> Table:
    """The settings and the properties of the environment that differ between runs."""
    settings_by_run = [compared_settings(run) for run in runs]
    keys = dict.fromkeys(key for values in settings_by_run for key in values)
    missing = format_setting(None)
    rows = [[key, *(values.get(key, missing) for values in settings_by_run)] for key in keys]
    head = ["setting", *(run.name for run in runs)]
    return Table(head, [row for row in rows if len(set(row[1:])) > 1])


def compared_settings(run: RunData) -> dict[str, str]:
    """The settings and the properties of the environment that a comparison lists, as text."""
    values = _environment_settings(run) | run.settings
    ignored = {*flag_names(CommonArgs, in_comparisons=False), *run.not_in_comparisons}
    return {k: format_setting(v) for k, v in values.items() if k not in ignored}


def settings(run: RunData) -> tuple[Table, Table]:
    """Two tables of flags: those that the user gave, and those at their defaults."""
    given = run.run_info.get("given")
    given = given if isinstance(given, list) else []  # run.json may have been edited
    given_names = [name for name in given if isinstance(name, str) and name in run.settings]
    default_names = [name for name in run.settings if name not in given_names]
    given_table, default_table = (
        Table(
            ["flag", "value"], [[f"--{name}", format_setting(run.settings[name])] for name in names]
        )
        for names in (given_names, default_names)
    )
    return given_table, default_table


def environment(run: RunData) -> Table:
    """The program, model, data, machine and versions of a run."""
    run_info, rows = run.run_info, list[list[str]]()
    for name in (
        "program",
        "model",
        "parameters",
        "trained_parameters",
        "data",
        "machine",
        "processes",
    ):
        if run_info.get(name) is not None:
            rows.append([name.replace("_", " "), _format_count(run_info[name])])
    rows += [[name, format_setting(v)] for name, v in _object(run_info.get("versions")).items()]
    rows += [
        [f"{name} rows", _format_count(n)] for name, n in _object(run_info.get("rows")).items()
    ]
    for name in ("started", "resumed", "finished"):
        if run_info.get(name):
            rows.append([name, format_setting(run_info[name])])
    return Table(["", ""], rows)


def epochs(run: RunData) -> Table | None:
    """A row for each epoch; None if epochs were not recorded."""
    if not run.epochs:
        return None
    skipped = ("kind", "step", "epoch", "data", "dev")
    names = [
        n for n in dict.fromkeys(n for record in run.epochs for n in record) if n not in skipped
    ]
    head = ["epoch", "step", *(name.replace("_", " ") for name in names)]
    rows = [
        [
            format_setting(record.get("epoch")),
            format_setting(record["step"]),
            *(
                format_duration(record[n])
                if n.endswith("seconds")
                else format_result(record.get(n))
                for n in names
            ),
        ]
        for record in run.epochs
    ]
    return Table(head, rows)


def samples(run: RunData) -> list[tuple[str, str]]:
    """(step, text) of at most MAX_SAMPLES sampled texts, spread over the training: the first and
    the last are among them."""
    records = [record for record in run.samples if isinstance(record.get("text"), str)]
    if len(records) > MAX_SAMPLES:
        last = len(records) - 1
        records = [records[round(i * last / (MAX_SAMPLES - 1))] for i in range(MAX_SAMPLES)]
    return [(format_setting(record["step"]), _truncate(record["text"])) for record in records]


def top_mistakes(dataset: PredictionSet, labels: list[str]) -> list[Mistake]:
    """The most confident wrong predictions; for a regression, the largest errors."""
    mistakes: list[tuple[float, Mistake]] = []
    for row in dataset.rows:
        label, prediction, confidence = row["label"], row["prediction"], _confidence(row, labels)
        a, b = finite_float_or_none(label), finite_float_or_none(prediction)
        if (
            a is not None
            and b is not None
            and not row.keys() & {"probabilities", "top_probabilities"}
        ):
            error = abs(a - b)
            mistake = _mistake(row, format_result(a), format_result(b), f"off by {error:.2f}")
            mistakes.append((error, mistake))
        elif label != prediction:
            is_set = isinstance(label, list) and isinstance(prediction, list)
            text = "" if confidence is None or is_set else f"{confidence:.1%}"
            # Of several labels, the number of wrong ones.
            order = len({*map(str, label)} ^ {*map(str, prediction)}) if is_set else confidence
            answers = answer_text(label), answer_text(prediction)
            mistakes.append((order or 0.0, _mistake(row, *answers, text)))
    mistakes.sort(key=lambda pair: -pair[0])  # a stable sort: ties are in file order
    return [mistake for _, mistake in mistakes[:MAX_MISTAKES]]


def _mistake(row: dict[str, Any], label: str, prediction: str, confidence: str) -> Mistake:
    texts = (
        _truncate(row["text_a"]),
        _truncate(row["text_b"]) if row.get("text_b") is not None else "",
    )
    return Mistake(*texts, label, prediction, confidence)


def _confidence(row: dict[str, Any], labels: list[str]) -> float | None:
    """The probability of the predicted class (the largest one, if its index is unknown); None if
    the row has no probabilities."""
    top = row.get("top_probabilities")  # of a task with many classes
    if isinstance(top, dict):
        return finite_float_or_none(top.get(str(row["prediction"])))
    values = row.get("probabilities")
    if not isinstance(values, list):
        return None
    prediction = row["prediction"]
    index = labels.index(prediction) if prediction in labels else None
    probabilities = [finite_float_or_none(value) or 0.0 for value in values]
    if index is not None and index < len(probabilities):
        return probabilities[index]
    return max(probabilities, default=None)


def _truncate(text: Any) -> str:
    text = str(text)
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + " …"


def _environment_settings(run: RunData) -> dict[str, Any]:
    """The properties of a run besides its flags that a comparison lists."""
    values = {name: run.run_info.get(name) for name in ("task", "data", "machine", "processes")}
    return values | _object(run.run_info.get("versions"))


def _format_count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else format_setting(value)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
