"""Metrics against values calculated by hand."""

import math
import warnings

import numpy as np
import pytest

from bert_paddle.glue.metrics import compute, log_fields, primary_metric
from bert_paddle.glue.tasks import TASKS


def to_arrays(*values):
    return tuple(np.array(v) for v in values)


def test_accuracy():
    predictions, labels = to_arrays([0, 1, 1, 0, 1], [0, 1, 0, 0, 0])
    assert compute(TASKS["SST-2"], predictions, labels) == {"accuracy": 3 / 5}


def test_f1_is_that_of_label_1():
    # tp 1, fp 2, fn 1, tn 3: precision 1/3, recall 1/2, F1 = 2 tp / (2 tp + fp + fn) = 2/5.
    # (Of label 0 it would be 6/9; the macro mean 8/15.)
    predictions, labels = to_arrays([1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 0])
    scores = compute(TASKS["MRPC"], predictions, labels)
    assert scores == {"accuracy": pytest.approx(4 / 7), "f1": pytest.approx(2 / 5)}


def test_f1_without_any_label_1_is_0_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute(TASKS["QQP"], *to_arrays([0, 0], [0, 0])) == {"accuracy": 1.0, "f1": 0.0}


def test_matthews_of_two_classes():
    # tp 3, tn 2, fp 1, fn 2: (3*2 - 1*2) / sqrt(4 * 5 * 3 * 4) = 4 / sqrt(240)
    predictions, labels = to_arrays([1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1])
    scores = compute(TASKS["CoLA"], predictions, labels)
    assert scores == {"matthews_correlation": pytest.approx(4 / math.sqrt(240))}


def test_matthews_of_constant_predictions_is_0():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = compute(TASKS["CoLA"], *to_arrays([1, 1, 1], [0, 1, 1]))
    assert scores == {"matthews_correlation": 0.0}


def test_matthews_of_three_classes():
    # Gorodkin: (c s - sum p_k t_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), with s 6 rows,
    # c 4 right, true counts t (2, 2, 2), predicted p (3, 2, 1):
    # (24 - 12) / sqrt((36 - 14) (36 - 12)) = 12 / sqrt(528)
    predictions, labels = to_arrays([0, 0, 1, 1, 2, 0], [0, 0, 1, 2, 2, 1])
    scores = compute(TASKS["AX"], predictions, labels)
    assert scores == {"matthews_correlation": pytest.approx(12 / math.sqrt(528))}


def test_pearson_and_spearman_with_ties():
    # x 1 2 2 5, y 1 3 2 4. Means 2.5, 2.5; products 2.25 - 0.25 + 0.25 + 3.75 = 6;
    # squares of x 2.25 + 0.25 + 0.25 + 6.25 = 9, of y 2.25 + 0.25 + 0.25 + 2.25 = 5:
    # Pearson 6 / sqrt(45). Ranks of x 1 2.5 2.5 4 (ties share the mean), of y 1 3 2 4:
    # products 2.25 + 0 + 0 + 2.25 = 4.5; squares 4.5 and 5: Spearman 4.5 / sqrt(22.5).
    predictions, labels = to_arrays([1.0, 2.0, 2.0, 5.0], [1.0, 3.0, 2.0, 4.0])
    scores = compute(TASKS["STS-B"], predictions.astype(np.float32), labels)
    assert scores == {
        "pearson": pytest.approx(6 / math.sqrt(45)),
        "spearmanr": pytest.approx(4.5 / math.sqrt(22.5)),
    }


def test_pearson_is_computed_in_double_precision():
    # In float32 these five predictions, which differ by thousandths, lose most of their spread.
    predictions = np.array([1000.0, 1000.001, 1000.002, 1000.003, 1000.004], np.float32)
    scores = compute(TASKS["STS-B"], predictions, np.arange(5, dtype=np.float32))
    exact = np.corrcoef(predictions.astype(np.float64), np.arange(5))[0, 1]
    assert scores["pearson"] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    "predictions", [[2.5, 2.5, 2.5], [1.0, float("nan"), 3.0], [1.0, float("inf"), 3.0]]
)
def test_an_undefined_correlation_is_nan_without_a_warning(predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = compute(TASKS["STS-B"], np.array(predictions), np.array([1.0, 2.0, 4.0]))
    assert all(math.isnan(value) for value in scores.values())
    assert math.isnan(primary_metric(TASKS["STS-B"], scores))


def test_nearly_constant_predictions_do_not_warn():
    predictions = 2.5 + np.arange(5) * 1e-15
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute(TASKS["STS-B"], predictions, np.arange(5.0))


def test_one_row_has_no_correlation():
    scores = compute(TASKS["STS-B"], np.array([1.0]), np.array([2.0]))
    assert all(math.isnan(value) for value in scores.values())


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [([], []), ([1], [1, 0]), ([[0, 1], [1, 0]], [0, 1]), ([[0], [1]], [[0], [1]])],
)
@pytest.mark.parametrize("task", ["SST-2", "STS-B"])
def test_empty_or_unequal_arrays_are_refused(task, predictions, labels):
    with pytest.raises(ValueError, match="two equal non-empty"):
        compute(TASKS[task], np.array(predictions), np.array(labels))


@pytest.mark.parametrize(
    ("task", "metrics", "fields", "primary"),
    [
        ("RTE", {"accuracy": 0.5}, [("accu", 0.5)], 0.5),
        ("CoLA", {"matthews_correlation": -0.25}, [("mcc", -0.25)], -0.25),
        ("MRPC", {"f1": 0.75, "accuracy": 0.5}, [("accu", 0.5), ("f1", 0.75)], 0.625),
        ("QQP", {"accuracy": 0.5, "f1": 1.0}, [("accu", 0.5), ("f1", 1.0)], 0.75),
        (
            "STS-B",
            {"spearmanr": 0.25, "pearson": 0.75},
            [("pearson", 0.75), ("spearman", 0.25)],
            0.5,
        ),
    ],
)
def test_log_line_and_primary(task, metrics, fields, primary):
    assert log_fields(TASKS[task], metrics) == fields
    assert primary_metric(TASKS[task], metrics) == primary
