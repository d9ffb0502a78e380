"""Property tests of reading TSV files: any rows, any bytes."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data.tsv import BOM, read_task_file
from bert_paddle.glue.tasks import TASKS

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# A field's text: all of Unicode but separators, NUL and surrogates.
TEXTS = st.text(st.characters(exclude_characters="\t\n\0", exclude_categories=["Cs"]), max_size=30)
# The header line of each task's training file; CoLA has none.
LAYOUTS = {
    "SST-2": "sentence\tlabel",
    "CoLA": None,
    "MRPC": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "STS-B": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
    "\tscore",
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "QNLI": "index\tquestion\tsentence\tlabel",
    "RTE": "index\tsentence1\tsentence2\tlabel",
}


def row(name: str, text_a: str, text_b: str, label: str) -> str:
    """One line of a file of the task, without its end."""
    if name == "CoLA":
        return f"gj04\t{label}\t\t{text_a}"
    if name == "MRPC":
        return f"{label}\t1\t2\t{text_a}\t{text_b}"
    count = LAYOUTS[name].count("\t") + 1
    texts = [text_a] if name == "SST-2" else [text_a, text_b]
    return "\t".join([*"0" * (count - 1 - len(texts)), *texts, label])


@pytest.mark.parametrize("name", LAYOUTS)
@QUICK
@given(data=st.data())
def test_written_rows_are_read_back(tmp_path, name, data):
    task = TASKS[name]
    # A carriage return before the line feed is a Windows line end, not the text's.
    texts = TEXTS.filter(lambda text: not text.endswith("\r"))
    if task.is_regression:
        labels = st.floats(0, 5, width=32).map(repr)
    else:
        labels = st.sampled_from(task.file_labels)
    rows = data.draw(st.lists(st.tuples(texts, texts, labels), min_size=1, max_size=8))
    lines = [row(name, *parts) for parts in rows]
    if LAYOUTS[name] is not None:
        lines.insert(0, LAYOUTS[name])
    line_end = data.draw(st.sampled_from(["\n", "\r\n"]))
    bom = data.draw(st.sampled_from([b"", BOM]))
    final = data.draw(st.sampled_from(["", line_end]))
    path = tmp_path / "train.tsv"
    path.write_bytes(bom + (line_end.join(lines) + final).encode())
    examples = read_task_file(task, path, "train")
    assert examples.texts_a == [a for a, _, _ in rows]
    assert examples.texts_b in (None, [b for _, b, _ in rows])
    if task.is_regression:
        expected = np.array([float(label) for _, _, label in rows], np.float32)
    else:
        expected = np.array([task.file_labels.index(label) for _, _, label in rows])
    assert np.array_equal(examples.labels, expected)
    assert examples.skipped == 0


@pytest.mark.parametrize("split", ["train", "dev", "test"])
@pytest.mark.parametrize("name", ["CoLA", "SST-2", "STS-B", "QQP", "MNLI"])
@QUICK
@given(data=st.data())
def test_any_bytes_are_read_or_reported_with_file_and_line(tmp_path, name, split, data):
    fragments = [b"\t", b"\n", b"\r\n", b"0", b"1", b"2.5", b"sentence\tlabel", b"\xff", b"\0", BOM]
    if header := LAYOUTS.get(name):
        fragments += [header.encode() + b"\n", b"0\t1\t2\tx\ty\t1\n"]
    chunks = st.sampled_from(fragments) | st.binary(max_size=6) | TEXTS.map(str.encode)
    content = b"".join(data.draw(st.lists(chunks, max_size=30)))
    path = tmp_path / f"{split}.tsv"
    path.write_bytes(content)
    try:
        examples = read_task_file(TASKS[name], path, split)
    except DataError as error:
        message = str(error).removeprefix(str(path))
        match = re.match(r":(\d+): |: the file is empty|: no rows after the header", message)
        assert match and "\n" not in message and len(message) < 400
        if match[1]:
            assert 1 <= int(match[1]) <= content.count(b"\n") + 1
    else:
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        assert 0 < len(examples) + examples.skipped <= lines


@pytest.mark.parametrize("location", ["text", "label", "header", "no tab"])
def test_a_line_of_ten_megabytes(tmp_path, location):
    long = "long text " * 1_000_000
    header = f"sentence\tlabel\t{long}" if location == "header" else "sentence\tlabel"
    line = {"text": f"{long}\t1", "label": f"x\t{long}", "no tab": long}.get(location, "x\t1")
    path = tmp_path / "train.tsv"
    path.write_text(f"{header}\nfine\t1\n{line}\n")
    if location == "text":
        assert read_task_file(TASKS["SST-2"], path, "train").texts_a == ["fine", long]
        return
    with pytest.raises(DataError) as caught:
        read_task_file(TASKS["SST-2"], path, "train")
    line = 2 if location == "header" else 3
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert len(str(caught.value)) < len(str(path)) + 300


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tlabel\nx\t1\n".encode("utf-16"), ":1: "),
        (b"sent\0ence\tlabel\nx\t1\n", ":1: a NUL byte"),
        (b"sentence\tlabel\n\xef\xbb\xbf\n", ":2: expected 2 tab-separated fields"),
        (b"sentence\tlabel\r\nx\t1\ry\t0\r\n", ":2: expected 2 tab-separated fields, found 3"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", ":1: a NUL byte"),
        (b"PK\x03\x04sentence\tlabel\n", ":1: the header has no column 'sentence'"),
        (b"sentence,label\nx,1\n", ":1: the header has no column 'sentence'"),
    ],
    ids=["utf-16", "nul", "mark", "old mac", "gzip", "zip", "comma"],
)
def test_files_that_are_not_tsv(tmp_path, content, message):
    path = tmp_path / "train.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_task_file(TASKS["SST-2"], path, "train")
    assert str(caught.value).startswith(f"{path}{message}")
