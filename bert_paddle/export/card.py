"""The model card of an export: the model's card, plus the export's metadata and usage code."""

from pathlib import Path
from typing import Any

from bert_paddle.common import hardware, markdown
from bert_paddle.export.source import ExportSource
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CARD_FILE

_LIBRARIES = {"hf": "transformers", "onnx": "onnxruntime", "paddle_inference": "paddlepaddle"}
_MAX_CARD_BYTES = 1 << 20  # a longer card is not copied
# All templates go through str.format: {folder}, {texts} and {auto} are its fields, {{ is a brace.
# The f-strings below only insert _TOKENIZE_CODE, so the fields' braces are doubled there.
_HF_CODE = """```python
import torch
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = {auto}.from_pretrained("{folder}")
with torch.no_grad():
    print(model(**tokenizer({texts}, padding=True, return_tensors="pt")))
```
"""
_TOKENIZE_CODE = """import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{folder}/tokenizer.json")
tokenizer.enable_padding()
encodings = tokenizer.encode_batch({texts})
inputs = {{
    "input_ids": np.array([encoding.ids for encoding in encodings]),
    "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
    "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
}}
"""
_ONNX_CODE = f"""```python
import onnxruntime
{_TOKENIZE_CODE}
session = onnxruntime.InferenceSession("{{folder}}/model.onnx")
print(session.run(["logits"], inputs)[0])
```
"""
_PADDLE_CODE = f"""```python
import paddle.inference
{_TOKENIZE_CODE}
config = paddle.inference.Config("{{folder}}/model.json", "{{folder}}/model.pdiparams")
predictor = paddle.inference.create_predictor(config)
for name, value in inputs.items():
    predictor.get_input_handle(name).copy_from_cpu(value)
predictor.run()
print(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
```
"""


def write_card(
    source: ExportSource, export_format: str, check: str, timestamp: str, folder: Path, name: str
) -> None:
    """Write README.md into `folder`.

    check: the result of the check, as text. name: the final name of the folder, which appears in
    the usage code (`folder` itself may be temporary).
    """
    front, body = _read_model_card(source)
    # Set library_name, always as the first key, in place of the model's own.
    front = (
        {"library_name": _LIBRARIES[export_format]}
        | front
        | {"library_name": _LIBRARIES[export_format]}
    )
    tags = front.get("tags")
    front["tags"] = [*(tags if isinstance(tags, list) else []), export_format]
    versions = ", ".join(f"{package} {version}" for package, version in hardware.versions().items())
    rows = [
        ("format", export_format),
        ("exported from", source.folder.resolve().name),
        ("exported at", timestamp),
        ("versions", versions),
        ("check", check),
    ]
    text = f"{body.rstrip()}\n\n## Export\n\n{markdown.table(('export', 'value'), rows)}\n"
    text += f"{model_card.USAGE_HEADING}\n\n{_usage_section(source, export_format, name)}"
    (folder / CARD_FILE).write_text(model_card.join_front_matter(front, text), encoding="utf-8")


def _read_model_card(source: ExportSource) -> tuple[dict[str, Any], str]:
    """The front matter of the model's card, and its body without the usage section. If the model
    has no readable card, both are derived from its config.json."""
    path = source.folder / CARD_FILE
    try:
        content = path.read_text(encoding="utf-8") if path.stat().st_size < _MAX_CARD_BYTES else ""
    except (OSError, UnicodeDecodeError):
        content = ""
    if content.strip():
        front, body = model_card.split_front_matter(content)
        return front, body.partition(f"\n{model_card.USAGE_HEADING}\n")[0]
    task = str(source.config_json.get("finetuning_task") or source.folder.resolve().name)
    body = f"# {markdown.escape(task)}\n"
    if source.labels:
        body += "\n## Classes\n\n" + markdown.table(
            ("logit", "class"), list(enumerate(source.labels))
        )
    pipeline = "fill-mask" if source.is_pretraining_model else "text-classification"
    return {"pipeline_tag": pipeline, "tags": ["bert"]}, body


def _usage_section(source: ExportSource, export_format: str, name: str) -> str:
    """Python code that runs the export in the folder `name`; a sentence if it has no tokenizer."""
    if source.tokenizer is None:
        return "This folder has no vocabulary: the model takes token ids.\n"
    texts = '["A text.", "And another one."]'
    auto_class = "AutoModelForSequenceClassification"
    if source.is_pretraining_model:
        auto_class = "AutoModelForPreTraining"
        if not source.predicts_next_sentences:
            auto_class = "AutoModelForMaskedLM"
    templates = {"hf": _HF_CODE, "onnx": _ONNX_CODE, "paddle_inference": _PADDLE_CODE}
    # The name is inserted into a string literal of a Markdown code block.
    safe_name = "".join(c for c in name if c.isprintable() and c not in '"`\\')
    code = templates[export_format].format(folder=safe_name, texts=texts, auto=auto_class)
    return f"{code}\nTo encode a pair of texts as one row, give both to `tokenizer`.\n"
