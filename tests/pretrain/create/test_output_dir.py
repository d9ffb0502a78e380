"""The output folder of shards: its vocabulary, its content after an error, unusual names."""

import json
import os
import random
from pathlib import Path

import pytest
import tiny

from bert_paddle.common.errors import DataError, FlagError, OutputError, WeightsError
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import parse_args


def write_text(path: Path) -> Path:
    """Ten documents of four sentences."""
    rng = random.Random(0)
    documents = ["\n".join(tiny.sentence(rng) for _ in range(4)) for _ in range(10)]
    path.write_text("\n\n".join(documents) + "\n")
    return path


@pytest.fixture
def create(tmp_path):
    """Create shards in tmp_path/out."""
    source, vocab = write_text(tmp_path / "text.txt"), tmp_path / "words.txt"
    vocab.write_text("\n".join(tiny.VOCAB))

    def call(corpus: str, *flags: str) -> Path:
        argv = ["--input_files", str(source), "--vocab_file", str(vocab), "--corpus_name", corpus]
        argv += ["--output_dir", str(tmp_path / "out"), "--test_share", "0", *flags]
        create_data.run(parse_args(argv))
        return tmp_path / "out"

    return call


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a_training_3.hdf5", "without a record of how they were created: give another"),
        ("a_metadata.json", "was not written by this program"),
        ("vocab.txt", "is there already, not created with shards"),
        ("tokenizer_config.json", "is there already, not created with shards"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("--overwrite_output_dir",)])
def test_files_of_others_are_not_replaced(create, tmp_path, name, message, flags):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=message):
        create("a", *flags)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {name}
    assert (tmp_path / "out" / name).read_text() == '{"mine": 1}'


def test_a_corpus_whose_name_begins_alike_is_another(create, tmp_path):
    out = create("a_training_b")
    partial = out / ".a_training_b_training_1.hdf5.12.part"
    partial.write_bytes(b"half")
    before = (out / "a_training_b_training_0.hdf5").read_bytes()
    create("a")
    create("a", "--dupe_factor", "1", "--overwrite_output_dir")
    assert (out / "a_training_b_training_0.hdf5").read_bytes() == before
    assert partial.read_bytes() == b"half"


def test_another_vocabulary_replaces_the_old_one_if_there_is_no_other_corpus(tmp_path):
    source = write_text(tmp_path / "text.txt")
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("\n".join(tiny.VOCAB))
    second.write_text("\n".join([*tiny.VOCAB, "extra"]))

    def create(vocab, corpus, *flags):
        argv = ["--input_files", str(source), "--vocab_file", str(vocab), "--corpus_name", corpus]
        argv += ["--output_dir", str(tmp_path / "out"), "--test_share", "0", *flags]
        create_data.run(parse_args(argv))

    create(first, "a")
    create(second, "a", "--overwrite_output_dir")
    assert (tmp_path / "out" / "vocab.txt").read_text().splitlines()[-1] == "extra"
    assert (tmp_path / "out" / "a_training_0.hdf5").is_file()
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(OutputError, match="another corpus with a different vocabulary"):
        create(first, "b", "--overwrite_output_dir")
    with pytest.raises(OutputError, match="different vocabulary or do_lower_case"):
        create(second, "b", "--do_lower_case", "0")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


def test_a_rejected_input_writes_no_vocabulary(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(tiny.VOCAB))
    argv = ["--input_files", str(tmp_path / "empty.txt"), "--vocab_file", str(vocab)]
    with pytest.raises(DataError):
        create_data.run(parse_args([*argv, "--output_dir", str(tmp_path / "out")]))
    assert not (tmp_path / "out" / "vocab.txt").exists()


def test_a_vocabulary_without_words_and_an_address_without_a_port_are_errors(tmp_path):
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(tiny.SPECIAL_TOKENS))
    source = write_text(tmp_path / "text.txt")
    argv = ["--input_files", str(source), "--vocab_file", str(vocab)]
    argv += ["--output_dir", str(tmp_path / "out")]
    with pytest.raises(WeightsError, match="special tokens only"):
        create_data.run(parse_args(argv))
    with pytest.raises(FlagError, match="--scheduler garbage: give an address"):
        parse_args([*argv, "--scheduler", "garbage"])


def test_a_file_name_that_is_not_unicode_is_accepted(tmp_path):
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.txt"))
    write_text(source)
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(tiny.VOCAB))
    argv = ["--input_files", str(source), "--vocab_file", str(vocab), "--test_share", "0"]
    create_data.run(parse_args([*argv, "--output_dir", str(tmp_path / "out")]))
    metadata = json.loads((tmp_path / "out" / "out_metadata.json").read_text())
    assert metadata["made_from"]["inputs"][0]["name"] == "x\\xff.txt"
