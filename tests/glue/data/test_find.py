"""Where a task's files are looked for, in which order, and what is said of each place."""

import pytest

from bert_paddle.glue.data.tsv import find, is_demo
from bert_paddle.glue.tasks import TASKS

SST2, COLA, AX = TASKS["SST-2"], TASKS["CoLA"], TASKS["AX"]


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("train.tsv", "dev.tsv", "test.tsv"):
        (folder / name).write_text("x")
    return folder


def test_places_are_tried_in_order(tmp_path):
    given = make(tmp_path / "given" / "SST-2")
    env = make(tmp_path / "env" / "SST-2")
    home = make(tmp_path / "home" / "glue" / "SST-2")
    environ = {"GLUE_DATA_DIR": str(tmp_path / "env")}
    given_root, home_root = str(tmp_path / "given"), tmp_path / "home"
    assert find(SST2, given_root, environ, home_root).folder == given
    assert find(SST2, None, environ, home_root).folder == env
    assert find(SST2, None, {}, home_root).folder == home
    assert find(SST2, None, {"GLUE_DATA_DIR": ""}, home_root).folder == home


@pytest.mark.parametrize("name", ["SST-2", "SST2", "sst-2", "sst_2", "Sst2"])
def test_a_folder_in_any_spelling(tmp_path, name):
    folder = make(tmp_path / name)
    assert find(SST2, str(tmp_path), {}, tmp_path / "home").folder == folder


def test_the_exact_spelling_is_preferred(tmp_path):
    for name in ("COLA", "CoLA", "cola"):
        make(tmp_path / name)
    exact = tmp_path / "CoLA"
    assert find(COLA, str(tmp_path), {}, tmp_path / "home").folder == exact


def test_the_tasks_own_folder(tmp_path):
    folder = make(tmp_path / "my_reviews")
    assert find(SST2, str(folder), {}, tmp_path / "home").folder == folder
    # but only for --data_dir: elsewhere it is a folder of task folders
    environ = {"GLUE_DATA_DIR": str(folder)}
    assert find(SST2, None, environ, tmp_path / "home").folder is None


def test_another_tasks_folder_is_not_taken(tmp_path):
    rte = make(tmp_path / "RTE")
    assert find(TASKS["WNLI"], str(rte), {}, tmp_path / "home").folder is None
    assert find(TASKS["RTE"], str(rte), {}, tmp_path / "home").folder == rte


def test_ax_is_in_diagnostic_or_ax(tmp_path):
    for name in ("diagnostic", "AX"):
        folder = make(tmp_path / name / name, "diagnostic.tsv")
        assert find(AX, str(tmp_path / name), {}, tmp_path / "home").folder == folder


def test_a_place_without_the_needed_files_is_passed_over_and_named(tmp_path):
    half = make(tmp_path / "env" / "SST-2", "dev.tsv")
    environ = {"GLUE_DATA_DIR": str(tmp_path / "env")}
    missing = str(tmp_path / "nowhere")
    found = find(SST2, missing, environ, tmp_path / "home")
    assert found.folder is None
    assert found.looked == (
        f"--data_dir {missing} (no such folder)",
        f"$GLUE_DATA_DIR {half} (no train.tsv)",
        f"$BERT_PADDLE_HOME/glue {tmp_path / 'home' / 'glue'} (no such folder)",
    )
    assert find(SST2, None, environ, tmp_path / "home", needed=["dev.tsv"]).folder == half


def test_training_mnli_needs_the_matched_dev_file_alone(tmp_path):
    folder = make(tmp_path / "MNLI", "train.tsv", "dev_matched.tsv")
    assert find(TASKS["MNLI"], str(tmp_path), {}, tmp_path / "home").folder == folder


def test_demo_data_is_marked_by_a_file(tmp_path):
    folder = make(tmp_path / "SST-2")
    assert not is_demo(folder)
    (folder / "DEMO").touch()
    assert is_demo(folder)
