"""Resuming with another model under the same path is refused."""

import shutil

import pytest
import tiny

from bert_paddle.common.errors import UserError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args


@pytest.mark.parametrize("changed", [{"intermediate_size": 48}, {"hidden_dropout_prob": 0.5}])
def test_changed_model_config_is_refused(tmp_path, changed):
    tiny.write_model(tmp_path / "model")
    tiny.write_sst2(tmp_path / "SST-2")
    argv = f"--task_name sst2 --model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path} "
    argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --report 0 "
    argv += "--do_train --max_steps "
    finetune.run(parse_args(f"{argv} 1".split()))
    shutil.rmtree(tmp_path / "model")
    tiny.write_model(tmp_path / "model", **changed)
    with pytest.raises(UserError, match=next(iter(changed))):
        finetune.run(parse_args(f"{argv} 2 --resume_from_checkpoint auto".split()))
