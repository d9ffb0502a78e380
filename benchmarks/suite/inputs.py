"""What all contestants are given: the same rows as files, the same weights in everyone's form."""

import json
import subprocess
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite import contest
from benchmarks.suite.options import ROOT, SHARDS, Mistake, folder
from bert_paddle.common import runtime
from bert_paddle.glue.data import tsv
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.tasks import get_task
from bert_paddle.pretrain.data.loader import PretrainLoader
from bert_paddle.pretrain.data.shard_roles import find_shards
from bert_paddle.pretrain.data.shards import check_shards

MODEL = "all-minilm-l6-v2"
SEED = 42
MAX_LENGTH = 128
MAX_PREDICTIONS = 20


def weights() -> Path:
    """The packaged weights' folder. Raises Mistake where they are not."""
    found = runtime.bert_paddle_home() / "models" / MODEL
    if not (found / "model.safetensors").is_file():
        raise Mistake(f"{found} has no weights: scripts/fetch_minilm.sh fetches them")
    return found


def examples(task_name: str, split: str) -> Examples:
    """A GLUE file's rows."""
    task = get_task(task_name)
    return tsv.read_task_file(task, folder("GLUE_DATA_DIR") / task.folder / f"{split}.tsv", split)


def write_rows(task_name: str, split: str, most: int, path: Path) -> int:
    """Write `most` rows, drawn without replacement, or all, as JSON; returns how many.

    texts_a, texts_b (or null), labels: indices into `names`.
    """
    found = examples(task_name, split)
    rows = np.arange(len(found))
    if most < len(found):
        rows = np.sort(np.random.default_rng(SEED).permutation(len(found))[:most])
    assert found.labels is not None
    second = found.texts_b
    made = {
        "texts_a": [found.texts_a[i] for i in rows],
        "texts_b": [second[i] for i in rows] if second else None,
        "labels": found.labels[rows].tolist(),
        "names": list(get_task(task_name).labels),
    }
    path.write_text(json.dumps(made), encoding="utf-8")
    return len(rows)


def write_sst2(count: int, target: Path) -> None:
    """Write SST-2's train.tsv with `count` rows, the longest of the set among them, and its dev.tsv
    into a folder."""
    source = folder("GLUE_DATA_DIR") / "SST-2"
    head, *lines = (source / "train.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    longest = sorted(range(len(lines)), key=lambda i: -len(lines[i]))[: count // 10]
    others = set(range(len(lines))) - set(longest)
    drawn = np.random.default_rng(SEED).permutation(sorted(others))[: count - len(longest)]
    kept = [lines[i] for i in sorted([*longest, *drawn.tolist()])]
    (target / "train.tsv").write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    (target / "dev.tsv").write_bytes((source / "dev.tsv").read_bytes())


def write_pretraining_rows(rows: int, batch: int, path: Path) -> dict[str, Any]:
    """Write batches of shuffled rows of the shards as training gets them; returns what they are."""
    training = find_shards(folder(SHARDS)).training
    shards = check_shards(training, 2**31 - 1, 2**31 - 1, 2)
    batches = PretrainLoader(shards, SEED, batch, 1, 0, 1, MAX_PREDICTIONS)
    arrays: dict[str, np.ndarray] = {}
    tokens = masked = 0
    for number, (one,) in enumerate(islice(batches.steps(0, 0), rows // batch)):
        arrays |= {f"{number}/{key}": value for key, value in one.items()}
        tokens += int(one["input_mask"].sum())
        masked += len(one["masked_lm_ids"])
    np.savez(path, **arrays)
    return {
        "rows": rows,
        "positions": shards.length,
        "word pieces in a row": round(tokens / rows, 1),
        "masked in a row": round(masked / rows, 1),
    }


def write_model(kind: str, scratch: Path, labels: list[str], config: dict[str, int]) -> Path:
    """A model of one set of weights in everyone's form: folders `paddle`, `hf` and, of a
    classifier with the packaged weights, `onnx`. kind: classifier (a head drawn from SEED) or
    pretraining. config: sizes, with which all weights are drawn from SEED."""
    target = scratch / "models" / "-".join([kind, *labels, *map(str, config.values())])
    if target.is_dir():
        return target
    target.mkdir(parents=True)
    spec: dict[str, Any] = {"kind": kind, "target": str(target / "paddle"), "labels": labels}
    spec |= {"config": config, "weights": str(weights()), "seed": SEED}
    (target / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    _run(["benchmarks/suite/make_model.py", str(target / "spec.json")], target)
    for form in ("hf",) if config else ("hf", "onnx"):
        command = ["-m", "bert_paddle", "export", str(target / "paddle"), "--format", form]
        _run([*command, "--output", str(target / form)], target)
    return target


def _run(arguments: list[str], target: Path) -> None:
    done = subprocess.run(
        [contest.OURS, *arguments],
        cwd=ROOT,
        env=contest.environment(2),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{target.name} could not be made:\n{done.stderr.strip()[-3000:]}")
