"""A run in its output folder: what all_results.json keeps, and the lock on the folder."""

import fcntl
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle.common.errors import OutputError
from bert_paddle.training import output_lock, run


def test_results_keep_earlier_values_and_write_nan_as_null(tmp_path):
    def write(**values):
        return json.loads(run.write_results(tmp_path, values).read_text())

    first = write(task="STS-B", global_step=3, eval_loss=1.0, eval_pearson=math.nan)
    assert first == {"task": "STS-B", "global_step": 3, "eval_loss": 1.0, "eval_pearson": None}
    assert write(task="STS-B", eval_loss=2.0) == {
        "task": "STS-B",
        "global_step": 3,
        "eval_loss": 2.0,
    }
    assert write(task="RTE", eval_loss=3.0) == {"task": "RTE", "eval_loss": 3.0}


def test_output_dir_in_use_is_refused(tmp_path):
    folder = tmp_path / "out"
    with output_lock.lock_output_dir(folder):
        with pytest.raises(OutputError, match=rf"in use by another run \(process {os.getpid()} on"):
            with output_lock.lock_output_dir(folder):
                pass
    assert list(folder.iterdir()) == []
    with output_lock.lock_output_dir(folder):
        pass


@pytest.mark.parametrize("next_run", [False, True])
def test_a_lock_on_a_file_that_its_owner_has_removed_is_none(tmp_path, monkeypatch, next_run):
    """The owner may end between another run's opening of the file and its locking; a third run may
    have made a new file then."""
    path, flock, others = tmp_path / output_lock.LOCK_FILE, fcntl.flock, []

    def flock_after_the_owners_end(file, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        if next_run:
            others.append(path.open("w"))
            flock(others[0], fcntl.LOCK_EX)
        return flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_owners_end)
    if next_run:
        with pytest.raises(OutputError, match="in use by another run"):
            with output_lock.lock_output_dir(tmp_path):
                pass
        others[0].close()
        return
    with output_lock.lock_output_dir(tmp_path):
        assert path.exists()
        with pytest.raises(OutputError, match="in use by another run"):
            with output_lock.lock_output_dir(tmp_path):
                pass


def test_killed_run_leaves_no_lock(tmp_path):
    """A killed process cannot delete the lock file, but the system releases its lock."""
    script = (
        "import os, sys; from pathlib import Path; from bert_paddle.training import output_lock\n"
        "with output_lock.lock_output_dir(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    completed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root)
    assert completed.returncode == -9 and (tmp_path / output_lock.LOCK_FILE).is_file()
    with output_lock.lock_output_dir(tmp_path):
        assert (tmp_path / output_lock.LOCK_FILE).is_file()
    assert list(tmp_path.iterdir()) == []
