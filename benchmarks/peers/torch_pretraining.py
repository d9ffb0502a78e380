"""PyTorch as a contestant in pre-training: transformers' BertForPreTraining with the vocabulary
product made for masked positions only, float32 or (way bf16) autocast to bfloat16, AdamW, clipping
(suite/protocol.py)."""

import sys
import time
from pathlib import Path

import torch
from transformers import BertForPreTraining

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.suite import protocol, rows  # noqa: E402


def losses(model, batch):
    """The loss of the masked words and that of the next sentences, each a mean."""
    out = model.bert(
        batch["input_ids"],
        attention_mask=batch["input_mask"],
        token_type_ids=batch["segment_ids"],
    )
    hidden = out.last_hidden_state
    masked = hidden.reshape(-1, hidden.shape[-1])[batch["masked_positions"]]
    words = torch.nn.functional.cross_entropy(model.cls.predictions(masked), batch["masked_lm_ids"])
    relations = model.cls.seq_relationship(out.pooler_output)
    return words, torch.nn.functional.cross_entropy(relations, batch["next_sentence_labels"])


def build(spec):
    torch.set_num_threads(2)
    torch.manual_seed(42)
    model = BertForPreTraining.from_pretrained(spec["model"], dtype=torch.float32)
    model.train()
    held = [
        {key: torch.from_numpy(value) for key, value in one.items()}
        for one in rows.batches(spec["rows"])
    ]
    pieces = sum(int(one["input_mask"].sum()) for one in held)
    with_decay = [p for n, p in model.named_parameters() if not _is_plain(n)]
    without = [p for n, p in model.named_parameters() if _is_plain(n)]
    groups = [
        {"params": with_decay, "weight_decay": spec["weight_decay"]},
        {"params": without, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=spec["learning_rate"], fused=True)

    def train(batches):
        total = 0.0
        begun = time.perf_counter()
        for step, batch in enumerate(batches):
            # Linear decay to zero, as ours.
            for group in optimizer.param_groups:
                group["lr"] = spec["learning_rate"] * (1 - step / len(batches))
            with torch.autocast("cpu", torch.bfloat16, enabled=spec.get("way") == "bf16"):
                loss = sum(losses(model, batch))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
        total = float(total)
        return time.perf_counter() - begun, total / len(batches)

    train(held[: spec["warmup"]])
    count = sum(len(one["input_ids"]) for one in held)

    def block(number):
        seconds, loss = train(held)
        return rows.measurement(seconds, count, pieces) | {"loss": loss, "steps": len(held)}

    return block


def _is_plain(name):
    return name.endswith("bias") or "LayerNorm" in name


if __name__ == "__main__":
    protocol.serve(build)
