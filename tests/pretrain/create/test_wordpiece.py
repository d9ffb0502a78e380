import marshal
import tempfile

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.models.tokenizer import SPECIAL_TOKENS, Tokenizer
from bert_paddle.pretrain.create import segmenter, wordpiece
from bert_paddle.pretrain.create.wordpiece import WordPieceEncoder
from bert_paddle.pretrain.data.masking import replacement_ids

CHINESE = "我们喜欢北京大学的图书馆"
VOCAB = [*tiny.VOCAB, *"Théé!-[]#", *dict.fromkeys(CHINESE), "##é", "maß", "[unused3]"]
VOCAB = list(dict.fromkeys(VOCAB))
UNCASED, CASED = Tokenizer(VOCAB), Tokenizer(VOCAB, do_lower_case=False)
STRIPPED = Tokenizer(VOCAB, False, {"strip_accents": True, "tokenize_chinese_chars": False})
UNUSUAL = [
    "The cat's mat, good!",
    "",
    "   ",
    "Élan — naïve “quotes” maß İt Thé",
    "e\u0301 a\u0301\u0327b",
    "中文字 abc" + CHINESE + "the",
    "the\u200bcat\u00a0sat\u2028on\u3000mat",
    "tab\tnew\nline\rend\x0b\x0c",
    "nul\x00 one\x01 ctl\x1c\x1f\x7f\x85 bad\ufffd",
    "\U0001f600ok \U0001f44d\U0001f3fd",
    "x" * 100 + " " + "x" * 101 + " é" * 101,
    "한국어 日本語 ｆｕｌｌ",
    "[the] ##s #s [ MASK ]",
]


def split_ids(encoded):
    return [
        encoded.ids[a:b].tolist()
        for a, b in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize(
    "tokenizer", [UNCASED, CASED, STRIPPED], ids=["uncased", "cased", "stripped"]
)
def test_ids_are_the_tokenizers(tokenizer):
    encoded = WordPieceEncoder(tokenizer).encode(UNUSUAL)
    assert split_ids(encoded) == tokenizer.tokenize_to_ids(UNUSUAL)
    assert encoded.ids.dtype == np.int32 and encoded.offsets[-1] == len(encoded.ids)


@pytest.mark.parametrize("tokenizer", [UNCASED, CASED], ids=["uncased", "cased"])
def test_every_character_of_many_alphabets(tokenizer):
    codes = [*range(0x3100), *range(0x3100, 0x30000, 97)]
    texts = [f"a{chr(c)}b {chr(c)}" for c in codes if not 0xD800 <= c < 0xE000]
    assert split_ids(WordPieceEncoder(tokenizer).encode(texts)) == tokenizer.tokenize_to_ids(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), max_size=8))
def test_any_text_is_tokenized_as_by_the_tokenizer(texts):
    assert split_ids(WordPieceEncoder(UNCASED).encode(texts)) == UNCASED.tokenize_to_ids(texts)


def test_special_tokens_in_text_are_ordinary_words():
    encoded = WordPieceEncoder(UNCASED).encode(["the [MASK] cat [SEP]"])
    assert not {UNCASED.mask_id, UNCASED.sep_id} & set(encoded.ids.tolist())


def test_slicing_and_clearing_the_cache_change_nothing(monkeypatch):
    reference = WordPieceEncoder(UNCASED).encode(UNUSUAL * 3)
    monkeypatch.setattr(wordpiece, "_SLICE_CHARS", 20)
    monkeypatch.setattr(wordpiece, "_MAX_CACHED_WORDS", 4)
    sliced = WordPieceEncoder(UNCASED).encode(UNUSUAL * 3)
    for name in ("ids", "offsets", "starts"):
        assert np.array_equal(getattr(reference, name), getattr(sliced, name))


def test_no_sentences():
    encoded = WordPieceEncoder(UNCASED).encode([])
    assert len(encoded.ids) == 0 and encoded.offsets.tolist() == [0]


def test_a_word_starts_at_each_piece_without_hashes():
    encoded = WordPieceEncoder(UNCASED).encode(["xcat the, qq", "zz"])
    starts = [not UNCASED.vocab[i].startswith("##") for i in encoded.ids]
    assert encoded.starts.tolist() == starts and not all(starts)


def test_jieba_joins_chinese_characters_without_changing_ids():
    pytest.importorskip("jieba")
    texts = ["the 我们喜欢北京大学的 cat", "图书馆", "北 京", "北a京", "cat xdog"]
    plain, joined = (
        WordPieceEncoder(UNCASED).encode(texts),
        WordPieceEncoder(UNCASED, "jieba").encode(texts),
    )
    assert np.array_equal(plain.ids, joined.ids)
    spelled = [
        "".join(
            ("|" if start else "") + UNCASED.vocab[i].removeprefix("##")
            for i, start in zip(joined.ids[a:b], joined.starts[a:b], strict=True)
        )
        for a, b in zip(joined.offsets[:-1], joined.offsets[1:], strict=True)
    ]
    assert spelled == [
        "|the|我们|喜欢|北京大学|的|cat",
        "|图书馆",
        "|北|京",  # a space between them in the text
        "|北|a|京",
        "|cat|xdog",
    ]


def test_replacement_ids_exclude_special_tokens():
    encoded = [VOCAB[i] for i in replacement_ids(VOCAB)]
    assert set(VOCAB) - set(encoded) == {*SPECIAL_TOKENS, "[unused3]"}


def test_jieba_does_not_read_its_cache_of_any_user(monkeypatch, tmp_path):
    """Its default is a fixed name in the folder for temporary files, read as Python's marshal."""
    pytest.importorskip("jieba")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    planted = ({"我们喜欢": 10**6, "我们喜": 0, "我们": 0, "我": 0}, 10**6)
    (tmp_path / "jieba.cache").write_bytes(marshal.dumps(planted))
    assert list(segmenter.load_segmenter("jieba")("我们喜欢")) == ["我们", "喜欢"]
    assert (tmp_path / "own" / "bert_paddle" / "jieba" / "jieba.cache").is_file()
    (tmp_path / "own").chmod(0o777)
    assert list(segmenter.load_segmenter("jieba")("我们喜欢")) == ["我们", "喜欢"]
