"""Rows of JSON files: one object per line, a list of objects, and what pandas writes.

[{"text": "a", "label": 1}, …]                             orient="records"
{"text": {"0": "a", …}, "label": {"0": 1, …}}              orient="columns", its default
{"text": ["a", …], "label": [1, …]}                        orient="list"
{"0": {"text": "a", "label": 1}, …}                        orient="index"
{"columns": ["text", "label"], "data": [["a", 1], …], …}   orient="split"
{"data": [{"text": "a", "label": 1}, …], …}                orient="table", and other programs
"""

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom.text_lines import TextFile
from bert_paddle.glue.data import tsv

Row = tuple[int, dict[str, Any]]
_LAYOUTS = (
    "give one object per line, a list of objects, or pandas' to_json (best: orient='records', "
    "lines=True)"
)


def is_single_value(file: TextFile) -> bool:
    """Whether a JSON file is one list or one object as a whole, and not one object per line."""
    if file.first_character() != "{":
        return file.first_character() == "["
    texts = [text for _, text in islice((t for t in file.lines() if t[1].strip()), 2)]
    _check_size(len(texts[0]), file.path)
    try:
        first = json.loads(texts[0])
    except (ValueError, RecursionError):
        # A line that only begins an object, or a mistake in the first of several objects.
        return texts[0].strip() == "{" or not texts[0].rstrip().endswith("}")
    if len(texts) > 1 or _is_row_with_labels(first):
        return False
    return any(isinstance(value, dict | list) for value in first.values())


def _is_row_with_labels(content: dict[str, Any]) -> bool:
    """Whether an object is a row with a text and a list of labels, and no table."""
    nested = [value for value in content.values() if isinstance(value, dict | list)]
    are_flat = all(
        isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
        for value in nested
    )
    return are_flat and any(isinstance(value, str) for value in content.values())


def line_rows(file: TextFile) -> Iterator[Row]:
    """One object per line; empty lines are skipped, as in most readers of JSON Lines. Raises
    DataError, naming the line, for anything else."""
    for number, text in file.lines():
        if text.strip():
            _check_size(len(text), f"{file.path}:{number}")
            try:
                value = json.loads(text, object_pairs_hook=_object)
            except (ValueError, RecursionError) as error:
                reason = str(error).partition(":")[0]
                raise DataError(
                    f"{file.path}:{number}: not one JSON object per line ({reason})"
                ) from None
            yield number, _check_object(value, f"{file.path}:{number}")


def whole_rows(file: TextFile, note: Callable[[str], None]) -> Iterator[Row]:
    """The rows of a file that is one list or object; it is read into memory as a whole. Raises
    DataError for a file above the limit of JSON or that has no such rows."""
    path = file.path
    try:
        content = json.loads("".join(_bounded_lines(file)), object_pairs_hook=_object)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error})") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a list of objects") from None
    rows = content
    if isinstance(content, dict):
        rows, layout = _rows_of_object(content, path)
        note(f"{path}: {len(rows)} rows read from {layout}")
    for number, value in enumerate(rows, 1):
        if isinstance(value, list):
            raise DataError(f"{path}, object {number}: a list has no column names: {_LAYOUTS}")
        yield number, _check_object(value, f"{path}, object {number}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a name that stands twice: json would take the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{tsv.quote_value(twice)} stands twice in an object")
    return content


def _bounded_lines(file: TextFile) -> Iterator[str]:
    """The lines of a file that is read as a whole. Raises DataError, before any of it is parsed,
    for one above the limit."""
    size = 0
    for _, text in file.lines():
        size += len(text)
        _check_size(size, file.path)
        yield text


def _check_size(size: int, path: str) -> None:
    """Raise DataError for JSON of so many characters, which has at least as many bytes."""
    if size > limits.limit("JSON_BYTES"):
        message = limits.exceeded("JSON_BYTES", size, path)
        raise DataError(f"{message}, or give one object per line")


def _rows_of_object(content: dict[str, Any], path: str) -> tuple[list[dict[str, Any]], str]:
    """The rows in an object, and a description of its layout. Raises DataError."""
    columns, data = content.get("columns"), content.get("data")
    if isinstance(columns, list) and isinstance(data, list):
        if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
            raise DataError(f"{path}: not every row in 'data' has {len(columns)} values")
        return [dict(zip(map(str, columns), row, strict=True)) for row in data], "'data'"
    of_objects = [key for key, value in content.items() if _is_list_of(value, dict)]
    lists = [k for k, value in content.items() if isinstance(value, list) and value]
    if len(of_objects) == 1 and set(lists) <= {of_objects[0], "columns", "index", "schema"}:
        return content[of_objects[0]], f"{tsv.quote_value(of_objects[0])}"
    values = list(content.values())
    if values and all(isinstance(value, list) for value in values):
        if len({len(value) for value in values}) > 1:
            sizes = ", ".join(f"{tsv.quote_value(k)} {len(v)}" for k, v in content.items())
            raise DataError(f"{path}: the columns have different numbers of values ({sizes[:200]})")
        rows = zip(*values, strict=True)
        return [dict(zip(content, row, strict=True)) for row in rows], "one list per column"
    if values and all(isinstance(value, dict) for value in values):
        keys = values[0].keys()
        if all(value.keys() == keys for value in values):
            if all(key.isdecimal() for key in keys):
                by_key = [{name: content[name][key] for name in content} for key in keys]
                return by_key, "one object per column"
            if all(key.isdecimal() for key in content):
                return values, "one object per row"
    shown = ", ".join(map(tsv.quote_value, list(content)[:5]))
    raise DataError(f"{path}: an object with {shown or 'nothing in it'}, not rows: {_LAYOUTS}")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, kind) for v in value)


def _check_object(value: Any, location: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{location}: {tsv.quote_value(str(value))} where an object is expected")
    return value
