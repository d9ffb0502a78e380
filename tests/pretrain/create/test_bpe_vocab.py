"""Training a byte-level BPE vocabulary: deterministic, complete, usable by the tokenizer."""

import json
from pathlib import Path

import bpe_texts
import pytest
import tiny_gpt2

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.models.byte_level_bpe import load_bpe_tokenizer
from bert_paddle.pretrain.create import vocab


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "a.txt"
    path.write_text("\n".join(tiny_gpt2.sentences(200)), encoding="utf-8")
    return path


def run(corpus: Path, folder: Path, *more: str) -> None:
    flags = ["--kind", "bpe", "--input_files", str(corpus), "--output_dir", str(folder)]
    vocab.run(vocab.parse_args([*flags, *more]))


def test_the_same_text_gives_the_same_vocabulary_which_spells_every_text(corpus, tmp_path, capsys):
    for name in ("a", "b"):
        run(corpus, tmp_path / name, "--vocab_size", "400")
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    tokenizer = load_bpe_tokenizer(tmp_path / "a")
    assert f"{len(tokenizer)} tokens from" in capsys.readouterr().out
    assert len(tokenizer) <= 400 and tokenizer.id_of("eos") == len(tokenizer) - 1
    ids = json.loads((tmp_path / "a" / "vocab.json").read_text("utf-8"))
    assert "\u0120baker" in ids  # with the blank before it
    for text in bpe_texts.texts(100):
        assert tokenizer.decode(tokenizer.encode_texts([text])[0]) == text


def test_mistakes(corpus, tmp_path):
    with pytest.raises(DataError, match="--vocab_size 200 is too small for the 256 bytes"):
        run(corpus, tmp_path / "a", "--vocab_size", "200")
    run(corpus, tmp_path / "b", "--vocab_size", "300")
    with pytest.raises(FlagError, match="already"):
        run(corpus, tmp_path / "b", "--vocab_size", "300")
