"""Logits in row order, the mean loss, prediction files, the best step."""

import io
import math

import numpy as np
import pytest

from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import evaluate, loss, predictions, results, row_outputs
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import EvalResult
from bert_paddle.glue.tasks import get_task
from bert_paddle.models.tokenizer import EncodedTexts
from bert_paddle.training.train_state import TrainState


def make_dataset(lengths, labels=None):
    """Rows whose second token is 100 plus the row's index."""
    ids = [np.array([1, 100 + i, *[7] * (n - 2)], np.int32) for i, n in enumerate(lengths)]
    return EncodedDataset(EncodedTexts(ids, np.array(lengths, np.int32)), labels, pad_id=0)


def forward_pass(model):
    return loss.forward_pass(model, by_kernels=False)


def index_model(input_ids, token_type_ids, attention_mask):
    """A model that returns each row's index."""
    return (input_ids[:, 1:2] - 100).astype("float32")


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_logits_are_in_row_order(batch_size):
    lengths = np.random.default_rng(0).permutation(np.arange(2, 25))
    logits = evaluate.compute_logits(forward_pass(index_model), make_dataset(lengths), batch_size)
    assert logits[:, 0].tolist() == list(range(23))


def test_batch_layout():
    batch = EncodedDataset(
        EncodedTexts([np.array([1, 5, 3, 6, 3]), np.array([1, 5, 3])], np.array([3, 3])), None, 0
    ).batch(np.array([1, 0]))
    assert batch["input_ids"].tolist() == [[1, 5, 3, 0, 0], [1, 5, 3, 6, 3]]
    assert batch["input_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch["segment_ids"].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]


def test_mean_loss_against_a_calculation_by_hand():
    sst2, stsb = get_task("sst2"), get_task("stsb")
    logits = np.array([[0.0, math.log(3)], [0.0, 0.0]], np.float32)
    # softmax (1/4, 3/4) and (1/2, 1/2): -ln 3/4 and -ln 1/2.
    expected = (-math.log(0.75) - math.log(0.5)) / 2
    assert row_outputs.of_logits(sst2, logits, np.array([1, 0])).mean_loss == pytest.approx(
        expected
    )
    scores = np.array([[1.0], [4.0]], np.float32)
    outputs = row_outputs.of_logits(stsb, scores, np.array([2.0, 4.0]))
    assert outputs.mean_loss == pytest.approx(0.5)


def test_huge_logits_do_not_overflow():
    logits = np.array([[1e4, -1e4]], np.float32)
    outputs = row_outputs.of_logits(get_task("sst2"), logits, np.array([1]))
    assert outputs.mean_loss == pytest.approx(2e4)


@pytest.mark.parametrize(
    ("task", "logits", "expected"),
    [
        ("SST-2", [[1, 0], [0, 1]], ["0", "1"]),
        ("RTE", [[1, 0], [0, 1]], ["entailment", "not_entailment"]),
        ("MNLI", [[0, 0, 1], [0, 1, 0]], ["contradiction", "neutral"]),
        ("STS-B", [[-0.5], [6.0]], ["0.000", "5.000"]),
    ],
)
def test_submission_tsv(tmp_path, task, logits, expected):
    path = tmp_path / "predictions" / "x.tsv"
    outputs = row_outputs.of_logits(get_task(task), np.array(logits, np.float32))
    predictions.write_submission_tsv(get_task(task), outputs.predictions, path)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines == [["index", "prediction"], ["0", expected[0]], ["1", expected[1]]]


def test_best_step_is_the_earliest_of_equals():
    state, task = TrainState(total=9), get_task("mrpc")
    is_best = []
    for step, (accuracy, f1) in enumerate([(0.5, 0.7), (0.8, 0.6), (0.6, 0.8), (0.1, 0.1)], 1):
        state.step = step
        metrics = {"accuracy": accuracy, "f1": f1}
        is_best.append(results.update_best_step(task, state, [EvalResult(0.1, metrics)]))
    assert is_best == [True, True, False, False]  # 0.6, 0.7, 0.7, 0.1: the mean of the two
    assert (state.best_step, state.evaluations_since_best) == (2, 2)


def test_an_undefined_metric_is_never_the_best():
    state = TrainState(total=9, step=1)
    undefined = {"pearson": math.nan, "spearmanr": math.nan}
    assert not results.update_best_step(get_task("stsb"), state, [EvalResult(0.1, undefined)])
    assert state.best_step is None


def test_both_dev_sets_of_mnli_have_a_line_and_keys(tmp_path):
    task = get_task("mnli")
    labels = np.array([0, 1, 2])
    data = EncodedData(dev=[(dev, make_dataset([4, 3, 5], labels)) for dev in task.dev_sets])
    log = RunLog(stdout=io.StringIO())

    def model(input_ids, token_type_ids, attention_mask):
        import paddle

        return paddle.eye(3)[input_ids[:, 1] - 100]

    _, values = results.evaluate_dev_sets(task, forward_pass(model), data, 2, 1, log, 7)
    lines = log.stdout.getvalue().splitlines()
    assert [line.split(", ")[1:] for line in lines] == [
        ["accu: 1.000000", "dev: matched"],
        ["accu: 1.000000", "dev: mismatched"],
    ]
    assert values["eval_accuracy"] == values["eval_accuracy_mm"] == 1.0
    assert values["eval_samples_mm"] == 3


def test_a_single_predicted_class_is_warned_about():
    task = get_task("sst2")
    dev = EncodedData(dev=[(task.dev_sets[0], make_dataset([4, 3, 5], np.array([0, 1, 1])))])

    def warning(classes):
        import paddle

        def model(input_ids, token_type_ids, attention_mask):
            return paddle.eye(2)[paddle.to_tensor(classes[: len(input_ids)])]

        log = RunLog(stdout=io.StringIO(), stderr=io.StringIO())
        results.evaluate_dev_sets(task, forward_pass(model), dev, 8, 1, log, 7)
        return log.stderr.getvalue()

    assert "all 3 rows are predicted to be positive" in warning([1, 1, 1])
    assert warning([1, 0, 1]) == ""
