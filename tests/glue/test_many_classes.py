"""Nothing grows with the square of the number of classes."""

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from bert_paddle.common import run_log
from bert_paddle.common.errors import DataError
from bert_paddle.glue import metrics, predictions
from bert_paddle.glue.custom import task as custom_task
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.report import plots, tables
from bert_paddle.report.run_data import PredictionSet

LABELS = tuple(f"c{i}" for i in range(5000))
ROWS = 300


@pytest.fixture
def rows(tmp_path):
    task = custom_task.make_task("many", LABELS, ChosenColumns("text", None, "label"), None)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(ROWS, len(LABELS))).astype(np.float32)
    examples = Examples(["text"] * ROWS, None, rng.integers(0, len(LABELS), ROWS), "here")
    predictions.write_jsonl(task, examples, logits, tmp_path / "p.jsonl")
    assert (tmp_path / "p.jsonl").stat().st_size < 400 * ROWS
    return [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]


def test_a_row_lists_its_most_likely_classes(rows):
    for row in rows:
        top = row["top_probabilities"]
        assert len(top) == 10 and "probabilities" not in row
        assert next(iter(top)) == row["prediction"]
        assert sorted(top.values(), reverse=True) == list(top.values())


def test_the_report_of_many_classes(rows):
    dataset = PredictionSet("dev", rows)
    tracemalloc.start()
    names, counts = plots.confusion_counts(dataset, list(LABELS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the whole matrix has 200 MB
    assert len(names) == 100 and names[-1] == plots.OTHER_CLASSES
    assert counts.shape == (100, 100) and counts.sum() == ROWS
    mistake = tables.top_mistakes(dataset, list(LABELS))[0]
    assert mistake.confidence.endswith("%") and mistake.confidence != "0.0%"


@pytest.mark.parametrize("classes", [1, 2, 3, 50])
@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_matthews_equals_sklearns_to_the_last_bit(classes):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, predicted = rng.integers(0, classes, (2, 57))
        predicted = np.where(rng.random(57) < 0.5, labels, predicted)
        expected = matthews_corrcoef(labels, predicted) if classes > 1 else 0.0
        assert metrics.METRICS["matthews_correlation"][1](predicted, labels) == expected


def test_the_limit_of_classes(monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_MAX_CLASSES", "3")
    args, log = SimpleNamespace(regression=False, labels=None), run_log.RunLog()
    texts = list("abcd") * 30
    column = custom_task.LabelColumn(texts, list(range(120)), str, "a.csv")
    with pytest.raises(DataError, match="a.csv has 4 classes or more, and 3 are allowed"):
        custom_task.infer_labels(column, args, log)
