"""The published GPT-2 models on Hugging Face's hub. Does not import paddle.

Every file is of a fixed revision, so that a name always gives the same weights. The vocabulary is
the same for all sizes.
"""

import os
from dataclasses import dataclass
from typing import Any

from bert_paddle.models.bpe_files import MERGES_FILE, VOCAB_JSON_FILE
from bert_paddle.models.gpt2_config import published_config

_HUB = "https://huggingface.co"
WEIGHTS_FILE = "model.safetensors"
_VOCABULARY = {  # SHA-256
    VOCAB_JSON_FILE: "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    MERGES_FILE: "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


@dataclass(frozen=True)
class Gpt2HubModel:
    """A published model: its revision, and the SHA-256 of its weights, None if it is not known
    here (then the size is checked, as the server states it)."""

    revision: str
    weights_sha256: str | None = None


GPT2_MODELS = {
    "gpt2": Gpt2HubModel(
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    ),
    "gpt2-medium": Gpt2HubModel("6dcaa7a952f72f9298047fd5137cd6e4f05f41da"),
    "gpt2-large": Gpt2HubModel("32b71b12589c2f8d625668d2335a01cac3249519"),
    "gpt2-xl": Gpt2HubModel(
        "15ea56dee5df4983c59b2538573817e1667135e2",
        "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
    ),
}


def file_url(name: str, file: str) -> str:
    """The URL of a model's file, on the mirror in Hugging Face's variable HF_ENDPOINT if it is
    set."""
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB
    return f"{hub}/openai-community/{name}/resolve/{GPT2_MODELS[name].revision}/{file}"


def vocabulary_files() -> dict[str, str]:
    """{file of the vocabulary: its SHA-256}."""
    return dict(_VOCABULARY)


def config_json(name: str) -> dict[str, Any]:
    """The content of a model's config.json."""
    config = published_config(name)
    assert config is not None
    return config.as_hugging_face()
