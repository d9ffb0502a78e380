"""A small BERT and invented rows, drawn by numpy alone: the same on every machine and device.

numpy promises that the numbers of `RandomState` never change, unlike those of newer generators.
"""

import zlib
from typing import Any

import numpy as np

FINE_TUNING, PRETRAINING = "fine-tuning", "pre-training"
HEADS = (FINE_TUNING, PRETRAINING)
STEPS = 20
BATCHES = 5  # different batches, used in turn
ROWS, LENGTH, CLASSES = 16, 32, 3
# No dropout: its masks differ between devices.
CONFIG: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": LENGTH,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
# Values of the flags of these names. The gradient norm exceeds the limit in some steps.
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "warmup_steps": 4,
    "weight_decay": 0.05,
    "adam_epsilon": 1e-4,
    "max_grad_norm": 1.0,
}
_FIRST_WORD = 5  # the ids before are those of special tokens
_CLS, _SEP, _MASK = 2, 3, 4

Batch = dict[str, np.ndarray]


def initial_weights(head: str) -> dict[str, np.ndarray]:
    """float32 tensors by PaddleNLP's names, Linear weights [in, out]. Biases are not 0 and norms
    not 1, so that a mistake in them shows."""
    weights = {}
    for name, shape in _shapes(head).items():
        random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
        values = random.standard_normal(shape) * (0.02 if name.endswith("bias") else 0.1)
        weights[name] = (values + ("norm" in name and name.endswith("weight"))).astype(np.float32)
    return weights


def _shapes(head: str) -> dict[str, tuple[int, ...]]:
    hidden, inner, vocab = (
        CONFIG[name] for name in ("hidden_size", "intermediate_size", "vocab_size")
    )
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (vocab, hidden),
        "bert.embeddings.position_embeddings.weight": (LENGTH, hidden),
        "bert.embeddings.token_type_embeddings.weight": (2, hidden),
    }

    def add_linear(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (inputs, outputs), (outputs,)

    def add_norm(name: str) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (hidden,)

    add_norm("bert.embeddings.layer_norm")
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"bert.encoder.layers.{layer}"
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add_linear(f"{prefix}.self_attn.{projection}", hidden, hidden)
        add_linear(f"{prefix}.linear1", hidden, inner)
        add_linear(f"{prefix}.linear2", inner, hidden)
        add_norm(f"{prefix}.norm1")
        add_norm(f"{prefix}.norm2")
    add_linear("bert.pooler.dense", hidden, hidden)
    if head == FINE_TUNING:
        add_linear("classifier", hidden, CLASSES)
    else:
        add_linear("cls.predictions.transform", hidden, hidden)
        add_norm("cls.predictions.layer_norm")
        shapes["cls.predictions.decoder_bias"] = (vocab,)
        add_linear("cls.seq_relationship", hidden, 2)
    return shapes


def batch(head: str, step: int) -> Batch:
    """The rows of `step` (from 1), in the form that the loss functions of fine-tuning and
    pre-training take; padded to LENGTH tokens."""
    rows = {name: values for name, values in _rows(step).items()}
    if head == FINE_TUNING:
        return {name: rows[name] for name in ("input_ids", "input_mask", "segment_ids", "labels")}
    return _with_masks(rows, np.arange(ROWS))


def micro_batches(head: str, step: int, parts: int, rank: int, size: int) -> list[Batch]:
    """One rank's rows of `step`, in `parts` micro-batches: every `size`-th row of each."""
    rows = _rows(step)
    chosen = [part[rank::size] for part in np.array_split(np.arange(ROWS), parts)]
    if head == PRETRAINING:
        return [_with_masks(rows, part) for part in chosen]
    whole = batch(head, step)
    return [{name: values[part] for name, values in whole.items()} for part in chosen]


def _rows(step: int) -> Batch:
    """Invented rows: [CLS] words [SEP] words [SEP], a class, two labels of pre-training."""
    random = np.random.RandomState(100 + (step - 1) % BATCHES)
    ids = random.randint(_FIRST_WORD, CONFIG["vocab_size"], (ROWS, LENGTH))
    lengths = random.randint(LENGTH // 2, LENGTH + 1, ROWS)
    lengths[0] = LENGTH
    middles = random.randint(4, LENGTH // 2 - 3, ROWS)
    places = np.arange(LENGTH)
    mask = places < lengths[:, None]
    ids[:, 0] = _CLS
    ids[np.arange(ROWS), middles] = ids[np.arange(ROWS), lengths - 1] = _SEP
    return {
        "input_ids": np.where(mask, ids, CONFIG["pad_token_id"]),
        "input_mask": mask.astype(np.int64),
        "segment_ids": (mask & (places > middles[:, None])).astype(np.int64),
        "labels": random.randint(0, CLASSES, ROWS),
        "next_sentence_labels": random.randint(0, 2, ROWS),
        "chosen": mask & (ids >= _FIRST_WORD) & (random.random_sample((ROWS, LENGTH)) < 0.2),
    }


def _with_masks(rows: Batch, part: np.ndarray) -> Batch:
    """Some of the rows as a batch of pre-training: the chosen tokens are masked."""
    ids, chosen = rows["input_ids"][part], rows["chosen"][part]
    return {
        "input_ids": np.where(chosen, _MASK, ids),
        "input_mask": rows["input_mask"][part],
        "segment_ids": rows["segment_ids"][part],
        "masked_positions": np.flatnonzero(chosen),
        "masked_lm_ids": ids[chosen],
        "next_sentence_labels": rows["next_sentence_labels"][part],
    }
