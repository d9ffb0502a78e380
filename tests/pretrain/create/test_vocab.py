"""Training a vocabulary: deterministic, in BERT's order, and usable by the tokenizer."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.models import tokenizer
from bert_paddle.models.tokenizer import SPECIAL_TOKENS
from bert_paddle.pretrain.create import vocab, word_counts
from bert_paddle.pretrain.create.documents import Document

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "train_vocab.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Invented words with many equally frequent letters and pairs, where ties must be broken."""
    rng = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz\u00e4\u00f6"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(400)]
    lines = [" ".join(rng.choices(words, k=8)).capitalize() + "." for _ in range(300)]
    path = tmp_path_factory.mktemp("corpus") / "a.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(corpus: Path, folder: Path, *more: str) -> list[str]:
    vocab.run(vocab.parse_args(["--input_files", str(corpus), "--output_dir", str(folder), *more]))
    return tokenizer.read_vocab(folder / "vocab.txt")


def count(*sentences: str, lower: bool = True) -> Counter[str]:
    return vocab.count_words([Document(0, 0, list(sentences), "invented")], lower)


def train(words: Counter[str], size: int = 100, frequency: int = 1, alphabet: int = 1000):
    warnings: list[str] = []
    return vocab.train(words, size, frequency, alphabet, warnings.append), warnings


def test_the_order_is_special_tokens_letters_inner_letters_merges():
    pieces, warnings = train(Counter({"cab": 4, "ab": 9, "!": 2}))
    assert pieces == [*SPECIAL_TOKENS, "!", "a", "b", "c", "##a", "##b", "ab", "##ab", "cab"]
    assert len(warnings) == 1 and "14 word pieces instead of 100" in warnings[0]


def test_hash_seed_and_threads_do_not_change_the_vocabulary(corpus, tmp_path):
    for run_number in range(3):
        more = {"RAYON_NUM_THREADS": str(run_number + 1), "PYTHONHASHSEED": str(run_number)}
        command = [sys.executable, str(SCRIPT), "--input_files", str(corpus), "--vocab_size"]
        command += ["500", "--output_dir", f"out{run_number}"]
        subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, **more})
    first, *others = ((tmp_path / f"out{i}/vocab.txt").read_bytes() for i in range(3))
    assert others == [first, first] and first.count(b"\n") == 500


@pytest.mark.parametrize("lower", [True, False])
def test_the_folder_loads_with_the_same_casing_and_covers_the_text(corpus, tmp_path, lower):
    run(corpus, tmp_path, "--vocab_size", "300", "--do_lower_case", str(int(lower)))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokenizer_config.json",
        "vocab.txt",
    ]
    loaded = tokenizer.load_tokenizer(tmp_path)
    assert loaded.do_lower_case is lower and loaded.pad_id == 0 and len(loaded) == 300
    lines = corpus.read_text(encoding="utf-8").split("\n")
    assert not any(loaded.unk_id in ids for ids in loaded.tokenize_to_ids(lines))
    assert (
        any(piece.isupper() for piece in loaded.vocab if piece not in SPECIAL_TOKENS) is not lower
    )
    assert any("\u00e4" in piece for piece in loaded.vocab) is not lower


def test_words_are_split_as_in_bert():
    assert count("Caf\u00e9 caf\u00e9, don't 中文") == {
        "cafe": 2, ",": 1, "don": 1, "'": 1, "t": 1, "中": 1, "文": 1
    }  # fmt: skip
    assert count("Caf\u00e9 " + "x" * 101, lower=False) == {"Caf\u00e9": 1}


def test_splitting_in_batches_counts_the_same(monkeypatch):
    sentences = [f"a{i % 7}, b{i % 3} c" for i in range(50)]
    expected = count(*sentences)
    monkeypatch.setattr(vocab, "_MAX_RAW_STRINGS", 2)
    documents = [Document(i, 0, [line], "invented") for i, line in enumerate(sentences)]
    assert vocab.count_words(documents, True) == expected


def test_counts_beyond_one_library_text_are_kept(monkeypatch):
    """The most frequent pair is merged first, also where a word is repeated in several texts."""
    monkeypatch.setattr(word_counts, "_WORDS_PER_TEXT", 3)
    pieces, _ = train(Counter({"ab": 7, "cd": 6, "ef": 8}), size=15)
    assert pieces[-3:] == ["##d", "##f", "ef"]


def test_rare_characters_are_omitted_with_a_warning():
    pieces, warnings = train(Counter({"ab": 5, "a\u2603b": 1, "\u2603": 1, "cc": 1}), alphabet=3)
    assert pieces[5:] == ["a", "b", "c", "##b", "##c", "ab", "cc"]
    assert "1 of 4 characters" in warnings[0] and "--limit_alphabet 3" in warnings[0]


def test_min_frequency_stops_merging():
    pieces, _ = train(Counter({"ab": 3, "cd": 2}), frequency=3)
    assert "ab" in pieces and "cd" not in pieces


def test_a_size_too_small_for_the_letters_names_the_minimum():
    with pytest.raises(DataError, match="give 9 or more"):
        train(Counter({"ab": 1, "ac": 1, "ba": 0}), size=8, alphabet=2)
    assert len(train(Counter({"ab": 1, "ba": 1}), size=9)[0]) == 9


def test_an_existing_vocabulary_is_replaced_only_with_overwrite(corpus, tmp_path):
    first = run(corpus, tmp_path, "--vocab_size", "100")
    with pytest.raises(FlagError, match="--overwrite"):
        run(corpus, tmp_path, "--vocab_size", "90")
    assert tokenizer.read_vocab(tmp_path / "vocab.txt") == first
    assert len(run(corpus, tmp_path, "--vocab_size", "90", "--overwrite")) == 90


def test_text_without_words_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "a.txt").write_text("\n \n")
    with pytest.raises(DataError, match="no words in"):
        run(tmp_path / "a.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_inputs_are_one_text(tmp_path):
    for name, word in (("a.txt", "cab"), ("b.txt", "dab")):
        (tmp_path / name).write_text(word)
    both = run(Path(f"{tmp_path / 'a.txt'}, {tmp_path / 'b.txt'}"), tmp_path / "out")
    assert {"c", "d", "##ab"} <= set(both)


def test_all_flag_problems_are_reported_together(tmp_path):
    (tmp_path / "file").write_text("")
    flags = ["--output_dir", str(tmp_path / "file"), "--language", "english", "--form", "poem"]
    with pytest.raises(FlagError) as raised:
        vocab.parse_args(flags)
    message = str(raised.value)
    for part in ("--input_files is required", "is a file", "english", "--form must be one of"):
        assert part in message
