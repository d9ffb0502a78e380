import random
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import examples, partition, shard_writer
from bert_paddle.pretrain.create.documents import Document
from bert_paddle.pretrain.create.examples import ShardJob, create_shard
from bert_paddle.pretrain.create.recipe import Recipe
from bert_paddle.pretrain.data import schema

RECIPE = Recipe(32, 6, 0.15, False, "none", 2, 0.1, 7)


def make_documents(count=30, seed=0):
    """Invented documents of several sentences."""
    rng = random.Random(seed)
    return [
        Document(n, 0, [tiny.sentence(rng) for _ in range(rng.randint(2, 8))], "x")
        for n in range(count)
    ]


def make_job(tmp_path, parts, recipe=RECIPE, name="out_training_0.hdf5"):
    folder = tmp_path / "work"
    if not folder.exists():
        folder.mkdir()
        Tokenizer(tiny.VOCAB).save(folder)
        partition.partition_documents(folder, parts, 1, 0, 0.0, 1)
    return ShardJob(tmp_path / name, folder, schema.TRAINING, 0, "tiny", recipe)


def read_rows(path):
    with h5py.File(path) as file:
        return {key: file[key][:] for key in file}


def test_the_file_is_in_the_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_writer, "CHUNK_ROWS", 16)
    counts = create_shard(make_job(tmp_path, make_documents()))
    path = tmp_path / "out_training_0.hdf5"
    with h5py.File(path) as file:
        assert set(file) == set(schema.DTYPES) and not file.attrs
        for key, dtype in schema.DTYPES.items():
            data = file[key]
            assert data.shape == data.maxshape == (counts.rows, *schema.row_shape(key, 32, 6))
            assert data.dtype == dtype and not data.attrs
            assert (data.compression, data.compression_opts) == ("gzip", 4)
            assert data.chunks == (16, *schema.row_shape(key, 32, 6))
    assert counts.rows > 50 and counts.rows % 16  # a last chunk that is not full
    assert counts.size == path.stat().st_size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out_training_0.hdf5", "work"]


def test_rows_do_not_depend_on_the_size_of_chunks(tmp_path, monkeypatch):
    """Also checks that each chunk is at its place."""
    create_shard(make_job(tmp_path, make_documents(), name="a.hdf5"))
    rows = read_rows(tmp_path / "a.hdf5")
    monkeypatch.setattr(shard_writer, "CHUNK_ROWS", len(rows["input_ids"]))
    create_shard(make_job(tmp_path, [], name="b.hdf5"))
    again = read_rows(tmp_path / "b.hdf5")
    assert all(np.array_equal(rows[key], again[key]) for key in rows)


def test_rows_are_sentences_of_the_text(tmp_path):
    """With the masked tokens restored, A and B of every row occur in the text."""
    parts = make_documents(40)
    create_shard(make_job(tmp_path, parts, replace(RECIPE, max_seq_length=64)))
    rows, vocabulary = read_rows(tmp_path / "out_training_0.hdf5"), Tokenizer(tiny.VOCAB)
    texts = [
        " ".join(str(i) for s in vocabulary.tokenize_to_ids(d.sentences) for i in s) for d in parts
    ]
    following = 0
    for n in range(len(rows["input_ids"])):
        ids = rows["input_ids"][n].copy()
        used = rows["masked_lm_positions"][n] > 0
        ids[rows["masked_lm_positions"][n][used]] = rows["masked_lm_ids"][n][used]
        length = rows["input_mask"][n].sum()
        sep = int(np.flatnonzero(ids == vocabulary.sep_id)[0])
        assert ids[0] == vocabulary.cls_id and ids[length - 1] == vocabulary.sep_id
        assert (ids[length:] == vocabulary.pad_id).all()
        assert (rows["segment_ids"][n][:length] == (np.arange(length) > sep)).all()
        a = " ".join(map(str, ids[1:sep]))
        b = " ".join(map(str, ids[sep + 1 : length - 1]))
        assert any(a in text for text in texts) and any(b in text for text in texts)
        if rows["next_sentence_labels"][n] == 0:
            assert any(a in text and b in text for text in texts)
            following += any(f"{a} {b}" in text for text in texts)
    assert following > 0.3 * len(rows["input_ids"])


def test_small_blocks_use_all_text(tmp_path, monkeypatch):
    """Every block has one document here: its random texts come from the extra documents."""
    monkeypatch.setattr(examples, "BLOCK_SENTENCES", 1)
    counts = create_shard(make_job(tmp_path, make_documents()))
    labels = read_rows(tmp_path / "out_training_0.hdf5")["next_sentence_labels"]
    assert counts.sentences == sum(len(d.sentences) for d in make_documents())
    assert counts.random_next == labels.sum() and abs(labels.mean() - 0.5) < 0.2


def test_only_consecutive_parts_of_a_document_are_merged():
    def part(number, part):
        return Document(number, part, [f"{number}.{part}"], "x")

    parts = [part(0, 0), part(0, 1), part(0, 3), part(1, 0), part(1, 1)]
    (block,) = examples.group_into_blocks(iter(parts))
    assert [d.sentences for d in block] == [["0.0", "0.1"], ["0.3"], ["1.0", "1.1"]]


def test_blocks_are_bounded(monkeypatch):
    monkeypatch.setattr(examples, "BLOCK_CHARS", 30)
    parts = [Document(n, 0, ["x" * 10], "x") for n in range(8)]
    assert [len(block) for block in examples.group_into_blocks(iter(parts))] == [3, 3, 2]


def test_bytes_depend_on_the_seed_only(tmp_path):
    for name in ("a.hdf5", "b.hdf5"):
        create_shard(make_job(tmp_path, make_documents(), name=name))
    other = replace(RECIPE, random_seed=8)
    create_shard(make_job(tmp_path, make_documents(), other, name="c.hdf5"))
    a, b, c = ((tmp_path / f"{n}.hdf5").read_bytes() for n in "abc")
    assert a == b and a != c


def test_text_without_word_pieces_is_refused(tmp_path):
    parts = [Document(n, 0, ["\u200b", "\x01"], "x") for n in range(3)]
    with pytest.raises(DataError, match="no word pieces"):
        create_shard(make_job(tmp_path, parts))
    assert [p.name for p in tmp_path.iterdir()] == ["work"]


def test_one_document_with_word_pieces_is_refused(tmp_path):
    parts = [Document(0, 0, ["\u200b"], "x"), Document(1, 0, ["the cat", "sat"], "x")]
    with pytest.raises(DataError, match="all but one"):
        create_shard(make_job(tmp_path, parts))


@pytest.mark.parametrize("moment", ["add", "close"])
def test_a_full_disk_is_one_error_line_and_no_file(tmp_path, monkeypatch, moment):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shard_writer.ShardWriter, moment, full)
    with pytest.raises(RunError, match="No space left.*same command again"):
        create_shard(make_job(tmp_path, make_documents()))
    assert [p.name for p in tmp_path.iterdir()] == ["work"]


def test_a_worker_without_the_folder_is_an_error(tmp_path):
    job = make_job(tmp_path, make_documents())
    with pytest.raises(RunError, match="share"):
        create_shard(replace(job, work_dir=tmp_path / "elsewhere"))
