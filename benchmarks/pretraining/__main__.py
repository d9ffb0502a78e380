"""A pre-training on text of the public domain, and what it gives in fine-tuning.

    BERT_PADDLE_TEXT_DIR=... GLUE_DATA_DIR=... python -m benchmarks.pretraining [--out runs/proof]

Trains a vocabulary on all of the text, makes shards of 64 and of 128 tokens, pre-trains 4 layers x
256 on the first and then on the second, and fine-tunes that model and one of random weights on
seven tasks, with a learning rate chosen for each start on other seeds. Hours on two cores; run
again, it resumes. What has been measured is kept in benchmarks/results/pretraining.json at once;
benchmarks/pretraining/summary.py writes docs/PRETRAINING_RESULTS.md from that.
"""

import argparse
import json
import os
import shutil
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.pretraining import held_out, summary
from benchmarks.pretraining.programs import ROOT, run
from bert_paddle.common import atomic_files, hardware
from bert_paddle.common.run_log import read_metrics
from bert_paddle.glue.tasks import TASKS

KEPT = ROOT / "benchmarks" / "results" / "pretraining.json"
PAGE = ROOT / "docs" / "PRETRAINING_RESULTS.md"
CONFIG = Path(__file__).with_name("bert_4x256.json")
VOCAB_SIZE = 8192
# corpus: (form, share of the documents held out)
CORPORA = {"books": ("prose", 0.02), "novels": ("prose", 0.04), "pd_en": ("lines", 0.02)}


@dataclass(frozen=True)
class Phase:
    """A part of the pre-training. length: tokens per row; predictions: masked ones at most."""

    length: int
    predictions: int
    batch_size: int
    learning_rate: float
    steps: int


PHASES = (Phase(64, 10, 128, 1e-3, 12000), Phase(128, 20, 64, 3e-4, 1500))
STARTS = ("pretrained", "random")
FINE_TUNED = ("CoLA", "SST-2", "MRPC", "STS-B", "QNLI", "QQP", "RTE")
FIRST_ROWS = {"SST-2": 10000, "QNLI": 10000}  # of larger training files
RATES, RATE_TASKS, RATE_SEED = ("3e-5", "1e-4", "3e-4"), ("MRPC", "SST-2"), 4
SEEDS = (1, 2, 3)


class Kept:
    """What has been measured, written to a file whenever a part is added."""

    def __init__(self, path: Path):
        self.path = path
        self.values: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}

    def put(self, name: str, value: Any) -> None:
        self.values[name] = value
        atomic_files.write_json(self.path, self.values)


def make_vocabulary(texts: Path, out: Path) -> None:
    if not (out / "vocab" / "vocab.txt").is_file():
        files = ",".join(str(texts / corpus) for corpus in CORPORA)
        run("scripts/train_vocab.py", input_files=files, vocab_size=VOCAB_SIZE, form="prose",
            output_dir=out / "vocab")  # fmt: skip


def make_shards(texts: Path, out: Path, phase: Phase) -> None:
    for corpus, (form, share) in CORPORA.items():
        run("scripts/create_pretraining_data.py", input_files=texts / corpus, corpus_name=corpus,
            form=form, test_share=share, vocab_file=out / "vocab", dupe_factor=2, workers=2,
            max_seq_length=phase.length, max_predictions_per_seq=phase.predictions,
            output_dir=out / f"shards_{phase.length}")  # fmt: skip


def pretrain(out: Path, phase: Phase, init_from: Path | None, kept: Kept) -> Path:
    """Train a phase to its end; returns the model's folder."""
    folder = out / f"pretrained_{phase.length}"
    started = {"init_from": init_from} if init_from else {}
    run("run_pretrain.py", model_name_or_path=CONFIG, vocab_file=out / "vocab" / "vocab.txt",
        vocab_size=VOCAB_SIZE, input_dir=out / f"shards_{phase.length}", output_dir=folder,
        max_steps=phase.steps, batch_size=phase.batch_size, learning_rate=phase.learning_rate,
        warmup_ratio=0.05, weight_decay=0.01, adam_epsilon=1e-6, dynamic_masking=1,
        max_predictions_per_seq=phase.predictions, eval_batch_size=64,
        eval_steps=max(1, phase.steps // 20), save_steps=max(1, phase.steps // 40),
        logging_steps=max(1, phase.steps // 200), num_train_epochs=1000, n_gpu=0,
        save_total_limit=2, resume_from_checkpoint="auto", **started)  # fmt: skip
    keep_curve(kept, folder, phase)
    return folder / f"model_{phase.steps}"


def keep_curve(kept: Kept, folder: Path, phase: Phase) -> None:
    records = read_metrics(folder)
    fields = {
        "train": ("step", "mlm_loss", "nsp_loss", "sequences_per_second"),
        "eval": ("step", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"),
    }
    curve = {
        kind: [[r.get(name) for name in names] for r in records if r["kind"] == kind]
        for kind, names in fields.items()
    }
    kept.put(f"curve_{phase.length}", curve | {"machine": hardware.describe()})


def initial_weights(out: Path) -> Path:
    """The random weights with which the pre-training begins: the first step of a warm-up has a
    learning rate of 0."""
    folder, phase = out / "random", PHASES[0]
    if not (folder / "model_1").is_dir():
        run("run_pretrain.py", model_name_or_path=CONFIG, vocab_file=out / "vocab" / "vocab.txt",
            vocab_size=VOCAB_SIZE, input_dir=out / f"shards_{phase.length}", output_dir=folder,
            max_steps=1, warmup_steps=1, do_eval=0, n_gpu=0, report=0,
            max_predictions_per_seq=phase.predictions)  # fmt: skip
    return folder / "model_1"


def fine_tune(
    out: Path, kept: Kept, start: str, model: Path, task: str, rate: str, seed: int
) -> float:
    """Fine-tune, unless the result is kept; returns the task's score, the mean of its metrics in
    percent."""
    name = f"{task}/{start}/{rate}/{seed}"
    tuned = kept.values.setdefault("fine_tuned", {})
    if name not in tuned:
        folder = out / "fine_tuned" / name.replace("/", "_")
        limit = {"max_train_samples": FIRST_ROWS[task]} if task in FIRST_ROWS else {}
        run("run_glue.py", model_name_or_path=model, task_name=task, output_dir=folder,
            max_seq_length=128, batch_size=32, learning_rate=rate,
            num_train_epochs=3, warmup_ratio=0.1, seed=seed, n_gpu=0, save_strategy="no",
            logging_steps=100, report=0, overwrite_output_dir=1, **limit)  # fmt: skip
        results = json.loads((folder / "all_results.json").read_text())
        tuned[name] = [100 * results[f"eval_{metric}"] for metric in TASKS[task].metrics]
        kept.put("fine_tuned", tuned)
        shutil.rmtree(folder)
    return statistics.mean(tuned[name])


def choose_rate(out: Path, kept: Kept, start: str, model: Path) -> str:
    """The learning rate with the best mean over RATE_TASKS."""
    means = {
        rate: statistics.mean(
            fine_tune(out, kept, start, model, task, rate, RATE_SEED) for task in RATE_TASKS
        )
        for rate in RATES
    }
    kept.put("rates", kept.values.get("rates", {}) | {start: means})
    return max(means, key=lambda rate: means[rate])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "pretraining_proof")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--steps", help="of both phases, for a trial, such as 40,20")
    parser.add_argument("--tasks", default=",".join(FINE_TUNED))
    parser.add_argument("--until", choices=("shards", "pretrained"), help="stop after this part")
    args = parser.parse_args()
    texts = os.environ.get("BERT_PADDLE_TEXT_DIR", "")
    if not Path(texts or "?").is_dir() or "GLUE_DATA_DIR" not in os.environ:
        parser.error("set BERT_PADDLE_TEXT_DIR and GLUE_DATA_DIR to the folders of both")
    out, kept = args.out.resolve(), Kept(args.kept)
    out.mkdir(parents=True, exist_ok=True)
    steps = args.steps.split(",") if args.steps else [phase.steps for phase in PHASES]
    phases = [replace(p, steps=int(n)) for p, n in zip(PHASES, steps, strict=True)]
    make_vocabulary(Path(texts), out)
    for phase in phases:
        make_shards(Path(texts), out, phase)
    if args.until == "shards":
        return
    model = None
    for phase in phases:
        model = pretrain(out, phase, model, kept)
        summary.write(kept.values, args.page)
    assert model is not None
    kept.put(
        "held_out",
        held_out.measure(out, model, PHASES[-1].length, PHASES[-1].predictions, Path(texts)),
    )
    if args.until == "pretrained":
        return
    for start in STARTS:
        weights = model if start == "pretrained" else initial_weights(out)
        rate = choose_rate(out, kept, start, weights)
        for seed in SEEDS:
            for task in args.tasks.split(","):
                fine_tune(out, kept, start, weights, task, rate, seed)
                summary.write(kept.values, args.page)


if __name__ == "__main__":
    main()
