"""Texts sampled during training. Sampling draws from generators of its own, on the main process
alone, and changes nothing in the run."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.model_source import ModelSource
from bert_paddle.clm.sampling import SamplingSettings, check_length, generate
from bert_paddle.common.errors import UserError
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.byte_level_bpe import BpeTokenizer
from bert_paddle.training.train_state import TrainState

SAMPLE_KIND = "sample"  # of the records in metrics.jsonl


def prompt_ids(prompt: str, tokenizer: BpeTokenizer) -> list[int]:
    """The tokens that a text begins with: bos, unless there is none or the prompt has it, and the
    prompt. Raises UserError if there is no token at all."""
    ids = tokenizer.encode_texts([prompt])[0]
    bos = tokenizer.id_of("bos")
    if bos is not None and ids[:1] != [bos]:
        ids = [bos, *ids]
    if not ids:
        raise UserError("the prompt is empty, and the tokenizer has no token that begins a text")
    return ids


def sampling_settings(args: ClmArgs) -> SamplingSettings:
    """The settings in the flags of a training run."""
    return SamplingSettings(args.sample_length, args.sample_top_k, args.sample_top_p)


def check_settings(args: ClmArgs, source: ModelSource) -> None:
    """Raise UserError, before training, if samples would be longer than the model's positions. A
    length that was not given is then shortened instead."""
    prompt = len(prompt_ids(args.sample_prompt, source.tokenizer))
    positions = source.config.max_position_embeddings
    if "sample_length" not in args.explicit_flags:
        args.sample_length = max(1, min(args.sample_length, positions - prompt))
    check_length(prompt, args.sample_length, positions)


class Sampler:
    """Prints a sampled text, and records it."""

    def __init__(
        self,
        args: ClmArgs,
        model: Any,
        tokenizer: BpeTokenizer,
        autocast: Callable[[], AbstractContextManager],
        log: RunLog,
    ):
        self.args, self.model, self.tokenizer = args, model, tokenizer
        self.autocast, self.log = autocast, log
        self.start = time.perf_counter()

    def sample(self, state: TrainState) -> None:
        """Print `sample: …` on stdout and, on stderr, how far the training is. All ranks must call
        this together. The text depends only on the weights, the seed and the step."""
        text = collectives.run_on_main(lambda: self._draw(state.step))
        elapsed = time.strftime("%H:%M:%S", time.gmtime(time.perf_counter() - self.start))
        self.log.note(f"step {state.step} of {state.total}, elapsed {elapsed}:")
        self.log.line(f"sample: {one_line(text)}")
        self.log.log_metrics(SAMPLE_KIND, state.step, text=text)

    def _draw(self, step: int) -> str:
        prompt, eos = (
            prompt_ids(self.args.sample_prompt, self.tokenizer),
            self.tokenizer.id_of("eos"),
        )
        rng = np.random.default_rng([self.args.seed, step])
        settings = sampling_settings(self.args)
        size, use_kernels = len(self.tokenizer), self.args.cpu_kernels
        with self.autocast():
            tokens = generate(self.model, prompt, [rng], settings, eos, size, use_kernels)
            ids = [token for (token,) in tokens if token is not None]
        special = [i for i in map(self.tokenizer.id_of, self.tokenizer.roles) if i is not None]
        return self.args.sample_prompt + self.tokenizer.decode(ids, skip=special)


def one_line(text: str) -> str:
    """A text with line breaks and other control characters escaped, as in Python."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
