"""Official files read as a user's own are the rows that GLUE's readers give."""

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
    """By the columns' names alone; STS-B's scores are seen to be numbers."""
    path = str(glue_data_dir / name / "dev.tsv")
    expected = tsv.load(TASKS[name], path, "dev")
    args, out = GlueArgs(), run_log.RunLog(active=False)
    content = load.load(path, args, load.SavedTask(), out)
    labels = task.learn(content.labelled, args, out)
    found = content.examples(task.make("own", labels, content.columns, None))
    assert (found.texts_a, found.texts_b) == (expected.texts_a, expected.texts_b)
    # Names in alphabetic order, as QNLI's and RTE's happen to be.
    assert np.array_equal(found.labels, expected.labels)


def test_the_original_cola_release(glue_data_dir):
    """GLUE's CoLA is that release without its last dev set: the same training sentences."""
    path = str(glue_data_dir / "CoLA" / "train.tsv")
    args = GlueArgs(column_names="source,label,mark,sentence")
    content = load.load(path, args, load.SavedTask(), run_log.RunLog(active=False))
    expected = tsv.load(TASKS["CoLA"], path, "train")
    assert content.texts_a == expected.texts_a and content.texts_b is None
    assert [int(text) for text in content.labelled.texts] == list(expected.labels)
