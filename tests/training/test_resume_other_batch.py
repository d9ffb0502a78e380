"""A run that goes on with another batch keeps its place in the data."""

import shutil

import tiny

from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import dataset


def test_every_row_of_the_epoch_is_trained_once_although_the_batch_changes(
    tiny_dir, tmp_path, monkeypatch, capsys
):
    tiny.write_sst2(tmp_path / "SST-2", train=50)
    seen: list[int] = []
    real = dataset.EncodedDataset.batch

    def noted(self, rows, pad_multiple=1):
        seen.extend(rows.tolist())
        return real(self, rows, pad_multiple)

    monkeypatch.setattr(dataset.EncodedDataset, "batch", noted)

    def run(*flags):
        seen.clear()
        argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {tmp_path} --do_train "
        argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --report 0 "
        argv += "--num_train_epochs 2 "
        return finetune.run(parse_args([*argv.split(), *" ".join(flags).split()]))

    assert run("--batch_size 8 --save_steps 3")["global_step"] == 14
    before = seen[:24]
    for step in (6, 9, 12, 14):  # as a crash after update 3 would have left it
        shutil.rmtree(tmp_path / "out" / f"model_{step}")
    values = run("--batch_size 5 --save_steps 100 --resume_from_checkpoint auto")
    assert values["global_step"] == 14  # the schedule of the run is kept
    assert sorted(before + seen[:26]) == list(range(50))
    assert sorted(seen[26:]) == sorted(set(seen[26:]))  # the next epoch, cut off at update 14
    assert "an update was 8 rows and is 5" in capsys.readouterr().err
