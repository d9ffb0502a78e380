import json

import pytest
import tiny

from bert_paddle.common.errors import OutputError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training import profiler


@pytest.mark.parametrize(
    ("profiled", "steps"), [(2, 5), (4, 5)]
)  # the second run ends before the profile
def test_a_table_and_a_trace(tmp_path, capsys, profiled, steps):
    tiny.write_model(tmp_path / "model", labels=("negative", "positive"))
    tiny.write_sst2(tmp_path / "SST-2")
    flags = f"--task_name sst2 --model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path} "
    flags += f"--output_dir {tmp_path / 'out'} --max_steps {steps} --max_seq_length 32 "
    flags += "--do_train --report 0"
    finetune.run(parse_args([*flags.split(), "--profile", str(profiled)]))
    folder = tmp_path / "out" / profiler.FOLDER
    table = (folder / "table_0.txt").read_text()
    assert "matmul" in table and "Summary" not in capsys.readouterr().out
    trace = json.loads((folder / "trace_0.json").read_text())
    names = [event.get("name", "") for event in trace["traceEvents"]]
    recorded = len({name for name in names if name.startswith("ProfileStep")})
    # If training ends first, the profiler has already started another step, which stays empty.
    assert recorded == (profiled if profiled <= steps - 2 else steps - 2 + 1)


def test_a_file_at_the_path_of_the_folder_is_refused(tmp_path):
    (tmp_path / profiler.FOLDER).write_text("a file")
    with pytest.raises(OutputError, match="profile is a file"):
        with profiler.profile_steps(None, 2, tmp_path, None):
            pass
