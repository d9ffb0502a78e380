"""Several processes compute what one does: losses, gradients, evaluations, predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import ranks
import shards  # noqa: E402
import tiny
from jobs import finish

from bert_paddle.pretrain.data import schema  # noqa: E402

ROWS, UPDATES = 12, 20  # of each update; an epoch has 53 rows, and its last update 5
SIZES = (2, 3)
STSB = "index genre filename year old_index source1 source2 sentence1 sentence2".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Models without dropout (so that any split computes the same) and data; the held-out sets
    have fewer batches than there are processes."""
    base = tmp_path_factory.mktemp("dist")
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_model(base / "model", labels=("negative", "positive"), **still)
    tiny.write_model(base / "scorer", labels=("score",), **still)
    tiny.write_encoder(base / "encoder", **still)
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=3, test=7)
    _write_stsb(base / "glue" / "STS-B")
    size = tiny.CONFIG["vocab_size"]
    for name, count, first in (
        (schema.shard_name("t", schema.TRAINING, 0), 31, 0),
        (schema.shard_name("t", schema.TRAINING, 1), 22, 31),
        (schema.shard_name("t", schema.TEST, 0), 2, 60),
    ):
        shards.write(base / "shards" / name, shards.make(count, first, vocab_size=size))
    return base


def _write_stsb(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 53), ("dev", 5), ("test", 4)):
        columns = STSB if split == "test" else [*STSB, "score"]
        lines = ["\t".join(columns)]
        for i in range(count):
            words = [" ".join(rng.choice(tiny.WORDS, rng.integers(2, 9))) for _ in range(2)]
            score = [] if split == "test" else [f"{rng.uniform(0, 5):.3f}"]
            lines.append("\t".join([str(i), *"abcdef", *words, *score]))
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")


def plan(place: Path, size: int) -> dict[str, list]:
    """The runs of a job of `size` processes: trainings with and without accumulation, and an
    evaluation of weights as they are."""
    often = "--logging_steps 1 --save_steps 100 --learning_rate 1e-3 --adam_epsilon 1e-6"
    glue = f"--data_dir {place / 'glue'} --max_seq_length 32 --eval_batch_size 2 {often} --report 0"
    models = {
        "classes": ("glue", f"--task_name SST-2 --model_name_or_path {place / 'model'} {glue}"),
        "scores": ("glue", f"--task_name STS-B --model_name_or_path {place / 'scorer'} {glue}"),
        "words": (
            "pretrain",
            f"--model_name_or_path {place / 'encoder'} --init_from {place / 'encoder'} "
            f"--input_dir {place / 'shards'} --eval_batch_size 1 {often} --report 0",
        ),
    }
    runs: dict[str, list] = {}
    for name, (wing, flags) in models.items():
        train = f"{flags} --num_train_epochs 4" + (" --do_train" if wing == "glue" else "")
        for accumulation in (1, 2) if size > 1 else (1,):
            split = f" --batch_size {ROWS // size // accumulation}"
            split += f" --gradient_accumulation_steps {accumulation}"
            runs[f"{name}{accumulation}"] = [wing, "", (train + split).split()]
            if name == "classes" and accumulation == 1 and size > 1:
                runs["means"] = [wing, "mean of means", (train + split).split()]
        # A pre-training always trains: for one update here, with a learning rate of 0.
        only = " --do_eval --do_predict" if wing == "glue" else " --max_steps 1 --warmup_steps 1"
        runs[f"{name}_eval"] = [wing, "", (flags + only).split()]
    return runs


@pytest.fixture(scope="module")
def jobs(place) -> dict[int, Path]:
    """The runs of `plan` by 1, 2 and 3 processes: the folder of each job."""
    folders = {}
    for size in (1, *SIZES):
        folder = folders[size] = place / f"job{size}"
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps(plan(place, size)))
        code, out, err = finish(ranks.start("train", folder, size), 240)
        assert code == 0, err
        # Only one process speaks: each training ends with one evaluation.
        evaluations = out.count("eval loss")
        assert evaluations == sum("eval" in name or "words" in name for name in plan(place, size))
    return folders


def losses(folder: Path) -> list[float]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "train"]


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the gradients of each update, relative to their norm."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["classes", "scores", "words"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_processes_train_as_one(jobs, size, name, accumulation):
    """Loss and gradients of each of 20 updates, against one process without accumulation."""
    one, several = losses(jobs[1] / f"{name}1"), losses(jobs[size] / f"{name}{accumulation}")
    assert len(one) == UPDATES and several == pytest.approx(one, rel=1e-5)
    a = np.load(jobs[1] / f"{name}1.npz")["gradients"]
    kept = np.load(jobs[size] / f"{name}{accumulation}.npz")
    assert len(a) == UPDATES and distance(a, kept["gradients"]).max() <= 1e-5
    # Gradients are exchanged once an update, whatever the accumulation.
    assert kept["exchanges"] == UPDATES


@pytest.mark.parametrize("size", SIZES)
def test_a_mean_of_the_ranks_means_is_another_gradient(jobs, size):
    """The classic mistake is seen by the test above: where an update's rows are uneven."""
    a = np.load(jobs[1] / "classes1.npz")["gradients"]
    b = np.load(jobs[size] / "means.npz")["gradients"]
    apart = distance(a, b)
    assert apart[:4].max() <= 1e-5 and apart[4] > 1e-3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["classes", "scores", "words"])
def test_evaluation_is_the_same_to_the_last_digit(jobs, size, name):
    results = [
        json.loads((jobs[n] / f"{name}_eval" / "all_results.json").read_text()) for n in (1, size)
    ]
    one, several = (
        {k: v for k, v in values.items() if k.startswith("eval_") and "time" not in k}
        for values in results
    )
    for values in (one, several):
        values.pop("eval_samples_per_second", None), values.pop("eval_model", None)
    assert one == several and len(one) >= 3


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "task", "rows"), [("classes", "SST-2", 7), ("scores", "STS-B", 4)]
)
def test_predictions_are_complete_and_in_order(jobs, size, name, task, rows):
    texts = [
        (jobs[n] / f"{name}_eval" / "predictions" / f"{task}.tsv").read_text() for n in (1, size)
    ]
    assert texts[0] == texts[1]
    assert [line.split("\t")[0] for line in texts[0].splitlines()[1:]] == list(
        map(str, range(rows))
    )
