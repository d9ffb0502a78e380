"""Nothing grows with the square of the number of classes."""

import json
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from sklearn.metrics import f1_score, matthews_corrcoef

from bert_paddle import api
from bert_paddle.cli import predict
from bert_paddle.common import run_log
from bert_paddle.common.errors import DataError, RunError, WeightsError
from bert_paddle.glue import evaluate, metrics, predictions, row_outputs
from bert_paddle.glue.custom import task as custom_task
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models import classifier, load_weights
from bert_paddle.models.tokenizer import EncodedTexts
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
    predictions.write_jsonl(
        task, examples, row_outputs.of_logits(task, logits), tmp_path / "p.jsonl"
    )
    assert (tmp_path / "p.jsonl").stat().st_size < 400 * ROWS
    return [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]


def test_a_row_lists_its_most_likely_classes(rows):
    for row in rows:
        top = row["top_probabilities"]
        assert len(top) == 10 and "probabilities" not in row
        assert next(iter(top)) == row["prediction"]
        assert sorted(top.values(), reverse=True) == list(top.values())


def forward_of(logits: np.ndarray):
    """A model whose logits are given; a row's only word piece is its index."""
    import paddle

    def forward(batch):
        return paddle.to_tensor(logits[batch["input_ids"][:, 0]])

    return forward


@pytest.mark.parametrize("classes", [3, 101, 3000])
def test_outputs_by_batch_equal_those_of_all_logits_to_the_last_bit(classes):
    """Ties and a row of equal logits included; labels or none."""
    names = tuple(f"c{i}" for i in range(classes))
    task = custom_task.make_task("t", names, ChosenColumns("text", None, "label"), None)
    rng = np.random.default_rng(1)
    logits = (rng.integers(-40, 40, size=(57, classes)) / 8).astype(np.float32)
    logits[5], logits[6, :2] = 0, 50
    labels = rng.integers(0, classes, 57)
    ids = [np.array([row] * (1 + row % 4), np.int32) for row in range(57)]
    texts = EncodedTexts(ids, np.array([len(row) for row in ids], np.int32))
    for known in (labels, None):
        dataset = EncodedDataset(texts, known, pad_id=0)
        outputs = evaluate.compute_outputs(task, forward_of(logits), dataset, 8)
        assert outputs.predictions.tolist() == np.argmax(logits, axis=1).tolist()
        assert outputs.finite.all()
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    if classes <= 100:
        assert outputs.top_classes is None and np.array_equal(outputs.shares, shares)
    else:
        expected = np.argsort(-shares, axis=1, kind="stable")[:, :10]
        assert outputs.shares is None and np.array_equal(outputs.top_classes, expected)
        assert np.array_equal(outputs.top_shares, np.take_along_axis(shares, expected, axis=1))
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(57), labels]
    result = evaluate.evaluate(task, forward_of(logits), EncodedDataset(texts, labels, 0), 8)
    assert result.loss == float(np.mean(losses))


def test_the_memory_of_an_evaluation_does_not_grow_with_rows_times_classes():
    rows, classes = 1000, 20000
    names = tuple(map(str, range(classes)))
    task = custom_task.make_task("t", names, ChosenColumns("text", None, "label"), None)
    texts = EncodedTexts([np.array([0], np.int32)] * rows, np.ones(rows, np.int32))
    dataset = EncodedDataset(texts, np.zeros(rows, np.int64), pad_id=0)
    forward = forward_of(np.linspace(0, 1, classes, dtype=np.float32)[None])
    forward({"input_ids": np.zeros((1, 1), np.int64)})  # imports
    tracemalloc.start()
    evaluate.evaluate(task, forward, dataset, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the logits alone have 80 MB


def test_logits_that_are_not_finite_are_counted_with_many_classes_too():
    logits = np.zeros((4, len(LABELS)), np.float32)
    logits[1, 7], logits[2, :] = np.nan, np.inf
    task = custom_task.make_task("t", LABELS, ChosenColumns("text", None, "label"), None)
    with np.errstate(all="ignore"):
        outputs = row_outputs.of_logits(task, logits)
    with pytest.raises(RunError, match="m produces non-finite logits for 2 of 4 row"):
        evaluate.check_finite(outputs.finite, "m")


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
def test_matthews_and_f1_equal_sklearns_to_the_last_bit(classes):
    compute = {name: metric.compute for name, metric in metrics.METRICS.items()}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, predicted = rng.integers(0, classes, (2, 57))
        predicted = np.where(rng.random(57) < 0.5, labels, predicted)
        expected = matthews_corrcoef(labels, predicted) if classes > 1 else 0.0
        assert compute["matthews_correlation"](predicted, labels) == expected
        expected = f1_score(labels, predicted, average="macro", zero_division=0)
        assert compute["f1_macro"](predicted, labels) == expected
        expected = f1_score(labels == 1, predicted == 1, zero_division=0)
        assert compute["f1"](predicted, labels) == expected


def test_the_limit_of_classes(monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_MAX_CLASSES", "3")
    args, log = SimpleNamespace(regression=False, labels=None), run_log.RunLog()
    texts = list("abcd") * 30
    column = custom_task.LabelColumn(texts, list(range(120)), str, "a.csv")
    with pytest.raises(DataError, match="a.csv has 4 classes or more, and 3 are allowed"):
        custom_task.infer_labels(column, args, log)


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("wide") / "model", labels=LABELS[:200])


def test_predict_prints_the_most_likely_classes(wide_model, tiny_dir, capsys):
    def lines(*argv):
        capsys.readouterr()
        predict.main([*map(str, argv), "a good film", "a bad film"])
        return capsys.readouterr().out.splitlines()

    shares = api.load(wide_model).predict(["a good film", "a bad film"])[0].probabilities
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    label, listed, text = lines(wide_model)[0].split("\t")
    assert listed == ", ".join(f"{name} {value:.4f}" for name, value in ranked[:10])
    assert (label, text) == (ranked[0][0], "a good film")
    row = json.loads(lines(wide_model, "--json")[0])
    assert row["top_probabilities"] == dict(ranked[:10])
    assert "probabilities" not in row
    row = json.loads(lines(wide_model, "--json", "--top_k", "150")[0])
    assert list(row["top_probabilities"]) == [name for name, _ in ranked[:150]]
    # A model of few classes: all of them in the model's order, or as many as asked for.
    assert list(json.loads(lines(tiny_dir, "--json")[0])["probabilities"]) == ["no", "yes"]
    assert lines(tiny_dir, "--top_k", "1")[0].split("\t")[1].count(" ") == 1


def test_top_k_is_for_classes(tmp_path):
    model = tiny.write_model(tmp_path / "model", labels=())
    with pytest.raises(DataError, match="--top_k is for classes, and .* predicts a score"):
        predict.main([str(model), "--top_k", "3", "a film"])


def test_a_model_of_too_many_classes(wide_model, tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_MAX_CLASSES", "199")
    with pytest.raises(WeightsError, match="config.json has 200 classes or more, and 199 are"):
        api.load(wide_model)
    unnamed = shutil.copytree(wide_model, tmp_path / "unnamed")
    config = json.loads((unnamed / "config.json").read_text())
    (unnamed / "config.json").write_text(json.dumps({**config, "id2label": None}))
    (unnamed / "manifest.json").unlink(missing_ok=True)
    with pytest.raises(WeightsError, match="model.safetensors has 200 classes or more, and 199"):
        api.load(unnamed)


def test_the_line_about_a_head_of_other_classes_is_short(wide_model):
    weights = load_weights.load_weights(wide_model)
    notes = classifier.build_classifier(weights, ("a", "b"), seed=0, need_head=False).notes
    assert "the model's head is for c0, c1" in notes[-1] and len(notes[-1]) < 200
