"""A saved GPT-2 that continues prompts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bert_paddle.clm.model_source import check_vocabulary
from bert_paddle.clm.samples import prompt_ids
from bert_paddle.clm.sampling import SamplingSettings, check_length, generate
from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError
from bert_paddle.models import gpt2, gpt2_weights, hub
from bert_paddle.models.byte_level_bpe import load_bpe_tokenizer
from bert_paddle.models.vocabulary import is_encodable
from bert_paddle.training.verify_model_dir import verify_model_dir

DEFAULT_NEW_TOKENS = 200


@dataclass(frozen=True)
class Generated:
    """A continuation of a prompt. tokens: how many were generated, with the one that ends the text;
    ended: whether the text ended by itself, not at the limit."""

    prompt: str
    text: str
    tokens: int
    ended: bool


class Generator:
    """Loads a model once. The folder may be this package's, PaddleNLP's or Hugging Face's; a name
    is looked up in $BERT_PADDLE_HOME/models, then on the hub.

    log: called with each line of how the tokenizer was loaded. Raises WeightsError for a folder
    without a GPT-2 and for a vocabulary that does not fit its weights.
    """

    def __init__(self, model_dir: str, log: Callable[[str], None] = lambda line: None):
        found = hub.find_model_dir(model_dir, runtime.bert_paddle_home(), log, hub.GPT2)
        folder = verify_model_dir(found)
        loaded = gpt2_weights.load_gpt2_weights(folder)
        self.tokenizer = load_bpe_tokenizer(folder)
        for message in self.tokenizer.messages:
            log(message)
        check_vocabulary(self.tokenizer, loaded.config, folder)
        self.model = gpt2.build_gpt2(loaded.config, loaded.tensors)
        self.positions: int = loaded.config.max_position_embeddings

    def settings_for(self, prompt: str, settings: SamplingSettings) -> SamplingSettings:
        """The settings with `max_new_tokens` set if it is -1: as many as the positions allow, at
        most DEFAULT_NEW_TOKENS. Raises UserError if prompt and new tokens are more than those."""
        count = len(self._ids(prompt))
        if settings.max_new_tokens < 0:
            room = max(1, min(DEFAULT_NEW_TOKENS, self.positions - count))
            settings = replace(settings, max_new_tokens=room)
        check_length(count, settings.max_new_tokens, self.positions)
        return settings

    def generate(
        self,
        prompt: str,
        num_samples: int,
        settings: SamplingSettings,
        seed: int,
        prompt_number: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> list[Generated]:
        """Continue a prompt `num_samples` times; the texts depend on the seed, the prompt's number
        and their own, but not on what is computed beside them. on_text: called with the characters
        of the first sample as they come.

        Raises UserError for a prompt that is too long, or has no token.
        """
        settings = self.settings_for(prompt, settings)
        rngs = [np.random.default_rng([seed, prompt_number, i]) for i in range(num_samples)]
        eos = self.tokenizer.id_of("eos")
        special = {self.tokenizer.id_of(role) for role in self.tokenizer.roles}
        texts: list[list[int]] = [[] for _ in rngs]
        stream = self.tokenizer.stream_decoder()
        for tokens in generate(
            self.model, self._ids(prompt), rngs, settings, eos, len(self.tokenizer)
        ):
            for text, token in zip(texts, tokens, strict=True):
                if token is not None:
                    text.append(token)
            if on_text and tokens[0] is not None and tokens[0] not in special:
                on_text(stream.add(tokens[0]))
        if on_text:
            on_text(stream.finish())
        skip = [token for token in special if token is not None]
        return [
            Generated(
                prompt, self.tokenizer.decode(text, skip), len(text), bool(text) and text[-1] == eos
            )
            for text in texts
        ]

    def _ids(self, prompt: str) -> list[int]:
        if not is_encodable(prompt):
            raise DataError("the prompt is not UTF-8 text: save or type it as UTF-8")
        return prompt_ids(prompt, self.tokenizer)


def read_prompts(path: str) -> list[str]:
    """The prompts in a file, one per line; empty lines are left out. Raises DataError."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    prompts = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    prompts = [prompt for prompt in prompts if prompt.strip()]
    if not prompts:
        raise DataError(f"{path}: no prompt: give one per line")
    return prompts
