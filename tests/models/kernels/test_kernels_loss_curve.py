"""Training by our kernels and by PaddleNLP's layers: the same loss curve."""

import pytest
import tiny

from bert_paddle.common import run_log
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.models.kernels import compile_kernels


def test_two_hundred_steps(tmp_path):
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_model(tmp_path / "model", labels=("negative", "positive"), **no_dropout)
    tiny.write_sst2(tmp_path / "SST-2")
    curves, results = [], []
    for use_kernels in "01":
        flags = f"--task_name sst2 --model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path} "
        flags += f"--output_dir {tmp_path / use_kernels} --max_seq_length 32 --learning_rate 1e-3 "
        flags += "--max_steps 200 --num_train_epochs 100 --save_steps 200 --logging_steps 5 "
        flags += f"--weight_decay 0.01 --warmup_ratio 0.1 --report 0 --cpu_kernels {use_kernels}"
        results.append(finetune.run(parse_args(flags.split())))
        records = run_log.read_metrics(tmp_path / use_kernels)
        curves.append([record["loss"] for record in records if record["kind"] == "train"])
    assert len(curves[0]) == 40 and curves[0][-1] < 0.5 * curves[0][0]  # the model learns
    assert curves[1] == pytest.approx(curves[0], rel=1e-3, abs=1e-5)
    assert results[1]["eval_loss"] == pytest.approx(results[0]["eval_loss"], rel=1e-3, abs=1e-5)
    assert results[1]["eval_accuracy"] == results[0]["eval_accuracy"]
