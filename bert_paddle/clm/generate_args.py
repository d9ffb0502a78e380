"""The flags of `bert-paddle generate`."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from bert_paddle.common import flags
from bert_paddle.common.flags import flag

INPUT, SAMPLING, OUTPUT, MODEL = "input", "sampling", "output", "device"


@dataclasses.dataclass
class GenerateArgs:
    """Everything `generate` takes."""

    model: tuple[str, ...] = flags.positional(
        "MODEL_DIR", "folder of a model, such as a run's model_<step>", minimum=1, paths=1
    )
    prompt: str | None = flag(
        None,
        "the text to continue; for a whole text, the token that begins texts (<|startoftext|>)",
        group=INPUT,
    )
    prompt_file: str | None = flag(None, "file of prompts, one per line", group=INPUT)
    num_samples: int = flag(1, "texts for each prompt", group=SAMPLING, minimum=1, maximum=10_000)
    max_new_tokens: int = flag(
        -1,
        "tokens after the prompt, at most (-1: 200, or as many as the model's positions allow)",
        group=SAMPLING,
        minimum=1,
        sentinel=-1,
    )
    top_k: int = flag(
        50, "sample from the k most probable tokens (0: from all)", group=SAMPLING, minimum=0
    )
    top_p: float = flag(
        0.95,
        "sample from the most probable tokens that have this probability together",
        group=SAMPLING,
        exclusive_minimum=0,
        maximum=1,
    )
    temperature: float = flag(
        1.0,
        "below 1: more probable texts; above: more varied ones; 0: always the most probable token",
        group=SAMPLING,
        minimum=0,
        maximum=100,
    )
    repetition_penalty: float = flag(
        1.0,
        "above 1: tokens that are in the text already are less probable",
        group=SAMPLING,
        exclusive_minimum=0,
        maximum=100,
    )
    seed: int = flag(42, "random seed of the texts", group=SAMPLING, minimum=0, maximum=2**31 - 1)
    json: bool = flag(False, "print one JSON object per text", group=OUTPUT)
    device: str = flag(
        "auto", "auto: a GPU if there is one", group=MODEL, choices=("auto", "cpu", "gpu")
    )
    debug: bool = flag(False, "show the traceback of every error", group=MODEL)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if len(self.model) > 1:
            yield f"give one MODEL_DIR, not {len(self.model)} (a prompt is given with --prompt)"
        if self.prompt is not None and self.prompt_file:
            yield "--prompt and --prompt_file are both set: give one of them"
        if self.prompt_file and not Path(self.prompt_file).is_file():
            yield f"--prompt_file {self.prompt_file}: no such file"
