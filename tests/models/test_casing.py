"""Whether text is lower-cased: the flag, what files declare, published names, the word pieces."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.models import casing
from bert_paddle.models.casing import count_cased_pieces
from bert_paddle.models.tokenizer import load_tokenizer
from bert_paddle.models.vocabulary import SPECIAL_TOKENS

CHINESE = [*SPECIAL_TOKENS, "<S>", "<T>", "[unused1]", *"中文我你iphnba0", "##iphone", "nba"]
LOWER = [*SPECIAL_TOKENS, "the", "##er", "iphone", "nba"]
CASED = [*LOWER, "The", "NBA", "##S"]


def write(folder: Path, vocab: list[str], **files: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_capitals_of_pieces_that_are_not_words_do_not_count(tmp_path):
    loaded = load_tokenizer(write(tmp_path, CHINESE))
    assert loaded.do_lower_case
    assert loaded.vocab[loaded.tokenize_to_ids(["NBA"])[0][0]] == "nba"
    (message,) = loaded.messages
    assert "text is lower-cased (0 of 8 word pieces with letters have a capital" in message
    assert "--do_lower_case 0 overrides this" in message


def test_a_few_words_in_place_of_unused_ones_do_not_make_a_vocabulary_cased():
    words = ["".join((chr(97 + i // 26), chr(97 + i % 26))) for i in range(600)]
    assert casing.decide_casing(None, [], Path("x"), [*words, "COVID", "Acme"]).lower
    assert not casing.decide_casing(None, [], Path("x"), [*words, *"ABCDEFGHIJ"]).lower


@given(st.lists(st.text()))
def test_any_vocabulary_is_counted(vocab):
    capitals, letters = count_cased_pieces(vocab)
    assert 0 <= capitals <= letters <= len(vocab)


@pytest.mark.parametrize(
    ("flag", "files", "lower", "reason"),
    [
        (None, {}, False, "3 of 7 word pieces with letters have a capital"),
        (None, {"tokenizer_config": {"do_lower_case": False}}, False, "in tokenizer_config.json"),
        (
            None,
            {"tokenizer_json": {"normalizer": {"lowercase": False}}},
            False,
            "lowercase in tokenizer.json",
        ),
        (
            None,
            {
                "tokenizer_config": {"do_lower_case": False},
                "tokenizer_json": {"normalizer": {"lowercase": True}},
            },
            False,
            "tokenizer_config.json, but lowercase in tokenizer.json: true",
        ),
        (True, {"tokenizer_config": {"do_lower_case": False}}, True, "--do_lower_case 1"),
        (False, {}, False, "--do_lower_case 0"),
    ],
)
def test_order_of_precedence(tmp_path, flag, files, lower, reason):
    files = {name.replace("_json", ""): content for name, content in files.items()}
    loaded = load_tokenizer(write(tmp_path, CASED, **files), None, flag)
    assert loaded.do_lower_case is lower
    assert reason in loaded.messages[0] and len(loaded.messages) == 1


@pytest.mark.parametrize(
    ("vocab", "declared", "effect"),
    [
        (CASED, True, "pieces with capitals are never used.*--do_lower_case 0"),
        (LOWER, False, r"words with capitals are split or become \[UNK\].*--do_lower_case 1"),
    ],
)
def test_contradictions_are_told(tmp_path, vocab, declared, effect):
    write(tmp_path, vocab, tokenizer_config={"do_lower_case": declared})
    loaded = load_tokenizer(tmp_path)
    assert loaded.do_lower_case is declared
    warning = loaded.messages[1]
    assert warning.startswith(f"warning: tokenizer: {tmp_path / 'vocab.txt'}: do_lower_case is")
    assert re.search(effect, warning)


def test_published_names(tmp_path):
    for name, lower in (("bert-base-uncased", True), ("bert-base-multilingual-cased", False)):
        loaded = load_tokenizer(write(tmp_path / name, CASED if not lower else LOWER))
        assert loaded.do_lower_case is lower and f"as published for {name}" in loaded.messages[0]
    # As published by Hugging Face and PaddleNLP, though its vocabulary has no capitals.
    loaded = load_tokenizer(write(tmp_path / "bert-base-chinese", CHINESE))
    assert not loaded.do_lower_case and "give --do_lower_case 1" in loaded.messages[1]


def test_the_flag_is_saved(tmp_path):
    loaded = load_tokenizer(write(tmp_path / "model", CASED), None, True)
    (tmp_path / "saved").mkdir()
    loaded.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").do_lower_case is True


def test_settings_beside_vocab_file_replace_the_models(tmp_path):
    model = write(tmp_path / "model", LOWER, tokenizer_config={"do_lower_case": True})
    shards = write(tmp_path / "shards", CASED, tokenizer_config={"do_lower_case": False})
    assert not load_tokenizer(model, str(shards / "vocab.txt")).do_lower_case
    (shards / "tokenizer_config.json").unlink()
    assert load_tokenizer(model, str(shards / "vocab.txt")).do_lower_case


def test_accents_and_chinese_characters_follow_the_files(tmp_path):
    vocab = [*SPECIAL_TOKENS, "é", "e", "中", "文", "中文"]
    settings = {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}
    loaded = load_tokenizer(write(tmp_path, vocab, tokenizer_config=settings))
    pieces = [loaded.vocab[i] for i in loaded.tokenize_to_ids(["É 中文"])[0]]
    assert pieces == ["é", "中文"]
    normalizer = {"strip_accents": True, "handle_chinese_chars": True, "lowercase": True}
    write(tmp_path, vocab, tokenizer={"normalizer": normalizer}, tokenizer_config={})
    loaded = load_tokenizer(tmp_path)
    pieces = [loaded.vocab[i] for i in loaded.tokenize_to_ids(["É 中文"])[0]]
    assert pieces == ["e", "中", "文"]
