"""transformers' fast tokenizer as a contestant: SST-2's training file read and made word pieces
(suite/protocol.py). spec: `calls`, texts in one call (0: all of them)."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.peers import hf, hf_run  # noqa: E402
from benchmarks.suite import protocol, rows  # noqa: E402


def build(spec):
    def block(number):
        begun = time.perf_counter()
        tokens = hf.tokenizer(spec["model"])
        texts = hf_run.read(Path(spec["file"])).texts_a
        size = spec["calls"] or len(texts)
        ids = []
        for start in range(0, len(texts), size):
            part = texts[start : start + size]
            ids += tokens(
                part,
                truncation="longest_first",
                max_length=spec["max_length"],
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
        seconds = time.perf_counter() - begun
        return rows.measurement(seconds, len(ids), sum(map(len, ids)))

    return block


if __name__ == "__main__":
    protocol.serve(build)
