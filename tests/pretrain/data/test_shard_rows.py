"""Rows of shards: read in the layout, errors with file and row; the fingerprint."""

import os
import re

import numpy as np
import pytest
import shard_files

from bert_paddle.pretrain.data import schema, shards


def test_rows_are_read_in_the_layout(tmp_path):
    rows = shard_files.make_rows(200)
    shards = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", rows))
    for start, stop in ((0, 200), (63, 65), (199, 200)):
        read = shards.read(0, start, stop)
        assert list(read) == list(schema.DTYPES)
        for key, values in read.items():
            assert values.dtype == schema.DTYPES[key]
            assert np.array_equal(values, rows[key][start:stop])


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int16"])
def test_other_integers_are_converted(tmp_path, dtype):
    rows = shard_files.make_rows(5)
    wide = {key: values.astype(dtype) for key, values in rows.items()}
    read = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", wide)).read(
        0, 0, 5
    )
    assert all(np.array_equal(read[key], rows[key]) for key in rows)
    assert all(read[key].dtype == dtype for key, dtype in schema.DTYPES.items())


def test_ids_are_checked_before_they_are_converted(tmp_path):
    rows = {key: values.astype(np.int64) for key, values in shard_files.make_rows(5).items()}
    rows["input_ids"][2, 1] = 2**32 + 7  # 7 as an int32
    shards = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", rows))
    assert "row 2 (counted from 0): input_ids[1] is 4294967303" in shard_files.error_message(
        shards.read, 0, 0, 5
    )


ROWS = {
    "input_ids": ((7,), 100, "input_ids[7] is 100, outside the vocabulary of 100 ids"),
    "negative": ((0,), -1, "input_ids[0] is -1, outside the vocabulary of 100 ids"),
    "mask": ((3,), 2, "input_mask[3] is 2, neither 0 nor 1"),
    "no [CLS]": ((0,), 0, "input_mask[0] is 0, but [CLS] cannot be padding"),
    "segment": ((1,), 2, "segment_ids[1] is 2, not below 2"),
    "position": ((0,), 16, "masked_lm_positions[0] is 16, outside the sequence of 16"),
    "negative position": ((1,), -3, "masked_lm_positions[1] is -3, outside the sequence of 16"),
    "padding": ((0,), 15, "masked_lm_positions[0] is 15, where input_mask is 0"),
    "label": ((3,), 100, "masked_lm_ids[3] is 100, outside the vocabulary of 100 ids"),
    "next": ((), 2, "next_sentence_labels is 2, neither 0 nor 1"),
    "label at [CLS]": ((0,), 7, "masked_lm_ids[0] is 7 at position 0, which is [CLS] and ends"),
    "label after the list": ((2,), 7, "masked_lm_ids[2] is 7 at position 0"),
    "gap": ((1,), 5, "masked_lm_positions[1] is 5 after a 0, which ends the list"),
}


@pytest.mark.parametrize("index, value, message", ROWS.values(), ids=ROWS)
def test_bad_rows(tmp_path, index, value, message):
    rows = shard_files.make_rows(30)
    rows["input_ids"][17, 12:], rows["input_mask"][17, 12:] = 0, 0
    rows["masked_lm_positions"][17], rows["masked_lm_ids"][17] = 0, 0
    key = re.match("[a-z_]+", message)[0]
    rows[key][(17, *index)] = value
    path = shard_files.write_shard(tmp_path / "bad.hdf5", rows)
    shards = shard_files.check_shards(path)
    shards.read(0, 0, 17)
    shards.read(0, 18, 30)
    # The row number is that in the shard, for any slice.
    for start, stop in ((0, 30), (17, 18), (10, 20)):
        text = shard_files.error_message(shards.read, 0, start, stop)
        assert text.startswith(f"{path}: row 17 (counted from 0): {message}")


def test_a_replaced_token_may_be_pad(tmp_path):
    """Id 0 under mask 1 is a random replacement: a real token that may be predicted."""
    rows = shard_files.make_rows(4)
    rows["input_ids"][1, 5], rows["masked_lm_positions"][1] = 0, (5, 0, 0, 0)
    rows["masked_lm_ids"][1] = (9, 0, 0, 0)
    read = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", rows)).read(
        0, 0, 4
    )
    assert read["input_ids"][1, 5] == 0 and read["input_mask"][1, 5] == 1


PREDICTIONS = {
    "[CLS] and the next": ((0, 5), (7, 8), "masked_lm_ids[0] is 7 at position 0, which is [CLS]"),
    "[CLS] inside": ((5, 0, 9), (7, 8, 9), "masked_lm_ids[1] is 8 at position 0"),
    "position after a gap": ((5, 0, 9), (7, 0, 9), "masked_lm_positions[2] is 9 after a 0"),
    "[PAD] as a label": ((5, 9), (7, 0), "masked_lm_ids[1] is 0 at position 9, but 0 is [PAD]"),
    "twice": ((5, 9, 5), (7, 8, 7), "masked_lm_positions has 5 twice"),
}


@pytest.mark.parametrize("positions, ids, message", PREDICTIONS.values(), ids=PREDICTIONS)
def test_bad_predictions(tmp_path, positions, ids, message):
    rows = shard_files.make_rows(3)
    shard_files.set_predictions(rows, 1, positions, ids)
    path = shard_files.write_shard(tmp_path / "bad.hdf5", rows)
    text = shard_files.error_message(shard_files.check_shards(path).read, 0, 0, 3)
    assert text.startswith(f"{path}: row 1 (counted from 0): {message}")


def test_predictions_in_any_order_and_other_padding_ids(tmp_path):
    rows = shard_files.make_rows(2)
    shard_files.set_predictions(rows, 0, (9, 5), (7, 8))
    shard_files.set_predictions(rows, 1, (5, 0), (0, 1))  # 0 is a word piece, 1 is [PAD]
    path = shard_files.write_shard(tmp_path / "a.hdf5", rows)
    assert "masked_lm_ids[1] is 1" in shard_files.error_message(
        shards.check_shards([path], 100, 512, 2).read, 0, 1, 2
    )
    shards.check_shards([path], 100, 512, 2, pad_id=1).read(0, 0, 2)


def test_a_mask_with_a_gap_is_valid(tmp_path):
    """Attention leaves out what the mask leaves out, wherever it is."""
    rows = shard_files.make_rows(1)
    shard_files.set_predictions(rows, 0, (5,), (7,))
    rows["input_mask"][0, 6] = 0
    path = shard_files.write_shard(tmp_path / "a.hdf5", rows)
    assert shard_files.check_shards(path).read(0, 0, 1)["input_mask"][0, 6] == 0


def test_rows_without_predictions_are_counted(tmp_path):
    rows = shard_files.make_rows(40)
    for row in (3, 20, 21):
        shard_files.set_predictions(rows, row, (), ())
    shards = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", rows))
    for _ in range(2):  # two epochs
        shards.read(0, 0, 20)
        shards.read(0, 20, 40)
    assert shards.rows_without_predictions == {(0, 0, 20): 1, (0, 20, 40): 2}


def test_shards_without_any_prediction(tmp_path):
    rows = shard_files.make_rows(6)
    for row in range(6):
        shard_files.set_predictions(rows, row, (), ())
    shard_files.set_predictions(rows, 5, (2,), (7,))
    shards = shard_files.check_shards(shard_files.write_shard(tmp_path / "a.hdf5", rows))
    shards.check_predictions([(0, 0, 3), (0, 3, 6)])
    text = shard_files.error_message(shards.check_predictions, [(0, 0, 3), (0, 3, 5)])
    assert "a.hdf5: no row has a masked token" in text


def test_a_damaged_chunk_is_reported_with_file_and_rows(tmp_path):
    path = shard_files.write_shard(
        tmp_path / "a.hdf5", shard_files.make_rows(512, length=64), chunk_rows=512
    )
    import h5py

    with h5py.File(path) as file:
        chunk = file["input_ids"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(os.urandom(64))
    shards = shard_files.check_shards(path)
    text = shard_files.error_message(shards.read, 0, 100, 200)
    assert text.startswith(f"{path}: rows 100 to 199 (counted from 0): is damaged")


def test_a_file_that_changes_or_disappears_during_the_run(tmp_path):
    path = shard_files.write_shard(tmp_path / "a.hdf5", shard_files.make_rows(20))
    shards = shard_files.check_shards(path)
    shard_files.write_shard(path, shard_files.make_rows(15))
    text = shard_files.error_message(shards.read, 0, 10, 20)
    assert text.startswith(f"{path}: rows 10 to 19") and "changed during the run" in text
    path.unlink()
    assert "No such file" in shard_files.error_message(shards.read, 0, 0, 5)


# Fingerprint


def test_fingerprint(tmp_path):
    def fingerprint(folder, *args, **kw):
        return shard_files.check_shards(
            *shard_files.write_shards(folder, *args, **kw)
        ).fingerprint()

    expected = fingerprint(tmp_path / "a", [5, 3])
    assert expected == fingerprint(tmp_path / "elsewhere", [5, 3])
    others = [
        fingerprint(tmp_path / "b", [5]),
        fingerprint(tmp_path / "c", [3, 5]),
        fingerprint(tmp_path / "d", [5, 3], corpus="other"),
        fingerprint(tmp_path / "e", [5, 3], seed=1),
    ]
    assert len({expected, *others}) == 5


def test_fingerprint_sees_content_of_the_same_size(tmp_path):
    path = tmp_path / "a.hdf5"
    rows = shard_files.make_rows(5)
    before = shard_files.check_shards(shard_files.write_shard(path, rows)).fingerprint()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert shard_files.check_shards(path).fingerprint() != before
