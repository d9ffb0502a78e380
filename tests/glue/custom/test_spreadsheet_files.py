"""Files as spreadsheets, pandas and other programs write them: other delimiters, encodings and line
ends, columns that nobody needs, layouts of JSON. What is beyond doubt is read, and said."""

import csv
import io
import json
from pathlib import Path

import pytest

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.custom import columns, files

ROWS = [
    {"text": "the film, it was good", "label": "pos"},
    {"text": 'a "bad" film', "label": "neg"},
    {"text": "naïve; but good", "label": "pos"},
]
CHINESE = [
    {"text": "这部电影非常好看，我们都很喜欢", "label": "正面"},
    {"text": "服务太差，以后不会再来了", "label": "负面"},
]


def as_csv(rows: list[dict], delimiter: str = ",", end: str = "\r\n") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    """Write content into a file of this name and read it; returns (rows, notes)."""

    def call(name: str, content: str | bytes, **reading) -> tuple[list[dict], list[str]]:
        path, notes = tmp_path / name, list[str]()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = files.open_table(str(path), files.Reading(**reading), notes.append)
        rows = [row for _, row in table.rows]
        return rows, [note.replace(str(path), "FILE") for note in notes]

    return call


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_recognized_in_all_rows(read, delimiter):
    rows, notes = read("x.csv", as_csv(ROWS, delimiter))
    assert rows == ROWS
    shown = "tabs" if delimiter == "\t" else repr(delimiter)
    assert notes == [
        f"FILE: the fields are separated by {shown}, not by ',' (--delimiter overrides)"
    ]


@pytest.mark.parametrize("quoted", [False, True])
def test_a_comma_in_a_column_name_does_not_hide_another_delimiter(read, quoted):
    mark = '"' if quoted else ""
    rows = "".join(f"{mark}a film{n}{mark};{mark}pos{mark}\n" for n in range(3))
    read_rows, notes = read("x.csv", f"text;label, or class\n{rows}")
    assert read_rows == [{"text": f"a film{n}", "label, or class": "pos"} for n in range(3)]
    assert notes == ["FILE: the fields are separated by ';', not by ',' (--delimiter overrides)"]


def test_a_comma_file_whose_rows_are_broken_is_not_taken_for_another(read):
    with pytest.raises(DataError, match="x.csv:2: expected 2 .* belongs in quotation marks"):
        read("x.csv", "text;x,label\na; b, c,1\n")
    with pytest.raises(DataError, match="x.csv:2: expected 2"):
        read("x.csv", "text,label\na;1,x,y\nb;2,x,y\n")


def test_commas_in_a_tsv_are_recognized(read):
    rows, notes = read("x.tsv", as_csv(ROWS))
    assert rows == ROWS and len(notes) == 1 and "separated by ',', not by tabs" in notes[0]


def test_no_other_delimiter_is_taken_where_rows_disagree(read):
    content = "text;more\nthe film\na; b; c\n"
    rows, notes = read("x.csv", content)
    assert [row["text;more"] for row in rows] == ["the film", "a; b; c"] and not notes
    with pytest.raises(DataError, match=r"semicolons between the fields\? give --delimiter"):
        path = Path("x.csv")
        table = files.Table(str(path), ("text;label",), iter(()))
        columns.choose_columns(table, (None, None, None))


def test_a_single_column_of_texts_stays_one(read):
    rows, notes = read("x.csv", 'text\n"a; b"\n"c; d, e"\n')
    assert [row["text"] for row in rows] == ["a; b", "c; d, e"] and not notes


def test_other_delimiters_without_a_header(read):
    names = ("text", "label")
    rows, notes = read("x.csv", "the film;pos\na dog;neg\n", names=names)
    assert rows == [{"text": "the film", "label": "pos"}, {"text": "a dog", "label": "neg"}]
    assert "';'" in notes[0]


def test_a_delimiter_that_is_given(read):
    rows, notes = read("x.csv", "text^label\nthe film, good^pos\n", delimiter="^")
    assert rows == [{"text": "the film, good", "label": "pos"}] and not notes
    # And it is not second-guessed.
    rows, _ = read("y.csv", "text;label\nthe film;pos\n", delimiter=",")
    assert rows == [{"text;label": "the film;pos"}]


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_the_first_line_of_excel_names_the_delimiter(read, delimiter):
    rows, notes = read("x.csv", f"sep={delimiter}\r\n" + as_csv(ROWS, delimiter))
    assert rows == ROWS and len(notes) == 1 and "FILE:1: the fields are separated by" in notes[0]
    bad = f"sep={delimiter}\r\n" + as_csv(ROWS, delimiter) + f"a{delimiter}b{delimiter}c\r\n"
    with pytest.raises(DataError, match=r"x.csv:6: expected 2"):
        read("x.csv", bad)


@pytest.mark.parametrize("mark", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(read, mark):
    for name, content in (("x.csv", as_csv(ROWS)), ("x.json", json.dumps(ROWS))):
        rows, notes = read(name, content.encode(mark))
        assert rows == ROWS
        assert bool(notes) == (mark != "utf-8-sig")
        assert mark == "utf-8-sig" or f"read as {mark.upper()}" in notes[0]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark(read, encoding):
    content = as_csv(ROWS[:2])
    rows, notes = read("x.csv", content.encode(encoding))
    assert rows == ROWS[:2] and encoding.upper() in notes[0]


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_utf32_without_a_mark(read, encoding):
    rows, notes = read("x.csv", as_csv(CHINESE).encode(encoding))
    assert rows == CHINESE and f"read as {encoding.upper()}" in notes[0]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_the_encoding_of_utf16_that_is_not_ascii_is_named(read, encoding):
    with pytest.raises(DataError, match=rf"x.csv:1: a NUL byte.*\(give --encoding {encoding}\)"):
        read("x.csv", as_csv(CHINESE).encode(encoding))
    assert read("x.csv", as_csv(CHINESE).encode(encoding), encoding=encoding)[0] == CHINESE


def test_excel_unicode_text_is_read(read):
    """UTF-16 with tabs, saved under any name."""
    rows, notes = read("x.csv", as_csv(ROWS, "\t").encode("utf-16"))
    assert rows == ROWS and len(notes) == 2


@pytest.mark.parametrize("encoding", ["gbk", "gb18030"])
def test_chinese_exports_are_read(read, encoding):
    rows, notes = read("x.csv", as_csv(CHINESE).encode(encoding))
    assert rows == CHINESE
    assert notes == ["FILE: read as GB18030 (not UTF-8; Chinese characters); --encoding overrides"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("é à la carte, où garçon déjà vu, naïveté élevée, être" * 3, "cp1252"),
        ("이 영화는 정말 재미있고 배우들의 연기도 훌륭했습니다 추천합니다", "euc-kr"),
        ("この映画はとても面白かったです。また見たいと思います", "euc-jp"),
        ("この映画はとても面白かったです。また見たいと思います", "shift_jis"),
        ("Этот фильм был очень хорошим и интересным, советую всем", "cp1251"),
        ("Этот фильм был очень хорошим и интересным, советую всем", "koi8-r"),
        ("這部電影非常好看，我們都很喜歡，服務太差，以後不會再來了", "big5"),
        ("ภาพยนตร์เรื่องนี้ดีมากและน่าสนใจ ขอแนะนำให้ทุกคนดู", "tis-620"),
        ("电影", "gbk"),  # too little to be beyond doubt
    ],
)
def test_other_encodings_are_given_not_guessed(read, text, encoding):
    content = as_csv([{"text": text, "label": "1"}]).encode(encoding)
    with pytest.raises(DataError, match=r"x.csv:2: not UTF-8 .* or give --encoding"):
        read("x.csv", content)
    rows, _ = read("x.csv", content, encoding=encoding)
    assert rows == [{"text": text, "label": "1"}]


def test_bytes_that_are_not_in_the_given_encoding(read):
    with pytest.raises(DataError, match="not cp932 .near byte .* give another --encoding"):
        read("x.csv", "text,label\né,1\n".encode("cp1252"), encoding="cp932")


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl"])
def test_lines_that_end_in_cr_alone(read, name):
    rows = [{"text": "the film", "label": "pos"}, {"text": "a dog", "label": "neg"}]
    if name == "x.jsonl":
        content = "".join(json.dumps(row) + "\r" for row in rows)
    else:
        content = as_csv(rows, "\t" if name == "x.tsv" else ",", "\r")
    read_rows, notes = read(name, content)
    assert read_rows == rows and notes == ["FILE: lines end in CR alone"]


def test_a_line_break_in_a_cell_of_a_file_whose_lines_end_in_cr(read):
    rows = [{"text": "the film,\nseen twice", "label": "pos"}, {"text": "a dog", "label": "neg"}]
    read_rows, notes = read("x.csv", as_csv(rows, ",", "\r"))
    assert read_rows == rows and notes == ["FILE: lines end in CR alone"]
    assert read("y.csv", as_csv(rows, ",", "\r\n")) == (rows, [])


def test_what_a_spreadsheet_leaves_behind(read):
    content = "text,label\na cat,1,\na dog,0,,,\n,\n,,\n\n"
    rows, notes = read("x.csv", content)
    assert rows == [{"text": "a cat", "label": "1"}, {"text": "a dog", "label": "0"}]
    assert notes == [
        "FILE: 2 row(s) of nothing but delimiters at the end: ignored",
        "FILE: 2 row(s) end in more delimiters than the header: ignored",
    ]
    with pytest.raises(DataError, match="x.csv:2: expected 2 .* belongs in quotation marks"):
        read("x.csv", "text,label\na cat, a dog,1\n")


def test_columns_without_a_name_do_not_matter(read):
    rows, notes = read("spam.csv", "v1,v2,,,\nham,see you,,,\nspam,win a prize,,x\nham,ok\n")
    assert [row["v2"] for row in rows] == ["see you", "win a prize", "ok"] and not notes
    assert all(row.keys() == {"v1", "v2"} for row in rows)
    rows, _ = read("pandas.csv", ",text,label\n0,a cat,1\n1,a dog,0\n")
    assert rows[1] == {"text": "a dog", "label": "0"}
    with pytest.raises(DataError, match="spam.csv:2: expected 5"):
        read("spam.csv", "v1,v2,,,\nham\n")


def test_only_a_chosen_column_must_have_a_name_of_its_own(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("note,text,note,label\na,the film,b,1\n")
    table = files.open_table(str(path), files.Reading())
    assert columns.choose_columns(table, ("text", None, None)).label == "label"
    with pytest.raises(DataError, match="x.csv:1: the header names 'note' twice"):
        columns.choose_columns(table, ("note", None, None))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"text": {"0": "a cat", "1": "a dog"}, "label": {"0": 1, "1": 0}}, "per column"),
        ({"text": ["a cat", "a dog"], "label": [1, 0]}, "one list per column"),
        ({"0": {"text": "a cat", "label": 1}, "1": {"text": "a dog", "label": 0}}, "per row"),
        ({"columns": ["text", "label"], "index": [0, 1], "data": [["a cat", 1], ["a dog", 0]]}, ""),
        (
            {"version": 1, "data": [{"text": "a cat", "label": 1}, {"text": "a dog", "label": 0}]},
            "",
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_layouts_of_pandas(read, content, said, indent, name):
    rows, notes = read(name, json.dumps(content, indent=indent))
    assert rows == [{"text": "a cat", "label": 1}, {"text": "a dog", "label": 0}]
    assert len(notes) == 1 and "2 rows read from" in notes[0] and said in notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([["a cat", 1]], "object 1: a list has no column names: give one object per line"),
        ({"text": ["a", "b"], "label": [1]}, "different numbers of values .'text' 2, 'label' 1"),
        ({"columns": ["text"], "data": [["a", 1]]}, "not every row in 'data' has 1 values"),
        ({"rows": {"a": {}}, "x": 1}, "an object with 'rows', 'x', not rows: give one object per"),
    ],
)
def test_other_layouts_are_named(read, content, message):
    with pytest.raises(DataError, match=message):
        read("x.json", json.dumps(content))


def test_one_object_is_one_row(read):
    rows, notes = read("x.json", '{"text": "a cat", "label": 1}')
    assert rows == [{"text": "a cat", "label": 1}] and not notes


def test_numbers_are_texts(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"text": 2024, "label": 1}, {"text": 1.5, "label": 0}]))
    table = files.open_table(str(path), files.Reading())
    texts = [columns.read_text(row, "text", table, number) for number, row in table.rows]
    assert texts == ["2024", "1.5"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--delimiter ;;", "--delimiter ;;: give one character, or tab, comma"),
        ("--encoding klingon", "--encoding klingon: no such text encoding"),
        ("--encoding rot13", "--encoding rot13: no such text encoding"),
        ('--delimiter "', "a quotation mark or line end cannot separate fields"),
    ],
)
def test_flags_that_mean_nothing(tmp_path, flags, message):
    path = tmp_path / "x.csv"
    path.write_text("text,label\na,1\n")
    argv = f"--train_file {path} --model_name_or_path m --output_dir o {flags}"
    with pytest.raises(FlagError) as caught:
        parse_args(argv.split())
    assert message in str(caught.value)


def test_a_delimiter_by_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text\tlabel\na\t1\n")
    for name in ("tab", "\\t"):
        argv = f"--train_file {path} --model_name_or_path m --output_dir o --delimiter {name}"
        assert parse_args(argv.split()).delimiter == name
