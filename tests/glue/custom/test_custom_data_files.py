"""Tables of every format: the same rows come out; whatever is malformed stops with its place."""

import json

import own_tables
import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom import columns as custom_columns
from bert_paddle.glue.custom import files
from bert_paddle.glue.custom.columns import ChosenColumns

# What each format has to keep: quotes, delimiters of others, blanks, letters of other scripts.
TRICKY = [
    {"text": 'he said "no", twice', "label": "a"},
    {"text": " blanks around ", "label": "b"},
    {"text": "naïve 你好 \u2028 \x0b", "label": "a"},
    {"text": "", "label": "b"},
]
BROKEN_LINES = {"text": 'two\nlines, a comma\tand a tab and a "', "label": "a"}
ROW = own_tables.rows(1)[0]


def content(path, form=None, names=()) -> list[dict]:
    return [row for _, row in files.read(str(path), form, names).rows]


def refused(path, form=None, names=()) -> str:
    with pytest.raises(DataError) as caught:
        content(path, form, names)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("form", own_tables.FORMATS)
def test_what_is_written_comes_back(tmp_path, form):
    rows = TRICKY if form == "tsv" else [*TRICKY, BROKEN_LINES]
    path = own_tables.write(tmp_path / "x", rows, form)
    assert content(path, form) == rows
    # As Windows programs save it: a byte order mark first.
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert content(path, form) == rows


def test_endings_tell_the_format_in_any_case(tmp_path):
    for ending in ("tsv", "csv", "jsonl", "json"):
        path = own_tables.write(tmp_path / f"x.{ending}", TRICKY)
        assert content(path.rename(tmp_path / f"X.{ending.upper()}")) == TRICKY


def test_a_json_file_may_have_an_object_a_line(tmp_path):
    path = own_tables.write(tmp_path / "x.json", TRICKY, "jsonl")
    assert content(path) == TRICKY


def test_a_csv_row_is_named_by_the_line_it_begins_on(tmp_path):
    path = own_tables.write(tmp_path / "x.csv", [BROKEN_LINES, BROKEN_LINES, ROW])
    assert [number for number, _ in files.read(str(path), None).rows] == [2, 4, 6]


def test_a_file_without_a_header(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("gj04\t1\t\tOne sentence.\ncj99\t0\t*\tOther sentence.\n")
    rows = content(path, names=["source", "label", "mark", "sentence"])
    assert [row["sentence"] for row in rows] == ["One sentence.", "Other sentence."]
    assert "FILE:1: expected 3 tab-separated fields, found 4" in refused(
        path, names=["a", "b", "c"]
    )


def test_long_fields_and_last_empty_lines_are_fine(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f'text,label\n"{"word " * 50_000}",1\n\n\n')
    assert len(content(path)[0]["text"]) == 250_000


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.tsv", "", "FILE: the file is empty"),
        ("x.csv", "", "FILE: the file is empty"),
        ("x.jsonl", "\n\n", "FILE: the file is empty"),
        ("x.json", "", "FILE: the file is empty"),
        ("x.json", "[]", "FILE: the file is empty"),
        ("x.tsv", "text\tlabel\n", "FILE: a header and no row"),
        ("x.csv", "text,label\n", "FILE: a header and no row"),
        ("x.tsv", "text\tlabel\na\t1\nb\n", "FILE:3: expected 2 tab-separated fields, found 1"),
        ("x.csv", "text,label\na,b,1\n", "FILE:2: expected 2 comma-separated fields, found 3"),
        ("x.tsv", "text\tlabel\n\na\t1\n", "FILE:2: an empty line"),
        ("x.csv", "text,label\na,1\n\nb,0\n", "FILE:3: an empty line"),
        ("x.tsv", "text\ttext\na\t1\n", "FILE:1: the header names 'text' twice"),
        ("x.tsv", '"text"\t"label"\na\t1\n', "--file_format quoted_tsv"),
        ("x.csv", 'text,label\n"a"b,1\n', "FILE:2: the row's quotation marks"),
        ("x.csv", 'text,label\na,1\n"b,1\nc,1\n', "FILE:3: the row's quotation marks"),
        ("x.jsonl", '{"text": "a"}\n{"text": "b"\n', "FILE:2: not a JSON object a line"),
        ("x.jsonl", "[1]\n", "FILE:1: '[1]' where an object is expected"),
        ("x.jsonl", "[" * 100_000, "FILE:1: not a JSON object a line"),
        ("x.json", '[{"text": "a"}, 3]', "FILE, object 2: '3' where an object is expected"),
        ("x.json", '[{"text": "a"}', "FILE is not JSON"),
        ("x.json", "[" * 100_000, "FILE is nested too deeply"),
    ],
)
def test_malformed(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)
    assert said in refused(path)


@pytest.mark.parametrize("name", ["x.tsv", "x.csv", "x.jsonl", "x.json"])
def test_not_utf8_and_nul_are_named_by_line(tmp_path, name):
    path = tmp_path / name
    for bad, said in ((b"\xe9", "FILE:3: not UTF-8"), (b"\0", "FILE:3: a NUL byte")):
        own_tables.write(path, own_tables.rows(8))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:2], bad + lines[2], *lines[3:]]))
        assert said in refused(path)


def chosen(tmp_path, columns, given=(None, None, None), **more) -> ChosenColumns:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(dict.fromkeys(columns.split(","), "x")))
    return custom_columns.choose(files.read(str(path), None), given, **more)


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
def test_columns_are_known_by_usual_names(tmp_path, columns, expected):
    assert chosen(tmp_path, columns) == expected


def test_columns_by_flags_and_as_the_model_had_them(tmp_path):
    assert chosen(tmp_path, "a,b,text,label", ("a", "b", "text")) == ChosenColumns("a", "b", "text")
    # --text_column alone is one text, whatever else the file has.
    assert chosen(tmp_path, "sentence1,sentence2,label", ("sentence2", None, None)).pair is None
    before = ChosenColumns("a", "b", "c")
    assert chosen(tmp_path, "b,a,c,text", remembered=before) == before
    assert chosen(tmp_path, "b,a,text", remembered=before, need_label=False) == ChosenColumns(
        "a", "b"
    )
    # Its texts are not here: the names tell, and it must be a pair.
    other = "text_a,text_b,label"
    assert chosen(tmp_path, other, remembered=before, pairs=True).pair == "text_b"
    assert chosen(tmp_path, "x,y,label", pairs=True) == ChosenColumns("x", "y", "label")
    assert chosen(tmp_path, "sentence1,sentence2,label", pairs=False).pair is None


@pytest.mark.parametrize(
    ("columns", "given", "more", "said"),
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
        ("a,b,label", ("a", "b", None), {"pairs": False}, "fine-tuned on one text, no pairs"),
    ],
)
def test_columns_that_cannot_be_told(tmp_path, columns, given, more, said):
    with pytest.raises(DataError) as caught:
        chosen(tmp_path, columns, given, **more)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1, "1"), (1.0, "1"), (2.5, "2.5"), (True, "true"), (None, ""), (" pos ", "pos")),
        *(("-3.00", "-3"), ("1.", "1."), ("v1.0", "v1.0"), ("1.50", "1.50")),
    ],
)
def test_label_values(tmp_path, value, text):
    path = own_tables.write(tmp_path / "x.json", [{"text": "a", "label": value}])
    table = files.read(str(path), None)
    ((number, row),) = table.rows
    assert custom_columns.label_value(row, "label", table, number) == text


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"label": 1}, "FILE, object 2: the row has no 'text'; it has 'label'"),
        ({"text": None, "label": 1}, "FILE, object 2: 'text' is nothing (null)"),
        ({"text": 3, "label": 1}, "FILE, object 2: 'text' is a number"),
        ({"text": "\ud83d", "label": 1}, "FILE, object 2: the text has a lone surrogate"),
        ({"text": "a", "label": [1]}, "FILE, object 2: 'label' is a list"),
    ],
)
def test_json_values_of_the_wrong_kind(tmp_path, row, said):
    path = own_tables.write(tmp_path / "x.json", [{"text": "a", "label": 1}, row])
    table = files.read(str(path), None)
    with pytest.raises(DataError) as caught:
        for number, one in table.rows:
            custom_columns.text_value(one, "text", table, number)
            custom_columns.label_value(one, "label", table, number)
    assert said in str(caught.value).replace(str(path), "FILE")
