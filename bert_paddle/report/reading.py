"""What the curves of a run say, in a sentence each, and what is wrong with it, as warnings."""

from collections.abc import Sequence
from typing import Any

from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report import run_data
from bert_paddle.report.run_data import PredictionSet, RunData

_RISE = 0.01  # share by which the validation loss must exceed its minimum to count as rising
_FALL = 0.02  # share of the training loss that counts as a fall
_MIN_ROWS = 8  # of a data set of which one answer to all rows counts as a collapse

COLLAPSE_ADVICE = (
    "It has learned no more than the most frequent class. Try another --seed, a warm-up "
    "(--warmup_ratio 0.1), another --learning_rate or more epochs."
)


def warnings(runs: Sequence[RunData]) -> dict[str, list[str]]:
    """What is wrong with the models of runs, as sentences for the top of the page, each with the
    names of the runs that it is about."""
    names: dict[str, list[str]] = {}
    for run in runs:
        for sentence in _warnings_of_run(run):
            names.setdefault(sentence, []).append(run.name)
    return names


def _warnings_of_run(run: RunData) -> list[str]:
    found = []
    constant: dict[str, list[str]] = {}
    for dataset in run.predictions:
        if (answer := constant_answer(dataset)) is not None:
            where = f"all {len(dataset.rows)} rows of the {dataset.name}"
            constant.setdefault(answer, []).append(where)
    for answer, places in constant.items():
        found.append(
            f"Collapsed: the model gives the same answer, {answer}, to {' and '.join(places)}. "
            f"{COLLAPSE_ADVICE}"
        )
    if not run.predictions and _mcc_is_zero(run):
        found.append(
            "Collapsed: the Matthews correlation of the last evaluation is 0, as of a model that "
            f"gives the same answer to all rows. {COLLAPSE_ADVICE}"
        )
    if since := overfitting_since(run):
        found.append(
            f"Overfitting since {since}: the validation loss rises, the training loss falls."
        )
    return found


def is_collapsed(run: RunData) -> bool:
    """Whether the model gives one answer to all rows of a data set with several labels."""
    return any(constant_answer(dataset) is not None for dataset in run.predictions) or (
        not run.predictions and _mcc_is_zero(run)
    )


def constant_answer(dataset: PredictionSet) -> str | None:
    """The prediction for all rows, if it is the same although their labels differ; else None."""
    answers = {str(row["prediction"]) for row in dataset.rows}
    labels = {str(row["label"]) for row in dataset.rows}
    if len(answers) == 1 and len(labels) > 1 and len(dataset.rows) >= _MIN_ROWS:
        return answers.pop()
    return None


def _mcc_is_zero(run: RunData) -> bool:
    values = _first_dev(run, "matthews_correlation")[1]
    return len(values) > 0 and values[-1] == 0


def overfitting_since(run: RunData) -> str:
    """The epoch or step of the lowest validation loss, if the validation loss has risen since then
    while the training loss fell; "" otherwise."""
    steps, losses = _first_dev(run, "loss")
    if len(losses) < 2:
        return ""
    lowest = min(range(len(losses)), key=losses.__getitem__)
    if losses[-1] <= losses[lowest] + _RISE * abs(losses[lowest]):
        return ""
    before, after = _training_loss_around(run, steps[lowest])
    if before is None or after is None or after >= before:
        return ""
    return place(run, steps[lowest])


def _training_loss_around(run: RunData, step: float) -> tuple[float | None, float | None]:
    """The training loss up to a step and after it: of the epochs if recorded, else the mean of as
    many log lines before as after."""
    epochs = run_data.by_step(run.epochs, "train_loss")
    if any(x > step for x in epochs[0]) and any(x <= step for x in epochs[0]):
        pairs = list(zip(*epochs, strict=True))
        return [y for x, y in pairs if x <= step][-1], pairs[-1][1]
    steps, losses = run_data.by_step(run.train, "loss")
    before = [y for x, y in zip(steps, losses, strict=True) if x <= step]
    after = [y for x, y in zip(steps, losses, strict=True) if x > step]
    return _mean(before[-len(after) :] if after else []), _mean(after)


def place(run: RunData, step: float) -> str:
    """A step as "epoch 2" if it is the end of an epoch, else as "step 300"."""
    steps = run.run_info.get("steps")
    per_epoch = finite_float_or_none(steps.get("per_epoch")) if isinstance(steps, dict) else None
    if per_epoch and per_epoch > 0 and step > 0 and step % per_epoch == 0:
        return f"epoch {step / per_epoch:g}"
    return f"step {step:g}"


def loss(run: RunData) -> str:
    """What the losses say: falling, still falling, overfitting, not learning."""
    sentences = []
    losses = run_data.by_step(run.train, "loss")[1]
    first, last = _mean(losses[: _part(losses)]), _mean(losses[-_part(losses) :])
    if len(losses) > 1 and first is not None and last is not None:
        if last < first - _FALL * abs(first):
            sentences.append(f"Training loss fell from {first:.3g} to {last:.3g}.")
        else:
            sentences.append(f"Training loss did not fall ({first:.3g} to {last:.3g}).")
    steps, values = _first_dev(run, "loss")
    if len(values) > 1:
        lowest = min(range(len(values)), key=values.__getitem__)
        if since := overfitting_since(run):
            sentences.append(
                f"Validation loss: lowest, {values[lowest]:.3g}, at {since}, then up to "
                f"{values[-1]:.3g}: overfitting since {since}."
            )
        elif lowest == len(values) - 1 and values[-1] < values[-2]:
            sentences.append(
                f"Validation loss was still falling at the end ({values[-1]:.3g}): more epochs may "
                "help."
            )
        else:
            sentences.append(
                f"Validation loss: lowest, {values[lowest]:.3g}, at {place(run, steps[lowest])}; "
                f"{values[-1]:.3g} at the end."
            )
    return " ".join(sentences)


def metrics(run: RunData) -> str:
    """What the metric that selects the best step says: still rising, past its best, collapsed."""
    for name in run.selection_metrics[:1]:
        steps, values = _first_dev(run, name)
        words = name.replace("_", " ").capitalize()
        if not values:
            continue
        if is_collapsed(run):
            return f"{words} ends at {values[-1]:.3g}: the model gives one answer to all rows."
        if len(values) == 1:
            return f"{words}: {values[0]:.3g} at {place(run, steps[0])}, the only evaluation."
        higher = run.run_info.get("higher_is_better") is not False
        best = (max if higher else min)(range(len(values)), key=values.__getitem__)
        if best == len(values) - 1:
            advice = "" if overfitting_since(run) else ": more epochs may help"
            return f"{words} was still improving at the end ({values[-1]:.3g}){advice}."
        return (
            f"{words}: best, {values[best]:.3g}, at {place(run, steps[best])}; {values[-1]:.3g} at "
            "the end."
        )
    return ""


def learning_rate(run: RunData) -> str:
    """The peak of the logged learning rates, and where it is."""
    steps, values = run_data.by_step(run.train, "learning_rate")
    if not values:
        return ""
    peak = max(range(len(values)), key=values.__getitem__)
    given = finite_float_or_none(run.settings.get("learning_rate"))
    asked = f" (--learning_rate is {given:g})" if given else ""
    where = f"at step {steps[peak]:,.0f}{asked}"
    return f"Peak {values[peak]:.3g} {where}; {values[-1]:.3g} at the end."


def throughput(run: RunData) -> str:
    """The median of the logged rows per second."""
    values = sorted(run_data.by_step(run.train, "sequences_per_second")[1])
    return f"Median {values[len(values) // 2]:.3g} rows/s, of all devices." if values else ""


def _first_dev(run: RunData, name: str) -> tuple[list[float], list[float]]:
    """Steps and values on the first dev set."""
    records: list[dict[str, Any]] = next(iter(run.evals.values()), [])
    return run_data.by_step(records, name)


def _part(values: Sequence[float]) -> int:
    """A fifth of the values, at least one."""
    return max(1, len(values) // 5)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
