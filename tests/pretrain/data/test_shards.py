"""Finding shards, and checking their headers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shard_files

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.row_checks import used_predictions
from bert_paddle.pretrain.data.shard_roles import find_shards
from bert_paddle.pretrain.data.shards import check_shards

# Headers


def test_valid_shards(tmp_path):
    shards = shard_files.check_shards(*shard_files.write_shards(tmp_path, [5, 1, 9]))
    assert (shards.rows, shards.total) == ((5, 1, 9), 15)
    assert (shards.length, shards.predictions) == (shard_files.LENGTH, shard_files.PREDICTIONS)


def without(key):
    return lambda rows: rows.pop(key)


def replaced(key, change):
    return lambda rows: rows.update({key: change(rows[key])})


def for_all_keys(change):
    return lambda rows: rows.update({key: change(values) for key, values in rows.items()})


HEADERS = {
    "missing key": (without("segment_ids"), "no segment_ids"),
    "float": (
        replaced("input_ids", lambda a: a.astype("float32")),
        "input_ids is float32, not an integer dtype",
    ),
    "dimensions": (
        replaced("next_sentence_labels", lambda a: a[:, None]),
        "next_sentence_labels has 2 dimensions instead of 1",
    ),
    "rows": (replaced("masked_lm_ids", lambda a: a[:-1]), "masked_lm_ids has 6 rows, input_ids 7"),
    "columns": (
        replaced("input_mask", lambda a: a[:, :-1]),
        "input_mask has 15 columns, input_ids 16",
    ),
    "predictions": (
        replaced("masked_lm_ids", lambda a: a[:, :-1]),
        "masked_lm_ids has 3 columns, masked_lm_positions 4",
    ),
    "no rows": (for_all_keys(lambda a: a[:0]), "it has no rows"),
}


@pytest.mark.parametrize("change, message", HEADERS.values(), ids=HEADERS)
def test_headers(tmp_path, change, message):
    good, *_ = shard_files.write_shards(tmp_path, [3])
    rows = shard_files.make_rows(7)
    change(rows)
    bad = shard_files.write_shard(tmp_path / "bad.hdf5", rows)
    assert shard_files.error_message(shard_files.check_shards, good, bad) == f"{bad}: {message}"


def test_all_problems_of_a_file_are_reported_together(tmp_path):
    rows = shard_files.make_rows(7)
    del rows["input_mask"], rows["masked_lm_ids"]
    rows["input_ids"] = rows["input_ids"].astype("float64")
    text = shard_files.error_message(
        shard_files.check_shards, shard_files.write_shard(tmp_path / "bad.hdf5", rows)
    )
    assert all(problem in text for problem in ("no input_mask", "no masked_lm_ids", "float64"))


def test_the_message_for_many_bad_files_is_bounded(tmp_path):
    paths = [tmp_path / f"{i}.hdf5" for i in range(50)]
    for path in paths:
        path.touch()
    assert shard_files.error_message(shard_files.check_shards, *paths).endswith(
        "; and 47 more shards with problems"
    )


@pytest.mark.parametrize("kw", [{"length": 12}, {"predictions": 3}])
def test_shards_of_different_sizes(tmp_path, kw):
    one = shard_files.write_shard(tmp_path / "one.hdf5", shard_files.make_rows(3))
    two = shard_files.write_shard(tmp_path / "two.hdf5", shard_files.make_rows(3, **kw))
    text = shard_files.error_message(shard_files.check_shards, one, two)
    assert text.startswith(f"{two}: sequences of ") and "one.hdf5 has 16 with 4" in text


def test_sequences_longer_than_the_model(tmp_path):
    paths = shard_files.write_shards(tmp_path, [3])
    shard_files.check_shards(*paths, max_positions=shard_files.LENGTH)
    text = shard_files.error_message(
        shard_files.check_shards, *paths, max_positions=shard_files.LENGTH - 1
    )
    assert "sequences of 16, but the model has 15 positions" in text


def test_files_that_are_not_shards(tmp_path):
    shard_files.write_shard(tmp_path / "whole", shard_files.make_rows(40))
    content = (tmp_path / "whole").read_bytes()
    cases = {
        "empty": b"",
        "text": b"not hdf5 at all" * 99,
        "cut": content[:-100],
        "stub": content[:9],
    }
    messages = {}
    for name, case in cases.items():
        (tmp_path / f"{name}.hdf5").write_bytes(case)
        messages[name] = shard_files.error_message(
            shard_files.check_shards, tmp_path / f"{name}.hdf5"
        ).removeprefix(f"{tmp_path}/{name}")
    assert messages["empty"] == ".hdf5: is an empty file (0 bytes); copy it again"
    assert messages["text"] == ".hdf5: is not an HDF5 file"
    assert messages["cut"] == (
        f".hdf5: is truncated: {len(content) - 100} of {len(content)} bytes are there; "
        "copy it again"
    )
    assert messages["stub"].startswith(".hdf5: is ")


def test_missing_and_unreadable_files(tmp_path):
    missing = tmp_path / "gone.hdf5"
    assert (
        shard_files.error_message(shard_files.check_shards, missing)
        == f"{missing}: cannot be read (No such file or directory)"
    )
    folder = tmp_path / "folder.hdf5"
    folder.mkdir()
    assert (
        shard_files.error_message(shard_files.check_shards, folder)
        == f"{folder}: cannot be read (Is a directory)"
    )


@pytest.mark.skipif(
    "HDF5_USE_FILE_LOCKING" in os.environ, reason="the environment sets file locking"
)
def test_a_shard_that_is_still_being_written(tmp_path):
    import h5py

    path = shard_files.write_shard(tmp_path / "a.hdf5", shard_files.make_rows(20))
    with h5py.File(path, "a"):
        # In another process: within one, h5py shares the open file.
        code = (
            "import sys; from pathlib import Path; from bert_paddle.pretrain.data import shards\n"
            "shards.check_shards([Path(sys.argv[1])], 100, 64, 2)"
        )
        command = [sys.executable, "-c", code, path]
        root = Path(__file__).parents[3]
        result = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert result.stderr.splitlines()[-1].endswith(f"{path}: is being written by another process")


# Real shards


@pytest.fixture
def real_shards() -> Path:
    folder = os.environ.get("BERT_PADDLE_HDF5_DIR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BERT_PADDLE_HDF5_DIR is not set to a folder of shards by NVIDIA's tool")
    return Path(folder)


@pytest.mark.real_data
def test_shards_of_nvidias_tool(real_shards):
    import h5py

    files = find_shards(real_shards)
    assert [p.name for p in files.held_out] == [p.name for p in real_shards.glob("*_test_*")]
    shards = check_shards(files.training + files.held_out, 30522, 512, 2)
    for path, count in zip(shards.paths, shards.rows, strict=True):
        with h5py.File(path) as file:
            for key, dtype in schema.DTYPES.items():
                assert file[key].dtype == dtype
                row = schema.row_shape(key, shards.length, shards.predictions)
                assert file[key].shape == (count, *row)
    rows = shards.read(0, 0, 1500)
    assert (rows["input_ids"][:, 0] == 101).all()
    used = used_predictions(rows["masked_lm_positions"])
    assert (np.count_nonzero(used, axis=1) > 0).all()
    # Most masked tokens are [MASK].
    masked_ids = np.take_along_axis(rows["input_ids"], rows["masked_lm_positions"], 1)[used]
    assert 0.75 < np.mean(masked_ids == 103) < 0.85


def test_shard_that_claims_rows_it_does_not_have(tmp_path, monkeypatch):
    import h5py

    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for key, dtype in schema.DTYPES.items():
            shape = (10**10, *schema.row_shape(key, 16, 4))
            file.create_dataset(key, shape, dtype, chunks=(1000, *shape[1:]))
    with pytest.raises(DataError, match="bytes for each byte of the file or more, and 200 are"):
        check_shards([path], 100, 16, 2)
    monkeypatch.setenv("BERT_PADDLE_MAX_EXPANSION", "1000000000000")
    assert check_shards([path], 100, 16, 2).total == 10**10


@pytest.mark.parametrize("readable", [False, True])
def test_filter_that_is_not_installed_is_named(tmp_path, readable):
    import h5py

    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        for key, values in shard_files.make_rows(3).items():
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk(values.shape)
            # Optional: without the filter, h5py could write the rows uncompressed.
            plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
            kind = h5py.h5t.py_create(values.dtype)
            space = h5py.h5s.create_simple(values.shape)
            dataset = h5py.h5d.create(file.id, key.encode(), kind, space, plist)
            skipped = int(readable)  # bit 0: the first filter was not used
            dataset.write_direct_chunk((0,) * values.ndim, values.tobytes(), skipped)
    if readable:
        assert check_shards([path], 100, 16, 2).total == 3
        return
    with pytest.raises(DataError, match=r"compressed with the HDF5 filter 32015 \(zstd\), which"):
        check_shards([path], 100, 16, 2)
