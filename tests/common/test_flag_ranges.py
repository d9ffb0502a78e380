"""Every numeric flag of every program, at and just outside the range that it declares."""

import dataclasses
import math

import pytest

from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.vocab import VocabArgs

FIELDS = [
    (program, field)
    for program in (GlueArgs, PretrainArgs, CreateArgs, VocabArgs)
    for field in flags.declared_flags(program)
    if field.metadata["kind"] in ("int", "float")
]


def step(field: dataclasses.Field, value: float, up: bool) -> str:
    """The nearest value above or below, as a command line would have it."""
    if field.metadata["kind"] == "int":
        return repr(int(value) + (1 if up else -1))
    return repr(math.nextafter(value, math.inf if up else -math.inf))


def outside(field: dataclasses.Field) -> list[str]:
    """What the flag must refuse."""
    about = field.metadata
    values = ["x", "nan", "inf", "-1e400", "1,5"] + (["1.5"] if about["kind"] == "int" else [])
    if about["least"] is not None:
        values.append(step(field, about["least"], up=False))
    if about["above"] is not None:
        values += [repr(about["above"]), step(field, about["above"], up=False)]
    if about["most"] is not None:
        values.append(step(field, about["most"], up=True))
    if about["or_is"] is not None:
        values.append(step(field, about["or_is"], up=False))
    return [text for text in values if text != repr(about["or_is"])]


def inside(field: dataclasses.Field) -> list[str]:
    """What it must take: the ends of its range, its default, and the value that stands apart."""
    about = field.metadata
    ends = [about["least"], about["most"], about["or_is"], field.default]
    values = [repr(value) for value in ends if value is not None]
    if about["above"] is not None:
        values.append(step(field, about["above"], up=True))
    return values


def said(program: type, field: dataclasses.Field, text: str) -> list[str]:
    """What is said of this flag; others are missing, and are told too."""
    try:
        flags.parse(program, "", [f"--{field.name}={text}"])
    except FlagError as error:
        assert error.exit_code == 2 and "\n" not in str(error)
        return [p for p in error.problems if p.startswith(f"--{field.name} must be ")]
    return []


@pytest.mark.parametrize(
    ("program", "field"), FIELDS, ids=[f"{p.__name__}-{f.name}" for p, f in FIELDS]
)
def test_a_number_outside_its_range_is_refused_and_one_inside_is_not(program, field):
    about = field.metadata
    assert about["least"] is not None or about["above"] is not None, "every number has a range"
    for text in outside(field):
        assert len(said(program, field, text)) == 1, f"--{field.name} {text} was taken"
    for text in inside(field):
        assert said(program, field, text) == [], f"--{field.name} {text} was refused"
