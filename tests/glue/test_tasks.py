"""The task definitions against what GLUE publishes."""

import dataclasses

import pytest

from bert_paddle.common.errors import UserError
from bert_paddle.glue import metrics
from bert_paddle.glue.tasks import GLUE, TASKS, get_task


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("SST-2", "SST-2"),
        ("sst2", "SST-2"),
        ("sst-2", "SST-2"),
        ("Sst_2", "SST-2"),
        ("STS-B", "STS-B"),
        ("stsb", "STS-B"),
        ("cola", "CoLA"),
        ("AX", "AX"),
        (" mnli ", "MNLI"),
    ],
)
def test_any_spelling_finds_its_task(spelling, name):
    assert get_task(spelling).name == name


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("mnli-mm", "MNLI"), ("sst", "SST-2"), ("colla", "CoLA"), ("diagnostic", "AX")],
)
def test_an_unknown_task_name_gives_a_suggestion_and_the_list(name, suggestion):
    with pytest.raises(
        UserError, match=rf"unknown task '{name}'; did you mean {suggestion}"
    ) as caught:
        get_task(name)
    assert f"the tasks are {', '.join(TASKS)}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "squad"])
def test_no_suggestion_without_a_similar_name(name):
    with pytest.raises(UserError) as caught:
        get_task(name)
    assert "did you mean" not in str(caught.value)


def test_submission_files_are_the_eleven_of_the_leaderboard():
    files = [test.submission for task in GLUE for test in task.test_sets]
    assert sorted(files) == sorted(
        "CoLA.tsv SST-2.tsv MRPC.tsv STS-B.tsv QQP.tsv MNLI-m.tsv MNLI-mm.tsv QNLI.tsv RTE.tsv "
        "WNLI.tsv AX.tsv".split()
    )


def test_official_row_counts():
    test_rows = [test.rows for task in GLUE for test in task.test_sets]
    lines = [1064, 1822, 1726, 1380, 390966, 9797, 9848, 5464, 3001, 147, 1105]
    assert test_rows == [n - 1 for n in lines]
    train_rows = {task.name: task.train.rows for task in GLUE if task.train}
    assert train_rows == {
        "CoLA": 8551,
        "SST-2": 67349,
        "MRPC": 3668,
        "STS-B": 5749,
        "QQP": 363846,
        "MNLI": 392702,
        "QNLI": 104743,
        "RTE": 2490,
        "WNLI": 635,
    }
    dev_rows = [dev.rows for task in GLUE for dev in task.dev_sets]
    assert dev_rows == [1043, 872, 408, 1500, 40430, 9815, 9832, 5463, 277, 71]
    assert TASKS["QQP"].official_rows("train.tsv") == (363846, 363849)
    assert TASKS["MNLI"].official_rows("dev_mismatched.tsv") == (9832,)
    assert TASKS["MNLI"].official_rows("dev.tsv") == ()


def test_labels_and_their_order():
    order = {task.name: (task.labels, task.submission_labels) for task in GLUE}
    nli = ("entailment", "neutral", "contradiction")
    entailment = ("entailment", "not_entailment")
    assert order == {
        "CoLA": (("unacceptable", "acceptable"), ("0", "1")),
        "SST-2": (("negative", "positive"), ("0", "1")),
        "MRPC": (("not_equivalent", "equivalent"), ("0", "1")),
        "STS-B": ((), ()),
        "QQP": (("not_duplicate", "duplicate"), ("0", "1")),
        "MNLI": (nli, nli),
        "QNLI": (entailment, entailment),
        "RTE": (entailment, entailment),
        "WNLI": (("not_entailment", "entailment"), ("0", "1")),
        "AX": (nli, nli),
    }


def test_mnli_has_two_dev_sets_and_the_matched_one_is_first():
    sets = [(dev.name, dev.file, dev.suffix) for dev in TASKS["MNLI"].dev_sets]
    assert sets == [
        ("matched", "dev_matched.tsv", ""),
        ("mismatched", "dev_mismatched.tsv", "_mm"),
    ]
    assert all(dev.suffix == "" for t in GLUE if t.name != "MNLI" for dev in t.dev_sets)


def test_ax_is_predicted_by_an_mnli_model_and_has_no_training_set():
    ax = TASKS["AX"]
    assert (ax.model_task, ax.train_file, ax.dev_sets) == ("MNLI", None, ())
    assert ax.labels == TASKS[ax.model_task].labels
    assert ax.files == ("diagnostic.tsv",)


def test_one_text_and_regression_tasks():
    assert {t.name for t in GLUE if not t.is_pair} == {"CoLA", "SST-2"}
    assert {t.name for t in GLUE if t.is_regression} == {"STS-B"}
    assert {t.name for t in GLUE if t.skip_short_rows} == {"QQP"}


def test_a_task_is_consistent_frozen_and_hashable():
    for task in TASKS.values():
        assert len(task.labels) == len(task.file_labels)
        assert set(task.primary.names) <= set(task.metrics) <= set(metrics.METRICS)
        hash(task)
        with pytest.raises(dataclasses.FrozenInstanceError):
            task.name = "other"


def test_an_unknown_split_is_named():
    with pytest.raises(UserError, match="'validation'"):
        TASKS["RTE"].columns("validation")
