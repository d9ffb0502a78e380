"""What both sides train: settings, rows and first weights. Nothing of bert_paddle: the reference is
computed without it (tests/reference/trajectory.py).

Every step of a recipe takes the same rows in one batch, so that the order of rows, which is each
side's own, plays no part; there is no dropout, whose draws are each side's own too.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "tests" / "reference" / "trajectory.json"
ROWS = 32
KEYS = ("input_ids", "input_mask", "segment_ids")
KEYS += ("masked_lm_positions", "masked_lm_ids", "next_sentence_labels")  # of a shard
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CLASSES = ("entailment", "neutral", "contradiction")  # of tests/reference/tiny_hf


@dataclass(frozen=True)
class Recipe:
    """A training: what is trained on which rows, and the settings of the optimizer."""

    name: str
    title: str
    model: str  # minilm, random, or the folder under tests/reference
    pretraining: bool
    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float
    epsilon: float
    max_grad_norm: float  # 0: no clipping
    tolerance: float  # what a step's loss may differ by in tests/test_trajectory.py
    norm_in_float64: bool = False  # of the reference: its own float32 norm is too coarse

    @property
    def real(self) -> bool:
        """Whether it needs files that are not in the repository."""
        return self.model in ("minilm", "random")


_PRETRAINING: dict[str, Any] = {"model": "random", "pretraining": True, "steps": 40, "warmup": 4}
_PRETRAINING |= {"learning_rate": 1e-3, "weight_decay": 0.01, "epsilon": 1e-6}
RECIPES = (
    Recipe(
        "finetuning",
        "Fine-tuning, all-MiniLM-L6-v2, 32 rows of CoLA",
        *("minilm", False, 60, 1e-4, 6, 0.01, 1e-8, 1.0),
        tolerance=2e-6,
    ),
    Recipe(
        "pretraining",
        "Pre-training, 2 layers × 128, 32 rows of a shard, no clipping",
        **_PRETRAINING,
        max_grad_norm=0.0,
        tolerance=2e-5,
    ),
    Recipe(
        "pretraining_clipped",
        "The same with clipping at 1, PyTorch's norm in float64",
        **_PRETRAINING,
        max_grad_norm=1.0,
        tolerance=2e-5,
        norm_in_float64=True,
    ),
    Recipe(
        "pretraining_clipped_float32",
        "The same with clipping at 1, PyTorch's norm as it comes, in float32",
        **_PRETRAINING,
        max_grad_norm=1.0,
        tolerance=1e-3,
    ),
    Recipe(
        "tiny_finetuning",
        "Fine-tuning, tests/reference/tiny_hf, 12 invented pairs",
        *("tiny_hf", False, 20, 1e-3, 4, 0.1, 1e-6, 1.0),
        tolerance=5e-6,
    ),
    Recipe(
        "tiny_pretraining",
        "Pre-training, tests/reference/tiny_hf_pretraining, 12 invented rows",
        *("tiny_hf_pretraining", True, 20, 1e-3, 4, 0.01, 1e-6, 1.0),
        tolerance=1e-5,
    ),
    # So large a decay shows which parameters are decayed.
    Recipe(
        "tiny_pretraining_decayed",
        "The same with a large weight decay",
        *("tiny_hf_pretraining", True, 20, 1e-3, 4, 20.0, 1e-6, 1.0),
        tolerance=1e-5,
    ),
)
BY_NAME = {recipe.name: recipe for recipe in RECIPES}

_WORDS = (
    "the a of is was not and in on old new big red cat dog bird house river stone tree walk run "
    "sleep sing under over"
).split()  # of tiny_hf's vocabulary


def cola_lines(folder: Path) -> list[bytes]:
    """The first rows of CoLA's training file in the folder of GLUE files, as they are."""
    with (folder / "CoLA" / "train.tsv").open("rb") as file:
        return [file.readline() for _ in range(ROWS)]


def invented_pairs() -> list[dict[str, str]]:
    """A few rows of two texts for tiny_hf, of different lengths."""
    draw = np.random.default_rng(7)
    rows = []
    for i in range(12):
        texts = [" ".join(draw.choice(_WORDS, size=draw.integers(2, 9))) for _ in range(2)]
        rows.append({"sentence1": texts[0], "sentence2": texts[1], "label": CLASSES[i % 3]})
    return rows


def shard_rows(folder: Path) -> dict[str, np.ndarray]:
    """The first rows of the first training shard in a folder."""
    import h5py

    first = min(folder.glob("*_training_*.hdf5"), key=lambda path: (len(path.name), path.name))
    with h5py.File(first) as file:
        return {key: file[key][:ROWS] for key in KEYS}


def invented_shard() -> dict[str, np.ndarray]:
    """A few rows of a shard for tiny_hf_pretraining: [CLS] A [SEP] B [SEP] of drawn word pieces."""
    cls, sep, mask, first_piece, pieces = 2, 3, 4, 5, 105
    draw = np.random.default_rng(8)
    count, length, predictions = 12, 24, 4
    rows = {key: np.zeros((count, length), np.int32) for key in KEYS[:3]}
    rows |= {key: np.zeros((count, predictions), np.int32) for key in KEYS[3:5]}
    rows["next_sentence_labels"] = np.arange(count, dtype=np.int32) % 2
    for i in range(count):
        a, b = draw.integers(3, 11, size=2)
        ids = draw.integers(first_piece, pieces, size=a + b + 3)
        ids[0], ids[a + 1], ids[-1] = cls, sep, sep
        words = [place for place in range(1, a + b + 2) if place != a + 1]
        masked = np.sort(draw.choice(words, size=draw.integers(2, predictions + 1), replace=False))
        rows["masked_lm_positions"][i, : len(masked)] = masked
        rows["masked_lm_ids"][i, : len(masked)] = ids[masked]
        ids[masked] = mask
        rows["input_ids"][i, : len(ids)] = ids
        rows["input_mask"][i, : len(ids)] = 1
        rows["segment_ids"][i, a + 2 : len(ids)] = 1
    return rows


def digest(rows: Any) -> str:
    """SHA-256 of rows of any of the kinds above."""
    found = hashlib.sha256()
    for part in _bytes_of(rows):
        found.update(part)
    return found.hexdigest()


def _bytes_of(rows: Any) -> Iterator[bytes]:
    if isinstance(rows, dict):
        yield from (rows[key].astype("<i4").tobytes() for key in KEYS)
    else:
        yield from (
            row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows
        )


def minilm_dir() -> Path:
    """Where the packaged weights lie."""
    home = os.environ.get("BERT_PADDLE_HOME") or "~/.cache/bert_paddle"
    return Path(home).expanduser() / "models" / "all-minilm-l6-v2"


def write_model(recipe: Recipe, folder: Path, minilm: Path) -> None:
    """The recipe's first weights as a folder in Hugging Face's form, without dropout."""
    from safetensors.numpy import load_file, save_file

    folder.mkdir(parents=True)
    if recipe.model == "random":
        config, tensors = _RANDOM, _drawn()
    else:
        source = minilm if recipe.model == "minilm" else STORED.parent / recipe.model
        config = json.loads((source / "config.json").read_text("utf-8"))
        tensors = load_file(source / "model.safetensors")
        if (source / "vocab.txt").is_file():
            # Without tokenizer.json: that of all-MiniLM-L6-v2 sets truncation and padding.
            shutil.copyfile(source / "vocab.txt", folder / "vocab.txt")
    if recipe.model == "minilm":
        config["architectures"] = ["BertForSequenceClassification"]
        tensors = {f"bert.{k}": v for k, v in tensors.items() if not k.endswith("position_ids")}
        # A head of its own on each side would be drawn by another generator.
        head = np.random.default_rng(5).normal(0, 0.02, (2, config["hidden_size"]))
        tensors["classifier.weight"] = head.astype(np.float32)
        tensors["classifier.bias"] = np.zeros(2, np.float32)
    (folder / "config.json").write_text(json.dumps(config | NO_DROPOUT, indent=1), "utf-8")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


_RANDOM = {
    "architectures": ["BertForPreTraining"],
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 128,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}


def _drawn() -> dict[str, np.ndarray]:
    """Weights of a BertForPreTraining of these sizes as it begins: normal with a deviation of 0.02,
    biases 0, LayerNorm 1."""
    draw = np.random.default_rng(6)
    wide, inner, vocab = 128, 512, 30522
    weights = {"bert.embeddings.word_embeddings": (vocab, wide)}
    weights["bert.embeddings.position_embeddings"] = (128, wide)
    weights["bert.embeddings.token_type_embeddings"] = (2, wide)
    norms, linear = ["bert.embeddings.LayerNorm"], {}
    for i in range(2):
        layer = f"bert.encoder.layer.{i}"
        attention = ("self.query", "self.key", "self.value", "output.dense")
        linear |= {f"{layer}.attention.{part}": (wide, wide) for part in attention}
        linear[f"{layer}.intermediate.dense"] = (inner, wide)
        linear[f"{layer}.output.dense"] = (wide, inner)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    linear["bert.pooler.dense"] = linear["cls.predictions.transform.dense"] = (wide, wide)
    linear["cls.seq_relationship"] = (2, wide)
    norms.append("cls.predictions.transform.LayerNorm")
    drawn = {f"{k}.weight": draw.normal(0, 0.02, size) for k, size in (weights | linear).items()}
    drawn |= {f"{name}.bias": np.zeros(size[0]) for name, size in linear.items()}
    drawn |= {f"{name}.weight": np.ones(wide) for name in norms}
    drawn |= {f"{name}.bias": np.zeros(wide) for name in norms}
    drawn["cls.predictions.bias"] = np.zeros(vocab)
    return {name: value.astype(np.float32) for name, value in drawn.items()}
