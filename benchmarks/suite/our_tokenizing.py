"""This project's reading and tokenizing of SST-2's training file as a contestant.

spec: `fresh`, whether what an earlier start has kept is removed before a block.
"""

import io
import os
import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks.suite import protocol, rows
from bert_paddle.common import runtime
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import args as glue_args
from bert_paddle.glue.data import load
from bert_paddle.glue.tasks import get_task
from bert_paddle.models import tokenizer


def build(spec: dict[str, Any]) -> protocol.Block:
    os.environ["XDG_CACHE_HOME"] = spec["cache"]
    runtime.configure(1, use_gpu=False)
    flags = glue_args.parse_args(
        f"--task_name SST-2 --model_name_or_path {spec['model']} --output_dir unused "
        f"--data_dir {Path(spec['file']).parent} --do_train".split()
    )
    task, log = get_task("SST-2"), RunLog(active=False, stdout=io.StringIO(), stderr=io.StringIO())

    def block(number: int) -> dict[str, Any]:
        if spec["fresh"]:
            shutil.rmtree(spec["cache"], ignore_errors=True)
        begun = time.perf_counter()
        tokens = tokenizer.load_tokenizer(Path(spec["model"]))
        encoded = load.encode_data(load.read_task_data(task, flags, log), tokens, flags, log).train
        seconds = time.perf_counter() - begun
        assert encoded is not None
        return rows.measurement(seconds, len(encoded), int(encoded.encoded.lengths.sum()))

    return block


if __name__ == "__main__":
    protocol.serve(build)
