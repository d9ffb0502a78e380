"""Header lines that are taken for rows, and rows that are taken for header lines."""

from collections.abc import Collection, Sequence

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.custom.columns import (
    LABEL_NAMES,
    TEXT_NAMES,
    ChosenColumns,
    is_usual_text_name,
)
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.data import tsv

_SENTENCE_WORDS = 4  # a column's name rarely has as many
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


def check_no_header_row(
    table: Table,
    texts: Sequence[Sequence[str]],
    labels: Sequence[str],
    numbers: Sequence[int],
    classes: Collection[str],
) -> None:
    """Raise DataError for a row that is a header line, in a file that --column_names is for.

    texts: one sequence for each text column. labels: one for each row, or none at all. numbers: of
    the rows. classes: labels that are known to be classes.
    """
    names = {name.strip().lower() for name in table.columns}
    text_words, label_words = names | set(TEXT_NAMES), names | set(LABEL_NAMES)
    # A row's label is compared first: texts are many and long.
    candidates = [0] if numbers else []
    candidates += [i for i, label in enumerate(labels) if label.lower() in label_words and i]
    for i in candidates:
        row_texts = [column[i].strip().lower() in text_words for column in texts]
        if labels:
            named = labels[i].lower() in label_words
            is_header = labels[i] not in classes and (
                named and any(row_texts) or i == 0 and _first_label_differs(labels, named)
            )
        else:
            is_header = all(row_texts)
        if is_header:
            fields = [column[i] for column in texts] + ([labels[i]] if labels else [])
            way_out = f"; if it is a row, give --labels with {labels[i]}" if labels else ""
            raise DataError(
                f"{table.location(numbers[i])}: looks like a header line "
                f"({tsv.quote_value(', '.join(fields), 100)}), and --column_names is for files "
                f"without one: omit --column_names, or delete the line{way_out}"
            )


def _first_label_differs(labels: Sequence[str], is_column_name: bool) -> bool:
    """Whether the first row's label occurs only once, and is the usual name of a label column or
    the only one that is not a number."""
    others = labels[1:]
    if len(others) < 2 or labels[0] in others or not labels[0]:
        return False
    if is_column_name:
        return True
    return not tsv.is_number(labels[0]) and all(map(tsv.is_number, others))


def check_header_is_no_row(
    table: Table, columns: ChosenColumns, given: Collection[str | None], log: RunLog
) -> None:
    """Tell when the line that is read as the header may be a row: the text columns have no usual
    name and were chosen as the only ones left. given: columns named by flags or by the model.

    Raises DataError for a name that is a sentence.
    """
    for name in columns.texts:
        if name in given or is_usual_text_name(name) or " " not in name.strip():
            continue
        quoted = tsv.quote_value(name)
        if len(name.split()) >= _SENTENCE_WORDS or name.strip().endswith(_SENTENCE_ENDS):
            raise DataError(
                f"{table.location(1)}: {quoted} looks like a text, not like a column's name: give "
                "--column_names for a file without a header line, or --text_column"
            )
        log.warning(
            f"{table.location(1)} is read as the header line, with the column {quoted}: give "
            "--column_names if it is a row"
        )
