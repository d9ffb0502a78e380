"""docs/EXTENDING.md: its examples, put into a copy of the package, do what the page says."""

import csv
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import yaml
from fileserver import running_server

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "EXTENDING.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(
    r"^In `(?P<path>[^`]+)`, (?P<where>below|above|in place of) `(?P<line>[^`\n]+)`:\n\n"
    r"```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# Appended to the page's commands, by output folder: little work, and what the tests compare.
SHORT = "--max_seq_length 16 --batch_size 8 --max_steps 2 --report 0 --device cpu"
OF_RUN = {
    "runs/huber": "--validation_file scores.csv --batch_size 12 --max_steps 1 --logging_steps 1 "
    "--learning_rate 1e-12"
}
# Runs its arguments, each a command line, in one process.
DRIVER = """
import json, shlex, sys
from bert_paddle import __main__, submission
from bert_paddle.common import flags
from bert_paddle.common.errors import BertPaddleError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import GlueArgs, parse_args

for line in sys.argv[1:]:
    print("$", line, flush=True)
    finetune.run(parse_args(shlex.split(line)))
try:
    finetune.run(parse_args("--task_name paws --model_name_or_path bert-base-uncased "
                            "--output_dir none --data_dir empty --max_seq_length 16".split()))
except BertPaddleError as error:
    print("$ error\\n" + str(error))
print("$ benchmark", flush=True)
__main__.run("glue-benchmark --tasks paws --data_dir glue --dry_run --max_seq_length 16 "
             "--model_name_or_path bert-base-uncased --output_dir benchmark".split())
print("$ help\\n" + flags.parser(GlueArgs, "").format_help())
print("$ submission\\n" + " ".join(submission.SUBMISSION_FILES))
"""


def add_examples(package: Path) -> None:
    """Put the page's code into a copy of the package, each block at its place."""
    for example in EXAMPLE.finditer(PAGE):
        path, line, code = package.parent / example["path"], example["line"], example["code"]
        text = path.read_text(encoding="utf-8")
        assert text.count(f"\n{line}\n") == 1, (example["path"], line)
        new = {"below": f"{line}\n{code}", "above": f"{code}{line}\n", "in place of": code}
        text = text.replace(f"\n{line}\n", f"\n{new[example['where']]}", 1)
        path.write_text(text, encoding="utf-8")


def write_rows(path: Path, header: list[str], rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
        csv.writer(file, dialect, lineterminator="\n").writerows([header, *rows])


def write_data(place: Path) -> None:
    rng = random.Random(0)
    tiny.write_sst2(place / "glue" / "SST-2")
    pairs = [(i, tiny.sentence(rng), tiny.sentence(rng), i % 2) for i in range(24)]
    header = ["id", "sentence1", "sentence2", "label"]
    for name, count in (("train", 24), ("dev", 12)):
        write_rows(place / "glue" / "PAWS" / f"{name}.tsv", header, pairs[:count])
    write_rows(place / "glue" / "PAWS" / "test.tsv", header[:3], [row[:3] for row in pairs[:5]])
    rows = [(tiny.sentence(rng), ("bad", "good", "good")[i % 3]) for i in range(40)]
    write_rows(place / "reviews.csv", ["text", "label"], rows)
    rows = [(tiny.sentence(rng), round(3 * rng.random(), 2)) for i in range(12)]
    write_rows(place / "scores.csv", ["text", "label"], rows)
    (place / "empty").mkdir()


def tiny_bert(folder: Path) -> dict[str, bytes]:
    """The files of BERT-Tiny's sizes on PaddleNLP's server, with random weights."""
    import paddle
    from safetensors.numpy import load_file

    sizes = {"hidden_size": 128, "intermediate_size": 512, "max_position_embeddings": 512}
    tiny.write_encoder(folder, vocab_size=30522, **sizes)
    paddle.save(load_file(folder / "model.safetensors"), str(folder / "w.pdparams"))
    words = [*tiny.VOCAB, *(f"w{i}" for i in range(30522 - len(tiny.VOCAB)))]
    return {
        "paddlenlp/models/transformers/bert-tiny-uncased.pdparams": (
            folder / "w.pdparams"
        ).read_bytes(),
        "paddle-hapi/models/bert/bert-base-uncased-vocab.txt": "\n".join(words).encode(),
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the changed package, and the runs of the page's commands."""
    place = tmp_path_factory.mktemp("extending")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "bert_paddle", place / "bert_paddle", ignore=ignored)
    add_examples(place / "bert_paddle")
    write_data(place)
    home = place / "home"
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_encoder(home / "models" / "bert-base-uncased", **no_dropout)
    with running_server() as server:
        server.files = tiny_bert(place / "hub")
        run_commands(place, home, server.url)
    return place


def run_commands(place: Path, home: Path, mirror: str) -> None:
    lines = re.findall(r"^```shell\npython run_glue.py (.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.replace("\\\n", " ") for line in lines]
    lines = [f"{line} {SHORT} {OF_RUN.get(_output_dir(line), '')}" for line in lines]
    assert len(lines) == 5
    environment = os.environ | {
        "PYTHONPATH": str(place),
        "BERT_PADDLE_HOME": str(home),
        "PPNLP_ENDPOINT": mirror,
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *lines],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    (place / "out").write_text(done.stdout)


def _output_dir(line: str) -> str:
    words = shlex.split(line)
    return words[words.index("--output_dir") + 1]


def said(place: Path, part: str) -> str:
    """The output of the command whose line has `part`."""
    parts = re.split(r"^\$ ", (place / "out").read_text(), flags=re.MULTILINE)
    return next(text for text in parts if part in text.partition("\n")[0])


def read(place: Path, name: str) -> dict:
    return json.loads((place / name).read_text())


def rows_of(place: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (place / name).read_text().splitlines()]


def test_the_new_task(place):
    results = read(place, "runs/paws/all_results.json")
    assert results["task"] == "PAWS" and results["eval_samples"] == 12
    assert re.search(r"eval loss: \S+, accu: \S+, f1: \S+", said(place, "runs/paws"))
    assert read(place, "runs/paws/run.json")["metric"] == ["accuracy"]
    lines = (place / "runs/paws/predictions/PAWS.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 6
    assert {line.split("\t")[1] for line in lines[1:]} <= {"0", "1"}
    assert "Hub" not in (card := (place / "runs/paws/model_2/README.md").read_text())
    assert "nyu-mll/glue" not in card
    names = said(place, "submission").split()
    assert "PAWS.tsv" not in names and "CoLA.tsv" in names
    assert "--task_name=PAWS --do_train=1 --do_eval=1 --do_predict=1" in said(place, "benchmark")
    error = said(place, "error")
    assert "PAWS: no data found, and there is no download of it; looked in: " in error
    assert "empty" in error and "home/glue/PAWS" in error


def test_the_new_metric(place):
    rows = rows_of(place, "runs/balanced/dev_predictions.jsonl")
    recalls = [
        np.mean([row["prediction"] == label for row in rows if row["label"] == label])
        for label in {row["label"] for row in rows}
    ]
    results = read(place, "runs/balanced/all_results.json")
    value = results["eval_balanced_accuracy"]
    assert value == pytest.approx(np.mean(recalls))
    assert results["best_metric"] == value
    assert f"balanced_accu: {value:.6f}" in said(place, "runs/balanced")
    assert "balanced_accuracy" in said(place, "help")


def test_the_new_flag(place):
    assert read(place, "runs/remark/run.json")["settings"]["remark"] == "a first try"
    settings = yaml.safe_load((place / "runs/remark/settings.yaml").read_text())
    assert settings["remark"] == "a first try"
    assert "| remark | a first try |" in (place / "runs/remark/model_2/README.md").read_text()
    assert "--remark TEXT" in said(place, "help")


def test_the_new_loss(place):
    """One step on all rows that changes nothing, so that the evaluation has the same outputs."""
    rows = rows_of(place, "runs/huber/dev_predictions.jsonl")
    errors = np.abs([row["prediction"] - row["label"] for row in rows])
    assert len(errors) == 12 and errors.max() > 1 > errors.min()
    records = {r["kind"]: r for r in rows_of(place, "runs/huber/metrics.jsonl")}
    losses = {kind: records[kind]["loss"] for kind in ("train", "eval")}
    huber = np.where(errors < 1, errors**2 / 2, errors - 0.5)
    assert losses["train"] == pytest.approx(huber.mean(), rel=1e-5)
    assert losses["eval"] == pytest.approx(np.mean(errors**2), rel=1e-5)


def test_the_new_model(place):
    folder = place / "home" / "models" / "bert-tiny-uncased"
    config = read(folder, "config.json")
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    assert [config[name] for name in sizes] == [128, 2, 2, 512]
    assert read(place, "runs/tiny/run.json")["settings"]["model_name_or_path"] == folder.name
    assert (place / "runs/tiny/model_2/model.safetensors").is_file()
