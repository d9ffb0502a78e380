"""A GPT-2 to export: a folder for transformers, in which the output layer is not stored, since it
shares the word embeddings."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.clm.model_source import check_vocabulary
from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.export.sample import SINGLE_TEXTS, SampleBatch
from bert_paddle.models import gpt2, gpt2_config, gpt2_weights, model_state
from bert_paddle.models.bpe_files import has_bpe_files
from bert_paddle.models.byte_level_bpe import BpeTokenizer, load_bpe_tokenizer
from bert_paddle.models.gpt2_config import Gpt2Config
from bert_paddle.models.tokenizer_files import TOKENIZER_CONFIG_FILE

_RANDOM_ROWS, _RANDOM_LENGTH = 3, 48


@dataclass(frozen=True)
class Gpt2Source:
    """A GPT-2 in evaluation mode; see `ExportSource`, which has the same attributes for a BERT.
    tokenizer: None if the folder has no vocabulary."""

    folder: Path
    model: Any
    config_json: Mapping[str, Any]
    tokenizer: BpeTokenizer | None
    labels: tuple[str, ...] = ()
    pipeline: str = "text-generation"
    auto_class: str = "AutoModelForCausalLM"
    family: str = gpt2_config.MODEL_TYPE

    @property
    def config(self) -> Gpt2Config:
        config: Gpt2Config = self.model.config
        return config

    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights by Paddle's names."""
        return model_state.numpy_state_dict(self.model)

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The logits [rows, length, vocab] of a batch without padding, as a list of one array."""
        import paddle

        with paddle.no_grad():
            hidden = gpt2.hidden_states(self.model, paddle.to_tensor(inputs["input_ids"]))
            return [gpt2.logits(self.model, hidden).numpy()]

    def sample(self) -> list[SampleBatch]:
        """Batches of one text each, if there is a tokenizer, and one of random tokens; without
        padding, behind which the libraries compute different things."""
        positions = self.config.max_position_embeddings
        batches = []
        for text in SINGLE_TEXTS if self.tokenizer is not None else ():
            assert self.tokenizer is not None
            row = self.tokenizer.encode_texts([text])[0]
            compared: list[tuple[str, str | None]] = [(text, None)] if len(row) <= positions else []
            batches.append(_batch(np.array([row[:positions]], np.int64), compared))
        rng = np.random.default_rng(0)
        size = (_RANDOM_ROWS, min(positions, _RANDOM_LENGTH))
        return [*batches, _batch(rng.integers(0, self.config.vocab_size, size), [])]

    def write(self, folder: Path) -> None:
        """Write config.json, model.safetensors and the tokenizer's files."""
        config = self.config.as_hugging_face() | {"dtype": "float32"}
        if self.tokenizer is not None:
            for role in self.tokenizer.roles:
                config[f"{role}_token_id"] = self.tokenizer.id_of(role)
            self.tokenizer.save(folder)
            path = folder / TOKENIZER_CONFIG_FILE
            settings = json.loads(path.read_text(encoding="utf-8"))
            settings["model_max_length"] = self.config.max_position_embeddings
            atomic_files.write_json(path, settings)
        atomic_files.write_json(folder / model_state.CONFIG_FILE, config)
        tensors = gpt2_weights.to_hugging_face(self.tensors())
        atomic_files.write_tensors(folder / model_state.WEIGHTS_FILE, tensors, framework="pt")


def is_gpt2(folder: Path) -> bool:
    """Whether the folder's config.json is a GPT-2's."""
    raw = read_files.read_json_object(folder / model_state.CONFIG_FILE)
    return raw is not None and gpt2_config.is_gpt2(raw)


def load_gpt2_source(
    folder: Path,
    export_format: str,
    do_lower_case: bool | None,
    log: Callable[[str], None] = lambda line: None,
) -> Gpt2Source:
    """Load a GPT-2. Raises WeightsError for an unusable model and for a format other than hf,
    FlagError if --do_lower_case is given."""
    if do_lower_case is not None:
        raise FlagError(["--do_lower_case is not for GPT-2: omit it"])
    if export_format != "hf":
        raise WeightsError(
            f"{folder} is a GPT-2, and {export_format} supports classification and regression "
            "models only: give --format hf"
        )
    loaded = gpt2_weights.load_gpt2_weights(folder)
    tokenizer = None
    if has_bpe_files(folder):
        tokenizer = load_bpe_tokenizer(folder)
        for message in tokenizer.messages:
            log(message)
        check_vocabulary(tokenizer, loaded.config, folder)
    model = gpt2.build_gpt2(loaded.config, loaded.tensors)
    raw = read_files.read_json_object(folder / model_state.CONFIG_FILE) or {}
    return Gpt2Source(folder, model, raw, tokenizer)


def _batch(ids: np.ndarray, texts: list[tuple[str, str | None]]) -> SampleBatch:
    return SampleBatch(texts, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
