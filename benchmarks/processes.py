"""Training speed of one process with all cores against N processes that share them.

    .venv/bin/python benchmarks/processes.py [--processes 1 2] [--rounds 3] [--steps 8]
        [--layers 6] [--hidden 384] [--batch 32] [--tokens 32]

Every round starts one job for each number of processes, one after the other, so that a change in
the machine's load meets all of them. A job trains a BERT of random weights, without dropout, on
batches of the same rows in all, through the trainer that both programs use; cores are shared out
as `launch` does it. "Exchange" is the time that a process spends in the exchanges of an update,
waiting for the others included. The losses must be the same up to rounding. Prints a Markdown
table of medians; run it on a machine that has nothing else to do.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARM = 2  # updates before the clock


def train(args) -> None:
    """The program of each process; rank 0 writes what it measured."""
    import numpy as np
    import paddle
    from paddlenlp.transformers import BertConfig, BertForSequenceClassification

    from bert_paddle.common.run_log import RunLog
    from bert_paddle.distributed import collectives
    from bert_paddle.glue import loss
    from bert_paddle.models.kernels import encoder
    from bert_paddle.training.batching import split_among_ranks
    from bert_paddle.training.step import Trainer

    setting, world = json.loads(os.environ["PROCESSES_SETTING"]), collectives.get_world()
    paddle.seed(1)
    config = BertConfig(
        hidden_size=setting["hidden"],
        num_hidden_layers=setting["layers"],
        num_attention_heads=max(1, setting["hidden"] // 32),
        intermediate_size=4 * setting["hidden"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForSequenceClassification(config)
    model.train()
    forward = loss.forward_pass(model, not encoder.unsupported_reason(model.bert))
    log = RunLog(active=False)
    trainer = Trainer(model, loss.objective(), args, collectives.on_gpu(), log, forward)
    rng, rows = np.random.default_rng(0), setting["batch"]
    ids = rng.integers(1, 30000, (rows, setting["tokens"]))
    whole = {"input_ids": ids, "input_mask": ids * 0 + 1, "segment_ids": ids * 0}
    whole["labels"] = np.arange(rows) % 2
    own = split_among_ranks(np.arange(rows), rows, world.rank, world.size)[0]
    batch = {name: values[own] for name, values in whole.items()}

    spent = [0.0]
    for name in ("all_reduce_counts", "all_reduce_gradients"):
        setattr(collectives, name, _timed(getattr(collectives, name), spent))
    steps, exchanges = [], []
    for step in range(1, setting["steps"] + WARM + 1):
        spent[0], begun = 0.0, time.perf_counter()
        update = trainer.step([batch], 2e-5, step, {})
        loss = float(update.losses["loss"])
        steps.append(time.perf_counter() - begun)
        exchanges.append(spent[0])
    total = sum(collectives.all_gather(loss))
    if world.is_main:
        found = {"steps": steps[WARM:], "exchanges": exchanges[WARM:], "loss": total}
        found["megabytes"] = sum(p.size for p in trainer.parameters) * 4 / 1e6
        found["threads"] = os.environ["OMP_NUM_THREADS"]
        (Path(args.output_dir) / "found.json").write_text(json.dumps(found))


def _timed(function, spent: list[float]):
    def wrapped(*args):
        begun = time.perf_counter()
        result = function(*args)
        spent[0] += time.perf_counter() - begun
        return result

    return wrapped


def one_job(processes: int, setting: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        variables = {"PROCESSES_SETTING": json.dumps(setting), "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, __file__, "--job", folder, str(processes)],
            env=os.environ | variables | {"CUDA_VISIBLE_DEVICES": ""},
            check=True,
            stderr=subprocess.PIPE,
            timeout=1800,
        )
        return json.loads((Path(folder) / "found.json").read_text())


def job(folder: str, processes: str) -> None:
    from bert_paddle.distributed.launch import launch
    from bert_paddle.glue.args import parse_args

    flags = f"--task_name sst2 --model_name_or_path none --n_gpu {processes} --output_dir {folder}"
    launch("processes:train", parse_args(flags.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    defaults = {"steps": 8, "layers": 6, "hidden": 384, "batch": 32, "tokens": 32}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    setting = {name: getattr(args, name) for name in defaults}
    load = os.getloadavg()[0]
    runs: dict[int, list[dict]] = {processes: [] for processes in args.processes}
    for _ in range(args.rounds):
        for processes in args.processes:
            runs[processes].append(one_job(processes, setting))
    size = runs[args.processes[0]][0]["megabytes"]
    print(
        f"{datetime.date.today()}, {os.cpu_count()} cores, load {load:.1f} before; {args.layers} "
        f"layers x {args.hidden}, {size:.0f} MB of gradients, {args.batch} rows x {args.tokens} "
        f"tokens an update; medians of {args.rounds} x {args.steps} updates\n"
    )
    print("| processes x threads | update, ms | rows/s | exchange, ms | share | last loss |")
    print("|---|---|---|---|---|---|")
    for processes, several in runs.items():
        update = statistics.median(second for run in several for second in run["steps"])
        exchange = statistics.median(second for run in several for second in run["exchanges"])
        print(
            f"| {processes} x {several[0]['threads']} | {1000 * update:.0f} "
            f"| {args.batch / update:.1f} | {1000 * exchange:.1f} | {exchange / update:.1%} "
            f"| {several[0]['loss']:.6f} |"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        job(*sys.argv[2:])
    else:
        main()
