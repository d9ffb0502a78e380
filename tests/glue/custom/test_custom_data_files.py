"""Reading every format: rows are read back; malformed files are reported with their location."""

import json

import custom_tables
import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom import columns as custom_columns
from bert_paddle.glue.custom import files
from bert_paddle.glue.custom.columns import ChosenColumns

# Texts to keep verbatim: quotes, other formats' delimiters, blanks, other scripts.
TRICKY = [
    {"text": 'he message "no", twice', "label": "a"},
    {"text": " blanks around ", "label": "b"},
    {"text": "naïve 你好 \u2028 \x0b", "label": "a"},
    {"text": "", "label": "b"},
]
BROKEN_LINES = {"text": 'two\nlines, a comma\tand a tab and a "', "label": "a"}
ROW = custom_tables.rows(1)[0]


def read_rows(path, file_format=None, names=()) -> list[dict]:
    return [row for _, row in files.open_table(str(path), files.Reading(file_format, names)).rows]


def error_message(path, file_format=None, names=()) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(path, file_format, names)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("file_format", custom_tables.FORMATS)
def test_written_rows_are_read_back(tmp_path, file_format):
    rows = TRICKY if file_format == "tsv" else [*TRICKY, BROKEN_LINES]
    path = custom_tables.write(tmp_path / "x", rows, file_format)
    assert read_rows(path, file_format) == rows
    # Windows programs write a byte order mark first.
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_rows(path, file_format) == rows


def test_extensions_select_the_format_in_any_case(tmp_path):
    for extension in ("tsv", "csv", "jsonl", "json"):
        path = custom_tables.write(tmp_path / f"x.{extension}", TRICKY)
        assert read_rows(path.rename(tmp_path / f"X.{extension.upper()}")) == TRICKY


def test_a_json_file_may_contain_json_lines(tmp_path):
    path = custom_tables.write(tmp_path / "x.json", TRICKY, "jsonl")
    assert read_rows(path) == TRICKY


def test_a_csv_row_has_the_number_of_its_first_line(tmp_path):
    path = custom_tables.write(tmp_path / "x.csv", [BROKEN_LINES, BROKEN_LINES, ROW])
    assert [number for number, _ in files.open_table(str(path), files.Reading()).rows] == [2, 4, 6]


def test_a_file_without_a_header(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("gj04\t1\t\tOne sentence.\ncj99\t0\t*\tOther sentence.\n")
    rows = read_rows(path, names=["source", "label", "mark", "sentence"])
    assert [row["sentence"] for row in rows] == ["One sentence.", "Other sentence."]
    assert "FILE:1: expected 3 tab-separated fields, found 4" in error_message(
        path, names=["a", "b", "c"]
    )


def test_long_fields_and_trailing_empty_lines_are_accepted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f'text,label\n"{"word " * 50_000}",1\n\n\n')
    assert len(read_rows(path)[0]["text"]) == 250_000


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.tsv", "", "FILE: the file is empty"),
        ("x.csv", "", "FILE: the file is empty"),
        ("x.jsonl", "\n\n", "FILE: the file is empty"),
        ("x.json", "", "FILE: the file is empty"),
        ("x.json", "[]", "FILE: the file is empty"),
        ("x.tsv", "text\tlabel\n", "FILE: no rows after the header"),
        ("x.csv", "text,label\n", "FILE: no rows after the header"),
        ("x.tsv", "text\tlabel\na\t1\nb\n", "FILE:3: expected 2 tab-separated fields, found 1"),
        ("x.csv", "text,label\na,b,1\n", "FILE:2: expected 2 comma-separated fields, found 3"),
        ("x.tsv", "text\tlabel\n\na\t1\n", "FILE:2: an empty line"),
        ("x.csv", "text,label\na,1\n\nb,0\n", "FILE:3: an empty line"),
        ("x.tsv", '"text"\t"label"\na\t1\n', "--file_format quoted_tsv"),
        ("x.csv", 'text,label\n"a"b,1\n', "FILE:2: unbalanced quotation marks"),
        ("x.csv", 'text,label\na,1\n"b,1\nc,1\n', "FILE:3: unbalanced quotation marks"),
        ("x.jsonl", '{"text": "a"}\n{"text": "b"\n', "FILE:2: not one JSON object per line"),
        ("x.jsonl", "[1]\n", "FILE:1: '[1]' where an object is expected"),
        ("x.jsonl", "[" * 100_000, "FILE:1: not one JSON object per line"),
        ("x.json", '[{"text": "a"}, 3]', "FILE, object 2: '3' where an object is expected"),
        ("x.json", '[{"text": "a"}', "FILE is not JSON"),
        ("x.json", "[[1]]", "FILE, object 1: a list has no column names"),
        ("x.json", "[" * 100_000, "FILE is nested too deeply"),
    ],
)
def test_malformed_files_are_reported(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    assert message in error_message(path)


@pytest.mark.parametrize("name", ["x.tsv", "x.csv", "x.jsonl", "x.json"])
def test_invalid_utf8_and_nul_are_reported_by_line(tmp_path, name):
    path = tmp_path / name
    for bad, message in ((b"\xe9", "FILE:3: not UTF-8"), (b"\0", "FILE:3: a NUL byte")):
        custom_tables.write(path, custom_tables.rows(8))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:2], bad + lines[2], *lines[3:]]))
        assert message in error_message(path)


def choose_columns(tmp_path, columns, column_flags=(None, None, None), **options) -> ChosenColumns:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(dict.fromkeys(columns.split(","), "x")))
    return custom_columns.choose_columns(
        files.open_table(str(path), files.Reading()), column_flags, **options
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("sentence,label", ChosenColumns("sentence", None, "label")),
        ("idx,Text,Labels", ChosenColumns("Text", None, "Labels")),
        ("id,sentence1,sentence2,label", ChosenColumns("sentence1", "sentence2", "label")),
        ("premise,hypothesis,gold_label,x", ChosenColumns("premise", "hypothesis", "gold_label")),
        ("question,sentence,label", ChosenColumns("question", "sentence", "label")),
        ("author,review,stars", ChosenColumns("review", None, "stars")),
        ("index,headline,class", ChosenColumns("headline", None, "class")),
    ],
)
def test_columns_are_inferred_from_usual_names(tmp_path, columns, expected):
    assert choose_columns(tmp_path, columns) == expected


def test_columns_from_flags_and_from_the_model(tmp_path):
    assert choose_columns(tmp_path, "a,b,text,label", ("a", "b", "text")) == ChosenColumns(
        "a", "b", "text"
    )
    # --text_column alone means single texts, whatever else the file has.
    assert (
        choose_columns(tmp_path, "sentence1,sentence2,label", ("sentence2", None, None)).pair
        is None
    )
    saved = ChosenColumns("a", "b", "c")
    assert choose_columns(tmp_path, "b,a,c,text", saved=saved) == saved
    assert choose_columns(tmp_path, "b,a,text", saved=saved, need_label=False) == ChosenColumns(
        "a", "b"
    )
    # The model's columns are missing: inferred from names, and must be a pair.
    other = "text_a,text_b,label"
    assert choose_columns(tmp_path, other, saved=saved, pairs=True).pair == "text_b"
    assert choose_columns(tmp_path, "x,y,label", pairs=True) == ChosenColumns("x", "y", "label")
    assert choose_columns(tmp_path, "sentence1,sentence2,label", pairs=False).pair is None


@pytest.mark.parametrize(
    ("columns", "column_flags", "options", "message"),
    [
        ("a,b,label", (None, None, None), {}, "which column is the text? give --text_column"),
        ("text,kind", (None, None, None), {}, "which column is the label? give --label_column"),
        (
            "text,label",
            ("txt", None, None),
            {},
            "has no column 'txt'; its columns are 'text, label'",
        ),
        ("text,label", ("text", "b", None), {}, "has no column 'b'"),
        ("text,label", (None, None, "stars"), {}, "has no column 'stars'"),
        ("text;label", (None, None, None), {}, "semicolons"),
        ("text,label", (None, None, None), {"pairs": True}, "which columns are the two texts?"),
        ("text,label", ("text", None, None), {"pairs": True}, "give --text_pair_column too"),
        (
            "a,b,label",
            ("a", "b", None),
            {"pairs": False},
            "fine-tuned on single texts: omit --text_pair_column",
        ),
    ],
)
def test_ambiguous_or_missing_columns(tmp_path, columns, column_flags, options, message):
    with pytest.raises(DataError) as caught:
        choose_columns(tmp_path, columns, column_flags, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1, "1"), (1.0, "1"), (2.5, "2.5"), (True, "true"), (None, ""), (" pos ", "pos")),
        *(("-3.00", "-3"), ("1.", "1."), ("v1.0", "v1.0"), ("1.50", "1.50")),
    ],
)
def test_label_values(tmp_path, value, text):
    path = custom_tables.write(tmp_path / "x.json", [{"text": "a", "label": value}])
    table = files.open_table(str(path), files.Reading())
    ((number, row),) = table.rows
    assert custom_columns.read_label(row, "label", table, number) == text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": 1}, "FILE, object 2: the row has no 'text'; it has 'label'"),
        ({"text": None, "label": 1}, "FILE, object 2: 'text' is nothing (null)"),
        ({"text": True, "label": 1}, "FILE, object 2: 'text' is true or false"),
        ({"text": "\ud83d", "label": 1}, "FILE, object 2: the text has a lone surrogate"),
        ({"text": "a", "label": [1]}, "FILE, object 2: 'label' is a list"),
    ],
)
def test_json_values_of_the_wrong_type(tmp_path, row, message):
    path = custom_tables.write(tmp_path / "x.json", [{"text": "a", "label": 1}, row])
    table = files.open_table(str(path), files.Reading())
    with pytest.raises(DataError) as caught:
        for number, values in table.rows:
            custom_columns.read_text(values, "text", table, number)
            custom_columns.read_label(values, "label", table, number)
    assert message in str(caught.value).replace(str(path), "FILE")
