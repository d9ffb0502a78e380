"""Which files of a folder are training shards, which are held out, and which are not read."""

import pytest
import shard_files

from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.shard_roles import find_shards, is_held_out
from bert_paddle.pretrain.data.shards import check_shards


def names(paths) -> list[str]:
    return [path.name for path in paths]


def touch(folder, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def test_shards_are_found_in_the_order_of_their_numbers(tmp_path):
    for name in ("c_training_10", "c_training_2", "c_test_0", "c_training_0", ".c_training_1"):
        (tmp_path / f"{name}.hdf5").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.hdf5").mkdir()
    files = find_shards(tmp_path)
    assert [p.stem for p in files.training] == ["c_training_0", "c_training_2", "c_training_10"]
    assert [p.stem for p in files.held_out] == ["c_test_0"]


def test_a_broken_link_is_an_error(tmp_path):
    (tmp_path / "c_training_0.hdf5").symlink_to(tmp_path / "gone")
    training = find_shards(tmp_path).training
    assert "No such file" in shard_files.error_message(shard_files.check_shards, *training)


@pytest.mark.parametrize(
    "files, message",
    [
        ([], "no *.hdf5 shard (it is empty)"),
        (["a.txt", "b.h5"], "no *.hdf5 shard (there is: a.txt, b.h5); rename them to *.hdf5"),
        (["c_test_0.hdf5"], "only held-out shards (c_test_0.hdf5)"),
        (["dev.hdf5", "test.hdf5"], "--eval_pattern says which are held out (none: none)"),
        (["pd_en/c_training_0.hdf5"], "in a subfolder: give {}/pd_en"),
    ],
)
def test_folders_without_training_shards(tmp_path, files, message):
    touch(tmp_path, *files)
    text = shard_files.error_message(find_shards, tmp_path)
    assert text.startswith(f"{tmp_path}: ")
    assert message.format(tmp_path) in text


def test_no_folder(tmp_path):
    assert "no such folder" in shard_files.error_message(find_shards, tmp_path / "x")
    (tmp_path / "x").touch()
    assert "is a file" in shard_files.error_message(find_shards, tmp_path / "x")


HELD_OUT = """test TEST wiki_test wiki_test_0 valid_0 dev_wiki_3 dev-0 validation val_1 wiki.test.0
wiki_validation test-00000-of-00010 books_test_part_3 test0 held_out wiki_held-out_2 heldout_0
wiki_eval_0 pd_en_test_0 training_corpus_test_0 hold_out""".split()
TRAINING = """wiki_0 training_0 wiki_training_0 train my_test_corpus_00 my_test_corpus_training_0
test_training_0 contest_0 latest_2 attest part_0 00 2020_wiki devices_1 validated_0 test_set_train_7
evaluations_0""".split()


@pytest.mark.parametrize("name", HELD_OUT)
def test_names_that_are_held_out(name):
    assert is_held_out(f"{name}.hdf5")


@pytest.mark.parametrize("name", TRAINING)
def test_names_that_are_trained_on(name):
    assert not is_held_out(f"{name}.hdf5")


@pytest.mark.parametrize("corpus", ["wiki", "test", "my_test_corpus", "dev", "a_test_b", "x-1.2"])
def test_the_shards_of_create_data_have_their_roles(corpus):
    assert not is_held_out(schema.shard_name(corpus, schema.TRAINING, 12))
    assert is_held_out(schema.shard_name(corpus, schema.TEST, 12))


def test_eval_pattern_replaces_the_rule(tmp_path):
    touch(tmp_path, "a_0.hdf5", "A_1.hdf5", "b_0.hdf5", "test.hdf5")
    assert names(find_shards(tmp_path, "a_1*, b_*").held_out) == ["A_1.hdf5", "b_0.hdf5"]
    assert names(find_shards(tmp_path, "a_1*").training) == ["a_0.hdf5", "b_0.hdf5", "test.hdf5"]
    assert not find_shards(tmp_path, "none").held_out
    text = shard_files.error_message(find_shards, tmp_path, "c_*")
    assert text.startswith(f"--eval_pattern c_*: no shard in {tmp_path} matches; there are 4: ")
    assert "only held-out shards" in shard_files.error_message(find_shards, tmp_path, "*")


def test_every_file_has_its_role(tmp_path):
    touch(tmp_path, *(f"wiki_training_{i}.hdf5" for i in range(300)), "books.hdf5", "test.hdf5")
    touch(tmp_path, "more.h5", "X.HDF5", "old.txt", "vocab.txt", "c_metadata.json", ".git")
    touch(tmp_path, ".wiki_1.hdf5", "sub/wiki_0.hdf5", "other/notes.txt")
    (tmp_path / "folder.hdf5").mkdir()
    assert find_shards(tmp_path).describe() == [
        "training shards: 301: books.hdf5, wiki_training_0.hdf5 to wiki_training_299.hdf5 (300)",
        "held-out shards: 1: test.hdf5",
        "not read: .wiki_1.hdf5 (hidden), X.HDF5 (not named *.hdf5), folder.hdf5 (a folder) and 3 "
        "more",
    ]


def test_the_lines_are_bounded(tmp_path):
    touch(tmp_path, *(f"{a}{b}_0.hdf5" for a in "abcdefghij" for b in "abcdefghij"))
    (line,) = find_shards(tmp_path).describe()
    assert line.startswith("training shards: 100: aa_0.hdf5, ab_0.hdf5,")
    assert line.endswith(", ..., jj_0.hdf5") and len(line) < 150


def test_a_held_out_word_inside_a_name_is_ambiguous(tmp_path):
    touch(tmp_path, "my_test_corpus_0.hdf5", "my_test_corpus_training_0.hdf5", "wiki_0.hdf5")
    assert names(find_shards(tmp_path).ambiguous) == ["my_test_corpus_0.hdf5"]
    assert not find_shards(tmp_path, "wiki*").ambiguous


def test_test_shards_beside_training_shards_are_not_trained_on(tmp_path):
    for name in ("wiki_0", "test", "wiki_test", "valid_0"):
        shard_files.write_shard(tmp_path / f"{name}.hdf5", shard_files.make_rows(3))
    assert check_shards(find_shards(tmp_path).training, 100, 512, 2).total == 3
