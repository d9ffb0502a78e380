"""The recipe scripts with a fake run_glue.py: the flags they pass, and how they handle exit codes.

The fake program logs its arguments, prints an evaluation line and writes all_results.json;
for the task that $FAIL names it exits with $FAIL_CODE instead.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import forks
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN_GLUE = """
import json, os, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if flags["--task_name"] == os.environ.get("FAIL"):
    sys.exit(int(os.environ["FAIL_CODE"]))
folder = pathlib.Path(flags["--output_dir"])
(folder / "model_7").mkdir(parents=True)
demo = "demo" in flags.get("--data_dir", "")
results = {"data": "demo" if demo else "glue", "eval_accuracy": 0.5, "train_samples": 1}
(folder / "all_results.json").write_text(json.dumps(results))
print("eval loss: 0.500000, accu: 0.500000")
"""


class Copy:
    """A copy of the scripts next to the package, with this Python as the environment."""

    def __init__(self, folder: Path):
        self.root = folder
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        (folder / "bert_paddle").symlink_to(ROOT / "bert_paddle")
        (folder / "run_glue.py").write_text(RUN_GLUE)
        python = forks.python_for_scripts(folder / "python")
        (folder / "scripts" / "environment.sh").write_text(f"REPO={folder}\nPY={python}\n")
        (folder / "scripts" / "fetch_minilm.sh").write_text("exit 0\n")
        self.data = folder / "data"
        for task in ("RTE", "WNLI"):
            (self.data / task).mkdir(parents=True)
            for split in ("train", "dev"):
                row = f"0\ta\tb\t{'entailment' if task == 'RTE' else '1'}\n"
                text = "index\tsentence1\tsentence2\tlabel\n" + row * 65
                (self.data / task / f"{split}.tsv").write_text(text)
        self.calls_file = folder / "calls"

    def run(self, name: str, *more: str, **variables: str) -> subprocess.CompletedProcess:
        env = {
            **os.environ,
            "CALLS": str(self.calls_file),
            "GLUE_DATA_DIR": str(self.data),
            **variables,
        }
        command = ["bash", f"scripts/{name}", *more]
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)

    def calls(self) -> list[dict[str, str]]:
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        flags = [json.loads(line) for line in lines]
        return [dict(zip(f[::2], f[1::2], strict=False)) for f in flags]


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


@pytest.mark.parametrize(("script", "task"), [("sst2.sh", "SST-2"), ("qnli.sh", "QNLI")])
def test_recipes_pass_on_variables_and_flags(copy, script, task):
    assert copy.run(script, "--max_steps", "9").returncode == 0
    variables = {"MODEL": "m", "EPOCHS": "2", "BATCH_SIZE": "8", "LR": "1e-4", "N_GPU": "2"}
    copy.run(script, OUTPUT_DIR="an out", EXTRA="--seed 5", **variables)
    first, second = copy.calls()
    assert first["--task_name"] == task and first["--max_steps"] == "9"
    assert first["--model_name_or_path"] == "bert-base-uncased"
    assert (first["--batch_size"], first["--learning_rate"]) == ("32", "2e-5")
    assert (first["--num_train_epochs"], first["--n_gpu"]) == ("3", "0")
    assert second["--model_name_or_path"] == "m" and second["--output_dir"] == "an out"
    assert [second[f"--{name}"] for name in ("num_train_epochs", "batch_size", "n_gpu")] == [
        "2",
        "8",
        "2",
    ]
    assert (second["--learning_rate"], second["--seed"]) == ("1e-4", "5")


@pytest.mark.parametrize("code", [1, 2, 130])
def test_recipes_exit_with_the_programs_exit_code(copy, code):
    assert copy.run("sst2.sh", FAIL="SST-2", FAIL_CODE=str(code)).returncode == code


@pytest.fixture
def no_download(tmp_path) -> str:
    """A PATH whose `timeout`, which runs the download, fails as it does offline."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "timeout").write_text("#!/bin/sh\nexit 2\n")
    (folder / "timeout").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_quickstart_without_data_uses_the_demo_set(copy, tmp_path, no_download):
    home = tmp_path / "home"
    done = copy.run("quickstart.sh", PATH=no_download, BERT_PADDLE_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "cannot be downloaded" in done.stdout and "no SST-2 result" in done.stdout
    assert "eval loss: 0.500000, accu: 0.500000" in done.stdout
    (call,) = copy.calls()
    assert Path(call["--data_dir"], "DEMO").exists() and "--max_steps" not in call
    assert call["--output_dir"] == "runs/quickstart"
    again = copy.run("quickstart.sh", BERT_PADDLE_HOME=str(home))
    assert again.returncode == 0 and len(copy.calls()) == 1
    assert "finished" in again.stdout and "accu: 0.500000" in again.stdout
    assert "QUICKSTART_DIR=" in again.stdout


def test_a_data_dir_without_sst2_is_an_error(copy, tmp_path):
    done = copy.run("quickstart.sh", DATA_DIR=str(tmp_path / "wrong"))
    assert done.returncode == 2 and done.stderr.startswith("error: SST-2")
    assert str(tmp_path / "wrong") in done.stderr and copy.calls() == []


def test_quickstart_uses_real_data_and_a_new_folder_after_an_unfinished_run(copy):
    (copy.data / "SST-2").mkdir()
    for split in ("train", "dev"):
        (copy.data / "SST-2" / f"{split}.tsv").write_text("sentence\tlabel\ngood\t1\n")
    (copy.root / "runs" / "quickstart" / "model_100").mkdir(parents=True)
    done = copy.run("quickstart.sh", "--max_seq_length", "64")
    assert done.returncode == 0 and "demo" not in done.stdout
    (call,) = copy.calls()
    assert call["--data_dir"] == str(copy.data / "SST-2") and call["--max_steps"] == "200"
    assert call["--output_dir"] == "runs/quickstart-2" and call["--max_seq_length"] == "64"


@pytest.mark.parametrize("code", [1, 2, 143])
def test_a_failed_quickstart_exits_with_the_programs_code_and_prints_no_result(copy, code):
    variables = {"DEMO": "1", "FAIL": "SST-2", "FAIL_CODE": str(code)}
    done = copy.run("quickstart.sh", **variables)
    assert done.returncode == code and "result:" not in done.stdout


def test_reproduce_results_trains_once_and_writes_the_tables(copy):
    done = copy.run("reproduce_results.sh", TASKS="RTE WNLI")
    assert done.returncode == 0, done.stderr
    for call in copy.calls():
        assert call["--save_steps"] == "3"  # 65 rows in batches of 32
        assert call["--save_total_limit"] == "1" and call["--resume_from_checkpoint"] == "auto"
        assert call["--model_name_or_path"] == "all-minilm-l6-v2" and call["--seed"] == "42"
    assert [call["--task_name"] for call in copy.calls()] == ["RTE", "WNLI"]
    document = (copy.root / "docs" / "RESULTS.md").read_text()
    assert document.count("**50.00**") == 2
    assert "python -u run_glue.py --model_type bert" in document
    assert copy.run("reproduce_results.sh", TASKS="RTE WNLI").returncode == 0
    assert len(copy.calls()) == 2


def test_a_failed_task_does_not_stop_the_series_but_sets_the_exit_code(copy):
    done = copy.run("reproduce_results.sh", TASKS="RTE WNLI", FAIL="RTE", FAIL_CODE="2")
    assert done.returncode == 2 and "RTE: stopped with exit code 2" in done.stderr
    assert [call["--task_name"] for call in copy.calls()] == ["RTE", "WNLI"]
    again = copy.run("reproduce_results.sh", TASKS="RTE WNLI")
    assert again.returncode == 0
    assert [call["--task_name"] for call in copy.calls()] == ["RTE", "WNLI", "RTE"]


def test_an_interrupt_stops_the_series(copy):
    done = copy.run("reproduce_results.sh", TASKS="RTE WNLI", FAIL="RTE", FAIL_CODE="130")
    assert done.returncode == 130 and len(copy.calls()) == 1


def test_ax_is_predicted_by_the_mnli_model_if_its_file_exists(copy):
    assert copy.run("all_tasks.sh", TASKS="WNLI").returncode == 0
    assert [call["--task_name"] for call in copy.calls()] == ["WNLI"]
    (copy.data / "diagnostic").mkdir()
    (copy.data / "diagnostic" / "diagnostic.tsv").write_text(
        "index\tsentence1\tsentence2\n0\ta\tb\n"
    )
    done = copy.run("all_tasks.sh", "--max_steps", "3", TASKS="WNLI MNLI")
    assert done.returncode == 0, done.stderr
    *_, mnli, ax = copy.calls()
    assert mnli["--max_steps"] == "3" and mnli["--task_name"] == "MNLI"
    assert ax["--task_name"] == "AX"
    assert ax["--model_name_or_path"] == "runs/all_tasks/MNLI/model_7"


def test_quickstart_honours_the_output_and_data_folders_of_flags(copy):
    (copy.data / "SST-2").mkdir()
    for split in ("train", "dev"):
        (copy.data / "SST-2" / f"{split}.tsv").write_text("sentence\tlabel\ngood\t1\n")
    flags = ["--output_dir", "W", f"--data_dir={copy.data}"]
    done = copy.run("quickstart.sh", *flags, GLUE_DATA_DIR="/no_such")
    assert done.returncode == 0, done.stderr
    assert "eval loss: 0.500000" in done.stdout and "written:  W:" in done.stdout
    assert "demo" not in done.stdout and (copy.root / "W" / "train.log").exists()
    again = copy.run("quickstart.sh", *flags)
    assert "W holds a finished run" in again.stdout and len(copy.calls()) == 1


@pytest.mark.parametrize("script", ["all_tasks.sh", "reproduce_results.sh"])
def test_each_of_several_tasks_has_its_folder_in_the_output_folder(copy, script):
    variables = {"TASKS": "RTE WNLI", "RESULTS_FILE": str(copy.root / "R.md")}
    copy.run(script, "--output_dir", "W", "--batch_size", "13", **variables)
    first, second = copy.calls()
    model = "" if script == "all_tasks.sh" else "all-minilm-l6-v2/"
    assert first["--output_dir"] == f"W/{model}RTE" and second["--output_dir"] == f"W/{model}WNLI"
    if model:
        assert first["--save_steps"] == "5"  # 65 rows


@pytest.mark.parametrize("script", ["pretrain_quickstart.sh", "reproduce_pretraining.sh"])
def test_a_script_without_flags_refuses_them(copy, script):
    done = copy.run(script, "--max_steps", "5")
    assert done.returncode == 2 and "takes no flags" in done.stderr
    assert done.stderr.strip().endswith("--max_steps 5")
