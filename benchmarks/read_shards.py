"""How fast pre-training shards are read, and how fast a model of two layers uses them up.

    .venv/bin/python benchmarks/read_shards.py FOLDER [--batch_size 32] [--hidden 128 768]

FOLDER holds *.hdf5 shards. Reads every row of an epoch as training does (rank 0 of 1, the next
window of rows read by one thread), three times, then trains two layers of each hidden size on the
first batches (random weights, MLM and NSP). Prints a Markdown table. Rows per second of CPU time
say more than those of wall time while other programs run.
"""

import argparse
import datetime
import os
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
VOCAB_SIZE, STEPS, ROUNDS = 30522, 8, 3


def batches_of(folder: Path, batch_size: int):
    from bert_paddle.pretrain.data.loader import PretrainLoader
    from bert_paddle.pretrain.data.shard_roles import find_shards
    from bert_paddle.pretrain.data.shards import check_shards

    training = find_shards(folder).training
    shards = check_shards(training, VOCAB_SIZE, 512, 2)
    return shards, PretrainLoader(shards, 42, batch_size, 1, 0, 1, 80)


def reading(batches) -> tuple[float, float, float]:
    """Rows per second of wall and of CPU time, medians, and seconds to the first batch."""
    wall, cpu, first = [], [], []
    for epoch in range(ROUNDS):
        begun, used, rows = time.perf_counter(), time.process_time(), 0
        for update in batches.steps(epoch, 0):
            if rows == 0:
                first.append(time.perf_counter() - begun)
            rows += sum(len(batch["input_ids"]) for batch in update)
        wall.append(rows / (time.perf_counter() - begun))
        cpu.append(rows / (time.process_time() - used))
    return statistics.median(wall), statistics.median(cpu), statistics.median(first)


def training(batches, hidden: int) -> tuple[float, float]:
    """Rows per second of wall and of CPU time that two layers of `hidden` take up."""
    import paddle
    import paddle.nn.functional as F
    from paddlenlp.transformers import BertConfig, BertForPretraining

    paddle.seed(1)
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
    )
    model = BertForPretraining(config)
    optimizer = paddle.optimizer.AdamW(1e-4, parameters=model.parameters())
    wall, cpu = [], []
    for (batch,) in islice(batches.steps(0, 0), STEPS + 2):
        begun, used = time.perf_counter(), time.process_time()
        fed = {key: paddle.to_tensor(values) for key, values in batch.items()}
        words, follows = model(
            fed["input_ids"],
            token_type_ids=fed["segment_ids"],
            attention_mask=fed["input_mask"],
            masked_positions=fed["masked_positions"],
        )
        loss = F.cross_entropy(words, fed["masked_lm_ids"])
        loss = loss + F.cross_entropy(follows, fed["next_sentence_labels"])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        float(loss)
        rows = len(batch["input_ids"])
        wall.append(rows / (time.perf_counter() - begun))
        cpu.append(rows / (time.process_time() - used))
    return statistics.median(wall[2:]), statistics.median(cpu[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--hidden", type=int, nargs="*", default=[128, 768])
    args = parser.parse_args()
    from bert_paddle.common import hardware, runtime

    runtime.configure(1, use_gpu=False)
    import h5py
    import numpy

    shards, batches = batches_of(args.folder, args.batch_size)
    wall, cpu, first = reading(batches)
    runtime.import_paddle()
    import paddle

    print(
        f"{datetime.date.today()}, {hardware.processor()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, h5py {h5py.__version__}, numpy {numpy.__version__}, "
        f"paddlepaddle {paddle.__version__}; {shards.total} rows in {len(shards.paths)} shards, "
        f"L={shards.length}, P={shards.predictions}, batches of {args.batch_size}; "
        f"first batch after {first:.2f} s\n"
    )
    print("| | rows/s | rows/s of CPU time | reading is faster, times | of CPU time |")
    print("|---|---|---|---|---|")
    print(f"| reading | {wall:,.0f} | {cpu:,.0f} | | |")
    for hidden in args.hidden:
        taken, used = training(batches, hidden)
        print(
            f"| training 2 × {hidden} | {taken:,.0f} | {used:,.0f} | {wall / taken:.0f} "
            f"| {cpu / used:.0f} |"
        )


if __name__ == "__main__":
    main()
