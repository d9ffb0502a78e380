import numpy as np
import pytest
import tiny

from bert_paddle.glue.data import encoded_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.tokenizer import Tokenizer


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(encoded_cache, "_LEAST_ROWS", 2)
    return tmp_path / "bert_paddle" / "encoded"


@pytest.fixture
def asked(monkeypatch):
    """How many texts the tokenizer has been asked to encode."""
    counts, real = [], Tokenizer.encode

    def encode(self, texts_a, *rest):
        counts.append(len(texts_a))
        return real(self, texts_a, *rest)

    monkeypatch.setattr(Tokenizer, "encode", encode)
    return counts


A = ["the cat sat on the red mat", "", "a dog"]
B = ["it was good", "bad", "dull plot and poor cast"]


def examples(a=A, b=None):
    return Examples(list(a), list(b) if b else None, None, "here")


def check_same(one, other):
    assert [row.tolist() for row in one.input_ids] == [row.tolist() for row in other.input_ids]
    assert one.second.tolist() == other.second.tolist() and one.cut == other.cut
    assert {row.dtype for row in one.input_ids} == {np.dtype(np.int32)}


@pytest.mark.parametrize("second", [None, B])
def test_found_again(folder, asked, second):
    tokens = Tokenizer(tiny.VOCAB)
    first = encoded_cache.encode(examples(b=second), tokens, 8)
    check_same(first, encoded_cache.encode(examples(b=second), tokens, 8))
    assert asked == [3] and first.cut > 0


def test_anything_else_is_encoded_anew(folder, asked):
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
    assert len(asked) == len(cases)
    for given, tokenizer, length in cases:
        found = encoded_cache.encode(given, tokenizer, length)
        check_same(found, tokenizer.encode(given.texts_a, given.texts_b, length))
    assert len(asked) == 2 * len(cases)  # by the comparison alone


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_broken_file_is_made_again(folder, asked, size):
    tokens = Tokenizer(tiny.VOCAB)
    good = encoded_cache.encode(examples(), tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    if size < 0:
        content[content.index(b"PK", 4) - 20] ^= 1  # a bit of the last value of the first array
    path.write_bytes(content[:size] if size >= 0 else content)
    check_same(good, encoded_cache.encode(examples(), tokens, 8))
    check_same(good, encoded_cache.encode(examples(), tokens, 8))
    assert asked == [3, 3]


@pytest.mark.parametrize("name", ["lengths", "second", "flat"])
def test_an_array_whose_header_says_fewer(folder, asked, name):
    tokens, many = Tokenizer(tiny.VOCAB), examples(A * 3000, B * 3000)
    first = encoded_cache.encode(many, tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    entry = content.index(f"{name}.npy".encode())
    shape = content.index(b"(", content.index(b"'shape'", entry)) + 1
    content[shape] -= 1  # its first digit
    path.write_bytes(content)
    check_same(first, encoded_cache.encode(many, tokens, 8))
    assert asked == [9000, 9000]


def test_an_array_said_to_be_compressed(folder, asked):
    tokens, many = Tokenizer(tiny.VOCAB), examples(A * 3000, B * 3000)
    first = encoded_cache.encode(many, tokens, 8)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 10] = 14  # LZMA
    path.write_bytes(content)
    check_same(first, encoded_cache.encode(many, tokens, 8))
    assert asked == [9000, 9000]


def test_the_oldest_go(folder, monkeypatch):
    tokens = Tokenizer(tiny.VOCAB)
    encoded_cache.encode(examples(), tokens, 8)
    (first,) = folder.iterdir()
    monkeypatch.setattr(encoded_cache, "_MOST_BYTES", first.stat().st_size + 10)
    encoded_cache.encode(examples(), tokens, 9)
    assert len(list(folder.iterdir())) == 1 and not first.exists()


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, asked):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(encoded_cache, "_LEAST_ROWS", 2)
    tokens = Tokenizer(tiny.VOCAB)
    check_same(encoded_cache.encode(examples(), tokens, 8), tokens.encode(A, None, 8))


def test_small_sets_leave_nothing(folder, monkeypatch):
    monkeypatch.setattr(encoded_cache, "_LEAST_ROWS", 4)
    encoded_cache.encode(examples(), Tokenizer(tiny.VOCAB), 8)
    assert not folder.exists()
