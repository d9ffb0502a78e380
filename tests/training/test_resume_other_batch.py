"""A run resumed with another batch size continues at the next unseen row."""

import shutil

import tiny

from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import dataset


def test_every_row_of_the_epoch_is_trained_once_when_the_batch_size_changes(
    tiny_dir, tmp_path, monkeypatch, capsys
):
    tiny.write_sst2(tmp_path / "SST-2", train=50)
    trained_rows: list[int] = []
    original = dataset.EncodedDataset.batch

    def record_rows(self, rows, pad_multiple=1):
        trained_rows.extend(rows.tolist())
        return original(self, rows, pad_multiple)

    monkeypatch.setattr(dataset.EncodedDataset, "batch", record_rows)

    def run(*flags):
        trained_rows.clear()
        argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {tmp_path} --do_train "
        argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --report 0 "
        argv += "--num_train_epochs 2 "
        return finetune.run(parse_args([*argv.split(), *" ".join(flags).split()]))

    assert run("--batch_size 8 --save_steps 3")["global_step"] == 14
    before = trained_rows[:24]
    for step in (6, 9, 12, 14):  # as after a crash at step 3
        shutil.rmtree(tmp_path / "out" / f"model_{step}")
    values = run("--batch_size 5 --save_steps 100 --resume_from_checkpoint auto")
    assert values["global_step"] == 14  # the schedule is kept
    assert sorted(before + trained_rows[:26]) == list(range(50))
    # The next epoch, cut off at step 14.
    assert sorted(trained_rows[26:]) == sorted(set(trained_rows[26:]))
    assert "the global batch was 8 rows and is 5" in capsys.readouterr().err
