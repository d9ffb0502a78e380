"""The keys of all_results.json in words."""

from bert_paddle.common.intervals import INTERVAL_SUFFIX, is_interval_key

_NAMES = {
    "task": "task",
    "data": "data",
    "epoch": "epochs trained",
    "global_step": "steps",
    "train_samples": "training rows",
    "train_runtime": "training time",
    "train_samples_per_second": "rows/s in training",
    "train_steps_per_second": "steps/s in training",
    "best_step": "best step",
    "best_metric": "value at the best step",
    "eval_model": "evaluated model",
}
_VALUES = (  # what the keys of a data set end with
    *("matthews_correlation", "accuracy", "f1_macro", "f1_micro", "f1", "exact_match"),
    *("pearson", "spearmanr", "mse"),
    *("runtime", "samples_per_second", "samples", "loss"),
)


def in_words(key: str) -> str:
    """A key as words, such as "accuracy, dev set" for eval_accuracy; unknown ones without "_"."""
    if key in _NAMES:
        return _NAMES[key]
    if is_interval_key(key):
        return f"{in_words(key.replace(INTERVAL_SUFFIX, ''))}, 95 % interval"
    kind, _, rest = key.partition("_")
    if kind not in ("eval", "test") or not rest:
        return key.replace("_", " ")
    mismatched = rest.endswith("_mm")
    rest = rest.removesuffix("_mm")
    value = next((name for name in _VALUES if rest.endswith(name)), rest)
    dataset = rest.removesuffix(value).strip("_")
    words = value.replace("_", " ")
    place = "dev set" if kind == "eval" else "test set"
    place = f"{place} {dataset}" if dataset else place
    return f"{words}, {place}" + (", mismatched" if mismatched else "")
