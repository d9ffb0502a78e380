"""Logits of an exported folder, computed by the tool it was made for.

    PYTHON path/to/checker FORMAT FOLDER SAMPLE.npz ANSWER

FORMAT: hf, onnx or paddle_inference. SAMPLE holds the inputs of batch i as input_ids_i,
attention_mask_i, token_type_ids_i, and texts (JSON). Into ANSWER.npz go the outputs of batch i, as
<i>_<output>, and into ANSWER.json what checked, or why nothing could.

PYTHON may be of another environment, so this file uses nothing of bert_paddle.
"""

import importlib
import json
import os
import sys

open("begun", "w").close()  # says that this is a Python, before anything can be missing

import numpy as np  # noqa: E402

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class NotHere(Exception):
    """What the check needs is not installed."""


def needed(*names):
    """Import modules. Raises NotHere for one that is not installed."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            # The module itself, or one that it cannot do without.
            missing = getattr(error, "name", None) or name
            raise NotHere(f"{missing} is not installed for {sys.executable}") from None


def by_transformers(folder, batches, texts):
    """The tokenizer's ids must be the sample's; then the model's outputs."""
    needed("transformers", "torch", "safetensors")
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        same_ids(transformers.AutoTokenizer.from_pretrained(folder), batches, texts)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        kind = json.load(file)["architectures"][0]
    auto = "AutoModelForPreTraining"
    if kind == "BertForSequenceClassification":
        auto = "AutoModelForSequenceClassification"
    model, told = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if told.get(what):
            raise SystemExit(f"transformers reports {what}: {sorted(map(str, told[what]))[:5]}")
    model.eval()
    outputs = []
    with torch.no_grad():
        for batch in batches:
            made = model(**{name: torch.from_numpy(value) for name, value in batch.items()})
            names = ["logits"]
            if kind != "BertForSequenceClassification":
                names = ["prediction_logits", "seq_relationship_logits"]
            outputs.append([made[name].float().numpy() for name in names])
    return outputs, f"transformers {transformers.__version__}"


def same_ids(tokenizer, batches, texts):
    """Raises SystemExit where the tokenizer makes other rows of the sample's texts."""
    for batch, rows in zip(batches, texts, strict=True):
        for number, (first, second) in enumerate(rows):
            made = tokenizer(first, second)
            length = int(batch["attention_mask"][number].sum())
            for name in INPUTS:
                if list(made[name]) != batch[name][number, :length].tolist():
                    raise SystemExit(f"transformers' tokenizer gives other {name} for {first!r}")


def by_onnxruntime(folder, batches, texts):
    """ONNX Runtime on the processor."""
    needed("onnxruntime")
    import onnxruntime

    path = os.path.join(folder, "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [session.run(["logits"], batch) for batch in batches]
    return outputs, f"ONNX Runtime {onnxruntime.__version__}"


def by_paddle_inference(folder, batches, texts):
    """Paddle's inference engine on the processor."""
    needed("paddle")
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


CHECKS = {
    "hf": by_transformers,
    "onnx": by_onnxruntime,
    "paddle_inference": by_paddle_inference,
}


def main(form, folder, sample, answer):
    """Check, and write the answer."""
    with np.load(sample) as held:
        texts = json.loads(str(held["texts"]))
        batches = [
            {name: np.ascontiguousarray(held[f"{name}_{i}"]) for name in INPUTS}
            for i in range(len(texts))
        ]
    try:
        outputs, by = CHECKS[form](folder, batches, texts)
    except NotHere as error:
        said = {"unchecked": str(error)}
    else:
        said = {"by": by}
        arrays = {f"{i}_{k}": v for i, made in enumerate(outputs) for k, v in enumerate(made)}
        np.savez(answer + ".npz", **arrays)
    with open(answer + ".json", "w", encoding="utf-8") as file:
        json.dump(said, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
