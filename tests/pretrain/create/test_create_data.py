import json
import os
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import DataError, FlagError, OutputError, RunError
from bert_paddle.models.tokenizer import Tokenizer, load
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
def make(tmp_path, text, vocab):
    """Makes shards in a folder, with flags added to some that are given."""

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
        words = [word for flag, value in values.items() for word in (f"--{flag}", str(value))]
        create_data.run(parse_args([*words, *flags]))
        return tmp_path / out

    return run


def shards_of(folder):
    """The bytes of each shard."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.hdf5"))}


BESIDE = ("c_metadata.json", "vocab.txt", "tokenizer_config.json")
NAMES = ["c_test_0.hdf5", "c_training_0.hdf5", "c_training_1.hdf5", "c_training_2.hdf5"]


def test_shards_and_metadata_and_nothing_else(make, capsys):
    out = make()
    assert sorted(p.name for p in out.iterdir()) == sorted([*NAMES, *BESIDE])
    told = json.loads((out / "c_metadata.json").read_text())
    rows = {}
    for name in NAMES:
        with h5py.File(out / name) as file:
            rows[name] = {key: file[key][:] for key in schema.DTYPES}
    total = sum(len(r["input_ids"]) for r in rows.values())
    assert told["rows"] == total == sum(shard["rows"] for shard in told["shards"])
    assert told["random_next"] == sum(r["next_sentence_labels"].sum() for r in rows.values())
    assert told["tokens"] == sum(r["input_mask"].sum(dtype=int) for r in rows.values())
    assert told["predictions"] == sum((r["masked_lm_positions"] > 0).sum() for r in rows.values())
    assert told["sets"]["training"]["documents"] + told["sets"]["test"]["documents"] == 60
    assert [f["name"] for f in told["made_from"]["inputs"]] == ["a.txt", "b.txt"]
    assert told["made_from"]["recipe"]["max_seq_length"] == 32
    said = capsys.readouterr()
    assert said.out == "" and f"{total:,} rows in 4 shards" in said.err.splitlines()[-1]


def test_test_documents_are_in_no_training_shard(make, text):
    """Told apart by the names of characters: each document has a word of its own."""
    codes = [f"{a}{b}" for a in "abcdefgh" for b in "ijklmnop"]
    (text / "a.txt").unlink()
    documents = [f"{code} the cat .\n{code} sat {code} ." for code in codes]
    (text / "b.txt").write_text("\n\n".join(documents), encoding="utf-8")
    out = make("out", "--dupe_factor", "1")
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


def test_processes_make_the_same_shards(make):
    assert shards_of(make("one")) == shards_of(make("two", "--workers", "2"))


def test_a_cluster_makes_the_same_shards(make):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        host="127.0.0.1",
    ) as cluster:
        made = shards_of(make("cluster", "--scheduler", cluster.scheduler_address))
    assert made == shards_of(make("one"))


def test_no_cluster_is_told(make, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "_DASK_SECONDS", 1)
    with pytest.raises(DataError, match="no Dask scheduler answers"):
        make("out", "--scheduler", "tcp://127.0.0.1:9")


def test_dask_not_installed_is_told(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match="pip install distributed"):
        make("out", "--scheduler", "tcp://127.0.0.1:9")


def test_a_failing_worker_ends_the_run(make, monkeypatch):
    """The spool loses a shard's text behind the plan's back."""
    from bert_paddle.pretrain.create.output_dir import ShardOutputDir

    keep = ShardOutputDir.keep_plan

    def lose(folder, counts):
        keep(folder, counts)
        (folder.spool / "training_1.txt").unlink()

    monkeypatch.setattr(ShardOutputDir, "keep_plan", lose)
    with pytest.raises(RunError, match="c_training_1.hdf5: cannot be made"):
        make("out", "--workers", "2")


KILLED = """
import os, signal, sys
from bert_paddle.pretrain import create_data, shard_file
from bert_paddle.pretrain.create_args import parse_args
replace = os.replace
def die_before(source, target):
    if str(target).endswith("training_1.hdf5"):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = die_before
create_data.run(parse_args(sys.argv[1:]))
"""


def test_killed_and_run_again(make, tmp_path, text, vocab, capsys):
    """The kill comes when a shard is written whole but has not got its name yet."""
    flags = "--corpus_name c --max_seq_length 32 --max_predictions_per_seq 6 --shards 3".split()
    flags += ["--test_share", "0.2", "--input_files", str(text), "--vocab_file", str(vocab)]
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *flags, "--output_dir", str(out)],
        cwd=SCRIPT.parents[1],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    assert list(shards_of(out)) == ["c_training_0.hdf5"]
    before = (out / "c_training_0.hdf5").stat().st_mtime_ns
    assert not (out / "c_metadata.json").exists() and list(out.glob(".*.part"))
    make("out")
    assert "going on: 1 of 4 shards are whole" in capsys.readouterr().err
    assert (out / "c_training_0.hdf5").stat().st_mtime_ns == before
    assert shards_of(out) == shards_of(make("whole"))
    assert sorted(p.name for p in out.iterdir()) == sorted([*NAMES, *BESIDE])
    told = [json.loads((tmp_path / d / "c_metadata.json").read_text()) for d in ("out", "whole")]
    assert told[0] == told[1]


def test_a_half_spool_is_made_again(make, monkeypatch):
    from bert_paddle.pretrain.create.output_dir import ShardOutputDir

    with monkeypatch.context() as patch:
        patch.setattr(
            ShardOutputDir, "keep_plan", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            make("out")
    assert shards_of(make("out")) == shards_of(make("whole"))


def test_all_there_is_left_alone_and_a_lost_shard_made_again(make, capsys):
    out = make()
    whole = shards_of(out)
    times = {n: (out / n).stat().st_mtime_ns for n in NAMES}
    make()
    assert "nothing to do" in capsys.readouterr().err
    (out / "c_training_1.hdf5").unlink()
    (out / "c_training_2.hdf5").write_bytes(b"half")
    make()
    assert shards_of(out) == whole
    assert {n for n in NAMES if (out / n).stat().st_mtime_ns == times[n]} == {NAMES[0], NAMES[1]}


def test_other_flags_or_text_are_refused_unless_told(make, text):
    out = make()
    with pytest.raises(OutputError, match=r"dupe_factor 5, now 2.*--overwrite_output_dir"):
        make("out", "--dupe_factor", "2")
    fresh = shards_of(make("fresh", "--dupe_factor", "2", "--shards", "2"))
    make("out", "--dupe_factor", "2", "--shards", "2", "--overwrite_output_dir")
    assert shards_of(out) == fresh and len(fresh) == 3
    with (text / "b.txt").open("a", encoding="utf-8") as file:
        file.write("one more .\n")
    with pytest.raises(OutputError, match="other inputs"):
        make("out", "--dupe_factor", "2", "--shards", "2")


def test_shards_of_unknown_origin_are_refused(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c_training_7.hdf5").write_bytes(b"mine")
    with pytest.raises(OutputError, match="not known how"):
        make()
    assert (tmp_path / "out" / "c_training_7.hdf5").read_bytes() == b"mine"


def test_a_corpus_leaves_others_in_the_folder_alone(make):
    out = make()
    whole = shards_of(out)
    make("out", "--corpus_name", "d", "--dupe_factor", "1")
    make("out", "--corpus_name", "d", "--dupe_factor", "2", "--overwrite_output_dir")
    assert whole.items() <= shards_of(out).items()


def test_case_is_kept_when_told(make, vocab):
    upper = {VOCAB.index("The"), VOCAB.index("Cat")}
    for flags, kept in (((), True), (("--do_lower_case", "1"), False)):
        out = make(f"out{len(flags)}", *flags)
        with h5py.File(out / "c_training_0.hdf5") as file:
            positions, ids = file["masked_lm_positions"][:], file["masked_lm_ids"][:]
        assert bool(upper & set(ids[positions > 0].tolist())) is kept
        told = json.loads((out / "c_metadata.json").read_text())
        assert told["made_from"]["vocabulary"]["do_lower_case"] is not kept


def test_no_lower_case_for_an_uncased_folder(tmp_path, text, vocab):
    folder = tmp_path / "model"
    folder.mkdir()
    Tokenizer(VOCAB, True).save(folder)
    flags = ["--input_files", str(text), "--output_dir", str(tmp_path / "o")]
    flags += ["--vocab_file", str(folder)]
    assert create_data.vocabulary(parse_args(flags)).do_lower_case
    cased = create_data.vocabulary(parse_args([*flags, "--do_lower_case", "0"]))
    assert cased.pieces(["The"]) == [[VOCAB.index("The")]]
    assert load(folder).pieces(["The"]) == [[VOCAB.index("the")]]


def test_whole_words_and_other_flags_reach_the_rows(make):
    first = make("a", "--whole_word_mask")
    second = make("b", "--whole_word_mask", "0")
    third = make("c", "--whole_word_mask", "--random_seed", "1")
    assert shards_of(first) != shards_of(second) and shards_of(first) != shards_of(third)


def test_too_few_documents_have_no_test_set_unless_asked(tmp_path, vocab, capsys):
    (tmp_path / "t.txt").write_text("a cat .\nsat .\n\nthe dog .\nran .\n", encoding="utf-8")
    flags = ["--input_files", str(tmp_path / "t.txt"), "--vocab_file", str(vocab)]
    create_data.run(parse_args([*flags, "--output_dir", str(tmp_path / "o")]))
    assert list(shards_of(tmp_path / "o")) == ["o_training_0.hdf5"]
    assert "no test shard" in capsys.readouterr().err
    with pytest.raises(DataError, match="--test_share"):
        create_data.run(
            parse_args([*flags, "--output_dir", str(tmp_path / "p"), "--test_share", "0.02"])
        )


def test_mistakes_in_the_flags_come_together(tmp_path):
    with pytest.raises(FlagError) as wrong:
        parse_args(
            ["--vocab_file", str(tmp_path / "none"), "--output_dir", str(tmp_path / "a_test_b")]
            + ["--max_seq_length", "16", "--segmenter", "jieba", "--language", "12"]
        )
    told = str(wrong.value)
    for part in ("--input_files is", "--vocab_file", "_test_", "20 is more", "whole", "language"):
        assert part in told


@pytest.mark.parametrize(
    ("content", "says"),
    [("one .\ntwo .\n", "one document"), ("\n \n", "no text"), (None, "no such file")],
)
def test_the_script_refuses_in_one_line_from_any_folder(tmp_path, vocab, content, says):
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--input_files", "t.txt", "--output_dir", "out"]
        + ["--vocab_file", str(vocab)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and last.startswith("error: ") and says in last
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*.hdf5"))
