"""A run in its output folder: what all_results.json keeps."""

import json
import math

from bert_paddle import runs


def test_results_keep_earlier_values_and_say_nan_as_null(tmp_path):
    def now(**values):
        return json.loads(runs.write_results(tmp_path, values).read_text())

    first = now(task="STS-B", global_step=3, eval_loss=1.0, eval_pearson=math.nan)
    assert first == {"task": "STS-B", "global_step": 3, "eval_loss": 1.0, "eval_pearson": None}
    assert now(task="STS-B", eval_loss=2.0) == {"task": "STS-B", "global_step": 3, "eval_loss": 2.0}
    assert now(task="RTE", eval_loss=3.0) == {"task": "RTE", "eval_loss": 3.0}
