"""Token ids equal to transformers' BertTokenizer, BERT's truncation of pairs, vocabularies."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import tokenizer
from bert_paddle.models.tokenizer import SPECIAL_TOKENS, Tokenizer, truncate_pair_lengths

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "tokenizer.json").read_text("utf-8")
)


def truncate_in_a_loop(a: int, b: int, max_length: int) -> tuple[int, int]:
    """BERT's own rule, a token at a time."""
    while a + b > max_length:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


def test_pair_truncation_equals_berts_loop():
    for max_length in range(0, 12):
        for a in range(0, 15):
            for b in range(0, 15):
                assert truncate_pair_lengths(a, b, max_length) == truncate_in_a_loop(
                    a, b, max_length
                ), (
                    a,
                    b,
                    max_length,
                )


def test_layout_of_one_and_two_texts():
    tokens = Tokenizer(tiny.VOCAB)
    ids = {token: i for i, token in enumerate(tiny.VOCAB)}
    single = tokens.encode(["the cat"], None, 16)
    assert single.input_ids[0].tolist() == [ids[p] for p in ("[CLS]", "the", "cat", "[SEP]")]
    assert single.segment_b_start.tolist() == [4] and single.truncated == 0
    pair = tokens.encode(["the cat"], ["a dog ran"], 16)
    expected = ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "ran", "[SEP]"]
    assert pair.input_ids[0].tolist() == [ids[p] for p in expected]
    assert pair.segment_b_start.tolist() == [4]
    truncated = tokens.encode(["the cat sat"], ["a dog ran home"], 8)
    expected = ["[CLS]", "the", "cat", "sat", "[SEP]", "a", "dog", "[SEP]"]
    assert truncated.input_ids[0].tolist() == [ids[p] for p in expected]
    assert truncated.segment_b_start.tolist() == [5] and truncated.truncated == 1


def test_empty_texts_have_special_tokens():
    encoded = Tokenizer(tiny.VOCAB).encode([""], [""], 8)
    assert [tiny.VOCAB[i] for i in encoded.input_ids[0]] == ["[CLS]", "[SEP]", "[SEP]"]


def test_saved_tokenizer_loads_back(tmp_path):
    Tokenizer(tiny.VOCAB, do_lower_case=False, settings={"strip_accents": False}).save(tmp_path)
    loaded = tokenizer.load_tokenizer(tmp_path)
    assert loaded.vocab == tiny.VOCAB
    assert (loaded.do_lower_case, loaded.strip_accents) == (False, False)


def test_case_is_inferred_from_the_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "the", "The"]) + "\n")
    assert tokenizer.load_tokenizer(tmp_path).do_lower_case is False
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "the"]) + "\n")
    assert tokenizer.load_tokenizer(tmp_path).do_lower_case is True


def test_vocabulary_from_tokenizer_json(tmp_path):
    vocab = {token: i for i, token in enumerate([*SPECIAL_TOKENS, "Cat"])}
    content = {
        "model": {"type": "WordPiece", "vocab": vocab},
        "normalizer": {"type": "BertNormalizer", "lowercase": False},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = tokenizer.load_tokenizer(tmp_path)
    assert loaded.vocab == list(vocab) and loaded.do_lower_case is False


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (["[PAD]", "[UNK]", "[SEP]", "[MASK]", "a"], r"lacks \[CLS\]"),
        ([*SPECIAL_TOKENS, "a", "b", "a"], "'a' twice, again in line 8"),
    ],
)
def test_bad_vocabulary(vocab, message):
    with pytest.raises(WeightsError, match=message):
        Tokenizer(vocab)


def test_missing_vocabulary_names_the_flag(tmp_path):
    with pytest.raises(WeightsError, match="--vocab_file"):
        tokenizer.load_tokenizer(tmp_path)


def test_vocabulary_lines_end_with_line_feeds_only(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\r\nb\u2028c\n".encode())
    assert tokenizer.read_vocab(path) == ["a", "b\u2028c"]
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsError, match="UTF-8"):
        tokenizer.read_vocab(path)


@pytest.mark.real_weights
@pytest.mark.parametrize("lower", [True, False])
def test_tricky_strings_equal_transformers(minilm_dir, lower):
    tokens = Tokenizer(tokenizer.read_vocab(minilm_dir / "vocab.txt"), do_lower_case=lower)
    key = "lower" if lower else "cased"
    for case in REFERENCE["cases"]:
        # transformers' two implementations differ on a few strings; ours is the Rust one.
        expected = case.get(f"fast_{key}", case[key])
        assert tokens.tokenize_to_ids([case["text"]])[0] == expected, ascii(case["text"])


@pytest.mark.real_weights
@pytest.mark.real_data
@pytest.mark.parametrize("corpus", REFERENCE["corpora"], ids=lambda corpus: corpus["file"])
def test_ids_of_entire_files_equal_transformers(minilm_dir, glue_data_dir, corpus):
    from bert_paddle.glue import tasks
    from bert_paddle.glue.data import tsv

    task_name, file = corpus["file"].split("/")
    split = file.removesuffix(".tsv")
    examples = tsv.read_task_file(tasks.get_task(task_name), glue_data_dir / corpus["file"], split)
    texts = examples.texts_a
    if examples.texts_b is not None:
        pairs = zip(examples.texts_a, examples.texts_b, strict=True)
        texts = [text for pair in pairs for text in pair]
    digest = hashlib.sha256()
    for ids in tokenizer.load_tokenizer(minilm_dir).tokenize_to_ids(texts):
        digest.update((" ".join(map(str, ids)) + "\n").encode())
    assert len(texts) == corpus["texts"]
    assert digest.hexdigest() == corpus["sha256"]


@pytest.fixture(scope="module")
def tokenizers():
    """A vocabulary of single characters and some words."""
    letters = [chr(c) for c in range(33, 127)] + ["中", "文", "σ", "ς", "é", "ß"]
    vocab = [
        *SPECIAL_TOKENS,
        *letters,
        *(f"##{letter}" for letter in letters),
        "new",
        "york",
        "##er",
    ]
    return {lower: Tokenizer(vocab, do_lower_case=lower) for lower in (True, False)}


# Whitespace, characters that are removed, that join or split words, and combining marks.
SPECIAL_CHARACTERS = (
    " \u00a0\u3000\t\n\r\x0b\x1c\x85\u2028\u200b\u200d\x00\ufffd\xad\u0301\u0308\u0327"
    "aAeéEıİΣςß中文①ﬁ가.,'[]#"
)
WORDS = ["[SEP]", "[sep]", "[CLS]", "new york", "Newer", "##er", "x" * 101, "e\u0301", "\u0301"]


@given(
    texts=st.lists(st.lists(st.sampled_from([*SPECIAL_CHARACTERS, " ", "  ", *WORDS])).map("".join))
)
@pytest.mark.parametrize("lower", [True, False])
def test_tokenizing_by_word_equals_tokenizing_the_text(tokenizers, lower, texts):
    expected = [
        tokenizers[lower]._rust.encode(text, add_special_tokens=False).ids for text in texts
    ]
    assert tokenizers[lower].tokenize_to_ids(texts) == expected


def test_lengths():
    texts = [tiny.sentence(random.Random(i)) for i in range(20)]
    encoded = Tokenizer(tiny.VOCAB).encode(texts, None, 8)
    assert encoded.lengths.dtype == np.int32
    assert encoded.lengths.tolist() == [min(8, len(text.split()) + 2) for text in texts]
