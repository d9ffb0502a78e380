"""How long does a save hold training up? A model of about 100 MB, on this machine.

    python benchmarks/saving.py [--saves 5] [--between 12] [--plain_copy]

A thread writes, flushes and hashes weights and optimizer state while training goes on; what it has
not written when the next optimizer step begins is copied then. --plain_copy: all is copied at the
save instead. Compared: the time in which nothing is trained, the time the thread takes, the steps
meanwhile beside the others, and the peak memory of the process. Prints Markdown.
"""

import argparse
import contextlib
import io
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests" / "support")]

from bert_paddle.common import runtime  # noqa: E402
from bert_paddle.training import checkpoint  # noqa: E402

_MODEL = {"hidden_size": 512, "num_hidden_layers": 7, "num_attention_heads": 8}
_MODEL |= {"intermediate_size": 2048, "vocab_size": 6000}


def timed(place: Any, name: str, spans: list[tuple[float, float]]) -> None:
    """Have the function `name` of a module or class note when it begins and ends."""
    real = getattr(place, name)

    def wrapped(*args: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        try:
            return real(*args, **named)
        finally:
            spans.append((begun, time.perf_counter()))

    setattr(place, name, wrapped)


def milliseconds(spans: list[tuple[float, float]]) -> str:
    if not spans:
        return "–"
    return f"{statistics.median(end - begun for begun, end in spans) * 1000:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--plain_copy", action="store_true")
    parser.add_argument("--between", type=int, default=12, help="steps between two saves")
    flags = parser.parse_args()
    runtime.configure(1)
    runtime.import_paddle()
    import tiny

    from bert_paddle.glue import finetune
    from bert_paddle.glue.args import parse_args
    from bert_paddle.models import model_state
    from bert_paddle.training.run import TrainingRun
    from bert_paddle.training.step import Trainer

    updates: list[tuple[float, float]] = []
    holds: list[tuple[float, float]] = []
    copies: list[tuple[float, float]] = []
    writes: list[tuple[float, float]] = []
    timed(Trainer, "step", updates)
    timed(TrainingRun, "_save", holds)
    timed(TrainingRun, "_materialize_snapshots", copies)
    if flags.plain_copy:
        share = model_state.snapshot_tensors

        def copy_at_once(tensors: Any) -> Any:
            snapshot = share(tensors)
            snapshot.materialize()
            return snapshot

        model_state.snapshot_tensors = copy_at_once
    timed(checkpoint, "save", writes)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        tiny.write_model(Path(folder, "model"), **_MODEL)
        tiny.write_sst2(Path(folder, "SST-2"), train=800)
        argv = f"--task_name sst2 --model_name_or_path {folder}/model --data_dir {folder} "
        argv += f"--output_dir {folder}/out --max_seq_length 32 --batch_size 16 --do_train "
        argv += f"--save_steps {flags.between} --save_total_limit 1 --n_gpu 0 --group_by_length 0 "
        argv += f"--max_steps {(flags.saves + 1) * flags.between - 1} --num_train_epochs 1e3"
        finetune.run(parse_args(argv.split()))
        saved = sorted(Path(folder, "out").glob("model_*"))[-1]
        sizes = {p.name: p.stat().st_size / 1e6 for p in saved.rglob("*.safetensors")}
    holds, writes = holds[: flags.saves], writes[: flags.saves]  # the last has nothing beside it
    updates = updates[2:]  # warm-up
    beside = [u for u in updates if any(u[0] < w[1] and w[0] < u[1] for w in writes)]
    alone = [u for u in updates if u not in beside]
    whole = sum(sizes.values())
    print(f"Weights {sizes['model.safetensors']:.0f} MB, a checkpoint {whole:.0f} MB; medians.\n")
    print("| what | ms | of |\n|---|---|---|")
    # The first after each save; before the other steps there is nothing to copy.
    copies = [min((c for c in copies if c[0] > hold[1]), default=hold) for hold in holds]
    print(f"| training held up by a save | {milliseconds(holds)} | {len(holds)} saves |")
    print(f"| and before the next optimizer step | {milliseconds(copies)} | {len(copies)} |")
    print(
        f"| writing, flushing, hashing in the background | {milliseconds(writes)} | {len(writes)} |"
    )
    print(f"| an update while nothing is written | {milliseconds(alone)} | {len(alone)} updates |")
    print(f"| an update while a checkpoint is written | {milliseconds(beside)} | {len(beside)} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nPeak memory of the process: {peak:.0f} MiB.")


if __name__ == "__main__":
    main()
