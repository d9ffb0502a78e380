"""The cache of tokenized data sets: hits, misses, damaged files, its size limit."""

import numpy as np
import pytest
import tiny

from bert_paddle.glue.data import encoded_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.tokenizer import Tokenizer


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(encoded_cache, "_MIN_ROWS", 2)
    return tmp_path / "bert_paddle" / "encoded"


@pytest.fixture
def encoded_counts(monkeypatch):
    """The number of texts of each call of the tokenizer."""
    counts, original = [], Tokenizer.encode

    def encode(self, texts_a, *rest):
        counts.append(len(texts_a))
        return original(self, texts_a, *rest)

    monkeypatch.setattr(Tokenizer, "encode", encode)
    return counts


A = ["the cat sat on the red mat", "", "a dog"]
B = ["it was good", "bad", "dull plot and poor cast"]


def examples(a=A, b=None):
    return Examples(list(a), list(b) if b else None, None, "here")


def check_same(actual, expected):
    assert [row.tolist() for row in actual.input_ids] == [
        row.tolist() for row in expected.input_ids
    ]
    assert actual.segment_b_start.tolist() == expected.segment_b_start.tolist()
    assert actual.truncated == expected.truncated
    assert {row.dtype for row in actual.input_ids} == {np.dtype(np.int32)}


@pytest.mark.parametrize("second", [None, B])
def test_second_call_reads_the_cache(folder, encoded_counts, second):
    tokens = Tokenizer(tiny.VOCAB)
    first = encoded_cache.encode(examples(b=second), tokens, 8)
    check_same(first, encoded_cache.encode(examples(b=second), tokens, 8))
    assert encoded_counts == [3] and first.truncated > 0


def test_large_sets_are_encoded_in_parts_and_told_so(folder, encoded_counts, monkeypatch):
    monkeypatch.setattr(encoded_cache, "_PART_ROWS", 4)
    tokens, shown = Tokenizer(tiny.VOCAB), []
    in_parts = encoded_cache.encode(examples(A * 3, B * 3), tokens, 8, shown.append)
    assert shown == [4, 8, 9] and encoded_counts == [4, 4, 1]
    check_same(in_parts, tokens.encode(A * 3, B * 3, 8))


def test_other_texts_or_settings_miss_the_cache(folder, encoded_counts):
    tokens = Tokenizer(tiny.VOCAB)
    cases = [
        (examples(), tokens, 8),
        (examples(), tokens, 9),
        (examples(b=B), tokens, 8),
        (examples(A[:1] + ["", "a dog "]), tokens, 8),
        (
            examples(["the cat sat on the red mata", "", " dog"]),
            tokens,
            8,
        ),  # the same letters in a row
        (examples(), Tokenizer(tiny.VOCAB, do_lower_case=False), 8),
        (examples(), Tokenizer([*tiny.VOCAB, "cats"]), 8),
        (examples(), Tokenizer(tiny.VOCAB, settings={"strip_accents": True}), 8),
    ]
    for case in cases:
        encoded_cache.encode(*case)
    assert len(encoded_counts) == len(cases)
    for case, tokenizer, length in cases:
        encoded = encoded_cache.encode(case, tokenizer, length)
        check_same(encoded, tokenizer.encode(case.texts_a, case.texts_b, length))
    assert len(encoded_counts) == 2 * len(cases)  # by the comparison only


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_file_is_replaced(folder, encoded_counts, size):
    tokens = Tokenizer(tiny.VOCAB)
    good = encoded_cache.encode(examples(), tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    if size < 0:
        content[content.index(b"PK", 4) - 20] ^= 1  # a bit of the last value of the first array
    path.write_bytes(content[:size] if size >= 0 else content)
    check_same(good, encoded_cache.encode(examples(), tokens, 8))
    check_same(good, encoded_cache.encode(examples(), tokens, 8))
    assert encoded_counts == [3, 3]


@pytest.mark.parametrize("name", ["lengths", "second", "flat"])
def test_an_array_with_a_smaller_size_in_its_header(folder, encoded_counts, name):
    tokens, many = Tokenizer(tiny.VOCAB), examples(A * 3000, B * 3000)
    first = encoded_cache.encode(many, tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    entry = content.index(f"{name}.npy".encode())
    shape = content.index(b"(", content.index(b"'shape'", entry)) + 1
    content[shape] -= 1  # its first digit
    path.write_bytes(content)
    check_same(first, encoded_cache.encode(many, tokens, 8))
    assert encoded_counts == [9000, 9000]


def test_an_array_marked_as_compressed(folder, encoded_counts):
    tokens, many = Tokenizer(tiny.VOCAB), examples(A * 3000, B * 3000)
    first = encoded_cache.encode(many, tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 10] = 14  # LZMA
    path.write_bytes(content)
    check_same(first, encoded_cache.encode(many, tokens, 8))
    assert encoded_counts == [9000, 9000]


def test_the_oldest_files_are_deleted(folder, monkeypatch):
    tokens = Tokenizer(tiny.VOCAB)
    encoded_cache.encode(examples(), tokens, 8)
    (first,) = folder.iterdir()
    monkeypatch.setattr(encoded_cache, "_MAX_BYTES", first.stat().st_size + 10)
    encoded_cache.encode(examples(), tokens, 9)
    assert len(list(folder.iterdir())) == 1 and not first.exists()


def test_an_unwritable_cache_is_ignored(monkeypatch, tmp_path, encoded_counts):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(encoded_cache, "_MIN_ROWS", 2)
    tokens = Tokenizer(tiny.VOCAB)
    check_same(encoded_cache.encode(examples(), tokens, 8), tokens.encode(A, None, 8))


def test_small_sets_are_not_cached(folder, monkeypatch):
    monkeypatch.setattr(encoded_cache, "_MIN_ROWS", 4)
    encoded_cache.encode(examples(), Tokenizer(tiny.VOCAB), 8)
    assert not folder.exists()


@pytest.mark.parametrize("part", ["folder", "file"])
def test_rows_that_others_could_have_written_are_not_read(folder, encoded_counts, part):
    tokens = Tokenizer(tiny.VOCAB)
    encoded_cache.encode(examples(), tokens, 8)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    (folder if part == "folder" else file).chmod(0o777)
    encoded_cache.encode(examples(), tokens, 8)
    assert encoded_counts == [3, 3]
