"""A sweep of the real program with a tiny model: two runs in all."""

import tiny

from bert_paddle.cli import sweep as command
from bert_paddle.training import run_info


def test_a_real_run_is_known_again_and_goes_on_for_predictions(
    tiny_dir, tmp_path, monkeypatch, capfd, forked_python
):
    tiny.write_sst2(tmp_path / "glue" / "SST-2", train=16)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    base = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {tmp_path / 'glue'} "
    base += "--max_seq_length 32 --max_steps 2 --report 0 --n_gpu 0 --do_train --do_eval"
    argv = ["--output_dir", str(tmp_path / "out"), "batch_size=8", "--seeds", "7", "--"]
    folder = tmp_path / "out" / "batch_size_8-seed_7"

    command.main([*argv, *base.split()])
    first = run_info.read(folder)
    assert first["settings"]["seed"] == 7 and (folder / "model_2").is_dir()
    assert "Best run: batch_size 8, seed 7, " in capfd.readouterr().out

    command.main([*argv, *base.split()])
    assert "[1/1] batch_size 8, seed 7: already finished" in capfd.readouterr().out
    assert run_info.read(folder) == first

    command.main([*argv, *base.split(), "--do_predict"])
    assert (folder / "predictions" / "SST-2.tsv").is_file()
    log = (folder / "log.txt").read_text()
    assert log.count("# command: ") == 2 and log.count("global step") == 2
    assert log.count(f"resuming from {folder / 'model_2'}: step 2 of 2") == 1
