"""Tokenizers that are not BERT's WordPiece are refused by name."""

import json
from pathlib import Path

import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.tokenizer import has_vocabulary, load_tokenizer
from bert_paddle.models.vocabulary import SPECIAL_TOKENS

VOCAB = {token: i for i, token in enumerate([*SPECIAL_TOKENS, "a", "b"])}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ],
}


def write(folder: Path, name: str, content: dict) -> Path:
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "tokenizer_config.json",
            {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"},
            r"its tokenizer is BertJapaneseTokenizer \(tokenizer_config.json\)",
        ),
        (
            "config.json",
            {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"},
            r"its tokenizer is BertJapaneseTokenizer \(config.json\)",
        ),
        ("tokenizer_config.json", {"tokenizer_class": "RobertaTokenizerFast"}, "RobertaTokenizer"),
        ("tokenizer_config.json", {"tokenizer_class": "XLNetTokenizer"}, "is XLNetTokenizer"),
        ("tokenizer_config.json", {"tokenizer_class": ["x"]}, r"is \['x'\]"),
        ("tokenizer_config.json", {"init_class": "ErnieTokenizer"}, "is ErnieTokenizer"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "own.T"}}, "code of its own"),
        ("tokenizer_config.json", {"word_tokenizer_type": "mecab"}, "word_tokenizer_type is 'mec"),
        ("tokenizer_config.json", {"subword_tokenizer_type": "character"}, "is 'character'"),
        ("tokenizer_config.json", {"do_basic_tokenize": False}, "do_basic_tokenize is False"),
        ("tokenizer_config.json", {"never_split": ["a"]}, r"never_split is \['a'\]"),
        ("spiece.model", {}, "has spiece.model, the vocabulary of a tokenizer that is not"),
        ("merges.txt", {}, "has merges.txt"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {}}}, "the type of the model"),
        ("tokenizer.json", {"model": {"type": "Unigram", "vocab": []}}, "is 'Unigram'"),
        ("tokenizer.json", {"model": {"unk_token": "<unk>"}}, "unk_token of the model"),
        ("tokenizer.json", {"model": {"max_input_chars_per_word": 9}}, "max_input_chars_per_word"),
        ("tokenizer.json", {"normalizer": {"type": "Sequence"}}, "type of the normalizer"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Metaspace"}}, "is 'Metaspace'"),
        ("tokenizer.json", {"post_processor": {"type": "RobertaProcessing"}}, "is 'Roberta"),
        (
            "tokenizer.json",
            {"post_processor": TEMPLATE | {"single": TEMPLATE["single"][:2]}},
            r"layout of a single .* '\[CLS\] A', not \[CLS\] A \[SEP\]",
        ),
    ],
)
def test_other_tokenizers(tmp_path, name, content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        load_tokenizer(write(tmp_path, name, content))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizerFast", "never_split": None}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "clean_text": True}),
        ("tokenizer.json", {"normalizer": None, "post_processor": TEMPLATE}),
        ("config.json", {"model_type": "bert", "tokenizer_class": None}),
    ],
)
def test_berts_tokenizers(tmp_path, name, content):
    assert len(load_tokenizer(write(tmp_path, name, content))) == len(VOCAB)


def test_a_folder_with_another_vocabulary_only_is_refused_too(tmp_path):
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"\n\x0e\n\x05<unk>")
    assert has_vocabulary(tmp_path)
    with pytest.raises(WeightsError, match="has sentencepiece.bpe.model"):
        load_tokenizer(tmp_path)


def test_another_vocabulary_in_tokenizer_json_is_told(tmp_path):
    other = {token: i for i, token in enumerate([*SPECIAL_TOKENS, "b", "a"])}
    write(tmp_path, "tokenizer.json", {"model": {"type": "WordPiece", "vocab": other}})
    loaded = load_tokenizer(tmp_path)
    assert loaded.vocab == list(VOCAB)
    assert "tokenizer.json has another vocabulary ('a'" in loaded.messages[-1]
