"""Compute the logits of an exported folder with the tool of its format.

    PYTHON path/to/checker FORMAT FOLDER SAMPLE.npz ANSWER

FORMAT: hf, onnx or paddle_inference. SAMPLE has the inputs of batch i as input_ids_i,
attention_mask_i, token_type_ids_i, and texts (JSON). ANSWER.npz gets the outputs of batch i as
<i>_<output>, ANSWER.json the tool, or the skip_reason if it is not installed.

PYTHON may belong to another environment, so this file does not import bert_paddle.
"""

import importlib
import json
import os
import sys

open("started", "w").close()  # proves that PYTHON is a Python, before an import can fail

import numpy as np  # noqa: E402

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class NotInstalledError(Exception):
    """A module that the check needs is not installed."""


def require(*names):
    """Import modules. Raises NotInstalledError if one is missing."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            # The module itself, or a dependency of it.
            missing = getattr(error, "name", None) or name
            raise NotInstalledError(f"{missing} is not installed for {sys.executable}") from None


def run_transformers(folder, batches, texts):
    """Check the tokenizer's ids against the sample's, then run transformers."""
    require("transformers", "torch", "safetensors")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        check_token_ids(transformers.AutoTokenizer.from_pretrained(folder), batches, texts)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        architecture = json.load(file)["architectures"][0]
    auto_class = "AutoModelForPreTraining"
    if architecture == "BertForSequenceClassification":
        auto_class = "AutoModelForSequenceClassification"
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
            names = ["logits"]
            if architecture != "BertForSequenceClassification":
                names = ["prediction_logits", "seq_relationship_logits"]
            outputs.append([output[name].float().numpy() for name in names])
    return outputs, f"transformers {transformers.__version__}"


def check_token_ids(tokenizer, batches, texts):
    """Raises SystemExit if the tokenizer encodes the sample's texts differently."""
    for batch, rows in zip(batches, texts, strict=True):
        for row, (first, second) in enumerate(rows):
            encoded = tokenizer(first, second)
            length = int(batch["attention_mask"][row].sum())
            for name in INPUTS:
                if list(encoded[name]) != batch[name][row, :length].tolist():
                    raise SystemExit(f"transformers' tokenizer gives other {name} for {first!r}")


def run_onnxruntime(folder, batches, texts):
    """Run ONNX Runtime on the CPU."""
    require("onnxruntime")
    import onnxruntime

    path = os.path.join(folder, "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [session.run(["logits"], batch) for batch in batches]
    return outputs, f"ONNX Runtime {onnxruntime.__version__}"


def run_paddle_inference(folder, batches, texts):
    """Run Paddle Inference on the CPU."""
    require("paddle")
    import paddle
    import paddle.inference

    files = [os.path.join(folder, f"model.{end}") for end in ("json", "pdiparams")]
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


def main(export_format, folder, sample, answer):
    """Run the export on the sample and write the answer files."""
    with np.load(sample) as stored:
        texts = json.loads(str(stored["texts"]))
        batches = [
            {name: np.ascontiguousarray(stored[f"{name}_{i}"]) for name in INPUTS}
            for i in range(len(texts))
        ]
    try:
        outputs, tool = RUNNERS[export_format](folder, batches, texts)
    except NotInstalledError as error:
        result = {"skip_reason": str(error)}
    else:
        result = {"tool": tool}
        arrays = {f"{i}_{k}": v for i, batch in enumerate(outputs) for k, v in enumerate(batch)}
        np.savez(answer + ".npz", **arrays)
    with open(answer + ".json", "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
