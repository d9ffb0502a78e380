"""Text files, lines and documents: content is read back unchanged, or with one clear error."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create import documents, text_files
from bert_paddle.pretrain.create.documents import TextFormat, language_code, read_documents
from bert_paddle.pretrain.create.file_layouts import PLAIN
from bert_paddle.pretrain.create.input_files import InputFile
from bert_paddle.pretrain.create.input_files import find_files as find

DOCUMENTS = "bert_paddle.pretrain.create.documents"


def find_files(inputs: list[str]) -> list[Path]:
    return [file.path for file in find(inputs).files]


def read(path: Path, form: str = "lines", language: str = "en", warn=None) -> list[list[str]]:
    """The documents of one file, their parts joined."""
    documents: list[list[str]] = []
    file = InputFile(path, PLAIN)
    for document in read_documents([file], TextFormat(form, language=language), warn):
        assert document.source == str(path) and document.sentences
        if document.part == 0:
            documents.append([])
        assert document.number == len(documents) - 1
        documents[-1] += document.sentences
    return documents


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


is_blank = documents._BLANK.fullmatch
SENTENCE = (
    st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1, max_size=30)
    .map(str.strip)
    .filter(lambda line: line and not line.startswith("\ufeff") and not is_blank(line))
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    documents=st.lists(st.lists(SENTENCE, min_size=1, max_size=5), max_size=5),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    zipped=st.booleans(),
    blank=st.sampled_from(["", " \t", "\u3000"]),
    chunk=st.sampled_from([5, 16, 1000]),
)
def test_documents_written_as_lines_are_read_back(
    tmp_path, monkeypatch, documents, end, bom, zipped, blank, chunk
):
    """Whatever the line ends, and wherever a chunk ends: inside a character, a line or a \\r\\n."""
    monkeypatch.setattr(text_files, "_CHUNK_BYTES", chunk)
    content = (blank + end).join("".join(line + end for line in lines) for lines in documents)
    data = (b"\xef\xbb\xbf" if bom else b"") + content.encode()
    path = write(tmp_path / "a.txt", gzip.compress(data) if zipped else data)
    assert read(path) == documents


def test_only_a_newline_ends_a_line(tmp_path):
    path = write(tmp_path / "a.txt", "one\u2028two\x0bthree\x0cfour\x85five\nsix")
    assert read(path) == [["one\u2028two\x0bthree\x0cfour\x85five", "six"]]


def test_numbers_continue_over_files_and_a_file_ends_a_document(tmp_path):
    bodies = {"a": "x\n\ny", "b": "\n \n", "c": "z"}
    paths = [write(tmp_path / name, body) for name, body in bodies.items()]
    documents = list(read_documents([InputFile(path, PLAIN) for path in paths], TextFormat()))
    assert [(d.number, d.part, d.sentences) for d in documents] == [
        (0, 0, ["x"]),
        (1, 0, ["y"]),
        (2, 0, ["z"]),
    ]
    assert [Path(d.source).name for d in documents] == ["a", "a", "c"]


def test_a_long_document_is_read_in_parts_by_count_and_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{DOCUMENTS}.PART_SENTENCES", 3)
    monkeypatch.setattr(f"{DOCUMENTS}.PART_BYTES", 10)
    path = write(tmp_path / "a.txt", "a\nb\nc\nd\n\n\u00e9\u00e9\u00e9\nffff\ng\n\nh\n" + "i" * 30)
    parts = [
        (d.number, d.part, d.sentences)
        for d in read_documents([InputFile(path, PLAIN)], TextFormat())
    ]
    assert parts == [
        (0, 0, ["a", "b", "c"]),
        (0, 1, ["d"]),
        (1, 0, ["\u00e9\u00e9\u00e9", "ffff"]),  # 6 + 4 bytes
        (1, 1, ["g"]),
        (2, 0, ["h"]),
        (2, 1, ["i" * 30]),
    ]


def test_a_document_that_exactly_fills_a_part_is_one_part(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{DOCUMENTS}.PART_SENTENCES", 2)
    path = write(tmp_path / "a.txt", "a\nb\n\nc\nd\n")
    parts = [(d.number, d.part) for d in read_documents([InputFile(path, PLAIN)], TextFormat())]
    assert parts == [(0, 0), (1, 0)]


@pytest.mark.parametrize("chunk", [7, 40])
def test_a_very_long_line_is_split_at_spaces_with_a_warning(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(text_files, "LINE_BYTES", 40)
    monkeypatch.setattr(text_files, "_CHUNK_BYTES", chunk)
    words = [f"word{i}" for i in range(30)]
    fits = "x" * 40
    path = write(tmp_path / "a.txt", f"{fits}\n{' '.join(words)}{' ' * 90}\nlast\n\nnew\n{fits}")
    warnings: list[str] = []
    first, second = read(path, warn=warnings.append)
    assert first[0] == fits and first[-1] == "last" and second == ["new", fits]
    parts = first[1:-1]
    assert " ".join(parts).split() == words and all(20 <= len(p) <= 40 for p in parts[:-1])
    assert len(warnings) == 1 and str(path) in warnings[0] and "line 2" in warnings[0]


def test_a_long_line_without_spaces_is_split_between_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "LINE_BYTES", 40)
    line = "a" + "\u4e2d\U00020000" * 30
    (parts,) = read(write(tmp_path / "a.txt", line + "\n"))
    assert "".join(parts) == line and all(len(part.encode()) <= 40 for part in parts)


def test_prose_joins_wrapped_lines_and_separates_paragraphs(tmp_path):
    path = write(
        tmp_path / "a.txt",
        "Chapter One\r\n\r\nMr. Smith came\r\n  home. He was\r\ntired! \r\n\r\n\r\nIt rained\r\n",
    )
    expected = ["Chapter One", "Mr. Smith came home.", "He was tired!", "It rained"]
    assert read(path, "prose") == [expected]


def test_chinese_lines_are_joined_without_a_space(tmp_path):
    path = write(tmp_path / "a.txt", "\u3000\u3000他来\n了。他说“好”\n。He said\nyes。\n")
    assert read(path, "prose", "zh-CN") == [["他来了。", "他说“好”。", "He said yes。"]]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.text(st.sampled_from("ab .!?\u201c\u201d'\"(\n\u3002\u4e2d1"), max_size=120))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_prose_loses_nothing_in_windows_of_any_size(tmp_path, monkeypatch, language, content):
    monkeypatch.setattr(f"{DOCUMENTS}._WINDOW_CHARS", 10)
    monkeypatch.setattr(f"{DOCUMENTS}._MAX_SENTENCE_CHARS", 25)
    documents = read(write(tmp_path / "a.txt", content), "prose", language)
    assert len(documents) <= 1
    text = "".join(sentence for document in documents for sentence in document)
    assert "".join(text.split()) == "".join(content.split())


def test_windows_do_not_change_where_sentences_end(tmp_path, monkeypatch):
    sentences = [f"Mr. Smith saw {i} cats in St. James Park." for i in range(40)]
    path = write(tmp_path / "a.txt", " ".join(sentences))
    monkeypatch.setattr(f"{DOCUMENTS}._WINDOW_CHARS", 100)
    assert read(path, "prose") == [sentences]


def test_prose_without_sentences_is_split_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{DOCUMENTS}._WINDOW_CHARS", 100)
    monkeypatch.setattr(f"{DOCUMENTS}._MAX_SENTENCE_CHARS", 300)
    words = [f"w{i}" for i in range(400)]
    warnings: list[str] = []
    (parts,) = read(write(tmp_path / "a.txt", "\n".join(words)), "prose", warn=warnings.append)
    assert len(parts) > 3 and " ".join(parts).split() == words
    assert max(map(len, parts)) <= 400 and len(warnings) == 1 and "300" in warnings[0]


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b"good\ncaf\xe9 au lait\n", 2, 8),
        (b"\xef\xbb\xbfok\n\nbad \xff\n", 3, 11),
        (b"good\ncut off \xe4\xb8", 2, 13),
        (b"good\nto\0o\n", 2, 7),
        ("\ufeffhello\n".encode("utf-16-le"), 1, 3),
    ],
)
@pytest.mark.parametrize("chunk", [4, 1000])
def test_invalid_utf8_is_reported_with_line_and_byte(
    tmp_path, monkeypatch, content, line, byte, chunk
):
    if byte == 3 and chunk == 4:
        pytest.skip("reports the byte order mark instead")
    monkeypatch.setattr(text_files, "_CHUNK_BYTES", chunk)
    path = write(tmp_path / "a.txt", content)
    with pytest.raises(DataError) as raised:
        read(path)
    assert f"{path}:{line}:" in str(raised.value) and f"byte {byte} " in str(raised.value)


COMPRESSED = gzip.compress(os.urandom(5000).hex().encode())


@pytest.mark.parametrize(
    "content",
    [
        COMPRESSED[:-100],
        COMPRESSED[:-4],
        COMPRESSED[:500] + bytes(50) + COMPRESSED[550:],
        b"plain",
        b"",
    ],
    ids=["truncated", "no end", "corrupt", "not gzip", "empty"],
)
def test_a_damaged_gzip_file_is_one_clear_error(tmp_path, content):
    path = write(tmp_path / "a.txt.gz", content)
    with pytest.raises(DataError, match="gzip") as raised:
        read(path)
    assert str(path) in str(raised.value)


def test_find_files_in_folders_patterns_and_by_name(tmp_path):
    names = "b.txt a.txt deep/c.txt.gz deep/d.TXT e.gz no.csv .hidden.txt .git/x.txt deep/.y.gz"
    for name in names.split():
        write(tmp_path / name, gzip.compress(b"x") if name.endswith(".gz") else "x")

    def names_of(*inputs: str) -> list[str]:
        paths = find_files([str(tmp_path / name) for name in inputs])
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    assert names_of("") == ["a.txt", "b.txt", "deep/c.txt.gz", "deep/d.TXT", "e.gz"]
    assert names_of("no.csv", "b.txt", "*.txt") == ["no.csv", "b.txt", "a.txt"]
    assert names_of("**/*.txt") == ["a.txt", "b.txt"]
    assert names_of("d*") == ["deep/c.txt.gz", "deep/d.TXT"]


def test_find_files_follows_links_and_returns_each_file_once(tmp_path):
    write(tmp_path / "data/a.txt", "x")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/linked").symlink_to(tmp_path / "data")
    assert find_files([str(tmp_path / "in"), str(tmp_path / "data")]) == [
        tmp_path / "in/linked/a.txt"
    ]


def test_an_existing_name_with_pattern_characters_is_not_a_pattern(tmp_path):
    path = write(tmp_path / "a[1].txt", "x")
    assert find_files([str(path)]) == [path]


@pytest.mark.parametrize("name", ["missing.txt", "*.nothing", "empty", " ", "broken", "pipe"])
def test_an_input_without_files_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", "x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError) as raised:
        find_files(["a.txt", name])
    assert name.strip() in str(raised.value) and "\n" not in str(raised.value)


def test_no_input_at_all_is_refused():
    with pytest.raises(DataError):
        find_files([])


def test_a_language_must_be_a_code(tmp_path):
    assert [language_code(name) for name in ("EN", "en_GB", "zh-Hans")] == [
        "en",
        "en",
        "zh",
    ]
    with pytest.raises(DataError, match="english"):
        read(write(tmp_path / "a.txt", "x"), "prose", "english")


@pytest.fixture
def text_dir() -> Path:
    folder = os.environ.get("BERT_PADDLE_TEXT_DIR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BERT_PADDLE_TEXT_DIR is not set to a folder of sample text")
    return Path(folder)


@pytest.mark.real_data
def test_real_lines_are_read_as_a_plain_split_reads_them(text_dir):
    (path, *_) = find_files([str(text_dir / "pd_en")])
    blocks = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n\n")
    expected = [[line for line in block.split("\n") if line] for block in blocks]
    assert read(path) == [lines for lines in expected if lines]


@pytest.mark.real_data
def test_a_real_novel_is_one_document_and_loses_nothing(text_dir):
    (path, *_) = find_files([str(text_dir / "novels")])
    (sentences,) = read(path, "prose")
    assert "".join("".join(sentences).split()) == "".join(
        path.read_text(encoding="utf-8-sig").split()
    )
    lengths = [len(sentence.split()) for sentence in sentences]
    assert 5 < sum(lengths) / len(lengths) < 40
