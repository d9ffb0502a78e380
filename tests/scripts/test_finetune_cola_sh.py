"""finetune_cola.sh: the commands of docs/COLA.md with a tiny model; flags and exit codes with a
fake run_glue.py."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forks
import pytest
import tiny

ROOT = Path(__file__).resolve().parents[2]
FAKE_RUN_GLUE = """
import json, os, pathlib, sys
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(flags) + "\\n")
if os.environ.get("FAIL"):
    sys.exit(int(os.environ["FAIL"]))
folder = pathlib.Path(flags["--output_dir"])
(folder / "all_results.json").write_text("{}")
"""
FAKE_WALKTHROUGH = """
import os, pathlib, sys
if sys.argv[1] == "check":
    if "--unknown" in sys.argv:
        sys.exit(2)
    done = (pathlib.Path(sys.argv[2]) / "all_results.json").exists()
    overwrite = "--overwrite_output_dir" in sys.argv
    print("overwrite" if overwrite else "finished" if done else "start")
    sys.exit()
if sys.argv[1] == "data" and "no_such" in sys.argv:
    sys.exit(2)
print("raw folder" if sys.argv[1] == "data" else f"shown: {sys.argv[2:]}")
"""


PAGES = ("COLA.md", "COLA_zh.md")


def document_commands(name: str) -> list[str]:
    """The shell commands of a page."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```shell\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


class Copy:
    """A copy of the scripts next to the package, with this Python as the environment."""

    def __init__(self, folder: Path):
        self.root = folder
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        (folder / "bert_paddle").symlink_to(ROOT / "bert_paddle")
        (folder / "run_glue.py").symlink_to(ROOT / "run_glue.py")
        (folder / "scripts" / "environment.sh").write_text(f"REPO={folder}\nPY={sys.executable}\n")
        self.calls_file = folder / "calls"

    def use_fakes(self) -> None:
        (self.root / "run_glue.py").unlink()
        (self.root / "run_glue.py").write_text(FAKE_RUN_GLUE)
        (self.root / "scripts" / "walkthrough.py").write_text(FAKE_WALKTHROUGH)

    def run(self, *more: str, **variables: str) -> subprocess.CompletedProcess:
        env = {**os.environ, "CALLS": str(self.calls_file), **variables}
        command = ["bash", "scripts/finetune_cola.sh", *more]
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True)

    def run_documented(self, command: str, model: Path) -> subprocess.CompletedProcess:
        """Run a command of the page with a tiny model, which has two epochs of five steps."""
        python = forks.python_for_scripts(self.root / "python")
        (self.root / "scripts" / "environment.sh").write_text(f"REPO={self.root}\nPY={python}\n")
        for documented, replacement in (
            ("all-minilm-l6-v2", str(model)),
            (".venv/bin/python", str(python)),
            ("model_964", "model_10"),
        ):
            command = command.replace(documented, replacement)
        env = {**os.environ, "EPOCHS": "2", "BATCH_SIZE": "8", "N_GPU": "0"}
        return subprocess.run(
            ["bash", "-c", command], cwd=self.root, env=env, capture_output=True, text=True
        )

    def calls(self) -> list[dict[str, str]]:
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_default_flags_and_overrides(copy):
    copy.use_fakes()
    assert copy.run().returncode == 0
    variables = {"MODEL": "m", "EPOCHS": "2", "SEED": "7", "EXTRA": "--debug 1"}
    done = copy.run("--max_steps", "9", OUTPUT_DIR="an out", SENTENCE="My own.", **variables)
    assert done.returncode == 0 and "'an out', '--sentence', 'My own.'" in done.stdout
    first, second = copy.calls()
    assert first["--train_file"] == "raw folder/in_domain_train.tsv"
    assert first["--test_file"] == "raw folder/out_of_domain_dev.tsv"
    recipe = "validation_share 0.1 batch_size 32 learning_rate 2e-5 num_train_epochs 4 seed 42 "
    recipe += "max_seq_length 64 warmup_steps 0 metric matthews save_strategy epoch"
    words = recipe.split()
    assert [first[f"--{name}"] for name in words[::2]] == words[1::2]
    assert first["--model_name_or_path"] == "bert-base-uncased"
    assert first["--output_dir"] == "runs/cola"
    assert (second["--model_name_or_path"], second["--num_train_epochs"]) == ("m", "2")
    assert (second["--seed"], second["--debug"], second["--max_steps"]) == ("7", "1", "9")


@pytest.mark.parametrize("by_variable", [False, True])
def test_flags_that_the_script_uses_itself(copy, by_variable):
    """They count wherever the script needs them, not only in the training."""
    copy.use_fakes()
    fake = (copy.root / "scripts" / "walkthrough.py").read_text()
    (copy.root / "scripts" / "walkthrough.py").write_text(
        fake + "print('step', sys.argv[1:], file=sys.stderr)\n"
    )
    flags = "--output_dir=W --max_seq_length 8 --model_name_or_path other --seeds 3,4"
    done = copy.run(EXTRA=flags) if by_variable else copy.run(*flags.split())
    assert done.returncode == 0, done.stderr
    (call,) = copy.calls()
    assert call["--output_dir"] == "W" and (copy.root / "W" / "train.log").exists()
    data = next(line for line in done.stderr.splitlines() if line.startswith("step ['data'"))
    assert "'--model', 'other'" in data and "'--max_seq_length', '8'" in data
    assert "step ['end', 'W/seed_3'" in done.stderr
    assert "W/seed_3/report.html" in done.stdout and not (copy.root / "runs").exists()


@pytest.mark.parametrize("given", [("--data_dir", "no_such"), ("--data_dir=no_such",)])
def test_data_dir_is_not_passed_to_run_glue(copy, given):
    copy.use_fakes()
    rest = (copy.root / "scripts" / "walkthrough.py").read_text()
    rest = rest.replace('"no_such" in sys.argv', '"no_such" in " ".join(sys.argv)')
    (copy.root / "scripts" / "walkthrough.py").write_text(rest)
    assert copy.run(*given).returncode == 2 and copy.calls() == []
    good = [part.replace("no_such", "there") for part in given]
    assert copy.run(*good).returncode == 0
    assert "--data_dir" not in copy.calls()[0] and "there" not in copy.calls()[0].values()


@pytest.mark.parametrize("code", [1, 2, 143])
def test_a_failed_run_keeps_its_exit_code(copy, code):
    copy.use_fakes()
    done = copy.run(FAIL=str(code))
    assert done.returncode == code and "shown" not in done.stdout
    assert f"stopped with exit code {code}" in done.stderr
    again = copy.run()
    assert again.returncode == 0 and copy.calls()[1]["--resume_from_checkpoint"] == "auto"


def test_a_finished_run_is_not_trained_again(copy):
    copy.use_fakes()
    copy.run()
    again = copy.run(SENTENCE="Another one.")
    assert len(copy.calls()) == 1 and "holds a finished run" in again.stdout
    assert "Another one." in again.stdout and "'--epochs'" in again.stdout
    assert copy.run("--overwrite_output_dir", "1").returncode == 0
    assert len(copy.calls()) == 2 and "--resume_from_checkpoint" not in copy.calls()[1]


@pytest.mark.parametrize("given", [("--data_dir",), ("--data_dir=",), ("--data_dir", "--unknown")])
def test_an_empty_data_dir_does_not_download(copy, given):
    copy.use_fakes()
    done = copy.run(*given)
    assert done.returncode == 2 and copy.calls() == [] and "--data_dir needs" in done.stderr


def test_flags_are_checked_before_the_data(copy):
    copy.use_fakes()
    rest = copy.root / "scripts" / "walkthrough.py"
    rest.write_text(rest.read_text() + "open('sought', 'w')\n")
    assert copy.run("--unknown").returncode == 2 and not (copy.root / "sought").exists()


def test_the_documented_commands_with_a_tiny_model(copy, tiny_dir):
    raw = copy.root / "cola_public" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("in_domain_train.tsv", 40), ("out_of_domain_dev.tsv", 35)):
        rows = [f"gj04\t{i % 2}\t\tthe {tiny.WORDS[i % 30]} sat on {i}\n" for i in range(count)]
        (raw / name).write_text("".join(rows))
    first, again, predict = document_commands("COLA.md")
    done = copy.run_documented(first, tiny_dir)
    assert done.returncode == 0, done.stderr
    out = copy.root / "runs" / "cola"
    assert "in_domain_train.tsv: 40 sentences, 20 of them acceptable" in done.stderr
    assert "training: 36 rows, 8 rows per step, 5 steps per epoch, 10 steps in total" in done.stderr
    assert re.search(r"epoch  step  train loss .*\n +1 +5 .*\n +2 +10 ", done.stderr)
    assert re.search(r"batches  1 to  2 ( +-?[01]\.\d{3}){2}\n  all 35 rows together", done.stdout)
    assert "runs/cola/model_10: 41 tensors" in done.stdout
    assert "model.safetensors" in done.stdout and "<- the model's answer" in done.stdout
    for name in ("report.html", "pictures/mcc_by_batch.png", "train.log"):
        assert (out / name).stat().st_size > 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "train loss" in page and "MCC by batch" in page

    asked = copy.run_documented(again, tiny_dir)
    assert "holds a finished run" in asked.stdout and "text    Him likes she." in asked.stdout
    predicted = copy.run_documented(predict, tiny_dir)
    assert predicted.returncode == 0 and predicted.stdout.endswith("read by the girl.\n")


def test_the_chinese_page_has_the_same_commands_output_and_sections():
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in PAGES]
    blocks = [re.findall(r"^```.*?^```", page, re.MULTILINE | re.DOTALL) for page in pages]
    assert blocks[0] == blocks[1] and len(blocks[0]) > 8
    assert len({len(re.findall("^## ", page, re.MULTILINE)) for page in pages}) == 1
    assert not any(re.search(r"@[A-Z]+@", page) for page in pages)
