"""Compressed files, JSON lines, wikiextractor's output, a line as a document, and bad bytes."""

import bz2
import gzip
import json
import lzma
import os
import tracemalloc

import pytest

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.pretrain.create import compressed_files, text_files
from bert_paddle.pretrain.create.args import parse_args
from bert_paddle.pretrain.create.documents import TextFormat, read_documents
from bert_paddle.pretrain.create.input_files import find_files


def read(path, warnings=None, **options) -> list[list[str]]:
    """The documents of a file."""
    found = find_files([str(path)], options.get("document_format", "auto"))
    warn = None if warnings is None else warnings.append
    documents: list[list[str]] = []
    for part in read_documents(found.files, TextFormat(**options), warn):
        if part.part == 0:
            documents.append([])
        documents[-1] += part.sentences
    return documents


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TEXT = "one .\ntwo .\n\nthree .\n"
DOCUMENTS = [["one .", "two ."], ["three ."]]
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def zstd_compress(data: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd")
    # As the zstd command does; without a checksum, damage may give other text.
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


@pytest.mark.parametrize("suffix", [*PACKERS, ".zst"])
@pytest.mark.parametrize("name", ["a.txt", "a"])
def test_compressed_text_is_read_whatever_its_name_says(tmp_path, suffix, name):
    pack = PACKERS.get(suffix, zstd_compress)
    twice = pack(TEXT.encode()) + pack(b"\nfour .\n")  # two streams in one file
    assert read(write(tmp_path / (name + suffix), twice)) == [*DOCUMENTS, ["four ."]]
    assert read(write(tmp_path / "plain.txt", pack(TEXT.encode()))) == DOCUMENTS


@pytest.mark.parametrize("suffix", [*PACKERS, ".zst"])
def test_a_damaged_archive_is_one_line_with_its_name(tmp_path, suffix):
    data = PACKERS.get(suffix, zstd_compress)(os.urandom(300_000).hex().encode())
    middle = len(data) // 2
    for number, content in enumerate(
        (data[:-50], data[:middle] + bytes(60) + data[middle + 60 :], b"plain text", b"")
    ):
        path = write(tmp_path / f"{number}.txt{suffix}", content)
        with pytest.raises(DataError, match=r"not an? (complete )?\w+ file") as raised:
            read(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_missing_zstd_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(compressed_files, "_ZSTD_PACKAGES", ("no_such_package",))
    path = write(tmp_path / "a.txt.zst", b"\x28\xb5\x2f\xfd")
    with pytest.raises(DataError, match=r"a.txt.zst: .*pip install backports.zstd"):
        read(path)


def test_a_large_compressed_file_is_read_in_bounded_memory(tmp_path):
    line = "the cat sat on the mat " * 1000 + "\n"
    path = tmp_path / "a.jsonl.bz2"
    with bz2.open(path, "wt") as file:
        for _ in range(300):
            file.write(json.dumps({"text": line}) + "\n")
    found = find_files([str(path)])
    tracemalloc.start()
    count = sum(1 for _ in read_documents(found.files, TextFormat("lines")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300 and peak < 4_000_000  # of 7 MB of text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "zip archive"),
        (b"a.txt".ljust(257, b"\0") + b"ustar\x0000", "tar archive"),
        (b"PAR1x", "Parquet"),
        (b"<mediawiki xmlns=", "wikiextractor"),
    ],
)
def test_well_known_formats_that_are_no_text_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a", content))


def test_json_lines_are_documents_of_prose_or_lines(tmp_path):
    rows = [
        {"id": 1, "text": "Mr. Smith came. He sat.\nIt rained", "body": "other"},
        {"text": ""},
        {"text": "one .\n\n two .\u2028x"},
    ]
    for name in ("a.jsonl", "b.txt", "wiki_00"):  # also recognized by its content
        path = write(tmp_path / name, "\ufeff" + "\n\n".join(map(json.dumps, rows)) + "\r\n")
        assert read(path, form="lines") == [
            ["Mr. Smith came. He sat.", "It rained"],
            ["one .", "two .\u2028x"],
        ]
        assert read(path)[0] == ["Mr. Smith came.", "He sat.", "It rained"]
    other = write(tmp_path / "c.jsonl", json.dumps(rows[0]))
    assert read(other, text_field="body") == [["other"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "half', "not a line of JSON"),
        ("plain", "not a line of JSON"),
        ('["text"]', "no object"),
        ('{"body": "x", "id": 1}', "no field text; there are body, id: .*--text_field"),
        ('{"text": null}', "the field text is no text but null"),
        ('{"text": ["a"]}', r"no text but \["),
        (r'{"text": "\ud83d"}', "half a surrogate"),
        ("[" * 100_000, "not a line of JSON"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", '{"text": "ok"}\n\n' + line + "\n")
    with pytest.raises(DataError, match=message) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}:3: ")


def test_a_json_file_that_is_not_lines_is_named(tmp_path):
    for content in ('[\n{"text": "a"}]', '{\n "text": "a"}'):
        with pytest.raises(DataError, match="not one object a line"):
            read(write(tmp_path / "a.json", content))
    assert read(write(tmp_path / "a.json", '{"text": "a"}\n')) == [["a"]]


def test_a_long_json_text_is_split_and_a_huge_line_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LINE_BYTES", 100)
    text = " ".join(f"word{i}" for i in range(100))
    path = write(tmp_path / "a.jsonl", json.dumps({"text": text}) + "\n")
    (sentences,) = read(path, form="lines")
    assert " ".join(sentences) == text and max(map(len, sentences)) <= 100
    monkeypatch.setattr("bert_paddle.pretrain.create.file_layouts.RECORD_BYTES", 200)
    with pytest.raises(DataError, match=r"a.jsonl:1: a line of more than 200 bytes"):
        read(path)


ARTICLES = """<doc id="1" url="https://x?curid=1" title="Rain &amp; snow">
Rain &amp; snow

It rained. He went home.
Causes.
If a &lt; b, it snows.

</doc>
<doc id="2" url="https://x?curid=2" title="Empty">
Empty

</doc>
<doc id="3" url="" title="A "quoted" title">
Another line.
</doc>
"""


def test_wikiextractor_articles_are_documents_without_their_title(tmp_path):
    for name in ("wiki_00", "a.txt"):
        path = write(tmp_path / name, ARTICLES)
        assert read(path) == [
            ["It rained.", "He went home.", "Causes.", "If a < b, it snows."],
            ["Another line."],
        ]
        assert read(path, form="lines")[0][0] == "It rained. He went home."


def test_broken_wikiextractor_output_is_named(tmp_path):
    with pytest.raises(DataError, match=r":9: this <doc ...> has no </doc>"):
        read(write(tmp_path / "a", ARTICLES.partition("Empty\n\n")[0]))
    with pytest.raises(DataError, match=r":16: text outside"):
        read(write(tmp_path / "b", ARTICLES + "stray\n"))


def test_a_line_or_the_text_between_blank_lines_is_a_document(tmp_path):
    path = write(tmp_path / "a.txt", "It rained. He ran.\n\nA cat sat.\nIt slept. It ate.\n")
    assert read(path, document_format="line") == [
        ["It rained.", "He ran."],
        ["A cat sat."],
        ["It slept.", "It ate."],
    ]
    assert read(path, form="prose", document_format="blank_line") == [
        ["It rained.", "He ran."],
        ["A cat sat.", "It slept.", "It ate."],
    ]
    assert read(path, document_format="file") == [
        ["It rained. He ran.", "A cat sat.", "It slept. It ate."]
    ]
    with pytest.raises(FlagError, match="--form prose"):
        parse_args("--document_format line --form lines --input_files x --output_dir y".split())


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", " \u200b\u00a0", "\u2060\r", "\u200e"])
@pytest.mark.parametrize("form", ["lines", "prose"])
def test_a_line_without_anything_to_see_is_blank(tmp_path, blank, form):
    path = write(tmp_path / "a.txt", f"one cat .\n{blank}\ntwo \u200bcats .\n")
    expected = [["one cat ."], ["two \u200bcats ."]]
    assert read(path, form=form, document_format="blank_line") == expected
    if form == "prose":  # a paragraph ends there
        assert read(path, form=form) == [[s for document in expected for s in document]]


@pytest.mark.parametrize("chunk", [4, 1000])
def test_bad_bytes_are_replaced_and_counted_if_asked(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text_files, "_CHUNK_BYTES", chunk)
    content = b"good line of text\ncaf\xe9 au lait\nx \xff\xfe y\nto\0o\n\nnew \xef\xbf\xbd one\n"
    path = write(tmp_path / "a.txt", content)
    with pytest.raises(DataError, match=r"a.txt:(2: not|4: a NUL).*--encoding_errors replace"):
        read(path)
    warnings: list[str] = []
    first, second = read(path, warnings, encoding_errors="replace")
    assert first == ["good line of text", "caf\ufffd au lait", "x \ufffd\ufffd y", "to\ufffdo"]
    assert second == ["new \ufffd one"]  # as in the file: not counted
    assert len(warnings) == 1 and "4 invalid byte sequence(s) replaced" in warnings[0]
    assert warnings[0].endswith("the first in line 2")


def test_utf16_is_not_replaced(tmp_path):
    path = write(tmp_path / "a.txt", "hello\nthere\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="UTF-16"):
        read(path, encoding_errors="replace")
