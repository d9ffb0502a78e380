"""ONNX Runtime as a contestant: the exported model on rows sorted by length (suite/protocol.py)."""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transformers import BertTokenizer  # noqa: E402

from benchmarks.suite import protocol, rows  # noqa: E402


def build(spec):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    path = str(Path(spec["onnx"]) / "model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tokens, given = BertTokenizer(vocab=str(Path(spec["model"]) / "vocab.txt")), None
    given = rows.read(spec["rows"])
    texts = [given.texts_a] if given.texts_b is None else [given.texts_a, given.texts_b]
    encoded = tokens(*texts, truncation="longest_first", max_length=spec["max_length"])
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    order = np.argsort(-lengths, kind="stable")

    def predict():
        out = None
        for start in range(0, len(order), spec["batch"]):
            part = order[start : start + spec["batch"]]
            inputs = {
                name: np.zeros((len(part), lengths[part].max()), np.int64)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            }
            for place, row in enumerate(part):
                for name, values in inputs.items():
                    values[place, : lengths[row]] = encoded[name][row]
            logits = session.run(["logits"], inputs)[0]
            if out is None:
                out = np.zeros((len(order), logits.shape[1]), np.float32)
            out[part] = logits
        return out

    predict()

    def block(number):
        begun = time.perf_counter()
        logits = predict()
        seconds = time.perf_counter() - begun
        return rows.measurement(seconds, len(order), int(lengths.sum())) | {
            "logits": logits.tolist()
        }

    return block


if __name__ == "__main__":
    protocol.serve(build)
