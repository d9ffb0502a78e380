"""`bert-paddle generate MODEL_DIR`: texts of a GPT-2."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bert_paddle.clm.generate_args import GenerateArgs
from bert_paddle.common import flags
from bert_paddle.common.errors import DataError
from bert_paddle.common.printed_lines import print_line, print_text
from bert_paddle.distributed.device import set_up_device

if TYPE_CHECKING:
    from bert_paddle.clm.generator import Generated

DESCRIPTION = """Continue texts with a GPT-2, this package's, PaddleNLP's or Hugging Face's.

  bert-paddle generate out/model_450 --prompt "She was born in" --num_samples 3
  bert-paddle generate out/model_450 --prompt '<|startoftext|>' --temperature 0.7
  bert-paddle generate out/model_450 --json < prompts.txt

Prints each text with its prompt; on a terminal, as it comes. Without --prompt and --prompt_file,
each line of stdin is a prompt. The same seed gives the same texts.
"""


def main(argv: Sequence[str]) -> None:
    """Print texts. Raises UserError for an unusable model or prompt."""
    args = flags.parse(GenerateArgs, DESCRIPTION, argv)
    prompts = _read_prompts(args)
    set_up_device(args.device)
    from bert_paddle.clm.generator import Generator
    from bert_paddle.clm.sampling import SamplingSettings

    settings = SamplingSettings(
        args.max_new_tokens, args.top_k, args.top_p, args.temperature, args.repetition_penalty
    )
    model = Generator(args.model[0], print_line)
    if isinstance(prompts, list):
        for prompt in prompts:  # all lengths are checked before the first text is printed
            model.settings_for(prompt, settings)
    for number, prompt in enumerate(prompts):
        streams = sys.stdout.isatty() and args.num_samples == 1 and not args.json
        if streams:
            print_text(prompt, end="")
        texts = model.generate(
            prompt,
            args.num_samples,
            settings,
            args.seed,
            number,
            _print_part if streams else None,
        )
        if streams:
            print_text("")
        else:
            _print_texts(texts, number, args.json, single=args.num_samples == 1)


def _print_part(text: str) -> None:
    print_text(text, end="")


def _print_texts(texts: "Sequence[Generated]", number: int, as_json: bool, single: bool) -> None:
    for i, generated in enumerate(texts):
        if as_json:
            values = {"prompt_number": number, "sample": i, **dataclasses.asdict(generated)}
            row = json.dumps(values, ensure_ascii=False)
            print_line(row if row.isprintable() else json.dumps(values), sys.stdout)
            continue
        if not single:
            print_text(f"--- {i + 1} of {len(texts)} ---")
        print_text(generated.prompt + generated.text)


def _read_prompts(args: GenerateArgs) -> "list[str] | Iterator[str]":
    """The prompts; those of a terminal one by one. Raises DataError if there is none."""
    if args.prompt is not None:
        return [args.prompt]
    if args.prompt_file:
        from bert_paddle.clm.generator import read_prompts

        return read_prompts(args.prompt_file)
    if sys.stdin.isatty():
        print_line("type one prompt per line, Ctrl-D to end:")
        return (line.rstrip("\n") for line in sys.stdin)
    try:
        lines = [line.rstrip("\r\n") for line in sys.stdin]
    except UnicodeDecodeError:
        raise DataError("stdin is not UTF-8: save the prompts as UTF-8") from None
    prompts = [line for line in lines if line.strip()]
    if not prompts:
        raise DataError("stdin is empty: give one prompt per line, or --prompt")
    return prompts
