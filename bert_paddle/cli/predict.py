"""`bert-paddle predict MODEL_DIR [TEXT ...]`: predictions of a fine-tuned model."""

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from bert_paddle.common import flags
from bert_paddle.common.errors import DataError
from bert_paddle.common.flags import flag, optional_switch
from bert_paddle.common.printed_lines import print_line
from bert_paddle.distributed.device import set_up_device
from bert_paddle.glue.label_args import parse_thresholds

if TYPE_CHECKING:
    from bert_paddle.glue.predictor import Prediction, Predictor

DESCRIPTION = """Classify or score texts with a fine-tuned model, Paddle or Hugging Face.

  bert-paddle predict out/model_300 "a gripping film" "two hours too long"
  bert-paddle predict out/model_300 < lines.txt
  bert-paddle predict mrpc/model_345 "He left." --pair "He has gone." --json

Prints one line for each text, in input order: the class (or the labels, - for none), the
probability of every class (of more than 100, of the ten most likely), and the text; or the score
and the text. Without TEXT, each line of stdin is a text. A TAB separates the two texts of a pair.
"""
INPUT, OUTPUT, MODEL = "input", "output", "model and device"
_NO_LABEL = "-"  # of a model for any number of labels per text
# DEL, C1 controls, and what reverses the order of letters; JSON escapes C0 itself.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclasses.dataclass
class PredictArgs:
    """Everything `predict` takes."""

    # The name is a key of --config files.
    words: tuple[str, ...] = flags.positional(
        "MODEL_DIR [TEXT ...]",
        "folder of a model, then texts; default: the lines of stdin",
        minimum=1,
        paths=1,
    )
    pair: str | None = flag(None, "the second text of a pair whose first is TEXT", group=INPUT)
    json: bool = flag(False, "print one JSON object per line, with unrounded numbers", group=OUTPUT)
    top_k: int = flag(
        -1,
        "print the probabilities of the N most likely classes, largest first (-1: of all classes, "
        "or of the ten most likely if there are more than 100)",
        group=OUTPUT,
        minimum=1,
        sentinel=-1,
    )
    max_seq_length: int = flag(
        -1,
        "tokens per text or pair; longer ones are truncated (-1: the model's maximum)",
        group=MODEL,
        minimum=8,
        sentinel=-1,
    )
    do_lower_case: bool | None = optional_switch(
        "whether the model reads lower-cased text; default: as its files say, else as its "
        "vocabulary suggests",
        group=MODEL,
    )
    threshold: str | None = flag(
        None,
        "of a model for several labels per text: the probability from which on a label is "
        "predicted, between 0 and 1, or one for each label: 0.5,0.3,... (default: the model's)",
        group=OUTPUT,
        comma_separated=True,
    )
    bf16: bool = flag(
        False,
        "compute in bfloat16 on a CPU with the instructions; the last digits of probabilities "
        "differ",
        group=MODEL,
    )
    batch_size: int = flag(32, "texts or pairs per batch", group=MODEL, minimum=1, maximum=10**6)
    device: str = flag(
        "auto", "auto: a GPU if there is one", group=MODEL, choices=("auto", "cpu", "gpu")
    )
    debug: bool = flag(False, "show the traceback of every error", group=MODEL)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if self.pair is not None and len(self.words) != 2:
            yield f"--pair needs exactly one TEXT, not {max(0, len(self.words) - 1)}"
        elif self.pair is not None and "\t" in self.words[1] + self.pair:
            yield "--pair and a TAB in the text both make it a pair: use one of them"
        try:
            self.thresholds()
        except ValueError as error:
            yield f"--threshold {self.threshold}: {error}"

    def thresholds(self) -> tuple[float, ...]:
        """The numbers of --threshold; () without it. Raises ValueError for anything else."""
        return () if self.threshold is None else parse_thresholds(self.threshold)


@dataclasses.dataclass(frozen=True)
class Input:
    """A text or a pair. location: where it was given, for messages, such as "stdin:3"."""

    text: str
    pair: str | None
    location: str


def main(argv: Sequence[str]) -> None:
    """Print a line for each text. Raises UserError for an unusable model or text."""
    args = flags.parse(PredictArgs, DESCRIPTION, argv)
    inputs = _read_inputs(args)
    interactive = len(args.words) == 1 and sys.stdin.isatty()
    if not interactive:  # so that a bad first text is reported before the model is loaded
        first = next(inputs, None)
        if first is None:
            raise DataError("stdin is empty: give one text per line, or texts as arguments")
        inputs = chain([first], inputs)
    set_up_device(args.device)
    from bert_paddle.glue.predictor import Predictor

    max_seq_length = args.max_seq_length if args.max_seq_length > 0 else None
    model = Predictor(
        args.words[0],
        max_seq_length,
        args.do_lower_case,
        print_line,
        args.thresholds(),
        args.bf16,
    )
    if args.top_k > 0 and model.is_regression:
        raise DataError(f"--top_k is for classes, and {model.folder} predicts a score")
    batch_size = 1 if interactive else args.batch_size
    if interactive:
        print_line("type one text per line, Ctrl-D to end:")
    while batch := _read_batch(islice(inputs, batch_size)):
        predictions = _predict(model, batch.inputs, batch_size)
        for input_, prediction in zip(batch.inputs, predictions, strict=True):
            as_line = _as_json if args.json else _as_text
            line = as_line(input_, prediction, args.top_k)
            print(line, flush=False)
        sys.stdout.flush()
        if batch.error:
            raise batch.error


@dataclasses.dataclass
class _Batch:
    """inputs: those before the first bad input; error: the bad input's, if there is one."""

    inputs: list[Input]
    error: DataError | None = None

    def __bool__(self) -> bool:
        return bool(self.inputs or self.error)


def _read_batch(inputs: Iterable[Input]) -> _Batch:
    """Read inputs up to the first bad one. Its error is stored, not raised, so that the texts
    before it are still predicted."""
    batch = _Batch([])
    try:
        for input_ in inputs:
            batch.inputs.append(input_)
    except DataError as error:
        batch.error = error
    return batch


def _read_inputs(args: PredictArgs) -> Iterator[Input]:
    """The texts and pairs from the arguments or from stdin. Raises DataError for a bad one."""
    if len(args.words) == 1:
        yield from _stdin_inputs(sys.stdin.buffer)
    elif args.pair is not None:
        for text, location in ((args.words[1], "TEXT 1"), (args.pair, "--pair")):
            _check_unicode(text, location)
        yield Input(args.words[1], args.pair, "TEXT 1")
    else:
        for number, text in enumerate(args.words[1:], 1):
            yield _parse_input(text, f"TEXT {number}")


def _stdin_inputs(stdin: BinaryIO) -> Iterator[Input]:
    """A text or a pair from each line. Raises DataError for a bad line."""
    for number, raw in enumerate(stdin, 1):
        location = f"stdin:{number}"
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{location}: not UTF-8; save the text as UTF-8") from None
        yield _parse_input(text.removesuffix("\n").removesuffix("\r"), location)


def _check_unicode(text: str, location: str) -> None:
    """Raise DataError for lone surrogates, to which Python decodes those bytes of an argument that
    are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{location}: not UTF-8; give the text as UTF-8") from None


def _parse_input(text: str, location: str) -> Input:
    """Split a text with a TAB into a pair. Raises DataError for a bad or an empty text."""
    _check_unicode(text, location)
    texts = text.split("\t")
    if len(texts) > 2:
        raise DataError(f"{location}: {len(texts)} texts separated by TABs; a pair has two")
    if not all(text.strip() for text in texts):
        raise DataError(
            f"{location}: there is no text" + (" on one side of the TAB" if len(texts) == 2 else "")
        )
    return Input(texts[0], texts[1] if len(texts) == 2 else None, location)


def _predict(model: "Predictor", inputs: list[Input], batch_size: int) -> list["Prediction"]:
    """Predictions in input order. Raises DataError for an input that does not suit the model, such
    as a pair for a model that was fine-tuned on single texts."""
    for input_ in inputs:
        if (input_.pair is None) != (inputs[0].pair is None):
            raise DataError(
                f"{input_.location}: pairs and single texts are mixed; give only one of the two"
            )
        if problem := model.input_problem(input_.pair is not None):
            remedy = "" if input_.pair else ' (--pair "second text", or a TAB between the two)'
            raise DataError(f"{input_.location}: {problem}{remedy}")
    pairs = [input_.pair for input_ in inputs if input_.pair is not None]
    return model.predict([input_.text for input_ in inputs], pairs or None, batch_size)


def _as_json(input_: Input, prediction: "Prediction", top_k: int) -> str:
    """A JSON object: text(s), then label (labels, if any number is true of a text) and
    probabilities (top_probabilities if they are not those of every class in the model's order), or
    score. top_k: as the flag."""
    row: dict = {"text_a": input_.text}
    if input_.pair is not None:
        row["text_b"] = input_.pair
    if prediction.score is None:
        listed = prediction.listed(top_k)
        key = "probabilities" if listed is prediction.probabilities else "top_probabilities"
        one = {"label": prediction.label}
        several = {"labels": list(prediction.labels or ())}
        row |= (one if prediction.labels is None else several) | {key: listed}
    else:
        row["score"] = prediction.score
    line = json.dumps(row, ensure_ascii=False)
    # JSON's own escapes, for what a terminal might obey.
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _as_text(input_: Input, prediction: "Prediction", top_k: int) -> str:
    """TAB-separated: class, probabilities, text(s); or score, text(s). Control characters in the
    fields are replaced by spaces. top_k: as the flag."""
    if prediction.score is None:
        items = prediction.listed(top_k).items()
        probabilities = ", ".join(f"{name} {value:.4f}" for name, value in items)
        answer = str(prediction.label)
        if prediction.labels is not None:
            answer = ", ".join(prediction.labels) or _NO_LABEL
        fields = [answer, probabilities]
    else:
        fields = [f"{prediction.score:.4f}"]
    fields += [input_.text] if input_.pair is None else [input_.text, input_.pair]
    return "\t".join("".join(c if c.isprintable() else " " for c in field) for field in fields)
