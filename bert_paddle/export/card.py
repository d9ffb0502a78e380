"""The model card of an export: that of the model, with what the export is and how to load it."""

from pathlib import Path
from typing import Any

from bert_paddle.common import hardware
from bert_paddle.export.source import ExportSource
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CARD_FILE, escaped, table

_LIBRARIES = {"hf": "transformers", "onnx": "onnxruntime", "paddle_inference": "paddlepaddle"}
_MOST = 1 << 20  # bytes of a card that is taken over
_HF = """```python
import torch
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = {auto}.from_pretrained("{folder}")
with torch.no_grad():
    print(model(**tokenizer({texts}, padding=True, return_tensors="pt")))
```
"""
_TOKENS = """import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{folder}/tokenizer.json")
tokenizer.enable_padding()
rows = tokenizer.encode_batch({texts})
inputs = {{
    "input_ids": np.array([row.ids for row in rows]),
    "attention_mask": np.array([row.attention_mask for row in rows]),
    "token_type_ids": np.array([row.type_ids for row in rows]),
}}
"""
_ONNX = f"""```python
import onnxruntime
{_TOKENS}
session = onnxruntime.InferenceSession("{{folder}}/model.onnx")
print(session.run(["logits"], inputs)[0])
```
"""
_PADDLE = f"""```python
import paddle.inference
{_TOKENS}
config = paddle.inference.Config("{{folder}}/model.json", "{{folder}}/model.pdiparams")
predictor = paddle.inference.create_predictor(config)
for name, value in inputs.items():
    predictor.get_input_handle(name).copy_from_cpu(value)
predictor.run()
print(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
```
"""


def write(
    source: ExportSource, form: str, checked: str, when: str, folder: Path, name: str
) -> None:
    """Write README.md into `folder`, which will be called `name`. checked: how it compares."""
    front, body = _of_model(source)
    front = {"library_name": _LIBRARIES[form]} | front | {"library_name": _LIBRARIES[form]}
    tags = front.get("tags")
    front["tags"] = [*(tags if isinstance(tags, list) else []), form]
    versions = ", ".join(f"{tool} {number}" for tool, number in hardware.versions().items())
    facts = [
        ("format", form),
        ("made from", source.folder.resolve().name),
        ("made", when),
        ("with", versions),
        ("comparison", checked),
    ]
    text = f"{body.rstrip()}\n\n## Export\n\n{table(('export', 'value'), facts)}\n"
    text += f"{model_card.USE}\n\n{_use(source, form, name)}"
    (folder / CARD_FILE).write_text(model_card.with_front(front, text), encoding="utf-8")


def _of_model(source: ExportSource) -> tuple[dict[str, Any], str]:
    """The model's own card without the part on how to load it; or what its configuration tells."""
    path = source.folder / CARD_FILE
    try:
        content = path.read_text(encoding="utf-8") if path.stat().st_size < _MOST else ""
    except (OSError, UnicodeDecodeError):
        content = ""
    if content.strip():
        front, body = model_card.parts(content)
        return front, body.partition(f"\n{model_card.USE}\n")[0]
    task = str(source.about.get("finetuning_task") or source.folder.resolve().name)
    body = f"# {escaped(task)}\n"
    if source.labels:
        body += "\n## Classes\n\n" + table(("logit", "class"), list(enumerate(source.labels)))
    kind = "fill-mask" if source.is_pretrained else "text-classification"
    return {"pipeline_tag": kind, "tags": ["bert"]}, body


def _use(source: ExportSource, form: str, name: str) -> str:
    if source.tokens is None:
        return "There is no vocabulary in this folder: the model takes ids.\n"
    texts = '["A text.", "And another one."]'
    auto = "AutoModelForSequenceClassification"
    if source.is_pretrained:
        auto = "AutoModelForPreTraining"
    words = {"hf": _HF, "onnx": _ONNX, "paddle_inference": _PADDLE}[form]
    shown = "".join(c for c in name if c.isprintable() and c not in '"`\\')
    note = "A pair of texts is encoded as one row, as `tokenizer` does when it is given both.\n"
    return words.format(folder=shown, texts=texts, auto=auto) + "\n" + note
