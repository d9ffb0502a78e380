"""Which rows of a file without a header line are taken for one."""

import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.custom.header_check import check_no_header_row

ROWS = [("a cat", "neg"), ("a dog", "pos"), ("a fox", "neg")]


def header_row(rows: list[tuple[str, str]], classes: tuple[str, ...] = ("neg", "pos")) -> int:
    """The number of the row that is refused, from 1; 0 for none."""
    table = Table("x.csv", ("text", "label"), iter(()))
    texts, labels = ([row[i] for row in rows] for i in (0, 1))
    numbers = range(1, len(rows) + 1)
    try:
        check_no_header_row(table, [texts], labels, numbers, classes)
    except DataError as error:
        return int(str(error).split(":")[1])
    return 0


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        (ROWS, 0),
        ([("text", "label"), *ROWS], 1),
        ([*ROWS, ("text", "label")], 4),
        ([*ROWS, ("a text", "label")], 0),  # the text is none of the usual names
        ([*ROWS, ("text", "odd")], 0),  # the label is none
        ([("a text", "label"), *ROWS], 1),  # the first row's label occurs only there
        ([("a text", "label"), *ROWS, ("a hen", "label")], 0),
        ([("text", "odd"), *ROWS], 0),
        ([("text", "odd"), ("a cat", "1"), ("a dog", "0")], 1),  # the only one that is no number
        ([("text", "neg"), ("a cat", "1"), ("a dog", "0")], 0),  # a class
        ([("a cat", "1"), ("a dog", "0"), ("a fox", "odd")], 0),  # not the first row
    ],
)
def test_rows_that_are_header_lines(rows, refused):
    assert header_row(rows) == refused


def test_a_class_may_be_named_like_a_column():
    rows = [("text", "label"), *ROWS]
    assert header_row(rows, ("neg", "pos", "label")) == 0
