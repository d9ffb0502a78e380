"""PyTorch as a contestant in a training step of one size: forward, backward, clipping, AdamW, with
dropout (suite/protocol.py)."""

import sys
import time
from pathlib import Path

import torch
from transformers import BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol, rows  # noqa: E402


def build(spec):
    torch.set_num_threads(2)
    torch.manual_seed(42)
    model = BertForSequenceClassification.from_pretrained(spec["model"], dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec["learning_rate"], fused=True)
    size, length = spec["batch"], spec["length"]
    held = torch.from_numpy(rows.random_ids(size, length, spec["steps"]))
    mask, labels = torch.ones(size, length, dtype=torch.int64), torch.arange(size) % 2

    def train(batches):
        total = 0.0
        begun = time.perf_counter()
        for ids in batches:
            loss = model(ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
        total = float(total)
        return time.perf_counter() - begun, total / len(batches)

    train(held[: spec["warmup"]])

    def block(number):
        seconds, loss = train(held)
        count = len(held) * size
        return rows.measurement(seconds, count, count * length) | {"loss": loss, "steps": len(held)}

    return block


if __name__ == "__main__":
    protocol.serve(build)
