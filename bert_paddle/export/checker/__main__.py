"""Compute the logits of an exported model with the runtime of its format.

    PYTHON path/to/checker FORMAT FOLDER SAMPLE.npz RESULT

FORMAT: hf, onnx or paddle_inference. SAMPLE has the inputs of batch i as input_ids_i,
attention_mask_i, token_type_ids_i, and the texts of all batches as JSON. It writes
RESULT.npz, with output k of batch i as <i>_<k>, and RESULT.json, with "runtime" (name and version)
and, by ONNX Runtime, the "seconds" of all batches once more after a first one; or with
"skip_reason" if the runtime is not installed.

PYTHON may belong to an environment without bert_paddle, so this file does not import bert_paddle.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

# Marker file for the parent process (export/check.py), in the working directory: it exists if
# PYTHON ran this file at all, even if an import below fails.
open("started", "w").close()

import numpy as np  # noqa: E402

MEASURED: dict[str, Any] = {}  # more about the run, for RESULT.json
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class NotInstalledError(Exception):
    """A module that the check needs is not installed."""


def require(*names):
    """Import modules. Raises NotInstalledError if one is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            # error.name is the module itself, or a dependency of it that is missing.
            missing = getattr(error, "name", None) or name
            raise NotInstalledError(f"{missing} is not installed for {sys.executable}") from None


def run_transformers(folder, batches, texts):
    """Compare the tokenizer's ids with the sample's, then run transformers.

    This and the other runners return the outputs of every batch, as a list of arrays, and the
    runtime's name and version. batches: input arrays by name; texts: the text pairs of each batch.
    """
    require("transformers", "torch", "safetensors")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        check_token_ids(transformers.AutoTokenizer.from_pretrained(folder), batches, texts)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        architecture = json.load(file)["architectures"][0]
    auto_class, names = {
        "BertForSequenceClassification": ("AutoModelForSequenceClassification", ["logits"]),
        "BertForMaskedLM": ("AutoModelForMaskedLM", ["logits"]),
        "BertForPreTraining": (
            "AutoModelForPreTraining",
            ["prediction_logits", "seq_relationship_logits"],
        ),
    }[architecture]
    model, info = getattr(transformers, auto_class).from_pretrained(
        folder, output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(problem):
            raise SystemExit(
                f"transformers reports {problem}: {sorted(map(str, info[problem]))[:5]}"
            )
    model.eval()
    outputs = []
    with torch.no_grad():
        for batch in batches:
            output = model(**{name: torch.from_numpy(value) for name, value in batch.items()})
            outputs.append([output[name].float().numpy() for name in names])
    return outputs, f"transformers {transformers.__version__}"


def check_token_ids(tokenizer, batches, texts):
    """Raise SystemExit if the tokenizer encodes any text of the sample differently."""
    for batch, rows in zip(batches, texts, strict=True):
        for row, (first, second) in enumerate(rows):
            encoded = tokenizer(first, second)
            length = int(batch["attention_mask"][row].sum())
            for name in INPUTS:
                if list(encoded[name]) != batch[name][row, :length].tolist():
                    raise SystemExit(
                        f"transformers' tokenizer returns different {name} for {first!r}"
                    )


def run_onnxruntime(folder, batches, texts):
    """Run model.onnx with ONNX Runtime on the CPU."""
    require("onnxruntime")
    import onnxruntime

    path = folder if os.path.isfile(folder) else os.path.join(folder, "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    session.run(["logits"], batches[0])
    begun = time.perf_counter()
    outputs = [session.run(["logits"], batch) for batch in batches]
    MEASURED["seconds"] = time.perf_counter() - begun
    return outputs, f"ONNX Runtime {onnxruntime.__version__}"


def run_paddle_inference(folder, batches, texts):
    """Run model.json and model.pdiparams with Paddle Inference on the CPU."""
    require("paddle")
    import paddle
    import paddle.inference

    files = [os.path.join(folder, f"model.{suffix}") for suffix in ("json", "pdiparams")]
    config = paddle.inference.Config(*files)
    config.disable_gpu()
    config.disable_glog_info()
    predictor = paddle.inference.create_predictor(config)
    outputs = []
    for batch in batches:
        for name, value in batch.items():
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
        names = predictor.get_output_names()
        outputs.append([predictor.get_output_handle(name).copy_to_cpu() for name in names])
    return outputs, f"Paddle Inference {paddle.__version__}"


RUNNERS = {
    "hf": run_transformers,
    "onnx": run_onnxruntime,
    "paddle_inference": run_paddle_inference,
}


def main(export_format, folder, sample_file, result_stem):
    """Run the export on the sample, and write `result_stem`.json and .npz."""
    with np.load(sample_file) as stored:
        texts = json.loads(str(stored["texts"]))
        batches = [
            {name: np.ascontiguousarray(stored[f"{name}_{i}"]) for name in INPUTS}
            for i in range(len(texts))
        ]
    status: dict[str, Any]
    try:
        outputs, runtime = RUNNERS[export_format](folder, batches, texts)
    except NotInstalledError as error:
        status = {"skip_reason": str(error)}
    else:
        status = {"runtime": runtime, **MEASURED}
        arrays = {f"{i}_{k}": v for i, batch in enumerate(outputs) for k, v in enumerate(batch)}
        np.savez(result_stem + ".npz", **arrays)
    with open(result_stem + ".json", "w", encoding="utf-8") as file:
        json.dump(status, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
