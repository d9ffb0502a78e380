"""Reading shards, for any rows, any damage, and files made to mislead."""

import numpy as np
import pytest
import shards
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data import shards as data_shards

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OUTSIDE = {  # a value that no model can be trained on, of each key
    "input_ids": [-1, shards.VOCAB_SIZE, 2**31 - 1],
    "input_mask": [-1, 2, 127],
    "segment_ids": [-1, 2, 127],
    "masked_lm_positions": [-1, shards.LENGTH, 2**31 - 1],
    "masked_lm_ids": [-1, shards.VOCAB_SIZE, -(2**31)],
    "next_sentence_labels": [-1, 2, 127],
}


@QUICK
@given(data=st.data())
def test_any_slice_of_any_rows_comes_back(tmp_path, data):
    count = data.draw(st.integers(1, 40))
    length = data.draw(st.integers(10, 40))
    predictions = data.draw(st.integers(1, 5))
    rows = shards.make(count, length=length, predictions=predictions)
    chunk = data.draw(st.integers(1, 64))
    found = shards.check(shards.write(tmp_path / "a.hdf5", rows, chunk_rows=chunk))
    assert (found.total, found.length, found.predictions) == (count, length, predictions)
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    read = found.read(0, start, stop)
    assert all(np.array_equal(read[key], rows[key][start:stop]) for key in schema.DTYPES)


@QUICK
@given(data=st.data())
def test_one_value_out_of_range_is_found_wherever_it_is(tmp_path, data):
    key = data.draw(st.sampled_from(sorted(OUTSIDE)))
    rows = shards.make(30)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in rows[key].shape)
    rows[key][place] = data.draw(st.sampled_from(OUTSIDE[key]))
    path = shards.write(tmp_path / "a.hdf5", rows)
    found = shards.check(path)
    start = data.draw(st.integers(0, place[0]))
    stop = data.draw(st.integers(place[0] + 1, 30))
    text = shards.message(found.read, 0, start, stop)
    assert text.startswith(f"{path}: row {place[0]} (counted from 0): {key}")


def read_all(path) -> None:
    found = shards.check(path)
    found.read(0, 0, found.total)


@QUICK
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_shard_cut_short_anywhere_is_told(tmp_path, share):
    whole = shards.write(tmp_path / "whole", shards.make(12)).read_bytes()
    path = tmp_path / "cut.hdf5"
    path.write_bytes(whole[: int(share * len(whole))])
    text = shards.message(read_all, path)
    assert text.startswith(f"{path}: ")


@QUICK
@given(data=st.data())
def test_damaged_bytes_are_told_or_leave_rows_that_can_be_trained_on(tmp_path, data):
    content = bytearray(shards.write(tmp_path / "whole", shards.make(12)).read_bytes())
    places = st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "bad.hdf5"
    path.write_bytes(content)
    try:
        read_all(path)
    except DataError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


def test_more_predictions_than_positions_are_no_shard(tmp_path):
    rows = shards.make(3)
    for key in ("masked_lm_positions", "masked_lm_ids"):
        rows[key] = np.pad(rows[key], ((0, 0), (0, shards.LENGTH + 1 - shards.PREDICTIONS)))
    path = shards.write(tmp_path / "a.hdf5", rows)
    assert "17 predictions" in shards.message(shards.check, path)


def outside(kind: str, file, key: str, values, folder) -> None:
    """Make `key` of a shard lie in another file."""
    import h5py

    other = shards.write(folder / "other.hdf5", {key: values})
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
def test_a_shard_that_reads_another_file_is_refused(tmp_path, kind):
    """A file handed on could otherwise take in whatever else the reader may open."""
    import h5py

    path, rows = tmp_path / "a_training_0.hdf5", shards.make(3)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            if key == "segment_ids":
                outside(kind, file, key, values, tmp_path)
            else:
                file[key] = values
    text = shards.message(shards.check, path)
    assert text.startswith(f"{path}: segment_ids") and "another file" in text


def test_a_chunk_far_larger_than_its_file_is_refused(tmp_path):
    """One row is read by unpacking its whole chunk: 2 MB of zeros may unpack to gigabytes."""
    import h5py

    path, rows = tmp_path / "a_training_0.hdf5", shards.make(3)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            shape = (2**24, *values.shape[1:])  # 268 million ids in a chunk
            file.create_dataset(key, shape, values.dtype, chunks=shape, compression="gzip")
    assert "chunk" in shards.message(data_shards.check, [path], shards.VOCAB_SIZE, 512, 2)
