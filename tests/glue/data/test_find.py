"""Where a task's files are searched, in which order, and how each place is reported."""

import pytest

from bert_paddle.glue.data.tsv import find_task_dir, is_demo
from bert_paddle.glue.tasks import TASKS

SST2, COLA, AX = TASKS["SST-2"], TASKS["CoLA"], TASKS["AX"]


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("train.tsv", "dev.tsv", "test.tsv"):
        (folder / name).write_text("x")
    return folder


def test_search_order(tmp_path):
    given = make(tmp_path / "given" / "SST-2")
    env = make(tmp_path / "env" / "SST-2")
    home = make(tmp_path / "home" / "glue" / "SST-2")
    environ = {"GLUE_DATA_DIR": str(tmp_path / "env")}
    given_root, home_root = str(tmp_path / "given"), tmp_path / "home"
    assert find_task_dir(SST2, given_root, environ, home_root).folder == given
    assert find_task_dir(SST2, None, environ, home_root).folder == env
    assert find_task_dir(SST2, None, {}, home_root).folder == home
    assert find_task_dir(SST2, None, {"GLUE_DATA_DIR": ""}, home_root).folder == home


@pytest.mark.parametrize("name", ["SST-2", "SST2", "sst-2", "sst_2", "Sst2"])
def test_any_spelling_of_the_folder_is_found(tmp_path, name):
    folder = make(tmp_path / name)
    assert find_task_dir(SST2, str(tmp_path), {}, tmp_path / "home").folder == folder


def test_the_exact_spelling_is_preferred(tmp_path):
    for name in ("COLA", "CoLA", "cola"):
        make(tmp_path / name)
    exact = tmp_path / "CoLA"
    assert find_task_dir(COLA, str(tmp_path), {}, tmp_path / "home").folder == exact


def test_data_dir_may_be_the_task_folder(tmp_path):
    folder = make(tmp_path / "my_reviews")
    assert find_task_dir(SST2, str(folder), {}, tmp_path / "home").folder == folder
    # Only for --data_dir: the variable names a folder of task folders.
    environ = {"GLUE_DATA_DIR": str(folder)}
    assert find_task_dir(SST2, None, environ, tmp_path / "home").folder is None


def test_another_tasks_folder_is_not_used(tmp_path):
    rte = make(tmp_path / "RTE")
    assert find_task_dir(TASKS["WNLI"], str(rte), {}, tmp_path / "home").folder is None
    assert find_task_dir(TASKS["RTE"], str(rte), {}, tmp_path / "home").folder == rte


def test_ax_folder_is_diagnostic_or_ax(tmp_path):
    for name in ("diagnostic", "AX"):
        folder = make(tmp_path / name / name, "diagnostic.tsv")
        assert find_task_dir(AX, str(tmp_path / name), {}, tmp_path / "home").folder == folder


def test_a_folder_without_the_needed_files_is_skipped_and_reported(tmp_path):
    incomplete = make(tmp_path / "env" / "SST-2", "dev.tsv")
    environ = {"GLUE_DATA_DIR": str(tmp_path / "env")}
    missing = str(tmp_path / "nowhere")
    search = find_task_dir(SST2, missing, environ, tmp_path / "home")
    assert search.folder is None
    assert search.rejected == (
        f"--data_dir {missing} (no such folder)",
        f"$GLUE_DATA_DIR {incomplete} (no train.tsv)",
        f"$BERT_PADDLE_HOME/glue {tmp_path / 'home' / 'glue'} (no such folder)",
    )
    assert (
        find_task_dir(SST2, None, environ, tmp_path / "home", needed=["dev.tsv"]).folder
        == incomplete
    )


def test_training_mnli_needs_only_the_matched_dev_file(tmp_path):
    folder = make(tmp_path / "MNLI", "train.tsv", "dev_matched.tsv")
    assert find_task_dir(TASKS["MNLI"], str(tmp_path), {}, tmp_path / "home").folder == folder


def test_demo_data_is_marked_by_a_file(tmp_path):
    folder = make(tmp_path / "SST-2")
    assert not is_demo(folder)
    (folder / "DEMO").touch()
    assert is_demo(folder)
