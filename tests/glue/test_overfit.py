"""A model that cannot overfit 32 rows is broken: one task of each input and output type."""

import random

import pytest
import tiny

from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args


@pytest.fixture
def overfit(tmp_path):
    def call(task: str, files: dict[str, str], steps: int = 80):
        folder = tmp_path / "glue" / task
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        encoder = tiny.write_encoder(
            tmp_path / "encoder",
            hidden_size=32,
            intermediate_size=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        argv = f"--task_name {task} --model_name_or_path {encoder} --data_dir {folder.parent} "
        argv += f"--output_dir {tmp_path / 'out'} --batch_size 16 --max_seq_length 32 --max_steps "
        argv += f"{steps} --num_train_epochs 1e3 --report 0 --learning_rate 5e-3 --save_steps 1000 "
        argv += "--logging_steps 100 --lr_scheduler_type constant"
        return finetune.run(parse_args(argv.split()))

    return call


def random_pairs(count=32, seed=5):
    rng = random.Random(seed)
    return [(i, tiny.sentence(rng, 4), tiny.sentence(rng, 4)) for i in range(count)]


def test_one_text(overfit):
    body = "".join(f"{a}\t{i % 2}\n" for i, a, _ in random_pairs())
    values = overfit("SST-2", dict.fromkeys(("train.tsv", "dev.tsv"), "sentence\tlabel\n" + body))
    assert values["eval_accuracy"] == 1.0


def test_one_text_without_header(overfit):
    body = "".join(f"src\t{i % 2}\t\t{a}\n" for i, a, _ in random_pairs())
    values = overfit("CoLA", dict.fromkeys(("train.tsv", "dev.tsv"), body))
    assert values["eval_matthews_correlation"] == 1.0


def test_two_texts_with_named_labels(overfit):
    names = ("entailment", "not_entailment")
    body = "".join(f"{i}\t{a}\t{b}\t{names[i % 2]}\n" for i, a, b in random_pairs())
    head = "index\tsentence1\tsentence2\tlabel\n"
    values = overfit("RTE", dict.fromkeys(("train.tsv", "dev.tsv"), head + body))
    assert values["eval_accuracy"] == 1.0


def test_three_classes_and_two_dev_sets(overfit):
    names = ("neutral", "contradiction", "entailment")
    head = [f"c{i}" for i in range(12)]
    head[8:10], head[11] = ["sentence1", "sentence2"], "gold_label"
    lines = ["\t".join(head)]
    for i, a, b in random_pairs():
        lines.append("\t".join(["x"] * 8 + [a, b, "x", names[i % 3]]))
    text = "\n".join(lines) + "\n"
    values = overfit(
        "MNLI", dict.fromkeys(("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"), text)
    )
    assert values["eval_accuracy"] == values["eval_accuracy_mm"] == 1.0


def test_regression(overfit):
    head = "\t".join(f"c{i}" for i in range(10)) + "\n"
    body = "".join(
        "\t".join(["x"] * 7 + [a, b, f"{i % 6 * 0.9:.3f}"]) + "\n" for i, a, b in random_pairs()
    )
    values = overfit("STS-B", dict.fromkeys(("train.tsv", "dev.tsv"), head + body), steps=160)
    assert values["eval_pearson"] > 0.99 and values["eval_loss"] < 0.1
