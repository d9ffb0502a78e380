"""`bert-paddle compare`: what it says of runs that differ, that do not, and that do not fit."""

import json

import numpy as np
import pytest
import run_folders
from scipy.stats import binomtest

from bert_paddle import __main__ as program
from bert_paddle import api
from bert_paddle.common.errors import DataError, FlagError

ROWS = 200


def write_run(folder, wrong, labels=("no", "yes"), **results):
    """A run on ROWS pairs whose label alternates, wrong about the rows in `wrong`."""
    run_folders.write_run(folder)
    truth = [labels[i % 2] for i in range(ROWS)]
    predicted = [labels[(i + (i in wrong)) % 2] for i in range(ROWS)]
    rows = [
        run_folders.prediction(i, label, guess, 0.9)
        for i, (label, guess) in enumerate(zip(truth, predicted, strict=True))
    ]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    values = json.loads((folder / "all_results.json").read_text()) | results
    (folder / "all_results.json").write_text(json.dumps(values))
    return folder


def output(capsys, *words):
    program.run(["compare", *map(str, words)])
    return capsys.readouterr().out


def test_a_clear_difference_is_shown(tmp_path, capsys):
    a = write_run(tmp_path / "a", range(40))
    b = write_run(tmp_path / "b", range(10))
    said = output(capsys, a, b)
    assert f"MRPC: A is {a}, B is {b}" in said
    assert "accuracy: A 0.8000, B 0.9500, B - A +0.1500, 95 % interval +0." in said
    assert said.count("B is better on rows like these") == 2  # accuracy and F1
    assert "only A 0, only B 30, neither 10; McNemar's exact test: p = 1.86e-09: B is right" in said
    found = json.loads(output(capsys, a, b, "--json"))
    (dev_set,) = found["dev_sets"]
    assert dev_set["mcnemar"]["p_value"] == pytest.approx(binomtest(0, 30, 0.5).pvalue)
    low, high = dev_set["metrics"][0]["interval"]
    # Of the mean of 30 ones and 170 zeros: the normal approximation.
    half = 1.96 * np.sqrt(0.15 * 0.85 / ROWS)
    assert (low, high) == pytest.approx((0.15 - half, 0.15 + half), abs=0.2 * half)
    assert [m["shown"] for m in dev_set["metrics"]] == ["B", "B"]
    swapped = json.loads(output(capsys, b, a, "--json"))["dev_sets"][0]["metrics"]
    assert [m["shown"] for m in swapped] == ["A", "A"]
    assert api.compare(a, b) == found


def test_what_chance_explains_is_not_called_equal(tmp_path, capsys):
    a, b = write_run(tmp_path / "a", range(20)), write_run(tmp_path / "b", range(3, 24))
    said = output(capsys, a, b)
    assert said.count("no difference is shown: the interval contains 0") == 2
    assert "p = 1: no difference of the accuracies is shown at the 5 % level" in said
    assert "equal" not in said and "what another seed would change is not in it" in said
    assert "with different predictions in 0" in output(capsys, a, a)


def test_scores_are_compared_without_mcnemar(tmp_path, capsys):
    random, folders = np.random.default_rng(1), []
    truth = random.uniform(0, 5, 300)
    for name, noise in (("a", 2.0), ("b", 0.5)):
        guesses = truth + noise * random.normal(size=300)
        folders.append(run_folders.write_run(tmp_path / name, task="STS-B", labels=[]))
        rows = [
            {"index": i, "text_a": f"{i}", "label": float(x), "prediction": float(y)}
            for i, (x, y) in enumerate(zip(truth, guesses, strict=True))
        ]
        run_folders.write_lines(tmp_path / name / "dev_predictions.jsonl", rows)
        results = {"task": "STS-B", "data": "glue", "eval_pearson": 0.9, "eval_spearmanr": 0.9}
        (tmp_path / name / "all_results.json").write_text(json.dumps(results))
    said = output(capsys, *folders)
    assert said.count("B is better") == 2 and "McNemar" not in said


def test_several_labels_per_row(tmp_path, capsys):
    truth = [["x"], [], ["x", "y"], ["y"]] * 50
    folders = []
    for name, wrong in (("a", 60), ("b", 10)):
        rows = [
            {"index": i, "text_a": f"{i}", "label": y, "prediction": [] if y and i < wrong else y}
            for i, y in enumerate(truth)
        ]
        rows[-2]["prediction"] = ["y", "x"]  # in another order than the label
        folders.append(run_folders.write_run(tmp_path / name, task="tags", labels=["x", "y"]))
        run_folders.write_lines(folders[-1] / "dev_predictions.jsonl", rows)
        values = dict.fromkeys(("f1_micro", "f1_macro", "exact_match"), 0.5)
        results = {"task": "tags", "data": "own", **{f"eval_{k}": v for k, v in values.items()}}
        (folders[-1] / "all_results.json").write_text(json.dumps(results))
    said = output(capsys, *folders)
    assert "200 rows, with different predictions in 38" in said
    assert "exact_match: A 0.7750, B 0.9650, B - A +0.1900" in said
    assert said.count("B is better on rows like these") == 3
    assert "right: both 155, only A 0, only B 38, neither 7; McNemar" in said
    found = json.loads(output(capsys, *folders, "--json"))["dev_sets"][0]
    assert found["mcnemar"]["metric"] == "exact_match"
    (match,) = (m for m in found["metrics"] if m["name"] == "exact_match")
    half = 1.96 * np.sqrt(0.19 * 0.81 / ROWS)
    assert match["interval"] == pytest.approx([0.19 - half, 0.19 + half], abs=0.2 * half)
    assert "no difference of the exact matches" in output(capsys, folders[0], folders[0])


def test_runs_that_cannot_be_compared(tmp_path):
    a = write_run(tmp_path / "a", ())
    other_task = write_run(tmp_path / "task", (), task="QQP")
    other_labels = write_run(tmp_path / "labels", (), labels=("yes", "no"))
    fewer, texts = write_run(tmp_path / "fewer", ()), write_run(tmp_path / "texts", ())
    lines = (fewer / "dev_predictions.jsonl").read_text().splitlines(keepends=True)
    (fewer / "dev_predictions.jsonl").write_text("".join(lines[:-1]))
    (texts / "dev_predictions.jsonl").write_text("".join(lines).replace("number 7", "number 8"))
    damaged, unevaluated = write_run(tmp_path / "damaged", ()), write_run(tmp_path / "none", ())
    (damaged / "dev_predictions.jsonl").write_text("".join(lines[:3]) + '{"index": 3, "te')
    unanswered = write_run(tmp_path / "unanswered", ())
    row = {k: v for k, v in json.loads(lines[0]).items() if k != "prediction"}
    (unanswered / "dev_predictions.jsonl").write_text(json.dumps(row))
    (unevaluated / "dev_predictions.jsonl").unlink()
    for run, message in (
        (other_task, "is a run on MRPC and .* on QQP: only runs on the same task"),
        (other_labels, r"different labels in 200 row\(s\), first in row 1"),
        (fewer, "has 200 rows and .* 199"),
        (texts, r"different texts in 1[0-9]? row\(s\), first in row 8"),
        (damaged, r"jsonl:4 is not JSON .*: evaluate again \(--do_eval\)"),
        (unanswered, "jsonl:1 has no prediction that is a name, a list of names or a number"),
        (unevaluated, "has no dev_predictions.jsonl: .* finished run with --do_eval"),
        (tmp_path / "missing", "no such folder"),
        (tmp_path, "has several runs: give one of them, such as"),
    ):
        with pytest.raises(DataError, match=message):
            program.run(["compare", str(a), str(run)])
    with pytest.raises(FlagError, match="RUN_A RUN_B is missing"):
        program.run(["compare", str(a)])
    with pytest.raises(FlagError, match="3 runs are given: give two"):
        program.run(["compare", str(a), str(a), str(a)])
