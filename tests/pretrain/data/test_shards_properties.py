"""Reading shards: any rows, any damage, and malicious files."""

import numpy as np
import pytest
import shard_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.shards import check_shards

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
INVALID = {  # invalid values of each key
    "input_ids": [-1, shard_files.VOCAB_SIZE, 2**31 - 1],
    "input_mask": [-1, 2, 127],
    "segment_ids": [-1, 2, 127],
    "masked_lm_positions": [-1, shard_files.LENGTH, 2**31 - 1],
    "masked_lm_ids": [-1, shard_files.VOCAB_SIZE, -(2**31)],
    "next_sentence_labels": [-1, 2, 127],
}


@QUICK
@given(data=st.data())
def test_any_slice_of_any_rows_is_read_back(tmp_path, data):
    count = data.draw(st.integers(1, 40))
    length = data.draw(st.integers(10, 40))
    predictions = data.draw(st.integers(1, 5))
    rows = shard_files.make_rows(count, length=length, predictions=predictions)
    chunk = data.draw(st.integers(1, 64))
    shards = shard_files.check_shards(
        shard_files.write_shard(tmp_path / "a.hdf5", rows, chunk_rows=chunk)
    )
    assert (shards.total, shards.length, shards.predictions) == (count, length, predictions)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    read = shards.read(0, start, stop)
    assert all(np.array_equal(read[key], rows[key][start:stop]) for key in schema.DTYPES)


@QUICK
@given(data=st.data())
def test_any_single_invalid_value_is_reported(tmp_path, data):
    key = data.draw(st.sampled_from(sorted(INVALID)))
    rows = shard_files.make_rows(30)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in rows[key].shape)
    rows[key][index] = data.draw(st.sampled_from(INVALID[key]))
    path = shard_files.write_shard(tmp_path / "a.hdf5", rows)
    shards = shard_files.check_shards(path)
    start = data.draw(st.integers(0, index[0]))
    stop = data.draw(st.integers(index[0] + 1, 30))
    text = shard_files.error_message(shards.read, 0, start, stop)
    assert text.startswith(f"{path}: row {index[0]} (counted from 0): {key}")


def read_all(path) -> None:
    shards = shard_files.check_shards(path)
    shards.read(0, 0, shards.total)


@QUICK
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_shard_truncated_anywhere_is_an_error(tmp_path, share):
    content = shard_files.write_shard(tmp_path / "whole", shard_files.make_rows(12)).read_bytes()
    path = tmp_path / "cut.hdf5"
    path.write_bytes(content[: int(share * len(content))])
    text = shard_files.error_message(read_all, path)
    assert text.startswith(f"{path}: ")


@QUICK
@given(data=st.data())
def test_damaged_bytes_are_an_error_or_leave_valid_rows(tmp_path, data):
    content = bytearray(
        shard_files.write_shard(tmp_path / "whole", shard_files.make_rows(12)).read_bytes()
    )
    positions = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=4)):
        content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "bad.hdf5"
    path.write_bytes(content)
    try:
        read_all(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_more_predictions_than_positions_are_an_error(tmp_path):
    rows = shard_files.make_rows(3)
    for key in ("masked_lm_positions", "masked_lm_ids"):
        rows[key] = np.pad(
            rows[key], ((0, 0), (0, shard_files.LENGTH + 1 - shard_files.PREDICTIONS))
        )
    path = shard_files.write_shard(tmp_path / "a.hdf5", rows)
    assert "17 predictions" in shard_files.error_message(shard_files.check_shards, path)


def store_in_another_file(kind: str, file, key: str, values, folder) -> None:
    """Store `key` of a shard in another file."""
    import h5py

    other = shard_files.write_shard(folder / "other.hdf5", {key: values})
    if kind == "external link":
        file[key] = h5py.ExternalLink(str(other), key)
    elif kind == "virtual":
        views = h5py.VirtualLayout(values.shape, values.dtype)
        views[:] = h5py.VirtualSource(str(other), key, values.shape)
        file.create_virtual_dataset(key, views)
    else:
        (folder / "secret").write_bytes(values.tobytes())
        where = [(str(folder / "secret"), 0, values.nbytes)]
        file.create_dataset(key, values.shape, values.dtype, external=where)


@pytest.mark.parametrize("kind", ["external link", "virtual", "external storage"])
def test_a_shard_that_refers_to_another_file_is_rejected(tmp_path, kind):
    """A shared file could otherwise include any file that the reader may open."""
    import h5py

    path, rows = tmp_path / "a_training_0.hdf5", shard_files.make_rows(3)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            if key == "segment_ids":
                store_in_another_file(kind, file, key, values, tmp_path)
            else:
                file[key] = values
    text = shard_files.error_message(shard_files.check_shards, path)
    assert text.startswith(f"{path}: segment_ids") and "another file" in text


def test_a_chunk_far_larger_than_its_file_is_rejected(tmp_path):
    """Reading a row decompresses its chunk: 2 MB of zeros can decompress to gigabytes."""
    import h5py

    path, rows = tmp_path / "a_training_0.hdf5", shard_files.make_rows(3)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            shape = (2**24, *values.shape[1:])  # 268 million ids in a chunk
            file.create_dataset(key, shape, values.dtype, chunks=shape, compression="gzip")
    assert "chunk" in shard_files.error_message(
        check_shards, [path], shard_files.VOCAB_SIZE, 512, 2
    )
