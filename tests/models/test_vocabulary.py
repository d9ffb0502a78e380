"""Files that are given as a vocab.txt, and are something else or almost one."""

import json
from pathlib import Path

import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.vocabulary import (
    SPECIAL_TOKENS,
    check_vocabulary,
    extract_vocab,
    read_vocab,
)

PIECES = [*SPECIAL_TOKENS, "a", "##b"]


@pytest.mark.parametrize(
    "text",
    ["\ufeff" + "\n".join(PIECES), "\n".join(PIECES) + "\n\n\n", "\r\n".join([*PIECES, "", ""])],
)
def test_a_byte_order_mark_and_blank_lines_at_the_end_are_no_pieces(tmp_path, text):
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    assert read_vocab(tmp_path / "vocab.txt") == PIECES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x0c", "is a sentencepiece model"),
        (b"<unk>\t0\n<s>\t0\n\xe2\x96\x81the\t-3.46\n", r"number after each piece \('<unk>"),
        (b"the 1061396\nof 593677\nand 416629\n", "one word piece per line and nothing else"),
        (json.dumps({"model": {"vocab": {}}}, indent=1).encode(), "is JSON.*tokenizer.json"),
        (json.dumps({"[PAD]": 0}).encode(), "is JSON"),
    ],
)
def test_other_files_are_named(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_vocab(tmp_path / "vocab.txt")


@pytest.mark.parametrize("vocab", [["\ufeffa", *SPECIAL_TOKENS], [*SPECIAL_TOKENS, ""]])
def test_what_vocab_txt_cannot_store_is_refused(vocab):
    with pytest.raises(WeightsError, match="cannot store"):
        check_vocabulary(vocab, {token: i for i, token in enumerate(vocab)})


def test_the_tokens_of_a_tokenizer_json_are_in_the_order_of_their_ids():
    def extract(vocab):
        return extract_vocab(Path("tokenizer.json"), {"model": {"vocab": vocab}})

    assert extract({"b": 1, "a": 0}) == ["a", "b"]
    for vocab in ({"a": 0, "b": 2}, {"a": 0, "b": 0}, {"a": 1, "b": 2}):
        with pytest.raises(WeightsError, match="the ids of its vocabulary are not 0 to 1"):
            extract(vocab)
