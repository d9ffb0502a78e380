"""Several processes give the results of one: losses, gradients, evaluations, predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import ranks
import shard_files  # noqa: E402
import tiny
from jobs import finish

from bert_paddle.pretrain.data import schema  # noqa: E402

ROWS, STEPS = 12, 10  # rows per step; an epoch has 53 rows, its last step 5
SIZES = (2, 3)
MODELS = ("classes", "scores", "weighted", "labels", "words")
# (number of processes, batches per step): the models that are trained so
TRAINED = {
    (1, 1): MODELS,
    (2, 1): MODELS,
    (2, 2): ("classes", "words"),
    (3, 2): ("scores", "words"),
}
# number of processes: the models that are evaluated so. "weighted" is of the training loss alone.
EVALUATED = {
    1: ("classes", "scores", "labels", "words"),
    2: ("classes", "scores", "labels", "words"),
    3: ("classes", "words"),
}
STSB = "index genre filename year old_index source1 source2 sentence1 sentence2".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Models without dropout (so that any sharding computes the same) and data; the evaluation
    sets have fewer batches than there are processes."""
    base = tmp_path_factory.mktemp("dist")
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_model(base / "model", labels=("negative", "positive"), **no_dropout)
    tiny.write_model(base / "scorer", labels=(), **no_dropout)
    tiny.write_model(
        base / "labels", tuple(sorted(tiny.NAMED.values())), multi_label=True, **no_dropout
    )
    tiny.write_named_rows(base / "train.jsonl", 53)
    tiny.write_named_rows(base / "dev.jsonl", 5, seed=1)
    tiny.write_encoder(base / "encoder", **no_dropout)
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=3, test=7)
    _write_stsb(base / "glue" / "STS-B")
    size = tiny.CONFIG["vocab_size"]
    for name, count, first in (
        (schema.shard_name("t", schema.TRAINING, 0), 31, 0),
        (schema.shard_name("t", schema.TRAINING, 1), 22, 31),
        (schema.shard_name("t", schema.TEST, 0), 2, 60),
    ):
        shard_files.write_shard(
            base / "shards" / name, shard_files.make_rows(count, first, vocab_size=size)
        )
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
    """The runs of a job of `size` processes: training with and without gradient accumulation, and
    evaluation of given weights."""
    common = "--logging_steps 1 --save_steps 100 --learning_rate 1e-3 --adam_epsilon 1e-6"
    shared = f"--max_seq_length 32 --eval_batch_size 2 {common} --report 0"
    glue = f"--data_dir {place / 'glue'} {shared}"
    models = {
        "classes": ("glue", f"--task_name SST-2 --model_name_or_path {place / 'model'} {glue}"),
        "scores": ("glue", f"--task_name STS-B --model_name_or_path {place / 'scorer'} {glue}"),
        "weighted": (
            "glue",
            f"--task_name SST-2 --model_name_or_path {place / 'model'} {glue} "
            "--class_weights negative=1,positive=7 --label_smoothing_factor 0.1 "
            "--freeze_layers 1 --freeze_embeddings --layerwise_lr_decay 0.5 --reinit_layers 1",
        ),
        "labels": (
            "glue",
            f"--train_file {place / 'train.jsonl'} --validation_file {place / 'dev.jsonl'} "
            f"--test_file {place / 'dev.jsonl'} --multi_label "
            f"--model_name_or_path {place / 'labels'} {shared}",
        ),
        "words": (
            "pretrain",
            f"--model_name_or_path {place / 'encoder'} --init_from {place / 'encoder'} "
            f"--input_dir {place / 'shards'} --eval_batch_size 1 {common} --report 0",
        ),
    }
    runs: dict[str, list] = {}
    for name, (program, flags) in models.items():
        train = f"{flags} --num_train_epochs 2" + (" --do_train" if program == "glue" else "")
        for accumulation in (a for (n, a), names in TRAINED.items() if n == size and name in names):
            split = f" --batch_size {ROWS // size // accumulation}"
            split += f" --gradient_accumulation_steps {accumulation}"
            runs[f"{name}{accumulation}"] = [program, "", (train + split).split()]
            if name == "classes" and size == 2 and accumulation == 1:
                runs["means"] = [program, "mean of means", (train + split).split()]
        # Pre-training always trains: one step here, with a learning rate of 0.
        evaluate = (
            " --do_eval --do_predict" if program == "glue" else " --max_steps 1 --warmup_steps 1"
        )
        evaluate += " --threshold auto" if name == "labels" else ""
        if name in EVALUATED[size]:
            runs[f"{name}_eval"] = [program, "", (flags + evaluate).split()]
    if size == 3:  # as on two hosts, on the second of which are two of the three
        runs["first"] = ["who_runs_first", "", ["a:1", "b:2", "b:3"]]
    return runs


@pytest.fixture(scope="module")
def jobs(place) -> dict[int, Path]:
    """The runs of `plan` by 1, 2 and 3 processes: the folder of each job."""
    folders = {}
    for size in (1, *SIZES):
        folder = folders[size] = place / f"job{size}"
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps(plan(place, size)))
        ended = [finish(job, 240) for job in ranks.start_in_forks("train", folder, size)]
        assert all(code == 0 for code, *_ in ended), ended
        out = "".join(out for _, out, _ in ended)
        # Only rank 0 prints, and each training run ends with one evaluation.
        evaluations = out.count("eval loss")
        assert evaluations == sum("eval" in name or "words" in name for name in plan(place, size))
    return folders


def losses(folder: Path) -> list[float]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "train"]


def relative_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distance between the gradients of each step, relative to their norm."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(a, axis=1)


@pytest.mark.parametrize(
    ("name", "size", "accumulation"),
    [(name, *split) for split, names in TRAINED.items() for name in names if split[0] > 1],
)
def test_training_matches_one_process(jobs, size, name, accumulation):
    """Loss and gradients of each step, compared with one process without accumulation."""
    single, several = losses(jobs[1] / f"{name}1"), losses(jobs[size] / f"{name}{accumulation}")
    assert len(single) == STEPS and several == pytest.approx(single, rel=1e-5)
    a = np.load(jobs[1] / f"{name}1.npz")["gradients"]
    recorded = np.load(jobs[size] / f"{name}{accumulation}.npz")
    assert len(a) == STEPS and relative_distance(a, recorded["gradients"]).max() <= 1e-5
    # One all-reduce per step, with or without accumulation.
    assert recorded["all_reduces"] == STEPS


def test_a_mean_of_the_ranks_means_is_a_different_gradient(jobs):
    """The test above would detect this common mistake, in steps with unequal rows per rank."""
    a = np.load(jobs[1] / "classes1.npz")["gradients"]
    b = np.load(jobs[2] / "means.npz")["gradients"]
    distances = relative_distance(a, b)
    assert distances[:4].max() <= 1e-5 and distances[4] > 1e-3


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for size in SIZES for name in EVALUATED[size]]
)
def test_evaluation_is_the_same_to_the_last_digit(jobs, size, name):
    results = [
        json.loads((jobs[n] / f"{name}_eval" / "all_results.json").read_text()) for n in (1, size)
    ]
    single, several = (
        {k: v for k, v in values.items() if k.startswith("eval_") and "time" not in k}
        for values in results
    )
    for values in (single, several):
        values.pop("eval_samples_per_second", None), values.pop("eval_model", None)
    assert single == several and len(single) >= 3


def test_run_on_main_first_runs_one_rank_per_host_before_the_rest(jobs):
    assert (jobs[3] / "order").read_text().split() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("size", "name", "task", "rows"),
    [(2, "classes", "SST-2", 7), (2, "scores", "STS-B", 4), (3, "classes", "SST-2", 7)],
)
def test_predictions_are_complete_and_in_order(jobs, size, name, task, rows):
    texts = [
        (jobs[n] / f"{name}_eval" / "predictions" / f"{task}.tsv").read_text() for n in (1, size)
    ]
    assert texts[0] == texts[1]
    assert [line.split("\t")[0] for line in texts[0].splitlines()[1:]] == list(
        map(str, range(rows))
    )
