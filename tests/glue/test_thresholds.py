"""Several labels per row: thresholds and metrics, as functions of arrays."""

from dataclasses import replace

import numpy as np
import pytest

from bert_paddle.glue import bootstrap_labels, metrics, row_outputs, thresholds
from bert_paddle.glue.tasks import TASKS

TASK = replace(
    TASKS["MNLI"],
    multi_label=True,
    labels=("a", "b", "c"),
    thresholds=(0.5, 0.5, 0.9),
    metrics=("f1_micro", "f1_macro", "exact_match"),
)


def f1(predicted: np.ndarray, truths: np.ndarray) -> float:
    return 2 * float((predicted * truths).sum()) / float(predicted.sum() + truths.sum())


def best_f1_by_trial(column: np.ndarray, truths: np.ndarray) -> float:
    return max(f1(column >= cut, truths) for cut in np.unique(column))


@pytest.mark.parametrize("seed", range(5))
def test_a_fitted_threshold_has_the_best_f1_of_all(seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.random((40, 3)).round(1 if seed == 0 else 3)  # with equal ones
    truths = (rng.random((40, 3)) < 0.3).astype(np.float32)
    fitted = thresholds.fit(probabilities, truths)
    for k, threshold in enumerate(fitted):
        assert 0 < threshold < 1
        found = f1(probabilities[:, k] >= threshold, truths[:, k])
        assert found == pytest.approx(best_f1_by_trial(probabilities[:, k], truths[:, k]))


def test_equally_good_thresholds_and_labels_without_rows_keep_the_default():
    probabilities = np.array([[0.9, 0.2, 0.3], [0.1, 0.4, 0.2]])
    truths = np.array([[1, 0, 1], [0, 0, 0]])
    assert thresholds.fit(probabilities, truths) == (0.5, 0.5, 0.25)


def test_predictions_and_metrics():
    logits = np.array([[1.0, -1.0, 2.0], [800.0, 0.0, -800.0]])
    predictions = row_outputs.of_logits(TASK, logits).predictions
    assert predictions.tolist() == [[1, 0, 0], [1, 1, 0]]  # sigmoid(2) is below 0.9
    labels = np.array([[1, 0, 1], [1, 1, 0]])
    values = metrics.compute(TASK, predictions, labels)
    assert values == pytest.approx({"f1_micro": 6 / 7, "f1_macro": 2 / 3, "exact_match": 0.5})
    assert metrics.f1_per_label(predictions, labels) == [1, 1, 0]
    with pytest.raises(ValueError, match=r"two equal non-empty \[n, labels\]"):
        metrics.compute(TASK, predictions[:, 0], labels[:, 0])


def test_intervals_are_those_of_rows_drawn_again():
    """Beside rows drawn one by one, by the metrics themselves."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, (200, 4))
    predictions = np.where(random.random((200, 4)) < 0.8, labels, 1 - labels)
    names = ("f1_micro", "f1_macro", "exact_match", "loss")
    found = bootstrap_labels.intervals(names, predictions, labels)
    assert tuple(found) == names[:3]
    for name, (low, high) in found.items():
        metric = metrics.METRICS[name].compute
        drawn = [random.integers(200, size=200) for _ in range(400)]
        values = [metric(predictions[rows], labels[rows]) for rows in drawn]
        assert low < metric(predictions, labels) < high
        assert np.quantile(values, [0.025, 0.975]) == pytest.approx([low, high], abs=0.015)
