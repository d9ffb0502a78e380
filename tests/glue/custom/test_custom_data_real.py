"""Official files read as custom data give the same rows as the GLUE reader."""

import numpy as np
import pytest

from bert_paddle.common import run_log
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom import load, task
from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import TASKS

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize("name", ["SST-2", "MRPC", "STS-B", "QNLI", "RTE", "WNLI"])
def test_the_same_rows_and_labels(name, glue_data_dir):
    """Columns and labels are inferred, also STS-B's scores."""
    path = str(glue_data_dir / name / "dev.tsv")
    expected = tsv.read_task_file(TASKS[name], path, "dev")
    args, log = GlueArgs(), run_log.RunLog(active=False)
    file = load.read_file(path, args, load.SavedTask(), log)
    labels = task.infer_labels(file.label_column, args, log)
    examples = file.examples(task.make_task("own", labels, file.columns, None))
    assert (examples.texts_a, examples.texts_b) == (expected.texts_a, expected.texts_b)
    # Classes are in alphabetic order, which is also QNLI's and RTE's.
    assert np.array_equal(examples.labels, expected.labels)


def test_the_original_cola_release(glue_data_dir):
    """GLUE's CoLA is that release without its last dev set: the same training sentences."""
    path = str(glue_data_dir / "CoLA" / "train.tsv")
    args = GlueArgs(column_names="source,label,mark,sentence")
    file = load.read_file(path, args, load.SavedTask(), run_log.RunLog(active=False))
    expected = tsv.read_task_file(TASKS["CoLA"], path, "train")
    assert file.texts_a == expected.texts_a and file.texts_b is None
    assert [int(text) for text in file.label_column.texts] == list(expected.labels)
