"""Word pieces equal to transformers' BertTokenizer, BERT's pair truncation, vocabularies."""

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
from bert_paddle.models.tokenizer import SPECIAL, Tokenizer, keep_of_pair

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "tokenizer.json").read_text("utf-8")
)


def truncated_by_the_loop(a: int, b: int, room: int) -> tuple[int, int]:
    """BERT's own rule, a piece at a time."""
    while a + b > room:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


def test_pair_truncation_equals_berts_loop():
    for room in range(0, 12):
        for a in range(0, 15):
            for b in range(0, 15):
                assert keep_of_pair(a, b, room) == truncated_by_the_loop(a, b, room), (a, b, room)


def test_layout_of_one_and_two_texts():
    tokens = Tokenizer(tiny.VOCAB)
    ids = {piece: i for i, piece in enumerate(tiny.VOCAB)}
    one = tokens.encode(["the cat"], None, 16)
    assert one.input_ids[0].tolist() == [ids[p] for p in ("[CLS]", "the", "cat", "[SEP]")]
    assert one.second.tolist() == [4] and one.cut == 0
    two = tokens.encode(["the cat"], ["a dog ran"], 16)
    wanted = ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "ran", "[SEP]"]
    assert two.input_ids[0].tolist() == [ids[p] for p in wanted]
    assert two.second.tolist() == [4]
    cut = tokens.encode(["the cat sat"], ["a dog ran home"], 8)
    wanted = ["[CLS]", "the", "cat", "sat", "[SEP]", "a", "dog", "[SEP]"]
    assert cut.input_ids[0].tolist() == [ids[p] for p in wanted]
    assert cut.second.tolist() == [5] and cut.cut == 1


def test_empty_text_still_has_its_frame():
    encoded = Tokenizer(tiny.VOCAB).encode([""], [""], 8)
    assert [tiny.VOCAB[i] for i in encoded.input_ids[0]] == ["[CLS]", "[SEP]", "[SEP]"]


def test_saved_tokenizer_loads_back(tmp_path):
    Tokenizer(tiny.VOCAB, do_lower_case=False, settings={"strip_accents": False}).save(tmp_path)
    again = tokenizer.load(tmp_path)
    assert again.vocab == tiny.VOCAB
    assert (again.do_lower_case, again.strip_accents) == (False, False)


def test_case_is_guessed_from_the_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "the", "The"]) + "\n")
    assert tokenizer.load(tmp_path).do_lower_case is False
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, "the"]) + "\n")
    assert tokenizer.load(tmp_path).do_lower_case is True


def test_vocabulary_out_of_tokenizer_json(tmp_path):
    vocab = {piece: i for i, piece in enumerate([*SPECIAL, "Cat"])}
    content = {
        "model": {"type": "WordPiece", "vocab": vocab},
        "normalizer": {"type": "BertNormalizer", "lowercase": False},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    loaded = tokenizer.load(tmp_path)
    assert loaded.vocab == list(vocab) and loaded.do_lower_case is False


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["[PAD]", "[UNK]", "[SEP]", "[MASK]", "a"], r"lacks \[CLS\]"),
        ([*SPECIAL, "a", "b", "a"], "'a' twice, again in line 8"),
    ],
)
def test_bad_vocabulary(pieces, said):
    with pytest.raises(WeightsError, match=said):
        Tokenizer(pieces)


def test_no_vocabulary_names_the_way_out(tmp_path):
    with pytest.raises(WeightsError, match="--vocab_file"):
        tokenizer.load(tmp_path)


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
        # On a few exotic strings transformers' two implementations differ; ours is the Rust one.
        wanted = case.get(f"fast_{key}", case[key])
        assert tokens.pieces([case["text"]])[0] == wanted, ascii(case["text"])


@pytest.mark.real_weights
@pytest.mark.real_data
@pytest.mark.parametrize("corpus", REFERENCE["corpora"], ids=lambda corpus: corpus["file"])
def test_ids_of_whole_files_equal_transformers(minilm_dir, glue_data_dir, corpus):
    from bert_paddle.glue import tasks
    from bert_paddle.glue.data import tsv

    task_name, file = corpus["file"].split("/")
    split = file.removesuffix(".tsv")
    examples = tsv.load(tasks.get_task(task_name), glue_data_dir / corpus["file"], split)
    texts = examples.texts_a
    if examples.texts_b is not None:
        pairs = zip(examples.texts_a, examples.texts_b, strict=True)
        texts = [text for pair in pairs for text in pair]
    digest = hashlib.sha256()
    for ids in tokenizer.load(minilm_dir).pieces(texts):
        digest.update((" ".join(map(str, ids)) + "\n").encode())
    assert len(texts) == corpus["texts"]
    assert digest.hexdigest() == corpus["sha256"]


@pytest.fixture(scope="module")
def known():
    """A vocabulary of single characters and some words."""
    letters = [chr(c) for c in range(33, 127)] + ["中", "文", "σ", "ς", "é", "ß"]
    pieces = [*SPECIAL, *letters, *(f"##{one}" for one in letters), "new", "york", "##er"]
    return {lower: Tokenizer(pieces, do_lower_case=lower) for lower in (True, False)}


# Blanks of all kinds, what is removed, what joins or splits, marks that join the sign before.
ODD = (
    " \u00a0\u3000\t\n\r\x0b\x1c\x85\u2028\u200b\u200d\x00\ufffd\xad\u0301\u0308\u0327"
    "aAeéEıİΣςß中文①ﬁ가.,'[]#"
)
WORDS = ["[SEP]", "[sep]", "[CLS]", "new york", "Newer", "##er", "x" * 101, "e\u0301", "\u0301"]


@given(texts=st.lists(st.lists(st.sampled_from([*ODD, " ", "  ", *WORDS])).map("".join)))
@pytest.mark.parametrize("lower", [True, False])
def test_word_by_word_is_as_the_whole_text(known, lower, texts):
    wanted = [known[lower]._rust.encode(text, add_special_tokens=False).ids for text in texts]
    assert known[lower].pieces(texts) == wanted


def test_lengths():
    texts = [tiny.sentence(random.Random(i)) for i in range(20)]
    encoded = Tokenizer(tiny.VOCAB).encode(texts, None, 8)
    assert encoded.lengths.dtype == np.int32
    assert encoded.lengths.tolist() == [min(8, len(text.split()) + 2) for text in texts]
