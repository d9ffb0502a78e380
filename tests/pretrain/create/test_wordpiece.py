import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.models.tokenizer import SPECIAL, Tokenizer
from bert_paddle.pretrain.create import wordpiece
from bert_paddle.pretrain.create.wordpiece import WordPieceEncoder, ordinary_ids

CHINESE = "我们喜欢北京大学的图书馆"
VOCAB = [*tiny.VOCAB, *"Théé!-[]#", *dict.fromkeys(CHINESE), "##é", "maß", "[unused3]"]
VOCAB = list(dict.fromkeys(VOCAB))
UNCASED, CASED = Tokenizer(VOCAB), Tokenizer(VOCAB, do_lower_case=False)
STRIPPED = Tokenizer(VOCAB, False, {"strip_accents": True, "tokenize_chinese_chars": False})
ODD = [
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


def cut(pieces):
    return [
        pieces.ids[a:b].tolist()
        for a, b in zip(pieces.offsets[:-1], pieces.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize("rules", [UNCASED, CASED, STRIPPED], ids=["uncased", "cased", "stripped"])
def test_ids_are_the_tokenizers(rules):
    pieces = WordPieceEncoder(rules).encode(ODD)
    assert cut(pieces) == rules.pieces(ODD)
    assert pieces.ids.dtype == np.int32 and pieces.offsets[-1] == len(pieces.ids)


@pytest.mark.parametrize("rules", [UNCASED, CASED], ids=["uncased", "cased"])
def test_every_character_of_many_alphabets(rules):
    codes = [*range(0x3100), *range(0x3100, 0x30000, 97)]
    texts = [f"a{chr(c)}b {chr(c)}" for c in codes if not 0xD800 <= c < 0xE000]
    assert cut(WordPieceEncoder(rules).encode(texts)) == rules.pieces(texts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=30), max_size=8))
def test_any_text_is_cut_as_the_tokenizer_does(texts):
    assert cut(WordPieceEncoder(UNCASED).encode(texts)) == UNCASED.pieces(texts)


def test_special_tokens_in_text_are_ordinary_words():
    pieces = WordPieceEncoder(UNCASED).encode(["the [MASK] cat [SEP]"])
    assert not {UNCASED.mask_id, UNCASED.sep_id} & set(pieces.ids.tolist())


def test_cutting_into_slices_and_forgetting_words_change_nothing(monkeypatch):
    whole = WordPieceEncoder(UNCASED).encode(ODD * 3)
    monkeypatch.setattr(wordpiece, "_SLICE_CHARS", 20)
    monkeypatch.setattr(wordpiece, "_WORDS_KEPT", 4)
    sliced = WordPieceEncoder(UNCASED).encode(ODD * 3)
    for name in ("ids", "offsets", "starts"):
        assert np.array_equal(getattr(whole, name), getattr(sliced, name))


def test_no_sentences():
    pieces = WordPieceEncoder(UNCASED).encode([])
    assert len(pieces.ids) == 0 and pieces.offsets.tolist() == [0]


def test_a_word_starts_at_each_piece_without_sharps():
    pieces = WordPieceEncoder(UNCASED).encode(["xcat the, qq", "zz"])
    starts = [not UNCASED.vocab[i].startswith("##") for i in pieces.ids]
    assert pieces.starts.tolist() == starts and not all(starts)


def test_jieba_joins_chinese_characters_and_leaves_the_ids():
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


def test_random_replacements_are_ordinary_pieces():
    pieces = [VOCAB[i] for i in ordinary_ids(VOCAB)]
    assert set(VOCAB) - set(pieces) == {*SPECIAL, "[unused3]"}
