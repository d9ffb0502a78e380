"""PaddleNLP's way as a contestant: its classifier in a plain loop, rows shuffled, each batch padded
to its longest row, nothing set before paddle is imported (suite/protocol.py). It runs in the
project's own environment and uses nothing of the project's package."""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol, rows  # noqa: E402


def build(spec):
    import paddle
    from paddle.io import BatchSampler, DataLoader
    from paddlenlp.data import Pad, Stack, Tuple
    from paddlenlp.transformers import (
        BertForSequenceClassification,
        BertTokenizer,
        LinearDecayWithWarmup,
    )

    paddle.set_device("cpu")
    tokens, given = BertTokenizer.from_pretrained(spec["model"]), rows.read(spec["rows"])
    seconds_of_pairs = given.texts_b or [None] * len(given.texts_a)
    data = []
    for a, b, label in zip(given.texts_a, seconds_of_pairs, given.labels, strict=True):
        row = tokens(a, b, max_seq_len=spec["max_length"])
        data.append((row["input_ids"], row["token_type_ids"], label))
    pieces = sum(len(row[0]) for row in data)
    model = BertForSequenceClassification.from_pretrained(spec["model"], num_labels=2)
    criterion = paddle.nn.CrossEntropyLoss()
    collate = Tuple(
        Pad(axis=0, pad_val=tokens.pad_token_id),
        Pad(axis=0, pad_val=tokens.pad_token_type_id),
        Stack(dtype="int64"),
    )
    total = len(data) // spec["batch"]
    schedule = LinearDecayWithWarmup(spec["learning_rate"], total * 100, 0)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters())
    model.train()

    def train(seed, steps):
        np.random.seed(seed)
        sampler = BatchSampler(data, shuffle=True, batch_size=spec["batch"])
        loader = DataLoader(
            data, batch_sampler=sampler, collate_fn=collate, num_workers=0, return_list=True
        )
        losses = []
        begun = time.perf_counter()
        for input_ids, segment_ids, labels in loader:
            loss = criterion(model(input_ids, segment_ids), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.clear_grad()
            losses.append(float(loss))
            if len(losses) == steps:
                break
        return time.perf_counter() - begun, losses

    train(100, spec["warmup"])

    def block(number):
        seconds, losses = train(number, 0)
        more = {"loss": float(np.mean(losses)), "steps": len(losses)}
        return rows.measurement(seconds, len(data), pieces) | more

    return block


if __name__ == "__main__":
    protocol.serve(build)
