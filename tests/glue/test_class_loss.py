"""--class_weights and --label_smoothing_factor: their values, the loss, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import class_weights, loss, row_outputs
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.loss_args import order_weights, parse_weights
from bert_paddle.glue.task_definition import LABELS
from bert_paddle.glue.tasks import TASKS
from bert_paddle.training.step import Trainer

BASE = "--model_name_or_path m --output_dir o --do_train --do_eval".split()


def problems(*argv: str) -> list[str]:
    with pytest.raises(FlagError) as caught:
        parse_args([*BASE, *argv])
    return caught.value.problems


def test_weights_are_read_by_name_and_in_order():
    assert parse_weights("Balanced") == "balanced"
    assert parse_weights("1, 2.5") == (1, 2.5)
    named = parse_weights("a=b=2, c=0.5")
    assert order_weights(named, ("c", "a=b")) == (0.5, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--task_name sst2 --class_weights negative=1,good=2", "there is no class good"),
        ("--task_name sst2 --class_weights negative=1", "there is no weight for class positive"),
        ("--task_name sst2 --class_weights 1,2,3", "3 weights for 2 classes (negative, positive)"),
        ("--task_name sst2 --class_weights 1,positive=2", "name all classes or none"),
        ("--task_name sst2 --class_weights positive=1,positive=2", "positive is named twice"),
        ("--task_name sst2 --class_weights 1,0", "'0' is not a weight"),
        ("--task_name sst2 --class_weights 1,nan", "'nan' is not a weight"),
        ("--task_name stsb --class_weights balanced", "only for one class per row, and here it is"),
        ("--task_name stsb --label_smoothing_factor 0.1", "here it is a score"),
        ("--task_name sst2 --label_smoothing_factor 1", "must be at most 0.99"),
    ],
)
def test_what_is_refused(flags, message):
    assert any(message in problem for problem in problems(*flags.split()))


def examples(labels: list[int]) -> Examples:
    return Examples([""] * len(labels), None, np.array(labels), "rows.csv")


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0] * 7 + [1] * 2 + [2]
    args = parse_args([*BASE, "--task_name", "mnli", "--class_weights", "balanced"])
    weights = class_weights.resolve(args, TASKS["MNLI"], examples(labels), RunLog(active=False))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weights is not None and weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    with pytest.raises(DataError, match="rows.csv has no row of class contradiction"):
        class_weights.resolve(args, TASKS["MNLI"], examples([0, 1]), RunLog(active=False))


def torch_cross_entropy(logits, labels, weights, smoothing) -> float:
    """The formula in the documentation of torch.nn.CrossEntropyLoss, reduction mean."""
    logits = logits.astype(np.float64)
    minus_log = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits
    rows, classes = np.arange(len(labels)), logits.shape[1]
    own = weights[labels] * minus_log[rows, labels]
    spread = (weights * minus_log).sum(axis=1) / classes
    return float(((1 - smoothing) * own + smoothing * spread).sum() / weights[labels].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.2, 0.3, 5.0)])
def test_the_loss_of_any_split_into_batches_is_that_of_torch(smoothing, weights):
    """Steps with the rows in one batch, and in unequal ones of which one is empty."""
    import paddle

    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(9, 3)).astype(np.float32), rng.integers(0, 3, 9)
    weights = np.array(weights, np.float32)
    expected = torch_cross_entropy(logits, labels, weights.astype(np.float64), smoothing)
    gradients = []
    for cuts in ((), (2, 2, 7)):
        network = paddle.nn.Linear(3, 3)
        network.weight.set_value(np.eye(3, dtype=np.float32))
        parts = zip(np.split(logits, cuts), np.split(labels, cuts), strict=True)
        batches = [{"x": x, "labels": y} if len(y) else {} for x, y in parts]
        objective = loss.task_objective(
            TASKS["MNLI"], None if weights.max() == 1 else weights, smoothing
        )
        args = parse_args([*BASE, "--task_name", "mnli", "--max_grad_norm", "0"])
        trainer = Trainer(network, objective, args, False, RunLog(active=False))
        trainer.forward = lambda batch, network=network: network(paddle.to_tensor(batch["x"]))
        seen: list[np.ndarray] = []
        trainer.before_optimizer_step.append(
            lambda seen=seen, network=network: seen.append(network.weight.grad.numpy())
        )
        result = trainer.step(batches, 0.0, 1, {})
        assert float(result.losses["loss"]) == pytest.approx(expected, rel=1e-5)
        assert result.rows == 9
        gradients.append(seen[0])
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_without_the_flags_nothing_changes():
    counts = loss.task_objective(TASKS["SST-2"]).counts({"labels": np.zeros(3)})
    assert counts == {"loss": 3}


def test_binary_cross_entropy_is_the_mean_over_rows_and_labels():
    import paddle

    logits, labels = np.array([[0.0, 2.0], [-1.0, 0.5]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    objective = loss.objective(LABELS)
    batch = {"labels": labels.astype(np.float32)}
    sums = objective.sums(lambda batch: paddle.to_tensor(logits.astype(np.float32)), batch)
    probabilities = 1 / (1 + np.exp(-logits))
    expected = -np.mean(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities))
    assert float(sums["loss"]) / objective.counts(batch)["loss"] == pytest.approx(expected)
    task = replace(TASKS["SST-2"], multi_label=True, thresholds=(0.5, 0.5))
    outputs = row_outputs.of_logits(task, logits, labels)
    assert outputs.mean_loss == pytest.approx(expected)
