"""What a report says of a run: collapsed, overfitting, still falling; and seeds side by side."""

import json

import pytest
import run_folders

from bert_paddle.report import build, reading, result_names, run_data, seed_means


def run_of(tmp_path, val_losses=(), train_losses=(), predictions=None, labels=None, **changes):
    """A run with an epoch of five steps for each validation loss."""
    folder = run_folders.write_run(tmp_path / "a", **changes)
    records = [
        {"kind": "train", "step": i + 1, "loss": loss, "learning_rate": 2e-5 / (i + 1)}
        for i, loss in enumerate(train_losses)
    ]
    for i, loss in enumerate(val_losses):
        scores = {"loss": loss, "accuracy": 0.5 + i / 100}
        records.append({"kind": "eval", "step": 5 * (i + 1), **scores})
    run_folders.write_lines(folder / "metrics.jsonl", records)
    if predictions is not None:
        labels = labels or ["no", "yes"] * (len(predictions) // 2)
        rows = [
            run_folders.prediction(i, label, answer, 0.8)
            for i, (label, answer) in enumerate(zip(labels, predictions, strict=True))
        ]
        run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    return run_data.read(folder)


FALLING = [1 - i / 20 for i in range(15)]


def test_a_collapsed_model_is_warned_of_and_its_tile_marked(tmp_path):
    run = run_of(tmp_path, predictions=["yes"] * 20, metric=["matthews_correlation"])
    (sentence,) = reading.warnings([run])
    assert sentence.startswith("Collapsed: the model gives the same answer, yes, to all 20 rows of")
    results = {"eval_matthews_correlation": 0.0, "eval_loss": 0.6}
    (run.folder / "all_results.json").write_text(json.dumps(results))
    text = build.write_run_report(run.folder).read_text()
    assert "Collapsed: " in text and text.count('<div class="bad">') == 1


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [(["yes", "no"] * 10, None), (["yes"] * 20, ["yes"] * 20), (["yes"] * 4, None)],
)
def test_other_answers_are_no_collapse(tmp_path, predictions, labels):
    """Several answers; a data set of one label; too few rows to tell."""
    assert reading.warnings([run_of(tmp_path, predictions=predictions, labels=labels)]) == {}


def test_overfitting_is_marked_with_its_epoch(tmp_path):
    run = run_of(tmp_path, [0.6, 0.5, 0.55], FALLING, predictions=["yes", "no"] * 10)
    assert list(reading.warnings([run])) == [
        "Overfitting since epoch 2: the validation loss rises, the training loss falls."
    ]
    assert "lowest, 0.5, at epoch 2, then up to 0.55" in reading.loss(run)
    run.run_info["metric"] = ["accuracy"]  # still rising: but no advice to train on
    assert reading.metrics(run) == "Accuracy was still improving at the end (0.52)."


@pytest.mark.parametrize(
    ("val_losses", "train_losses"),
    [
        ([0.6, 0.5, 0.502], FALLING),  # within 1 %
        ([0.6, 0.5, 0.55], [1.0] * 15),  # training does not fall either
        ([0.6, 0.5, 0.45], FALLING),
        ([0.6], FALLING),
    ],
)
def test_other_curves_are_no_overfitting(tmp_path, val_losses, train_losses):
    assert reading.overfitting_since(run_of(tmp_path, val_losses, train_losses)) == ""


def test_sentences_on_curves(tmp_path):
    answers = ["yes", "no"] * 10
    run = run_of(tmp_path, [0.6, 0.5, 0.45], FALLING, answers, metric=["accuracy"])
    assert reading.loss(run) == (
        "Training loss fell from 0.95 to 0.35. Validation loss was still falling at the end "
        "(0.45): more epochs may help."
    )
    assert reading.metrics(run).startswith("Accuracy was still improving at the end (0.52)")
    assert reading.learning_rate(run).startswith("Peak 2e-05 at step 1 (--learning_rate is 2e-05)")
    flat = run_of(tmp_path / "flat", [], [0.7] * 10)
    assert reading.loss(flat) == "Training loss did not fall (0.7 to 0.7)."


def test_runs_with_the_same_fault_are_named_in_one_warning(tmp_path):
    runs = [run_of(tmp_path / name, predictions=["yes"] * 20) for name in "ab"]
    for run, name in zip(runs, "ab", strict=True):
        run.name = name
    assert list(reading.warnings(runs).values()) == [["a", "b"]]


def test_means_over_seeds(tmp_path):
    for seed, accuracy in ((1, 0.7), (2, 0.8), (3, 0.9)):
        settings = {"learning_rate": 2e-5, "seed": seed, "output_dir": str(seed)}
        folder = run_folders.write_run(tmp_path / f"seed_{seed}", settings=settings)
        (folder / "all_results.json").write_text(json.dumps({"eval_accuracy": accuracy}))
    runs = [run_data.read(path) for path in sorted(tmp_path.iterdir())]
    table = seed_means.table(runs)
    assert table is not None
    assert table.head == ["mean ± standard deviation", "3 seeds"]
    assert table.rows == [["accuracy, dev set", "0.8000 ± 0.1000 [0.5516 to 1.0000]"]]
    build.write_reports([tmp_path], None)
    text = (tmp_path / "comparison.html").read_text()
    assert "Over the seeds" in text and "0.8000 ± 0.1000" in text and "eval_accuracy" not in text


def test_runs_that_differ_otherwise_are_not_averaged(tmp_path):
    for rate in (1e-5, 2e-5):
        run_folders.write_run(tmp_path / str(rate), settings={"learning_rate": rate, "seed": 1})
    assert seed_means.table([run_data.read(path) for path in tmp_path.iterdir()]) is None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("eval_matthews_correlation", "matthews correlation, dev set"),
        ("eval_accuracy_mm", "accuracy, dev set, mismatched"),
        ("test_ax_matthews_correlation", "matthews correlation, test set ax"),
        ("test_f1_macro", "f1 macro, test set"),
        ("train_runtime", "training time"),
        ("something_else", "something else"),
    ],
)
def test_keys_in_words(key, words):
    assert result_names.in_words(key) == words
