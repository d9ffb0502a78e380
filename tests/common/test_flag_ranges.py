"""Every numeric flag of every program, at and just outside its declared range."""

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


def adjacent(field: dataclasses.Field, value: float, up: bool) -> str:
    """The nearest value above or below, as command-line text."""
    if field.metadata["kind"] == "int":
        return repr(int(value) + (1 if up else -1))
    return repr(math.nextafter(value, math.inf if up else -math.inf))


def outside(field: dataclasses.Field) -> list[str]:
    """Values that the flag must reject."""
    metadata = field.metadata
    values = ["x", "nan", "inf", "-1e400", "1,5"] + (["1.5"] if metadata["kind"] == "int" else [])
    if metadata["minimum"] is not None:
        values.append(adjacent(field, metadata["minimum"], up=False))
    if metadata["exclusive_minimum"] is not None:
        values += [
            repr(metadata["exclusive_minimum"]),
            adjacent(field, metadata["exclusive_minimum"], up=False),
        ]
    if metadata["maximum"] is not None:
        values.append(adjacent(field, metadata["maximum"], up=True))
    if metadata["sentinel"] is not None:
        values.append(adjacent(field, metadata["sentinel"], up=False))
    return [text for text in values if text != repr(metadata["sentinel"])]


def inside(field: dataclasses.Field) -> list[str]:
    """Values that it must accept: its range's bounds, its default and its sentinel."""
    metadata = field.metadata
    bounds = [metadata["minimum"], metadata["maximum"], metadata["sentinel"], field.default]
    values = [repr(value) for value in bounds if value is not None]
    if metadata["exclusive_minimum"] is not None:
        values.append(adjacent(field, metadata["exclusive_minimum"], up=True))
    return values


def range_problems(program: type, field: dataclasses.Field, text: str) -> list[str]:
    """The problems of this flag alone; missing required flags are reported too."""
    try:
        flags.parse(program, "", [f"--{field.name}={text}"])
    except FlagError as error:
        assert error.exit_code == 2 and "\n" not in str(error)
        return [p for p in error.problems if p.startswith(f"--{field.name} must be ")]
    return []


@pytest.mark.parametrize(
    ("program", "field"), FIELDS, ids=[f"{p.__name__}-{f.name}" for p, f in FIELDS]
)
def test_numbers_outside_the_range_are_rejected_and_those_inside_accepted(program, field):
    metadata = field.metadata
    assert metadata["minimum"] is not None or metadata["exclusive_minimum"] is not None, (
        "every number has a range"
    )
    for text in outside(field):
        assert len(range_problems(program, field, text)) == 1, f"--{field.name} {text} was accepted"
    for text in inside(field):
        assert range_problems(program, field, text) == [], f"--{field.name} {text} was rejected"
