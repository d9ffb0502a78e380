"""Curves for VisualDL, read back with its own reader."""

import tiny

from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training.visualdl_writer import VisualDLWriter


def scalars(path, tag: str) -> list[tuple[int, float]]:
    from visualdl import LogReader

    reader = LogReader(file_path=str(path))
    assert tag in reader.get_tags()["scalar"]  # get_tags() also reads the file
    return [(d.id, round(d.value, 5)) for d in reader.get_data("scalar", tag)]


def test_a_resumed_run_has_no_duplicate_points(tmp_path):
    first = VisualDLWriter(tmp_path / "board", tmp_path / "run")
    for step in (1, 2, 3):
        first.add({"kind": "train", "step": step, "epoch": 0, "loss": 1 / step})
    first.close()
    records = [{"kind": "train", "step": 1, "epoch": 0, "loss": 1.0}]
    resumed = VisualDLWriter(tmp_path / "board", tmp_path / "run", records)
    resumed.add({"kind": "train", "step": 2, "epoch": 0, "loss": 0.125, "dev": None, "note": "x"})
    resumed.add({"kind": "eval", "step": 2, "accuracy": 0.5, "loss": None, "dev": "mismatched"})
    # An evaluation is flushed at once.
    assert scalars(resumed.path, "eval_mismatched/accuracy") == [(2, 0.5)]
    resumed.close()
    assert scalars(resumed.path, "train/loss") == [(1, 1.0), (2, 0.125)]
    assert [p.name for p in (tmp_path / "board").iterdir()] == [resumed.path.name]
    other = VisualDLWriter(tmp_path / "board", tmp_path / "other")
    other.close()
    assert other.path != resumed.path


def test_a_run_and_its_resumption_share_one_file(tiny_dir, tmp_path, capsys):
    data = tiny.write_sst2(tmp_path / "glue" / "SST-2").parent
    argv = f"--task_name sst-2 --model_name_or_path {tiny_dir} --data_dir {data} --report 0 "
    argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --logging_steps 1 --save_steps 2 "
    argv += f"--batch_size 8 --num_train_epochs 1 --visualdl_dir {tmp_path / 'board'} "
    finetune.run(parse_args(f"{argv} --max_steps 3".split()))
    finetune.run(parse_args(f"{argv} --max_steps 3 --resume_from_checkpoint auto".split()))
    (path,) = (tmp_path / "board").iterdir()
    assert [step for step, _ in scalars(path, "train/loss")] == [1, 2, 3]
    assert [step for step, _ in scalars(path, "eval/accuracy")] == [2, 3]
    assert all(line.startswith(("global", "eval")) for line in capsys.readouterr().out.splitlines())
