"""Bootstrap intervals against analytic ones and against resampling rows one by one."""

import numpy as np
import pytest

from bert_paddle.common.intervals import RANGES, mean_interval, metric_range
from bert_paddle.glue import bootstrap, metrics

OF_CLASSES = ("accuracy", "f1", "f1_macro", "matthews_correlation")
OF_SCORES = ("pearson", "spearmanr", "mse")
Z = 1.959964


def binary(rows: int, right: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, rows)
    return np.where(random.random(rows) < right, labels, 1 - labels), labels


def scores(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels whose correlation is 0.8."""
    random = np.random.default_rng(2)
    labels = random.normal(size=rows)
    return (0.8 * labels + 0.6 * random.normal(size=rows)).astype(np.float32), labels


def test_intervals_stay_in_the_range_of_the_metric():
    assert mean_interval([0.9, 1.0], metric_range("eval_accuracy")) == (pytest.approx(0.31469), 1)
    assert mean_interval([0.1, 0.9], metric_range("eval_f1_macro_mm")) == (0, 1)
    assert mean_interval([-0.9, 0.9], metric_range("test_ax_matthews_correlation")) == (-1, 1)
    assert mean_interval([1.0, 9.0], metric_range("eval_perplexity")) == (1, pytest.approx(55.8248))
    assert mean_interval([0.1, 0.9], metric_range("eval_loss_mm")) == (0, pytest.approx(5.58248))
    low, high = mean_interval([0.1, 0.9], metric_range("eval_samples_per_second")) or (0, 0)
    assert low < 0 and high > 1
    for name in (*metrics.METRICS, "loss"):
        assert metric_range(f"eval_{name}") == RANGES[name]
    # Of more than 1,500 rows, parts are resampled, whose values are moved to that of all: with one
    # wrong score, of which most parts know nothing, up to 1.11.
    labels = np.random.default_rng(1).normal(size=4000)
    predictions = np.append(-30, labels[1:])
    low, high = bootstrap.intervals(["pearson"], predictions, labels)["pearson"]
    assert low < 0.9 and high == 1


@pytest.mark.parametrize("rows", [300, 40_000])
def test_accuracy_has_wilsons_interval(rows):
    predictions, labels = binary(rows)
    share = float(np.mean(predictions == labels))
    centre = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    reach = Z * np.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2)) / (1 + Z**2 / rows)
    found = bootstrap.intervals(["accuracy"], predictions, labels)["accuracy"]
    assert found == pytest.approx((centre - reach, centre + reach), abs=0.2 * reach)


@pytest.mark.parametrize("rows", [500, 60_000])
def test_correlations_have_fishers_interval_and_squared_errors_that_of_a_mean(rows):
    predictions, labels = scores(rows)
    found = bootstrap.intervals(OF_SCORES, predictions, labels)
    centre, reach = np.arctanh(np.corrcoef(predictions, labels)[0, 1]), Z / np.sqrt(rows - 3)
    expected = np.tanh([centre - reach, centre + reach])
    assert found["pearson"] == pytest.approx(expected, abs=0.15 * np.ptp(expected))
    errors = (predictions - labels) ** 2
    half = Z * errors.std() / np.sqrt(rows)
    expected = (errors.mean() - half, errors.mean() + half)
    assert found["mse"] == pytest.approx(expected, abs=0.3 * half)
    rank = metrics.METRICS["spearmanr"].compute(predictions, labels)
    low, high = found["spearmanr"]
    # Spearman's spread is a little wider than Pearson's (Bonett and Wright 2000).
    assert low < rank < high and 0.9 < (high - low) / np.ptp(found["pearson"]) < 1.6


def test_every_metric_is_that_of_the_drawn_rows():
    """With distinct rows the kinds drawn are the rows drawn: each resample's metrics are those of
    the evaluation on these rows."""
    random = np.random.default_rng(3)
    labels, other = random.integers(0, 3, 40), random.integers(0, 4, 40)
    several = bootstrap.resample(OF_CLASSES, [other, labels], labels)
    assert several["accuracy"][1] == pytest.approx(1.0) and several["f1_macro"][1].min() == 1.0
    for names, predictions, truth in (
        (("accuracy", "f1_macro", "matthews_correlation"), other, labels),
        (OF_SCORES, np.round(random.normal(size=40), 1), np.round(random.normal(size=40), 1)),
    ):
        drawn = bootstrap.resample(names, [predictions], truth)
        index = random.integers(0, 40, size=(1000, 40))
        for name in names:
            plain = [metrics.METRICS[name].compute(predictions[i], truth[i]) for i in index[:80]]
            error = 4 * np.std(plain) / np.sqrt(80)
            assert drawn[name].shape == (1, 1000)
            assert drawn[name].mean() == pytest.approx(np.mean(plain), abs=error)
            assert drawn[name].std() == pytest.approx(np.std(plain), rel=0.35)


def test_f1_of_the_second_class_is_resampled():
    predictions, labels = binary(500, right=0.8)
    drawn = bootstrap.resample(["f1"], [predictions], labels)["f1"][0]
    index = np.random.default_rng(4).integers(0, 500, size=(60, 500))
    plain = [metrics.METRICS["f1"].compute(predictions[i], labels[i]) for i in index]
    assert drawn.mean() == pytest.approx(np.mean(plain), abs=0.012)
    assert drawn.std() == pytest.approx(np.std(plain), rel=0.35)


def test_undefined_metrics_and_unknown_ones_have_no_interval():
    labels = np.linspace(0.0, 5.0, 30)
    found = bootstrap.intervals([*OF_SCORES, "another"], np.full(30, 2.0), labels)
    assert set(found) == {"mse"}
    constant = np.zeros(30, int)
    found = bootstrap.intervals(OF_CLASSES, constant, np.arange(30) % 2)
    assert found["matthews_correlation"] == (0.0, 0.0) and found["accuracy"][0] < 0.5
    assert bootstrap.intervals(["accuracy"], constant[:1], constant[:1]) == {"accuracy": (1, 1)}


def test_equal_rows_give_equal_intervals_and_many_classes_stay_small():
    predictions, labels = binary(200)
    first = bootstrap.intervals(OF_CLASSES, predictions, labels)
    assert first == bootstrap.intervals(OF_CLASSES, predictions, labels)
    random = np.random.default_rng(5)
    labels = random.integers(0, 7000, 3000)
    predictions = np.where(random.random(3000) < 0.7, labels, random.integers(0, 7000, 3000))
    low, high = bootstrap.intervals(["accuracy"], predictions, labels)["accuracy"]
    assert low < np.mean(predictions == labels) < high and high - low < 0.05


def test_the_t_interval_of_a_mean():
    assert mean_interval([1.0]) is None
    # Student's t with 4 degrees of freedom: 2.776445.
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.963243, 3 + 1.963243), abs=1e-5)
