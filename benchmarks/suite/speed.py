"""Training, prediction and pre-training: samples per second on the same rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.suite import contest, inputs
from benchmarks.suite.contest import OURS, Contestant, Job
from benchmarks.suite.options import Options
from bert_paddle.glue.tasks import get_task
from bert_paddle.models.kernels import products

RATE = 2e-5
SIZES = {
    "6x384": {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12},
    "4x256": {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
}
SAME = 1e-4  # by which logits may differ: rounding, and no other model
_OURS, _HF = "benchmarks/suite/ours.py", "benchmarks/peers/hf.py"
_LOOP = "benchmarks/peers/paddlenlp_loop.py"


def training(options: Options, scratch: Path) -> Iterator[Job]:
    """Fine-tuning on as many rows as a block has steps, in everyone's own order."""
    for task in options.tasks:
        path = scratch / f"{task}-train.json"
        count = inputs.write_rows(task, "train", options.rows, path)
        folder, spec = _classifier(task, options, scratch, "training", path)
        ours, hf = spec | {"model": str(folder / "paddle")}, spec | {"model": str(folder / "hf")}
        found = [
            Contestant("ours", "ours, default flags", _OURS, ours, OURS),
            *_in_bfloat16(ours),
            Contestant(
                "hf_documented", "(a) HF Trainer, padded to 128", _HF, hf | {"way": "documented"}
            ),
            Contestant("hf_best", "(b) HF Trainer at its best", _HF, hf | {"way": "best"}),
            Contestant("hf_bf16", "(c) the same, bfloat16", _HF, hf | {"way": "bf16"}),
            Contestant("paddlenlp", "(d) PaddleNLP's loop", _LOOP, ours, OURS, as_it_comes=True),
        ]
        if task == options.tasks[0]:  # what the threads alone are worth; it is slow
            found.append(Contestant("paddlenlp_2", "(d) with 2 threads", _LOOP, ours, OURS))
        job = _job(f"training {task}", options, {"rows": count, "learning_rate": RATE})
        contest.rounds(job, contest.chosen(found, options), options, scratch)
        _check_tokens(job)
        yield job


def levers(options: Options, scratch: Path) -> Iterator[Job]:
    """Fine-tuning with one of the things left out that make it fast, with none of them, and with
    what is there for padded rows."""
    path = scratch / "levers.json"
    count = inputs.write_rows("SST-2", "train", options.rows, path)
    folder, spec = _classifier("SST-2", options, scratch, "training", path)
    spec |= {"model": str(folder / "paddle")}
    layers, grouped = "--cpu_kernels 0", "--group_by_length"
    as_paddle_comes = {"settled": False}
    given: dict[str, tuple[str, dict[str, Any]]] = {
        "ours": ("ours, default flags", {}),
        "ours_grouped": ("with batches of like length", {"flags": grouped}),
        "ours_layers": ("without kernels (encoder on packed rows, AdamW)", {"flags": layers}),
        "ours_layers_grouped": (
            "without kernels, with batches of like length",
            {"flags": f"{layers} {grouped}"},
        ),
        "ours_static": ("without kernels, as a static graph", {"flags": f"{layers} --to_static"}),
        "ours_unset": ("without settings of memory and views", as_paddle_comes),
        "ours_one": ("without settings of threads either", as_paddle_comes),
        "ours_none": ("without any of these", {"flags": layers} | as_paddle_comes),
    }
    found = [
        Contestant(key, label, _OURS, spec | change, OURS, key in ("ours_one", "ours_none"))
        for key, (label, change) in given.items()
    ]
    job = _job("levers SST-2", options, {"rows": count, "learning_rate": RATE})
    contest.rounds(job, found, options, scratch)
    yield job


def prediction(options: Options, scratch: Path) -> Iterator[Job]:
    """From word pieces to the logits of the dev set."""
    most = 96 if options.quick else 1500
    for task in options.tasks:
        path = scratch / f"{task}-dev.json"
        count = inputs.write_rows(task, "dev", most, path)
        folder, spec = _classifier(task, options, scratch, "prediction", path)
        hf = spec | {"model": str(folder / "hf"), "way": "best", "onnx": str(folder / "onnx")}
        found = [
            Contestant(
                "ours", "ours", _OURS, spec | {"model": str(folder / "paddle")}, python=OURS
            ),
            *_in_bfloat16(spec | {"model": str(folder / "paddle")}),
            Contestant("hf_best", "(b) HF Trainer.predict, sorted by length", _HF, hf),
            Contestant("hf_bf16", "(c) the same, bfloat16", _HF, hf | {"way": "bf16"}),
            Contestant(
                "onnx", "(e) ONNX Runtime, sorted by length", "benchmarks/peers/onnx_runtime.py", hf
            ),
        ]
        job = _job(f"prediction {task}", options, {"rows": count})
        contest.rounds(job, contest.chosen(found, options), options, scratch)
        _compare_logits(job)
        _check_tokens(job)
        yield job


def pretraining(options: Options, scratch: Path) -> Iterator[Job]:
    """Steps on rows of shards of length 128, batches ready in memory for both."""
    path = scratch / "pretraining.npz"
    about = inputs.write_pretraining_rows(options.rows, options.batch, path)
    for name, sizes in SIZES.items():
        config = sizes | {"intermediate_size": 4 * sizes["hidden_size"]}
        folder = inputs.write_model("pretraining", scratch, [], config)
        spec = _spec("pretraining", options, path) | {"learning_rate": 1e-4, "weight_decay": 0.01}
        ours, torch = spec | {"model": str(folder / "paddle")}, spec | {"model": str(folder / "hf")}
        script = "benchmarks/peers/torch_pretraining.py"
        label = "PyTorch BertForPreTraining, head on masked positions"
        found = [
            Contestant("ours", "ours", _OURS, ours, OURS),
            *_in_bfloat16(ours),
            Contestant("torch", label, script, torch),
            Contestant("torch_bf16", "the same, bfloat16", script, torch | {"way": "bf16"}),
        ]
        job = _job(f"pretraining {name}", options, about | {"learning_rate": 1e-4})
        contest.rounds(job, contest.chosen(found, options), options, scratch)
        yield job


def base(options: Options, scratch: Path) -> Iterator[Job]:
    """Fine-tuning of BERT-base's sizes, random weights, on rows of about 128 tokens."""
    path = scratch / "base.json"
    count = inputs.write_rows("QNLI", "train", options.rows // 4, path)
    labels = list(get_task("QNLI").labels)
    sizes = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
    folder = inputs.write_model("classifier", scratch, labels, sizes | {"intermediate_size": 3072})
    spec = _spec("training", options, path)
    ours, hf = spec | {"model": str(folder / "paddle")}, spec | {"model": str(folder / "hf")}
    found = [
        Contestant("ours", "ours, default flags", _OURS, ours, OURS),
        *_in_bfloat16(ours),
        Contestant("hf_best", "(b) HF Trainer at its best", _HF, hf | {"way": "best"}),
        Contestant("hf_bf16", "(c) the same, bfloat16", _HF, hf | {"way": "bf16"}),
    ]
    job = _job("base 12x768", options, {"rows": count, "learning_rate": RATE})
    contest.rounds(job, contest.chosen(found, options), options, scratch)
    yield job


def _in_bfloat16(spec: dict[str, Any]) -> list[Contestant]:
    """Ours in bfloat16, where the CPU has the instructions."""
    if not products.has_bfloat16_instructions():
        return []
    return [Contestant("ours_bf16", "ours, bfloat16", _OURS, spec | {"flags": "--bf16"}, OURS)]


def _spec(job: str, options: Options, path: Path) -> dict[str, Any]:
    return {
        "job": job,
        "rows": str(path),
        "batch": options.batch,
        "max_length": inputs.MAX_LENGTH,
        "learning_rate": RATE,
        "warmup": options.warmup,
        "scratch": str(path.parent),
    }


def _classifier(
    task: str, options: Options, scratch: Path, job: str, path: Path
) -> tuple[Path, dict[str, Any]]:
    """The model's folder and what everyone is told."""
    labels = list(get_task(task).labels)
    folder = inputs.write_model("classifier", scratch, labels, {})
    return folder, _spec(job, options, path)


def _job(name: str, options: Options, settings: dict[str, Any]) -> Job:
    common = {"batch": options.batch, "max_seq_length": inputs.MAX_LENGTH, "steps": options.steps}
    return Job(name, "samples/s", True, settings | common, {}, {})


def _check_tokens(job: Job) -> None:
    """Say so where contestants' rows are not the same word pieces."""
    counts = {key: blocks[0]["tokens"] for key, blocks in job.blocks.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{key} {count:,}" for key, count in counts.items())
        job.notes.append(f"word pieces of a block: {said}")


def _compare_logits(job: Job) -> None:
    """Replace everyone's logits by how far they are from ours, and say so where that is far."""
    ours = job.blocks["ours"][0]["logits"]
    for key, blocks in job.blocks.items():
        for block in blocks:
            theirs = block.pop("logits")
            block["difference"] = max(
                abs(a - b)
                for row, other in zip(ours, theirs, strict=True)
                for a, b in zip(row, other, strict=True)
            )
            if block["difference"] > SAME:
                job.notes.append(f"{key}'s logits are {block['difference']:.3g} from ours")
