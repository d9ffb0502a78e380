"""Creating shards: the same bytes however they are made, resuming, and refusing other settings."""

import errno
import json
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import DataError, OutputError, RunError, UserError
from bert_paddle.models.tokenizer import Tokenizer, load_tokenizer
from bert_paddle.pretrain.create import create_data, workers
from bert_paddle.pretrain.create.args import parse_args
from bert_paddle.pretrain.data import schema

SCRIPT = Path(__file__).parents[3] / "scripts" / "create_pretraining_data.py"
VOCAB = [*tiny.VOCAB, "The", "Cat", *"TC"]


@pytest.fixture
def text(tmp_path):
    """Two files of 60 documents in all."""
    rng = random.Random(0)
    folder = tmp_path / "text"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        documents = [
            "\n".join("The Cat xyz " + tiny.sentence(rng) for _ in range(rng.randint(2, 8)))
            for _ in range(30)
        ]
        (folder / name).write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def create(tmp_path, text, vocab):
    """Creates shards in a folder with default flags and those given."""

    def run(out="out", *flags):
        values = {
            "input_files": text,
            "vocab_file": vocab,
            "output_dir": tmp_path / out,
            "corpus_name": "c",
            "max_seq_length": 32,
            "max_predictions_per_seq": 6,
            "shards": 3,
            "test_share": 0.2,
        }
        argv = [item for flag, value in values.items() for item in (f"--{flag}", str(value))]
        create_data.run(parse_args([*argv, *flags]))
        return tmp_path / out

    return run


def read_shards(folder):
    """The bytes of each shard."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.hdf5"))}


OTHER_FILES = ("c_metadata.json", "vocab.txt", "tokenizer_config.json")
NAMES = ["c_test_0.hdf5", "c_training_0.hdf5", "c_training_1.hdf5", "c_training_2.hdf5"]


def test_shards_and_metadata_and_nothing_else(create, capsys):
    out = create()
    assert sorted(p.name for p in out.iterdir()) == sorted([*NAMES, *OTHER_FILES])
    metadata = json.loads((out / "c_metadata.json").read_text())
    rows = {}
    for name in NAMES:
        with h5py.File(out / name) as file:
            rows[name] = {key: file[key][:] for key in schema.DTYPES}
    total = sum(len(r["input_ids"]) for r in rows.values())
    assert metadata["rows"] == total == sum(shard["rows"] for shard in metadata["shards"])
    assert metadata["random_next"] == sum(r["next_sentence_labels"].sum() for r in rows.values())
    assert metadata["tokens"] == sum(r["input_mask"].sum(dtype=int) for r in rows.values())
    assert metadata["predictions"] == sum(
        (r["masked_lm_positions"] > 0).sum() for r in rows.values()
    )
    assert metadata["sets"]["training"]["documents"] + metadata["sets"]["test"]["documents"] == 60
    assert [f["name"] for f in metadata["made_from"]["inputs"]] == ["a.txt", "b.txt"]
    assert metadata["made_from"]["recipe"]["max_seq_length"] == 32
    captured = capsys.readouterr()
    assert captured.out == "" and f"{total:,} rows in 4 shards" in captured.err.splitlines()[-1]


def test_test_documents_are_in_no_training_shard(create, text):
    """Each document has a word of its own, spelled in single letters."""
    codes = [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"]
    (text / "a.txt").unlink()
    documents = [f"{code} the cat .\n{code} sat {code} ." for code in codes]
    (text / "b.txt").write_text("\n\n".join(documents), encoding="utf-8")
    out = create("out", "--dupe_factor", "1")
    rules, seen = Tokenizer(VOCAB, False), {"training": set(), "test": set()}
    for name in NAMES:
        with h5py.File(out / name) as file:
            ids = file["input_ids"][:]
            positions, labels = file["masked_lm_positions"][:], file["masked_lm_ids"][:]
        row, slot = np.nonzero(positions)
        ids[row, positions[row, slot]] = labels[row, slot]
        for line in ids:
            words = " ".join(rules.vocab[i] for i in line).replace(" ##", "").split()
            seen[name.split("_")[1]] |= set(words) & set(codes)
    assert not seen["training"] & seen["test"]
    assert seen["training"] | seen["test"] == set(codes) and len(seen["test"]) > 3


def test_processes_create_the_same_shards(create):
    assert read_shards(create("one")) == read_shards(create("two", "--workers", "2"))


@pytest.mark.parametrize(
    "processes", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["threads", "processes"]
)
def test_a_cluster_creates_the_same_shards(create, processes):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=processes,
        protocol="tcp",
        dashboard_address=None,
        host="127.0.0.1",
    ) as cluster:
        shards = read_shards(create("cluster", "--scheduler", cluster.scheduler_address))
    assert shards == read_shards(create("one"))


def test_an_unreachable_scheduler_is_an_error(create, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_DASK_TIMEOUT", 1)
    with pytest.raises(DataError, match="no Dask scheduler answers"):
        create("out", "--scheduler", "tcp://127.0.0.1:9")


def test_without_libdeflate_the_rows_are_the_same(create, monkeypatch):
    fast = create("fast")
    monkeypatch.setitem(sys.modules, "deflate", None)
    plain = create("plain")
    for name in NAMES:
        with h5py.File(fast / name) as expected, h5py.File(plain / name) as file:
            assert expected.keys() == file.keys()
            for key in expected:
                np.testing.assert_array_equal(expected[key][()], file[key][()])
    assert read_shards(fast) != read_shards(plain)  # libdeflate was used where it is


def test_missing_dask_is_an_error(create, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="pip install distributed"):
        create("out", "--scheduler", "tcp://127.0.0.1:9")


def test_a_failing_worker_ends_the_run(create, monkeypatch):
    """A shard's text is missing although the plan lists it."""
    from bert_paddle.pretrain.create.output_dir import ShardOutputDir

    save_plan = ShardOutputDir.save_plan

    def save_and_delete(folder, counts):
        save_plan(folder, counts)
        (folder.work_dir / "training_1.txt").unlink()

    monkeypatch.setattr(ShardOutputDir, "save_plan", save_and_delete)
    with pytest.raises(RunError, match="c_training_1.hdf5: cannot be written"):
        create("out", "--workers", "2")


def test_a_full_disk_is_told_with_the_file(create, monkeypatch):
    """Not with the name under which it is being written."""

    def write(temporary, text, **options):
        raise OSError(errno.EFBIG, "File too large", str(temporary))

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(RunError, match=r"^the disk is full: \S+/vocab.txt: File too large; fix "):
        create("out")


KILLED = """
import os, signal, sys
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import parse_args
replace = os.replace
def die_before(source, target):
    if str(target).endswith("training_1.hdf5"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die_before
create_data.run(parse_args(sys.argv[1:]))
"""


def test_killed_and_run_again(create, tmp_path, text, vocab, capsys):
    """The kill comes when a shard is complete but not renamed yet."""
    flags = "--corpus_name c --max_seq_length 32 --max_predictions_per_seq 6 --shards 3".split()
    flags += ["--test_share", "0.2", "--input_files", str(text), "--vocab_file", str(vocab)]
    out = tmp_path / "out"
    result = subprocess.run(
        [sys.executable, "-c", KILLED, *flags, "--output_dir", str(out)],
        cwd=SCRIPT.parents[1],
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == -9, result.stderr
    assert list(read_shards(out)) == ["c_training_0.hdf5"]
    before = (out / "c_training_0.hdf5").stat().st_mtime_ns
    assert not (out / "c_metadata.json").exists() and list(out.glob(".*.part"))
    create("out")
    assert "resuming: 1 of 4 shards are complete" in capsys.readouterr().err
    assert (out / "c_training_0.hdf5").stat().st_mtime_ns == before
    assert read_shards(out) == read_shards(create("reference"))
    assert sorted(p.name for p in out.iterdir()) == sorted([*NAMES, *OTHER_FILES])
    metadata = [
        json.loads((tmp_path / d / "c_metadata.json").read_text()) for d in ("out", "reference")
    ]
    assert metadata[0] == metadata[1]


def test_incomplete_partitioning_starts_over(create, monkeypatch):
    from bert_paddle.pretrain.create.output_dir import ShardOutputDir

    with monkeypatch.context() as patch:
        patch.setattr(
            ShardOutputDir, "save_plan", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            create("out")
    assert read_shards(create("out")) == read_shards(create("reference"))


def test_complete_shards_are_kept_and_a_lost_shard_is_created_again(create, capsys):
    out = create()
    before = read_shards(out)
    times = {n: (out / n).stat().st_mtime_ns for n in NAMES}
    create()
    assert "nothing to do" in capsys.readouterr().err
    (out / "c_training_1.hdf5").unlink()
    (out / "c_training_2.hdf5").write_bytes(b"half")
    create()
    assert read_shards(out) == before
    assert {n for n in NAMES if (out / n).stat().st_mtime_ns == times[n]} == {NAMES[0], NAMES[1]}


def test_other_flags_or_text_are_refused_without_overwrite(create, text):
    out = create()
    with pytest.raises(OutputError, match=r"dupe_factor 5, now 2.*--overwrite_output_dir"):
        create("out", "--dupe_factor", "2")
    reference = read_shards(create("reference", "--dupe_factor", "2", "--shards", "2"))
    create("out", "--dupe_factor", "2", "--shards", "2", "--overwrite_output_dir")
    assert read_shards(out) == reference and len(reference) == 3
    with (text / "b.txt").open("a", encoding="utf-8") as file:
        file.write("one more .\n")
    with pytest.raises(OutputError, match="different inputs"):
        create("out", "--dupe_factor", "2", "--shards", "2")


def test_shards_of_unknown_origin_are_refused(create, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c_training_7.hdf5").write_bytes(b"mine")
    with pytest.raises(OutputError, match="without a record"):
        create()
    assert (tmp_path / "out" / "c_training_7.hdf5").read_bytes() == b"mine"


def test_other_corpora_in_the_folder_are_kept(create):
    out = create()
    before = read_shards(out)
    create("out", "--corpus_name", "d", "--dupe_factor", "1")
    create("out", "--corpus_name", "d", "--dupe_factor", "2", "--overwrite_output_dir")
    assert before.items() <= read_shards(out).items()


def test_case_follows_the_flag(create, vocab):
    upper = {VOCAB.index("The"), VOCAB.index("Cat")}
    for flags, kept in (((), True), (("--do_lower_case", "1"), False)):
        out = create(f"out{len(flags)}", *flags)
        with h5py.File(out / "c_training_0.hdf5") as file:
            positions, ids = file["masked_lm_positions"][:], file["masked_lm_ids"][:]
        assert bool(upper & set(ids[positions > 0].tolist())) is kept
        metadata = json.loads((out / "c_metadata.json").read_text())
        assert metadata["made_from"]["vocabulary"]["do_lower_case"] is not kept


def test_no_lower_case_for_an_uncased_folder(tmp_path, text, vocab):
    folder = tmp_path / "model"
    folder.mkdir()
    Tokenizer(VOCAB, True).save(folder)
    flags = ["--input_files", str(text), "--output_dir", str(tmp_path / "o")]
    flags += ["--vocab_file", str(folder)]
    assert create_data.tokenizer_from_flags(parse_args(flags)).do_lower_case
    cased = create_data.tokenizer_from_flags(parse_args([*flags, "--do_lower_case", "0"]))
    assert cased.tokenize_to_ids(["The"]) == [[VOCAB.index("The")]]
    assert load_tokenizer(folder).tokenize_to_ids(["The"]) == [[VOCAB.index("the")]]


def test_whole_words_and_other_flags_reach_the_rows(create):
    first = create("a", "--whole_word_mask")
    second = create("b", "--whole_word_mask", "0")
    third = create("c", "--whole_word_mask", "--random_seed", "1")
    assert read_shards(first) != read_shards(second) and read_shards(first) != read_shards(third)


def test_too_few_documents_have_no_test_set_unless_asked(tmp_path, vocab, capsys):
    (tmp_path / "t.txt").write_text("a cat .\nsat .\n\nthe dog .\nran .\n", encoding="utf-8")
    flags = ["--input_files", str(tmp_path / "t.txt"), "--vocab_file", str(vocab)]
    create_data.run(parse_args([*flags, "--output_dir", str(tmp_path / "o")]))
    assert list(read_shards(tmp_path / "o")) == ["o_training_0.hdf5"]
    assert "no test shard" in capsys.readouterr().err
    with pytest.raises(DataError, match="--test_share"):
        create_data.run(
            parse_args([*flags, "--output_dir", str(tmp_path / "p"), "--test_share", "0.02"])
        )
