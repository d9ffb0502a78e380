"""What a pre-trained model knows of held-out rows, and what word frequencies alone would give.

Losses per word piece depend on the vocabulary. In bits per character (the summed loss of the masked
pieces, divided by ln 2 and by their characters) those of two vocabularies compare.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pretraining.programs import run
from bert_paddle.common import runtime
from bert_paddle.pretrain.data.loader import collate
from bert_paddle.pretrain.data.shard_roles import find_shards
from bert_paddle.pretrain.data.shards import check_shards

# The run of 2026-11-21: 3,000 steps of 32 x 64 tokens on novels and pd_en, with the vocabulary of
# bert-base-uncased; the last evaluation's loss per masked piece and share of right relations.
BEFORE_LOSS, BEFORE_RIGHT, BEFORE_VOCAB = 5.769, 0.635, "all-minilm-l6-v2"
BEFORE_CORPORA = {"pd_en": ("lines", 0.02), "novels": ("prose", 0.04)}


def measure(out: Path, model: Path, length: int, predictions: int, texts: Path) -> dict[str, Any]:
    """The figures of a model on all held-out rows of shards_<length>, and those of the run
    before."""
    shards = out / f"shards_{length}"
    results = _evaluate(out, model, shards, predictions)
    before = out / "shards_before"
    for corpus, (form, share) in BEFORE_CORPORA.items():
        run("scripts/create_pretraining_data.py", input_files=texts / corpus, form=form,
             corpus_name=corpus, test_share=share, max_seq_length=64, max_predictions_per_seq=10,
             dupe_factor=1, vocab_file=BEFORE_VOCAB, output_dir=before)  # fmt: skip
    own_vocab = out / "vocab" / "vocab.txt"
    their_vocab = runtime.bert_paddle_home() / "models" / BEFORE_VOCAB / "vocab.txt"
    now, then = describe(shards, own_vocab), describe(before, their_vocab)
    for figures, loss in ((now, results["eval_mlm_loss"]), (then, BEFORE_LOSS)):
        figures["mlm_loss"] = loss
        for name in ("mlm_loss", "unigram_loss"):
            figures[f"{name}_bits"] = figures[name] / math.log(2) / figures["characters"]
    now |= {
        "mlm_accuracy": results["eval_mlm_accuracy"],
        "nsp_accuracy": results["eval_nsp_accuracy"],
    }
    then["nsp_accuracy"] = BEFORE_RIGHT
    return {"now": now, "before": then}


def describe(shards: Path, vocab: Path) -> dict[str, float]:
    """Of the held-out shards in a folder: rows, masked pieces, their characters on average, the
    entropy of how often each occurs (natural logarithm), and the share of the more frequent
    relation."""
    pieces = vocab.read_text(encoding="utf-8").splitlines()
    # A piece that is no token of text counts as one character.
    lengths = np.array([1 if p.startswith("[") else len(p.removeprefix("##")) for p in pieces])
    counts, rows, random_next = np.zeros(len(pieces), np.int64), 0, 0
    for batch in _batches(find_shards(shards).held_out):
        counts += np.bincount(batch["masked_lm_ids"].ravel(), minlength=len(pieces))
        rows += len(batch["input_ids"])
        random_next += int(batch["next_sentence_labels"].sum())
    masked = int(counts.sum())
    shares = counts[counts > 0] / masked
    return {
        "rows": rows,
        "masked": masked,
        "characters": float((counts * lengths).sum() / masked),
        "unigram_loss": float(-(shares * np.log(shares)).sum()),
        "more_frequent_relation": max(random_next, rows - random_next) / rows,
    }


def _batches(paths: list[Path]) -> Iterator[dict[str, np.ndarray]]:
    shards = check_shards(paths, 2**31 - 1, 2**31 - 1, 2)
    for number, rows in enumerate(shards.rows):
        for start in range(0, rows, 8192):
            read = shards.read(number, start, min(start + 8192, rows))
            yield collate(read, shards.predictions)


def _evaluate(out: Path, model: Path, shards: Path, predictions: int) -> dict[str, float]:
    folder = out / "held_out"
    run("run_pretrain.py", "--do_eval", model_name_or_path=model, input_dir=shards,
         output_dir=folder, max_predictions_per_seq=predictions, eval_batch_size=64,
         max_eval_samples=-1, n_gpu=0, report=0)  # fmt: skip
    return json.loads((folder / "all_results.json").read_text())
