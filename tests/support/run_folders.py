"""Synthetic run folders: the files that a run writes, without a run."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from bert_paddle.report import figures

LABELS = ["no", "yes"]


_png = functools.cache(lambda: figures.render_png(figures.Picture("a", "", "", lambda *_: None)))


@pytest.fixture
def plain_pictures(monkeypatch):
    """Pages with empty pictures, which take a tenth of the time: for tests of the page's text and
    files."""
    png = _png()
    monkeypatch.setattr(figures, "render_png", lambda picture: png)
    monkeypatch.setattr(figures, "render_svg", lambda picture, salt: f'<svg class="{salt}"></svg>')


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def records(steps: int = 10, **marks: str) -> list[dict[str, Any]]:
    """A training record for each step, an evaluation every five."""
    entries: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        logged = {"loss": 1 / step, "learning_rate": 1e-4 / step, "sequences_per_second": 9.5}
        entries.append({"kind": "train", "step": step, "epoch": 0, **logged, **marks})
        if step % 5 == 0:
            scores = {"loss": 0.5, "accuracy": 0.75, "f1": 0.5 + step / 100}
            entries.append({"kind": "eval", "step": step, **scores, **marks})
    return entries


def prediction(
    index: int, label: str, predicted: str, confidence: float, text: str = ""
) -> dict[str, Any]:
    probabilities = [confidence, 1 - confidence]
    if predicted != LABELS[0]:
        probabilities.reverse()
    return {
        "index": index,
        "text_a": text or f"sentence number {index}",
        "text_b": f"its pair {index}",
        "label": label,
        "prediction": predicted,
        "probabilities": probabilities,
    }


def write_run(folder: Path, **changes: Any) -> Path:
    """A finished run on sentence pairs. changes: of its run.json."""
    folder.mkdir(parents=True)
    run_info = {
        "program": "run_glue",
        "task": "MRPC",
        "data": "glue",
        "settings": {"learning_rate": 2e-5, "seed": 42, "output_dir": str(folder)},
        "given": ["learning_rate"],
        "model": "a-model",
        "parameters": 12345,
        "machine": "a processor",
        "versions": {"Python": "3.11.7"},
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:09:05+00:00",
        "labels": LABELS,
        "metric": ["accuracy", "f1"],
        "higher_is_better": True,
        "rows": {"train": 40, "dev": 4},
        "lengths": {"max_seq_length": 8, "counts": [0, 0, 0, 5, 10, 5, 5, 5, 10], "cut": 6},
        "steps": {"planned": 10, "per_epoch": 5},
    }
    (folder / "run.json").write_text(json.dumps(run_info | changes))
    write_lines(folder / "metrics.jsonl", records())
    results = {"task": "MRPC", "data": "glue", "eval_accuracy": 0.7512, "eval_f1": 0.6134}
    results |= {"eval_loss": 0.5, "global_step": 10, "train_runtime": 75.0, "best_step": 5}
    (folder / "all_results.json").write_text(json.dumps(results))
    rows = [prediction(i, "yes", "yes", 0.9) for i in range(20)]
    rows += [prediction(20 + i, "no", "yes", 0.5 + i / 40) for i in range(15)]
    write_lines(folder / "dev_predictions.jsonl", rows)
    return folder
