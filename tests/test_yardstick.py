"""benchmarks/yardstick.py: what it reads and what it says of two records. Nothing is trained."""

import copy
import json

import pytest

from benchmarks import yardstick, yardstick_outcome
from benchmarks.yardstick_compare import differences

HELP = """usage: program.py --output_dir TEXT FILE... [flags]

What the program does, with an example:

  program.py --output_dir out --batch_size 4

training:
  --batch_size N, --per_device_train_batch_size N
                        rows per card (of all
                        sorts) (default 8)
  --optimizer adamw|lamb
                        optimizer; give --weight_decay with it (default
                        adamw)
  --seed N              seed (default 42)
  --report [0|1]        end with a report (0: none) (default 1)
  --output TEXT, -o TEXT
                        the page to write

saving:
  --output_dir TEXT     folder for checkpoints (required)
  -h, --help            show this help message and exit

FILE...: the files
"""
FLAGS = yardstick_outcome.flags_of(HELP)
RECORD = {
    "about": {"commit": "abc", "time": "now", "machine": "one", "versions": {"Python": "3"}},
    "equal": {
        "flags": {"program.py": FLAGS},
        "files": {"shards_1": {"demo_0.hdf5": "0a", "demo_1.hdf5": "0b"}},
        "runs": {"sst2": {"steps": {str(n): {"loss": 0.1 * n} for n in range(1, 9)}}},
    },
    "measured": {"sst2": {"peak_mb": 1000, "step_ms": 80.0}},
}


@pytest.fixture
def compared(tmp_path, capsys):
    """Compares the record with one that was changed: exit code, what was printed."""

    def compare(changed) -> tuple[int, str]:
        files = [tmp_path / "before.json", tmp_path / "after.json"]
        for path, content in zip(files, (RECORD, changed), strict=True):
            path.write_text(json.dumps(content))
        page = tmp_path / "page.md"
        code = yardstick.main(["compare", *map(str, files), "--result", str(page)])
        printed = capsys.readouterr().out
        assert page.read_text() == printed
        return code, printed

    return compare


def test_flags_are_read_without_the_words_that_explain_them():
    assert FLAGS == {
        "usage": "program.py --output_dir TEXT FILE... [flags]",
        "--batch_size": {
            "aliases": ["--per_device_train_batch_size"],
            "values": "N",
            "default": "8",
        },
        "--optimizer": {"aliases": [], "values": "adamw|lamb", "default": "adamw"},
        "--seed": {"aliases": [], "values": "N", "default": "42"},
        "--report": {"aliases": [], "values": "[0|1]", "default": "1"},
        "--output": {"aliases": ["-o"], "values": "TEXT", "default": None},
        "--output_dir": {"aliases": [], "values": "TEXT", "default": "required"},
        "-h": {"aliases": ["--help"], "values": None, "default": None},
    }


def test_other_words_and_other_widths_are_no_difference():
    narrow = HELP.replace("rows per card (of all\n                        sorts)", "rows of a card")
    assert narrow != HELP and yardstick_outcome.flags_of(narrow) == FLAGS


def test_equal_records(compared):
    changed = copy.deepcopy(RECORD)
    changed["measured"]["sst2"] = {"peak_mb": 1100, "step_ms": 40.0}
    code, printed = compared(changed)
    assert code == 0 and "all equal" in printed and "DIFFERS" not in printed
    assert "| sst2 | 1000 | 1100 | 1.100 | 80.0 | 40.0 | 0.500 |" in printed


def test_a_changed_loss_is_named(compared):
    changed = copy.deepcopy(RECORD)
    changed["equal"]["runs"]["sst2"]["steps"]["2"]["loss"] += 2**-50
    code, printed = compared(changed)
    assert code == 1 and "DIFFERS: runs > sst2 > steps > 2 > loss: 0.2 -> 0.2000" in printed
    assert printed.count("DIFFERS") == 1


def test_of_many_losses_the_first_are_named_and_the_others_counted():
    changed = copy.deepcopy(RECORD)
    for values in changed["equal"]["runs"]["sst2"]["steps"].values():
        values["loss"] += 1
    found = differences(RECORD["equal"], changed["equal"])
    assert len(found) == 4 and found[-1] == "runs > sst2 > steps: 5 more"


def test_a_changed_default_a_flag_gone_and_a_new_one_are_named(compared):
    changed = copy.deepcopy(RECORD)
    changed["equal"]["flags"]["program.py"] = yardstick_outcome.flags_of(
        HELP.replace("(default 42)", "(default 43)").replace("--report", "--page")
    )
    code, printed = compared(changed)
    assert code == 1
    assert "DIFFERS: flags > program.py > --seed > default: '42' -> '43'" in printed
    assert "--report > default: '1' -> missing" in printed
    assert "--page > default: missing -> '1'" in printed


def test_a_missing_shard_and_a_missing_run_are_named(compared):
    changed = copy.deepcopy(RECORD)
    del changed["equal"]["files"]["shards_1"]["demo_1.hdf5"]
    changed["equal"]["runs"], changed["measured"] = {}, {}
    code, printed = compared(changed)
    assert code == 1 and "shards_1 > demo_1.hdf5: '0b' -> missing" in printed
    assert "runs > sst2 > steps > 1 > loss: 0.1 -> missing" in printed


def test_another_machine_is_told(compared):
    changed = copy.deepcopy(RECORD)
    changed["about"]["machine"] = "another"
    code, printed = compared(changed)
    assert code == 0 and "Machine or versions differ" in printed


def test_a_step_that_is_missing_or_there_twice_is_a_mistake(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "step": n, "loss": 1.0, "steps_per_second": n} for n in (1, 2, 2)]
    metrics.write_text("\n".join(map(json.dumps, lines[:2])))
    assert yardstick_outcome.records_of(tmp_path, "train") == {
        "1": {"loss": 1.0},
        "2": {"loss": 1.0},
    }
    with pytest.raises(yardstick.Mistake, match="1 to 3"):
        yardstick_outcome.outcome(tmp_path, 3)
    metrics.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(yardstick.Mistake, match="twice"):
        yardstick_outcome.records_of(tmp_path, "train")


def test_variables_that_are_not_set_are_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GLUE_DATA_DIR", "somewhere")
    monkeypatch.delenv("BERT_PADDLE_HDF5_DIR", raising=False)
    words = ["record", "--work_dir", str(tmp_path / "work"), "--out", str(tmp_path / "a.json")]
    assert yardstick.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: BERT_PADDLE_HDF5_DIR must be set") and said.count("\n") == 1
    assert not (tmp_path / "work").exists()


def test_every_training_has_its_own_name_and_eight_rows_a_step():
    runs = yardstick.runs()
    assert len({run.name for run in runs}) == len(runs) == 8
    for run in runs:
        words = run.command("out")
        assert int(words[words.index("--batch_size") + 1]) * run.processes == 8
