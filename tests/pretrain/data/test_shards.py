"""Shards: which are found, and what is wrong with their headers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shards

from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data import shards as data_shards

# Finding


def test_shards_are_found_in_the_order_of_their_numbers(tmp_path):
    for name in ("c_training_10", "c_training_2", "c_test_0", "c_training_0", ".c_training_1"):
        (tmp_path / f"{name}.hdf5").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.hdf5").mkdir()
    training, test = data_shards.find_shards(tmp_path)
    assert [p.stem for p in training] == ["c_training_0", "c_training_2", "c_training_10"]
    assert [p.stem for p in test] == ["c_test_0"]


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "c_training_0.hdf5").symlink_to(tmp_path / "gone")
    training, _ = data_shards.find_shards(tmp_path)
    assert "No such file" in shards.message(shards.check, *training)


@pytest.mark.parametrize(
    "files, said",
    [
        ([], "no *.hdf5 shard (it is empty)"),
        (["a.txt", "b.h5"], "no *.hdf5 shard (there is: a.txt, b.h5)"),
        (["c_test_0.hdf5"], "only test shards (c_test_0.hdf5)"),
        (["pd_en/c_training_0.hdf5"], "one folder deeper: give {}/pd_en"),
    ],
)
def test_folders_without_training_shards(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = shards.message(data_shards.find_shards, tmp_path)
    assert text.startswith(f"{tmp_path}: ")
    assert said.format(tmp_path) in text


def test_no_folder(tmp_path):
    assert "no such folder" in shards.message(data_shards.find_shards, tmp_path / "x")
    (tmp_path / "x").touch()
    assert "is a file" in shards.message(data_shards.find_shards, tmp_path / "x")


# Headers


def test_sound_shards(tmp_path):
    found = shards.check(*shards.write_folder(tmp_path, [5, 1, 9]))
    assert (found.rows, found.total) == ((5, 1, 9), 15)
    assert (found.length, found.predictions) == (shards.LENGTH, shards.PREDICTIONS)


def without(key):
    return lambda rows: rows.pop(key)


def replaced(key, change):
    return lambda rows: rows.update({key: change(rows[key])})


def everywhere(change):
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
    "no rows": (everywhere(lambda a: a[:0]), "it has no rows"),
}


@pytest.mark.parametrize("change, said", HEADERS.values(), ids=HEADERS)
def test_headers(tmp_path, change, said):
    good, *_ = shards.write_folder(tmp_path, [3])
    rows = shards.make(7)
    change(rows)
    bad = shards.write(tmp_path / "bad.hdf5", rows)
    assert shards.message(shards.check, good, bad) == f"{bad}: {said}"


def test_all_problems_of_a_file_come_together(tmp_path):
    rows = shards.make(7)
    del rows["input_mask"], rows["masked_lm_ids"]
    rows["input_ids"] = rows["input_ids"].astype("float64")
    text = shards.message(shards.check, shards.write(tmp_path / "bad.hdf5", rows))
    assert all(said in text for said in ("no input_mask", "no masked_lm_ids", "float64"))


def test_many_bad_files_make_a_line_of_bounded_length(tmp_path):
    paths = [tmp_path / f"{i}.hdf5" for i in range(50)]
    for path in paths:
        path.touch()
    assert shards.message(shards.check, *paths).endswith("; and 47 more shards with problems")


@pytest.mark.parametrize("kw", [{"length": 12}, {"predictions": 3}])
def test_shards_of_two_kinds(tmp_path, kw):
    one = shards.write(tmp_path / "one.hdf5", shards.make(3))
    two = shards.write(tmp_path / "two.hdf5", shards.make(3, **kw))
    text = shards.message(shards.check, one, two)
    assert text.startswith(f"{two}: sequences of ") and "one.hdf5 has 16 with 4" in text


def test_sequences_longer_than_the_model(tmp_path):
    paths = shards.write_folder(tmp_path, [3])
    shards.check(*paths, max_positions=shards.LENGTH)
    text = shards.message(shards.check, *paths, max_positions=shards.LENGTH - 1)
    assert "sequences of 16, but the model has 15 positions" in text


def test_files_that_are_no_shards(tmp_path):
    shards.write(tmp_path / "whole", shards.make(40))
    whole = (tmp_path / "whole").read_bytes()
    cases = {"empty": b"", "text": b"not hdf5 at all" * 99, "cut": whole[:-100], "stub": whole[:9]}
    said = {}
    for name, content in cases.items():
        (tmp_path / f"{name}.hdf5").write_bytes(content)
        said[name] = shards.message(shards.check, tmp_path / f"{name}.hdf5").removeprefix(
            f"{tmp_path}/{name}"
        )
    assert said["empty"] == ".hdf5: is an empty file (0 bytes); copy it again"
    assert said["text"] == ".hdf5: is not an HDF5 file"
    assert said["cut"] == (
        f".hdf5: is truncated: {len(whole) - 100} of {len(whole)} bytes are there; copy it again"
    )
    assert said["stub"].startswith(".hdf5: is ")


def test_missing_and_unreadable_files(tmp_path):
    missing = tmp_path / "gone.hdf5"
    assert (
        shards.message(shards.check, missing)
        == f"{missing}: cannot be read (No such file or directory)"
    )
    folder = tmp_path / "folder.hdf5"
    folder.mkdir()
    assert shards.message(shards.check, folder) == f"{folder}: cannot be read (Is a directory)"


@pytest.mark.skipif("HDF5_USE_FILE_LOCKING" in os.environ, reason="file locks are set by hand")
def test_a_shard_that_is_still_being_written(tmp_path):
    import h5py

    path = shards.write(tmp_path / "a.hdf5", shards.make(20))
    with h5py.File(path, "a"):
        # Another process is needed: within one, h5py shares the open file.
        code = (
            "import sys; from pathlib import Path; from bert_paddle.pretrain.data import shards\n"
            "shards.check([Path(sys.argv[1])], 100, 64, 2)"
        )
        command = [sys.executable, "-c", code, path]
        root = Path(__file__).parents[3]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stderr.splitlines()[-1].endswith(f"{path}: is being written by another process")


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

    training, test = data_shards.find_shards(real_shards)
    found = data_shards.check(training + test, 30522, 512, 2)
    for path, count in zip(found.paths, found.rows, strict=True):
        with h5py.File(path) as file:
            for key, dtype in schema.DTYPES.items():
                assert file[key].dtype == dtype
                row = schema.row_shape(key, found.length, found.predictions)
                assert file[key].shape == (count, *row)
    rows = found.read(0, 0, 1500)
    assert (rows["input_ids"][:, 0] == 101).all()
    used = data_shards.used(rows["masked_lm_positions"])
    assert (np.count_nonzero(used, axis=1) > 0).all()
    # What was masked is [MASK] for the most part.
    taken = np.take_along_axis(rows["input_ids"], rows["masked_lm_positions"], 1)[used]
    assert 0.75 < np.mean(taken == 103) < 0.85
