"""Ranks with other flags, data, models or checkpoints are refused by name, before training."""

import os
import random
import shutil
from pathlib import Path

import forks
import pytest
import shard_files
import tiny
from jobs import finish, without_job

from bert_paddle.common import run_log

ROOT = Path(__file__).parents[2]
GLUE = "run_glue.py --task_name SST-2 --model_name_or_path model --data_dir glue --output_dir out "
GLUE += "--max_seq_length 32 --batch_size 4 --max_steps 2 --logging_steps 1 --report 0 "
PRETRAIN = "run_pretrain.py --model_name_or_path model --input_dir shards --output_dir out "
PRETRAIN += "--batch_size 4 --max_steps 2 --logging_steps 1 --report 0 "
Ended = tuple[int, str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("agreement")
    tiny.write_model(base / "model", labels=("negative", "positive"))
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=17, test=7)
    return base


@pytest.fixture
def folder(place, tmp_path) -> Path:
    for name in ("model", "glue"):
        shutil.copytree(place / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def run_two(folder):
    def run(flags: str, second: str = "", **variables: str) -> list[Ended]:
        """Two ranks as Paddle's launcher starts them on two hosts, except that the second one gets
        more flags and variables."""
        program, *argv = flags.split()
        argvs = [[str(ROOT / program), *argv, *more.split()] for more in ("", second)]
        environments = [without_job(), without_job() | variables]
        return [finish(rank, 200) for rank in forks.start_ranks(argvs, folder, environments)]

    return run


def refusal(ended: list[Ended]) -> str:
    """The one error line that all ranks print."""
    lines = set()
    for code, out, err in ended:
        assert code == 2 and "global step" not in out and "Traceback" not in err, out + err
        (line,) = [line for line in err.splitlines() if line.startswith("error:")]
        lines.add(line)
    (line,) = lines
    assert "the ranks of this job differ in" in line and "start all of them with" in line
    return line


def shuffle_rows(path: Path) -> None:
    header, *rows = path.read_text().splitlines(keepends=True)
    random.Random(7).shuffle(rows)
    path.write_text("".join([header, *rows]))


def change_weights(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = min(tensors)
    tensors[name] = tensors[name] + 1e-6
    save_file(tensors, path, metadata={"format": "np"})


def test_all_differences_are_in_one_line(folder, run_two):
    shutil.copytree(folder / "glue", folder / "glue2")
    shuffle_rows(folder / "glue2" / "SST-2" / "train.tsv")
    with (folder / "glue2" / "SST-2" / "dev.tsv").open("a") as file:
        file.write("a good film\t1\n")
    shutil.copytree(folder / "model", folder / "model2")
    change_weights(folder / "model2")
    second = "--learning_rate 3e-4 --batch_size 2 --gradient_accumulation_steps 2 --max_steps 9 "
    second += "--data_dir glue2 --model_name_or_path model2"
    line = refusal(run_two(GLUE, second))
    for part in (
        "--learning_rate: 5e-05 on rank 0, 0.0003 on rank 1",
        "--batch_size: 4 on rank 0, 2 on rank 1",
        "--gradient_accumulation_steps: 1 on rank 0, 2 on rank 1",
        "--max_steps: 2 on rank 0, 9 on rank 1",
        "the tokenized training data: 53 rows with digest ",
        "the tokenized dev data (dev.tsv): 17 rows with digest ",
        " on rank 0, 18 rows with digest ",
        "the initial weights: digest ",
    ):
        assert part in line
    assert not list((folder / "out").iterdir())


def test_flags_that_decide_what_follows_are_compared_first(folder, run_two):
    second = "--max_seq_length 16 --seed 7 --cpu_kernels 0 --do_train --do_predict"
    second += " --resume_from_checkpoint auto"
    line = refusal(run_two(GLUE, second, FLAGS_cudnn_deterministic="1"))
    for part in (
        "--max_seq_length: 32 on rank 0, 16 on rank 1",
        "--seed: 42 on rank 0, 7 on rank 1",
        "--cpu_kernels: 1 on rank 0, 0 on rank 1",
        "--do_predict: 0 on rank 0, 1 on rank 1",
        "--resume_from_checkpoint: not given on rank 0, auto on rank 1",
        "FLAGS_cudnn_deterministic: none on rank 0, 1 on rank 1",
    ):
        assert part in line
    assert not (folder / "out").exists()


def test_another_vocabulary_is_named(folder, run_two):
    words = (folder / "model" / "vocab.txt").read_text().replace("\ncat\n", "\nkat\n")
    (folder / "other.txt").write_text(words)
    line = refusal(run_two(GLUE, "--vocab_file other.txt"))
    assert "the vocabulary: 98 word pieces with digest " in line


@pytest.mark.slow
def test_copies_at_other_paths_train_and_resume_together(folder, run_two):
    """Every rank has its own copies. Then rank 1 has none of the checkpoint, or another one."""
    for name in ("model", "glue"):
        shutil.copytree(folder / name, folder / f"{name}2")
    second = "--data_dir glue2 --model_name_or_path model2 --output_dir out2 --num_workers 1"
    for code, out, err in run_two(GLUE, second):
        assert code == 0, out + err
    assert not (folder / "out2").exists()
    shutil.rmtree(folder / "out" / "model_2")  # it goes on from the first step
    goes_on = GLUE + "--resume_from_checkpoint auto --save_steps 1"
    assert all(code == 0 for code, *_ in run_two(goes_on, second))
    line = refusal(run_two(goes_on, second))
    assert "on rank 0, none on rank 1" in line and "the checkpoint to resume from: step 2 " in line
    shutil.copytree(folder / "out" / "model_2", folder / "out2" / "model_2")
    for code, out, err in run_two(goes_on, second):
        assert code == 0, out + err
    with (folder / "out2" / "model_2" / "model.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\1")
    assert "not a complete checkpoint" in refusal(run_two(goes_on, second))
    steps = [r["step"] for r in run_log.read_metrics(folder / "out") if r["kind"] == "train"]
    assert steps == [1, 2]


def test_swapped_rows_of_a_shard_and_another_configuration_are_named(folder, run_two):
    import h5py

    shard_files.write_shards(folder / "shards", [16, 9], length=32, vocab_size=len(tiny.VOCAB))
    shutil.copytree(folder / "shards", folder / "shards2")
    with h5py.File(next(iter(sorted((folder / "shards2").glob("*.hdf5")))), "r+") as file:
        for data in file.values():
            rows = data[:]
            rows[[1, 2]] = rows[[2, 1]]
            data[:] = rows
    second = "--input_dir shards2 --weight_decay 0.1"
    line = refusal(run_two(PRETRAIN, second))
    assert "the training shards: " in line and "--weight_decay: 0.0 on rank 0, 0.1 on" in line


def test_an_error_before_the_comparison_ends_all_ranks(folder, run_two):
    (folder / "empty" / "SST-2").mkdir(parents=True)
    (folder / "empty" / "SST-2" / "train.tsv").write_text("sentence\tlabel\n")
    first, second = run_two(GLUE, "--data_dir empty")
    assert first[0] == 1 and "error: rank 1: " in first[2]
    assert second[0] == 2 and "Traceback" not in first[2] + second[2]
