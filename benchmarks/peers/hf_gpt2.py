"""transformers' GPT-2 as a contestant: training steps of rows without padding, and generate
(suite/protocol.py)."""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2LMHeadModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol  # noqa: E402


def build(spec):
    torch.set_num_threads(2)
    torch.manual_seed(42)
    model = GPT2LMHeadModel.from_pretrained(spec["model"], dtype=torch.float32)
    return (training if spec["job"] == "training" else generation)(spec, model)


def training(spec, model):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    size = (spec["rows"], spec["tokens"])
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, spec["vocab"], size))

    def block(number):
        start = time.perf_counter()
        for _ in range(spec["steps"]):
            loss = model(ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        last = float(loss)
        seconds = (time.perf_counter() - start) / spec["steps"]
        return {"seconds": seconds, "parts": spec["steps"], "loss": last}

    block(0)
    return block


def generation(spec, model):
    model.eval()
    prompt = torch.arange(100, 100 + spec["prompt"])[None]

    def generate(count):
        with torch.no_grad():
            return model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                top_k=50,
                top_p=0.95,
                min_new_tokens=count,
                max_new_tokens=count,
                pad_token_id=0,
            )

    def block(number):
        torch.manual_seed(number)
        start = time.perf_counter()
        tokens = generate(spec["new_tokens"])
        assert tokens.shape[1] == spec["prompt"] + spec["new_tokens"]
        return {"seconds": time.perf_counter() - start, "parts": 1}

    generate(4)
    return block


if __name__ == "__main__":
    protocol.serve(build)
