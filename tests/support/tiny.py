"""A BERT that trains in seconds, and made-up GLUE files for it."""

import json
import random
from pathlib import Path

from bert_paddle.models import model_state, paddlenlp_bert
from bert_paddle.models.classifier import classifier_config
from bert_paddle.models.tokenizer import SPECIAL_TOKENS, Tokenizer

WORDS = (
    "the a film story cast plot was is not very good great fine bad dull poor and but it they "
    "cat dog sat ran on mat home red blue old new man woman who sees loves"
).split()
VOCAB = [
    *SPECIAL_TOKENS,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
]
VOCAB += [*WORDS, ".", ",", "'", "?", "0", "1"]
VOCAB = list(dict.fromkeys(VOCAB))
CONFIG = {
    "vocab_size": len(VOCAB),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}


def write_model(
    folder: Path, labels: tuple[str, ...] = ("no", "yes"), multi_label: bool = False, **config
) -> Path:
    """Write a model folder with a random classifier; labels: its class names."""
    import paddle

    paddle.seed(1)
    bert = paddlenlp_bert.bert_module()
    bert_config = bert.BertConfig(**{**CONFIG, **config}, num_labels=max(1, len(labels)))
    model = bert.BertForSequenceClassification(bert_config)
    folder.mkdir(parents=True)
    write = model_state.model_writer(model, classifier_config(labels, "tiny", multi_label))
    write(folder)
    Tokenizer(VOCAB).save(folder)
    return folder


def write_encoder(folder: Path, **config) -> Path:
    """`write_model` without the classifier, like a pre-trained model."""
    from safetensors.numpy import load_file, save_file

    write_model(folder, **config)
    path = folder / model_state.WEIGHTS_FILE
    tensors = {k: v for k, v in load_file(path).items() if not k.startswith("classifier.")}
    save_file(tensors, path, metadata={"format": "np"})
    return folder


def sentence(rng: random.Random, words: int | None = None) -> str:
    """Random words of the vocabulary."""
    return " ".join(rng.choice(WORDS) for _ in range(words or rng.randint(3, 14)))


def write_sst2(folder: Path, train: int = 48, dev: int = 16, test: int = 8, seed: int = 0) -> Path:
    """Made-up SST-2 files: a sentence is positive with the word "good", negative with "bad"."""
    rng = random.Random(seed)

    def row(label: int) -> str:
        words = [w for w in sentence(rng).split() if w not in ("good", "bad")]
        words.insert(rng.randint(0, len(words)), "good" if label else "bad")
        return " ".join(words)

    folder.mkdir(parents=True)
    for name, count in (("train", train), ("dev", dev)):
        rows = [f"{row(i % 2)}\t{i % 2}\n" for i in range(count)]
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(rows), encoding="utf-8")
    rows = [f"{i}\t{row(i % 2)}\n" for i in range(test)]
    (folder / "test.tsv").write_text("index\tsentence\n" + "".join(rows), encoding="utf-8")
    return folder


# The words by which invented rows have their labels.
NAMED = {"cat": "cat", "dog": "dog", "red": "red thing", "blue": "blue thing"}


def named_rows(count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """Sentences with the labels of those words of NAMED that are in them, none to all."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        words = [w for w in sentence(rng).split() if w not in NAMED]
        chosen = [word for word in NAMED if rng.random() < 0.3]
        for word in chosen:
            words.insert(rng.randint(0, len(words)), word)
        rows.append((" ".join(words), sorted(NAMED[word] for word in chosen)))
    return rows


def write_named_rows(path: Path, count: int, seed: int = 0) -> Path:
    """`named_rows` as JSON lines, with their labels as lists."""
    lines = [
        json.dumps({"text": text, "labels": labels}) for text, labels in named_rows(count, seed)
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
