"""Shards of [UNK] or of random pairs are not made without a word."""

import json
import random

import pytest
import tiny

from bert_paddle.common.errors import DataError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import create_data, result_checks, vocab
from bert_paddle.pretrain.create.args import parse_args
from bert_paddle.pretrain.create.documents import Document

BURMESE = "\u1000\u1001\u1002\u1003\u1010"


@pytest.fixture
def create(tmp_path):
    """Creates shards of lines of text; returns the metadata."""
    (tmp_path / "model").mkdir()
    Tokenizer(tiny.VOCAB).save(tmp_path / "model")

    def run(text: str, *flags: str) -> dict:
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        argv = ["--input_files", tmp_path / "text.txt", "--output_dir", tmp_path / "out"]
        argv += ["--vocab_file", tmp_path / "model", "--test_share", 0, "--dupe_factor", 2]
        argv += ["--max_seq_length", 32, "--max_predictions_per_seq", 4]
        create_data.run(parse_args([*map(str, argv), *flags]))
        return json.loads((tmp_path / "out" / "out_metadata.json").read_text())

    return run


def documents(count, sentences, end=" .", seed=0):
    rng = random.Random(seed)
    return "\n\n".join(
        "\n".join(tiny.sentence(rng, 7) + end for _ in range(sentences)) for _ in range(count)
    )


def test_the_share_of_unknown_words_is_printed_and_recorded(create, capsys):
    metadata = create(documents(20, 4).replace("dog", "\u1000"))
    count = documents(20, 4).split().count("dog")
    assert count and metadata["unknown"] == count
    assert metadata["pieces"] == len(documents(20, 4).split())
    assert metadata["unknown_share"] == count / metadata["pieces"]
    (shard,) = metadata["shards"]
    assert shard["unknown_words"]["words"] == {"\u1000": count}
    assert f"{metadata['unknown_share']:.2%} of the word pieces [UNK]" in capsys.readouterr().err


def test_a_few_per_cent_are_a_warning_with_the_cause(create, capsys):
    create(documents(20, 4, " \u2603 ."))
    (warning,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("warning")]
    assert "11.1% of the text's word pieces are [UNK]" in warning
    assert "lacks 1 characters of the text, above all \u2603 (U+2603)" in warning


def test_a_text_that_is_mostly_unknown_makes_no_shards_unless_allowed(create, tmp_path):
    rng = random.Random(1)
    text = documents(20, 4)
    text = "\n".join(
        " ".join("".join(rng.choices(BURMESE, k=3)) for _ in line.split())
        for line in text.split("\n")
    )
    with pytest.raises(DataError, match=r"100% of .*are \[UNK\].*U\+10.*--max_unknown_share 0.5"):
        create(text)
    assert not list((tmp_path / "out").glob("*.hdf5"))
    assert create(text, "--max_unknown_share", "1")["unknown_share"] == 1


def test_one_file_in_another_script_is_named(create, tmp_path, capsys):
    """Its words are few in the whole text: below the bound of the warning about that."""
    other = tmp_path / "other.txt"
    line = " ".join([BURMESE] * 15 + ["cat"] * 6)
    other.write_text("\n".join([line] * 4), encoding="utf-8")
    first = tmp_path / "text.txt"
    create(documents(200, 4), "--input_files", f"{first},{other}")
    (warning,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("warning")]
    assert f"mostly [UNK], by a sample, in 1 file(s): {other} (71%)" in warning
    assert str(first) not in warning


def test_the_exact_share_is_checked_too(create, tmp_path, monkeypatch):
    """The sample may miss it: all shards are made, but not declared complete."""
    monkeypatch.setattr(result_checks, "check_vocabulary_fits", lambda *_: None)
    text = documents(20, 4, " \u2603 \u2603 \u2603 .")
    with pytest.raises(DataError, match=r"27.3% of the text.*--max_unknown_share completes"):
        create(text, "--max_unknown_share", "0.2")
    assert not (tmp_path / "out" / "out_metadata.json").exists()
    assert create(text, "--max_unknown_share", "0.3")["unknown"] == 240


def test_capital_letters_and_long_words_are_named_as_the_cause(create, tmp_path, capsys):
    capitals = documents(20, 4).upper()
    with pytest.raises(DataError, match="no capital letters: give --do_lower_case 1"):
        create(capitals, "--do_lower_case", "0")
    create(documents(20, 4, " " + "cat" * 40))
    assert "80 words have more than 100 characters" in capsys.readouterr().err
    source = tmp_path / "long.txt"
    source.write_text("a cat sat\n" + "\u1000" * 101)
    argv = ["--input_files", str(source), "--output_dir", str(tmp_path / "vocab")]
    vocab.run(vocab.parse_args(argv))
    assert "warning: 1 words of more than 100 characters" in capsys.readouterr().err


def test_only_single_sentences_are_refused_before_any_shard(create, tmp_path):
    text = documents(30, 1)
    with pytest.raises(DataError, match=r"30 of 30 documents have a single sentence.*line"):
        create(text)
    assert not list((tmp_path / "out").glob("*.hdf5"))
    assert create(text, "--max_random_next_share", "1")["random_next_share"] == 1


def test_the_advice_fits_the_form(create):
    with pytest.raises(DataError, match=r"give longer documents, or another --document_format"):
        create(documents(30, 1), "--form", "prose", "--document_format", "line")
    text = documents(60, 1).replace("\n\n", "\n\x01\x02\n\n")
    with pytest.raises(DataError, match=r"100.0% .* a single sentence with word pieces"):
        create(text)


def test_many_random_pairs_are_told_and_too_many_are_an_error(create, tmp_path, capsys):
    """100 single sentences, and documents whose pairs cannot make up for them."""
    text = documents(100, 1) + "\n\n" + documents(20, 4, seed=1)
    metadata = create(text)
    assert 0.6 < metadata["random_next_share"] < 0.9
    assert metadata["sets"]["training"]["single_sentence_documents"] == 100
    (warning,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("warning")]
    assert "of the pairs have a random next sentence" in warning
    assert "100 of 120 documents have a single sentence" in warning
    with pytest.raises(DataError, match=r"--max_random_next_share completes them"):
        create(text, "--max_random_next_share", "0.6", "--overwrite_output_dir", "--shards", "2")
    shards = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.hdf5")}
    assert len(shards) == 2
    create(text, "--shards", "2")
    assert shards == {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.hdf5")}


def test_lines_of_several_sentences_are_told(create, capsys):
    lines = ["A cat sat. The dog ran! Was it red? No."] * 4
    create("\n\n".join("\n".join(lines) for _ in range(10)))
    assert "half of the lines have 4 sentences or more" in capsys.readouterr().err
    create(documents(20, 4), "--overwrite_output_dir")
    assert "half of the lines" not in capsys.readouterr().err


def test_a_sample_is_spread_over_the_text_and_bounded(monkeypatch):
    monkeypatch.setattr(result_checks, "_SAMPLE_SENTENCES", 10)
    sample = result_checks.SentenceSample()
    parts = [Document(n, 0, [str(n)], "x") for n in range(1000)]
    assert list(sample.taken_from(parts)) == parts
    numbers = list(map(int, sample.sentences))
    assert 5 <= len(numbers) <= 10 and numbers == sorted(numbers)
    assert numbers[0] < 100 and numbers[-1] > 800


def test_shards_of_an_earlier_version_are_completed(create, tmp_path):
    """Their statistics have no counts of word pieces."""
    text = documents(20, 4)
    create(text, "--shards", "2")
    path = tmp_path / "out" / "out_metadata.json"
    metadata = json.loads(path.read_text())
    for shard in metadata["shards"]:
        for key in ("pieces", "unknown", "unknown_words"):
            del shard[key]
    del metadata["sets"]["training"]["single_sentence_documents"]
    path.write_text(json.dumps(metadata))
    (tmp_path / "out" / "out_training_1.hdf5").unlink()
    again = create(text, "--shards", "2")
    assert again["rows"] == metadata["rows"] and again["unknown_share"] is None
