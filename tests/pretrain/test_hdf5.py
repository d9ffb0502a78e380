"""Shards: which are found, what is wrong with them, what reading gives."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shards

from bert_paddle.errors import DataError
from bert_paddle.pretrain import hdf5, layout


def check(*paths: Path, vocab_size: int = shards.VOCAB_SIZE, max_positions: int = 64):
    return hdf5.check(paths, vocab_size, max_positions, 2)


def message(call, *args, **kw) -> str:
    """The text of the DataError that a call ends with: one line."""
    with pytest.raises(DataError) as caught:
        call(*args, **kw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Finding


def test_shards_are_found_in_the_order_of_their_numbers(tmp_path):
    for name in ("c_training_10", "c_training_2", "c_test_0", "c_training_0", ".c_training_1"):
        (tmp_path / f"{name}.hdf5").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.hdf5").mkdir()
    training, test = hdf5.find_shards(tmp_path)
    assert [p.stem for p in training] == ["c_training_0", "c_training_2", "c_training_10"]
    assert [p.stem for p in test] == ["c_test_0"]


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "c_training_0.hdf5").symlink_to(tmp_path / "gone")
    training, _ = hdf5.find_shards(tmp_path)
    assert "No such file" in message(check, *training)


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
    text = message(hdf5.find_shards, tmp_path)
    assert text.startswith(f"{tmp_path}: ")
    assert said.format(tmp_path) in text


def test_no_folder(tmp_path):
    assert "no such folder" in message(hdf5.find_shards, tmp_path / "x")
    (tmp_path / "x").touch()
    assert "is a file" in message(hdf5.find_shards, tmp_path / "x")


# Headers


def test_sound_shards(tmp_path):
    found = check(*shards.write_folder(tmp_path, [5, 1, 9]))
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
    assert message(check, good, bad) == f"{bad}: {said}"


def test_all_problems_of_a_file_come_together(tmp_path):
    rows = shards.make(7)
    del rows["input_mask"], rows["masked_lm_ids"]
    rows["input_ids"] = rows["input_ids"].astype("float64")
    text = message(check, shards.write(tmp_path / "bad.hdf5", rows))
    assert all(said in text for said in ("no input_mask", "no masked_lm_ids", "float64"))


def test_many_bad_files_make_a_line_of_bounded_length(tmp_path):
    paths = [tmp_path / f"{i}.hdf5" for i in range(50)]
    for path in paths:
        path.touch()
    assert message(check, *paths).endswith("; and 47 more shards with problems")


@pytest.mark.parametrize("kw", [{"length": 12}, {"predictions": 3}])
def test_shards_of_two_kinds(tmp_path, kw):
    one = shards.write(tmp_path / "one.hdf5", shards.make(3))
    two = shards.write(tmp_path / "two.hdf5", shards.make(3, **kw))
    text = message(check, one, two)
    assert text.startswith(f"{two}: sequences of ") and "one.hdf5 has 16 with 4" in text


def test_sequences_longer_than_the_model(tmp_path):
    paths = shards.write_folder(tmp_path, [3])
    check(*paths, max_positions=shards.LENGTH)
    text = message(check, *paths, max_positions=shards.LENGTH - 1)
    assert "sequences of 16, but the model has 15 positions" in text


def test_files_that_are_no_shards(tmp_path):
    shards.write(tmp_path / "whole", shards.make(40))
    whole = (tmp_path / "whole").read_bytes()
    cases = {"empty": b"", "text": b"not hdf5 at all" * 99, "cut": whole[:-100], "stub": whole[:9]}
    said = {}
    for name, content in cases.items():
        (tmp_path / f"{name}.hdf5").write_bytes(content)
        said[name] = message(check, tmp_path / f"{name}.hdf5").removeprefix(f"{tmp_path}/{name}")
    assert said["empty"] == ".hdf5: is an empty file (0 bytes); copy it again"
    assert said["text"] == ".hdf5: is not an HDF5 file"
    assert said["cut"] == (
        f".hdf5: is truncated: {len(whole) - 100} of {len(whole)} bytes are there; copy it again"
    )
    assert said["stub"].startswith(".hdf5: is ")


def test_missing_and_unreadable_files(tmp_path):
    missing = tmp_path / "gone.hdf5"
    assert message(check, missing) == f"{missing}: cannot be read (No such file or directory)"
    folder = tmp_path / "folder.hdf5"
    folder.mkdir()
    assert message(check, folder) == f"{folder}: cannot be read (Is a directory)"


@pytest.mark.skipif("HDF5_USE_FILE_LOCKING" in os.environ, reason="file locks are set by hand")
def test_a_shard_that_is_still_being_written(tmp_path):
    import h5py

    path = shards.write(tmp_path / "a.hdf5", shards.make(20))
    with h5py.File(path, "a"):
        # Another process is needed: within one, h5py shares the open file.
        code = (
            "import sys; from pathlib import Path; from bert_paddle.pretrain import hdf5\n"
            "hdf5.check([Path(sys.argv[1])], 100, 64, 2)"
        )
        command = [sys.executable, "-c", code, path]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stderr.splitlines()[-1].endswith(f"{path}: is being written by another process")


# Rows


def test_reading_gives_the_layout(tmp_path):
    rows = shards.make(200)
    found = check(shards.write(tmp_path / "a.hdf5", rows))
    for start, stop in ((0, 200), (63, 65), (199, 200)):
        read = found.read(0, start, stop)
        assert list(read) == list(layout.DTYPES)
        for key, values in read.items():
            assert values.dtype == layout.DTYPES[key]
            assert np.array_equal(values, rows[key][start:stop])


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int16"])
def test_other_integers_are_converted(tmp_path, dtype):
    rows = shards.make(5)
    wide = {key: values.astype(dtype) for key, values in rows.items()}
    read = check(shards.write(tmp_path / "a.hdf5", wide)).read(0, 0, 5)
    assert all(np.array_equal(read[key], rows[key]) for key in rows)
    assert all(read[key].dtype == dtype for key, dtype in layout.DTYPES.items())


def test_ids_are_checked_before_they_are_converted(tmp_path):
    rows = {key: values.astype(np.int64) for key, values in shards.make(5).items()}
    rows["input_ids"][2, 1] = 2**32 + 7  # 7 as an int32
    found = check(shards.write(tmp_path / "a.hdf5", rows))
    assert "row 2 (counted from 0): input_ids[1] is 4294967303" in message(found.read, 0, 0, 5)


ROWS = {
    "input_ids": ((7,), 100, "input_ids[7] is 100, outside the vocabulary of 100 ids"),
    "negative": ((0,), -1, "input_ids[0] is -1, outside the vocabulary of 100 ids"),
    "mask": ((3,), 2, "input_mask[3] is 2, neither 0 nor 1"),
    "no [CLS]": ((0,), 0, "input_mask[0] is 0: [CLS] has to be there"),
    "segment": ((1,), 2, "segment_ids[1] is 2, not below 2"),
    "position": ((0,), 16, "masked_lm_positions[0] is 16, outside the sequence of 16"),
    "negative position": ((1,), -3, "masked_lm_positions[1] is -3, outside the sequence of 16"),
    "padding": ((0,), 15, "masked_lm_positions[0] is 15, where input_mask is 0"),
    "label": ((3,), 100, "masked_lm_ids[3] is 100, outside the vocabulary of 100 ids"),
    "next": ((), 2, "next_sentence_labels is 2, neither 0 nor 1"),
}


@pytest.mark.parametrize("place, value, said", ROWS.values(), ids=ROWS)
def test_bad_rows(tmp_path, place, value, said):
    rows = shards.make(30)
    rows["input_ids"][17, 12:], rows["input_mask"][17, 12:] = 0, 0
    rows["masked_lm_positions"][17] = 0, 0, 0, 0
    key = re.match("[a-z_]+", said)[0]
    rows[key][(17, *place)] = value
    path = shards.write(tmp_path / "bad.hdf5", rows)
    found = check(path)
    found.read(0, 0, 17)
    found.read(0, 18, 30)
    # The row is the shard's, whatever slice it was met in.
    for start, stop in ((0, 30), (17, 18), (10, 20)):
        text = message(found.read, 0, start, stop)
        assert text.startswith(f"{path}: row 17 (counted from 0): {said}")


def test_a_replaced_token_may_be_pad(tmp_path):
    """Id 0 under mask 1 is a random replacement: a real token that may be predicted."""
    rows = shards.make(4)
    rows["input_ids"][1, 5], rows["masked_lm_positions"][1] = 0, (5, 0, 0, 0)
    read = check(shards.write(tmp_path / "a.hdf5", rows)).read(0, 0, 4)
    assert read["input_ids"][1, 5] == 0 and read["input_mask"][1, 5] == 1


def test_padding_after_the_end_of_the_list_is_no_prediction(tmp_path):
    """Position 0 of the zero tail always has mask 1; a 0 ends the list, whatever follows."""
    rows = shards.make(2)
    rows["input_mask"][0, 12:] = 0
    rows["masked_lm_positions"][0] = (5, 0, 15, 15)
    check(shards.write(tmp_path / "a.hdf5", rows)).read(0, 0, 2)


def test_a_damaged_chunk_is_told_with_file_and_rows(tmp_path):
    path = shards.write(tmp_path / "a.hdf5", shards.make(512, length=64), chunk_rows=512)
    import h5py

    with h5py.File(path) as file:
        chunk = file["input_ids"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(os.urandom(64))
    found = check(path)
    text = message(found.read, 0, 100, 200)
    assert text.startswith(f"{path}: rows 100 to 199 (counted from 0): is damaged")


def test_a_file_that_changes_or_goes_during_the_run(tmp_path):
    path = shards.write(tmp_path / "a.hdf5", shards.make(20))
    found = check(path)
    shards.write(path, shards.make(15))
    text = message(found.read, 0, 10, 20)
    assert text.startswith(f"{path}: rows 10 to 19") and "changed during the run" in text
    path.unlink()
    assert "No such file" in message(found.read, 0, 0, 5)


# Fingerprint


def test_fingerprint(tmp_path):
    def of(folder, *args, **kw):
        return check(*shards.write_folder(folder, *args, **kw)).fingerprint()

    one = of(tmp_path / "a", [5, 3])
    assert one == of(tmp_path / "elsewhere", [5, 3])
    others = [
        of(tmp_path / "b", [5]),
        of(tmp_path / "c", [3, 5]),
        of(tmp_path / "d", [5, 3], corpus="other"),
        of(tmp_path / "e", [5, 3], seed=1),
    ]
    assert len({one, *others}) == 5


def test_fingerprint_sees_content_of_the_same_size(tmp_path):
    path = tmp_path / "a.hdf5"
    rows = shards.make(5)
    one = check(shards.write(path, rows)).fingerprint()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert check(path).fingerprint() != one


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

    training, test = hdf5.find_shards(real_shards)
    found = hdf5.check(training + test, 30522, 512, 2)
    for path, count in zip(found.paths, found.rows, strict=True):
        with h5py.File(path) as file:
            for key, dtype in layout.DTYPES.items():
                assert file[key].dtype == dtype
                row = layout.row_shape(key, found.length, found.predictions)
                assert file[key].shape == (count, *row)
    rows = found.read(0, 0, 1500)
    assert (rows["input_ids"][:, 0] == 101).all()
    used = hdf5.used(rows["masked_lm_positions"])
    assert (np.count_nonzero(used, axis=1) > 0).all()
    # What was masked is [MASK] for the most part.
    taken = np.take_along_axis(rows["input_ids"], rows["masked_lm_positions"], 1)[used]
    assert 0.75 < np.mean(taken == 103) < 0.85
