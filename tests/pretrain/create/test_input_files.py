"""Which files are read: kinds, what is left out, and that outputs are never inputs."""

import bz2
import gzip
import json
import lzma
import os
import random
from pathlib import Path

import pytest
import tiny

from bert_paddle.common.errors import DataError, FlagError, OutputError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import create_data, vocab
from bert_paddle.pretrain.create.args import parse_args
from bert_paddle.pretrain.create.input_files import find_files


def text_of(documents: int, seed: int = 0) -> str:
    rng = random.Random(seed)
    return "\n\n".join("\n".join(tiny.sentence(rng) for _ in range(4)) for _ in range(documents))


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Ten documents of four sentences, 40 in all."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_text(text_of(10))
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    Tokenizer(tiny.VOCAB).save(folder)
    return folder


def create(inputs, output, model, *flags):
    argv = ["--input_files", str(inputs), "--output_dir", str(output), "--vocab_file", str(model)]
    argv += ["--max_seq_length", "32", "--max_predictions_per_seq", "4", "--test_share", "0"]
    create_data.run(parse_args([*argv, *flags]))


def train_vocab(inputs, output, *flags):
    argv = ["--input_files", str(inputs), "--output_dir", str(output), "--vocab_size", "90"]
    vocab.run(vocab.parse_args([*argv, *flags]))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["same", "dots", "symlink", "two inputs"])
def test_the_input_folder_is_refused_as_the_output_folder(tmp_path, corpus, model, kind):
    output = {"dots": corpus / "..", "symlink": tmp_path / "link"}.get(kind, corpus)
    if kind == "dots":
        output = output / "corpus"
    if kind == "symlink":
        output.symlink_to(corpus)
    inputs = f"{model / 'vocab.txt'},{corpus}" if kind == "two inputs" else corpus
    other = tmp_path / "other"
    other.mkdir()
    Tokenizer(tiny.VOCAB).save(other)
    with pytest.raises(OutputError, match=r"corpus is also the --output_dir"):
        create(inputs, output, other)
    with pytest.raises(OutputError, match=r"corpus is also the --output_dir"):
        train_vocab(inputs, output)
    assert names(corpus) == ["a.txt"]


def test_an_output_folder_inside_the_input_is_left_out(corpus, model, capsys):
    for _ in range(2):
        create(corpus, corpus / "out", model)
    last = capsys.readouterr().err.splitlines()
    assert "left out: out (the output)" in last and "nothing to do" in last[-1]
    create(corpus, corpus / "out", model, "--dupe_factor", "1", "--overwrite_output_dir")
    metadata = json.loads((corpus / "out" / "out_metadata.json").read_text())
    assert metadata["sentences"] == 40
    assert [file["name"] for file in metadata["made_from"]["inputs"]] == ["a.txt"]
    for _ in range(2):
        train_vocab(corpus, corpus / "vocab", "--overwrite")
        first, *_ = capsys.readouterr().err.splitlines()
        assert first == "input: 1 file(s): 1 text as lines"


def test_a_pattern_does_not_match_what_was_written(corpus, model, capsys):
    for _ in range(2):
        create(corpus / "*", corpus / "out", model)
        create(corpus / "*.txt", corpus, model, "--corpus_name", "c")
    output = capsys.readouterr().err
    assert output.count("nothing to do") == 2 and "vocab.txt (the output)" in output
    assert json.loads((corpus / "c_metadata.json").read_text())["sentences"] == 40


def test_files_of_an_earlier_run_are_left_out(corpus, model, tmp_path, capsys):
    """The older versions wrote among the inputs; so does a user who copies shards there."""
    for name in ("vocab.txt", "tokenizer_config.json"):
        (corpus / name).write_bytes((model / name).read_bytes())
    (corpus / "c_training_0.hdf5").write_bytes(b"\x89HDF")
    (corpus / ".c_spool").mkdir()
    (corpus / ".c_spool" / "training_0.txt").write_text("> 0 0 1\nx\n")
    create(corpus, tmp_path / "out", model)
    output = capsys.readouterr().err
    assert "vocab.txt (a vocabulary)" in output and ".c_spool (hidden)" in output
    assert "c_training_0.hdf5, tokenizer_config.json (of another kind)" in output
    assert json.loads((tmp_path / "out" / "out_metadata.json").read_text())["sentences"] == 40


@pytest.mark.parametrize("link", [None, "hard", "symbolic"])
def test_the_vocabulary_and_an_output_are_refused_as_inputs(corpus, model, tmp_path, link):
    create(corpus, tmp_path / "out", model)
    for source, message in (
        (model / "vocab.txt", "is the vocabulary of --vocab_file"),
        (tmp_path / "out" / "vocab.txt", "is a file that this command writes"),
    ):
        path = source
        if link:
            path = tmp_path / f"{source.parent.name}.txt"
            (os.link if link == "hard" else os.symlink)(source, path)
        with pytest.raises(OutputError, match=message):
            create(f"{corpus},{path}", tmp_path / "out", model)


def test_an_input_in_the_work_folder_is_refused(corpus, model, tmp_path):
    """It would be deleted."""
    work = tmp_path / "out" / ".out_spool"
    work.mkdir(parents=True)
    (work / "a.txt").write_text(text_of(5))
    for name in (work, work / "a.txt"):
        with pytest.raises(OutputError, match="in the work folder"):
            create(name, tmp_path / "out", model)
    assert (work / "a.txt").is_file()


def test_files_of_the_user_in_the_output_folder_are_not_replaced(corpus, model, tmp_path):
    out = tmp_path / "out"
    for name, content in (
        ("vocab.txt", "my own words\n"),
        ("tokenizer_config.json", "{}"),
        ("out_metadata.json", '{"mine": 1}'),
        ("out_training_3.hdf5", "mine"),
    ):
        out.mkdir()
        (out / name).write_text(content)
        for flags in ([], ["--overwrite_output_dir"]):
            with pytest.raises(OutputError, match=name.split("_training")[0]):
                create(corpus, out, model, *flags)
        assert names(out) == [name] and (out / name).read_text() == content
        (out / name).unlink()
        out.rmdir()


def test_an_equal_vocabulary_in_the_output_folder_stays_as_it_is(corpus, model):
    """The vocabulary's own folder may be the output folder."""
    config = model / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_max_length": 64}))
    before = {name: (model / name).read_bytes() for name in names(model)}
    create(corpus, model, model)
    assert before.items() <= {path.name: path.read_bytes() for path in model.iterdir()}.items()
    assert (model / "model_training_0.hdf5").is_file()


def test_a_linked_vocabulary_is_not_written_through(corpus, model, tmp_path):
    create(corpus, tmp_path / "out", model)
    mine = tmp_path / "mine.txt"
    mine.write_text("[PAD]\n")
    (tmp_path / "out" / "vocab.txt").unlink()
    (tmp_path / "out" / "vocab.txt").symlink_to(mine)
    (tmp_path / "out" / "out_training_0.hdf5").unlink()
    create(corpus, tmp_path / "out", model)
    assert mine.read_text() == "[PAD]\n"
    assert len((tmp_path / "out" / "vocab.txt").read_text().splitlines()) == len(tiny.VOCAB)


def test_a_corpus_whose_name_begins_like_another_is_another(corpus, model, tmp_path):
    """Neither deleted with it, nor given its vocabulary."""
    out = tmp_path / "out"
    for name in ("c", "c_training_x", "c_x"):
        create(corpus, out, model, "--corpus_name", name)
    partial = out / ".c_training_x_training_1.hdf5.host-1.part"
    partial.write_bytes(b"being written")
    flags = ("--corpus_name", "c", "--dupe_factor", "1", "--overwrite_output_dir")
    create(corpus, out, model, *flags)
    for name in ("c", "c_training_x", "c_x"):
        assert (out / f"{name}_training_0.hdf5").is_file()
    assert partial.is_file()
    (out / "c_training_x_training_0.hdf5").unlink()
    with pytest.raises(OutputError, match="another corpus with a different vocabulary"):
        create(corpus, out, model, *flags, "--do_lower_case", "0")


def test_a_vocabulary_beside_a_tokenizer_config_needs_overwrite(corpus, model):
    (model / "vocab.txt").unlink()
    with pytest.raises(FlagError, match=r"has a tokenizer_config.json already"):
        train_vocab(corpus, model)


def test_the_kinds_of_a_folder_are_read_and_the_rest_is_named(tmp_path, model, capsys):
    folder = tmp_path / "mixed"
    (folder / "AA").mkdir(parents=True)
    rows = "".join(json.dumps({"text": "A cat sat. It ran. A dog."}) + "\n" for _ in range(3))
    doc = '<doc id="1" url="u" title="T">\nT\n\nA cat sat. It ran.\n\n</doc>\n'
    for name, content in {
        "a.txt": text_of(3).encode(),
        "b.txt.bz2": bz2.compress(text_of(3).encode()),
        "c.jsonl": rows.encode(),
        "d.jsonl.gz": gzip.compress(rows.encode()),
        "e.xz": lzma.compress(text_of(3).encode()),
        "AA/wiki_00": doc.encode(),
        "AA/wiki_01.bz2": bz2.compress(doc.encode()),
        "README.txt": b"About.",
        "LICENSE.txt": b"MIT",
        "f.csv": b"a,b",
        "g.tar.gz": b"",
        "h.csv.bz2": b"",
        ".DS_Store": b"\0",
    }.items():
        (folder / name).write_bytes(content)
    create(folder, tmp_path / "out", model)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "input: 7 file(s): 2 JSON lines as prose, 3 text as lines, 2 wikiextractor as prose "
        "(compressed: 1 .gz, 2 .bz2, 1 .xz)"
    )
    for part in (".DS_Store (hidden)", "LICENSE.txt, README.txt (about the corpus)"):
        assert part in second
    assert "f.csv, g.tar.gz, h.csv.bz2 (of another kind); give a file by its name" in second
    metadata = json.loads((tmp_path / "out" / "out_metadata.json").read_text())
    # 9 plain documents of 4 sentences; 6 objects of 3; 2 articles of 2, without their titles.
    assert metadata["sets"]["training"]["documents"] == 17 and metadata["sentences"] == 58


def test_a_file_given_by_its_name_is_always_read(tmp_path):
    for name in ("README.txt", "notes.md", ".hidden", "vocab.txt"):
        (tmp_path / name).write_text("\n".join(tiny.SPECIAL_TOKENS))
        found = find_files([str(tmp_path / name)])
        assert [file.path.name for file in found.files] == [name] and not found.left_out


def test_a_folder_of_other_files_names_them(tmp_path):
    (tmp_path / "README.txt").write_text("About.")
    (tmp_path / "x.hdf5").write_text("")
    with pytest.raises(DataError, match=r"README.txt \(about the corpus\); x.hdf5 \(of another"):
        find_files([str(tmp_path)])
