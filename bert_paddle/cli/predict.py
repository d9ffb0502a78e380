"""`bert-paddle predict MODEL_DIR [TEXT ...]`: what a fine-tuned model says of typed texts."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, BinaryIO

from bert_paddle.common import flags
from bert_paddle.common.errors import DataError
from bert_paddle.common.flags import flag
from bert_paddle.distributed.launch import set_up_device

if TYPE_CHECKING:
    from bert_paddle.glue.predictor import Prediction, Predictor

DESCRIPTION = """Classify or score texts with a fine-tuned model of any kind of folder.

  bert-paddle predict out/model_300 "a gripping film" "two hours too long"
  bert-paddle predict out/model_300 < lines.txt
  bert-paddle predict mrpc/model_345 "He left." --pair "He has gone." --json

A line of output for each text, in their order: the class (or the score), the probability of every
class, the text. Without a TEXT the lines of stdin are taken. A TAB in a text separates a pair.
"""
INPUT, OUTPUT, MODEL = "input", "output", "model and device"


@dataclasses.dataclass
class PredictArgs:
    """Everything `predict` takes."""

    words: tuple[str, ...] = flags.positional(
        "MODEL_DIR [TEXT ...]", "a model's folder, then texts; none: lines of stdin", least=1
    )
    pair: str | None = flag(None, "the second text of a pair whose first is TEXT", group=INPUT)
    json: bool = flag(False, "a JSON object a line, with numbers in full", group=OUTPUT)
    max_seq_length: int = flag(
        -1,
        "word pieces per row, the rest is cut (-1: the model's positions)",
        group=MODEL,
        least=8,
        or_is=-1,
    )
    batch_size: int = flag(32, "rows at a time", group=MODEL, least=1, most=10**6)
    device: str = flag(
        "auto", "auto: a GPU where there is one", group=MODEL, choices=("auto", "cpu", "gpu")
    )
    debug: bool = flag(False, "show the traceback of every error", group=MODEL)

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags taken together, one clause each."""
        if self.pair is not None and len(self.words) != 2:
            yield f"--pair belongs to one TEXT, and there are {max(0, len(self.words) - 1)}"
        elif self.pair is not None and "\t" in self.words[1] + self.pair:
            yield "--pair and a TAB in the text are two ways to say the same: use one"


@dataclasses.dataclass(frozen=True)
class Input:
    """A text or a pair, and where it stands, for a message."""

    first: str
    second: str | None
    place: str


def main(argv: Sequence[str]) -> None:
    """Print a line for each text. Raises UserError for a model or a text that will not do."""
    args = flags.parse(PredictArgs, DESCRIPTION, argv)
    inputs = _inputs(args)
    typed = len(args.words) == 1 and sys.stdin.isatty()
    if not typed:  # a mistake in the first text is told before a model is loaded
        first = next(inputs, None)
        if first is None:
            raise DataError("stdin is empty: give texts, one a line, or as arguments")
        inputs = chain([first], inputs)
    set_up_device(args.device)
    from bert_paddle.glue.predictor import Predictor

    longest = args.max_seq_length if args.max_seq_length > 0 else None
    model = Predictor(args.words[0], longest)
    size = 1 if typed else args.batch_size  # who types waits for each answer
    if typed:
        print("a text a line, Ctrl-D ends:", file=sys.stderr, flush=True)
    while batch := _until_mistake(islice(inputs, size)):
        for one, said in zip(batch.taken, _predict(model, batch.taken, size), strict=True):
            print(_as_json(one, said) if args.json else _as_text(one, said), flush=False)
        sys.stdout.flush()
        if batch.mistake:
            raise batch.mistake


@dataclasses.dataclass
class _Batch:
    taken: list[Input]
    mistake: DataError | None = None

    def __bool__(self) -> bool:
        return bool(self.taken or self.mistake)


def _until_mistake(inputs: Iterable[Input]) -> _Batch:
    """A batch of inputs; those before a line that will not do are answered all the same."""
    batch = _Batch([])
    try:
        for one in inputs:
            batch.taken.append(one)
    except DataError as mistake:
        batch.mistake = mistake
    return batch


def _inputs(args: PredictArgs) -> Iterator[Input]:
    if len(args.words) == 1:
        yield from _lines(sys.stdin.buffer)
    elif args.pair is not None:
        for text, place in ((args.words[1], "TEXT 1"), (args.pair, "--pair")):
            _check_unicode(text, place)
        yield Input(args.words[1], args.pair, "TEXT 1")
    for number, text in enumerate(args.words[1:] if args.pair is None else (), 1):
        yield _one(text, f"TEXT {number}")


def _lines(stdin: BinaryIO) -> Iterator[Input]:
    for number, raw in enumerate(stdin, 1):
        place = f"stdin:{number}"
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{place}: not UTF-8; save the text as UTF-8") from None
        yield _one(text.removesuffix("\n").removesuffix("\r"), place)


def _check_unicode(text: str, place: str) -> None:
    """Bytes of an argument that are not UTF-8 arrive as halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: not UTF-8; give the text as UTF-8") from None


def _one(text: str, place: str) -> Input:
    _check_unicode(text, place)
    parts = text.split("\t")
    if len(parts) > 2:
        raise DataError(f"{place}: {len(parts)} texts separated by TABs; a pair has two")
    if not all(part.strip() for part in parts):
        raise DataError(f"{place}: there is no text" + " beside the TAB" * (len(parts) == 2))
    return Input(parts[0], parts[1] if len(parts) == 2 else None, place)


def _predict(model: "Predictor", batch: list[Input], size: int) -> list["Prediction"]:
    """Predictions in the batch's order; raises DataError for a mistake, with its place."""
    for one in batch:
        if (one.second is None) != (batch[0].second is None):
            raise DataError(
                f"{one.place}: pairs and single texts together; give one kind at a time"
            )
        if problem := model.problem(one.second is not None):
            way_out = "" if one.second else ' (--pair "second text", or a TAB between the two)'
            raise DataError(f"{one.place}: {problem}{way_out}")
    seconds = [one.second for one in batch if one.second is not None]
    return model.predict([one.first for one in batch], seconds or None, size)


def _as_json(one: Input, said: "Prediction") -> str:
    row: dict = {"text_a": one.first}
    if one.second is not None:
        row["text_b"] = one.second
    if said.score is None:
        row |= {"label": said.label, "probabilities": said.probabilities}
    else:
        row["score"] = said.score
    return json.dumps(row, ensure_ascii=False)


def _as_text(one: Input, said: "Prediction") -> str:
    """TAB-separated: class, probabilities, text(s); or score, text(s)."""
    if said.score is None:
        shares = ", ".join(f"{name} {share:.4f}" for name, share in said.probabilities.items())
        fields = [str(said.label), shares]
    else:
        fields = [f"{said.score:.4f}"]
    fields += [one.first] if one.second is None else [one.first, one.second]
    return "\t".join("".join(c if c.isprintable() else " " for c in field) for field in fields)
