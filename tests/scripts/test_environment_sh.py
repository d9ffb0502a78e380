"""environment.sh with a fake Python: when the .venv is reused, updated or rebuilt, and its errors.

The fake interpreter reports $FAKE_VERSION as its version, makes a .venv with a copy of itself, and
logs each `pip install` in $FAKE_CALLS before it behaves as $FAKE_PIP says.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FAKE_PYTHON = r"""#!/bin/sh
version=${FAKE_VERSION:-3.11.7}
case "$*" in
    *version_info\[:2\]*) case $version in 3.11.*) exit 0 ;; *) exit 1 ;; esac ;;
    *version_info\[:3\]*) echo "$version" ;;
    *ensurepip*) exit 0 ;;
    "--version") echo "Python $version" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo made >"$3/made" ;;
    "-m pip install "*)
        echo "$*" >>"$FAKE_CALLS"
        sleep "${FAKE_SECONDS:-0}"
        case ${FAKE_PIP:-works} in
            works) exit 0 ;;
            killed) kill -9 $PPID; exit 1 ;;
            *) echo "$FAKE_PIP"; exit 1 ;;
        esac ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Copy:
    """A repository of only the lock and environment.sh, with the fake Python."""

    def __init__(self, folder: Path):
        self.root = folder / "repo"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPTS / "environment.sh", self.root / "scripts")
        self.lock = self.root / "requirements-lock.txt"
        self.lock.write_text("one==1 --hash=sha256:00\n")
        self.calls = folder / "calls"
        self.python = folder / "python"
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(self.python.stat().st_mode | stat.S_IXUSR)
        self.venv = self.root / ".venv"
        self.stamp = self.venv / "lock.sha256"

    def start(self, **variables: str) -> subprocess.Popen:
        script = '. "$1/scripts/environment.sh"; echo "PY=$PY"'
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script, "bash", str(self.root)],
            env={
                **os.environ,
                "PYTHON": str(self.python),
                "FAKE_CALLS": str(self.calls),
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **variables: str) -> subprocess.CompletedProcess:
        process = self.start(**variables)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def installs(self) -> int:
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_environment_is_created_once_with_hashes(copy):
    first = copy.run()
    assert (first.returncode, first.stdout) == (0, f"PY={copy.venv}/bin/python\n")
    assert len(first.stderr.splitlines()) == 1 and "1.9 GB" in first.stderr
    assert "--require-hashes" in copy.calls.read_text()
    assert copy.stamp.read_text().strip() == hashlib.sha256(copy.lock.read_bytes()).hexdigest()
    second = copy.run(PYTHON="/nowhere")
    assert (second.returncode, second.stderr, copy.installs()) == (0, "", 1)


@pytest.mark.parametrize("version", ["2.7.18", "3.9.18", "3.12.1", "3.110.0"])
def test_a_wrong_python_version_is_one_line_and_exit_2(copy, version):
    done = copy.run(FAKE_VERSION=version)
    assert done.returncode == 2 and not copy.venv.exists()
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")
    assert version in done.stderr and "3.11" in done.stderr and "PYTHON=" in done.stderr


def test_a_missing_python_is_one_line_and_exit_2(copy):
    done = copy.run(PYTHON="no-such-python")
    assert done.returncode == 2 and not copy.venv.exists()
    assert len(done.stderr.splitlines()) == 1 and "no-such-python cannot be run" in done.stderr


def test_python3_is_used_if_python311_does_not_start(copy, tmp_path):
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "python3.11").write_text("#!/bin/sh\nexit 127\n")
    shutil.copy(copy.python, folder / "python3")
    for path in folder.iterdir():
        path.chmod(0o755)
    done = copy.run(PYTHON="", PATH=f"{folder}:/usr/bin:/bin")
    assert done.returncode == 0 and copy.stamp.exists()


@pytest.mark.parametrize("damage", ["no stamp", "no interpreter", "an empty folder", "a link"])
def test_an_incomplete_venv_is_rebuilt_with_a_message(copy, damage, tmp_path):
    copy.run()
    (copy.venv / "left_over").touch()
    if damage == "no stamp":
        copy.stamp.unlink()
    elif damage == "no interpreter":
        (copy.venv / "bin" / "python").unlink()
    else:
        shutil.rmtree(copy.venv)
        if damage == "a link":
            copy.venv.symlink_to(tmp_path / "gone")
        else:
            copy.venv.mkdir()
    done = copy.run()
    assert done.returncode == 0 and copy.installs() == 2
    assert "making it anew" in done.stderr and len(done.stderr.splitlines()) == 2
    assert copy.stamp.exists() and not (copy.venv / "left_over").exists()


def test_a_changed_lock_file_is_installed_into_the_venv(copy):
    copy.run()
    (copy.venv / "kept").touch()
    copy.lock.write_text("one==2 --hash=sha256:01\n")
    done = copy.run()
    assert done.returncode == 0 and "has changed" in done.stderr
    assert copy.installs() == 2 and (copy.venv / "kept").exists()
    assert copy.run().stderr == ""


@pytest.mark.parametrize(
    ("pip_output", "message"),
    [
        ("Failed to establish a new connection: name resolution", "no network"),
        ("ERROR: No matching distribution found for one==1", "found for one==1"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "hash"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("something else", "pip stopped"),
    ],
)
def test_a_failed_installation_is_one_line_and_is_not_reused(copy, pip_output, message):
    done = copy.run(FAKE_PIP=pip_output)
    *_, error = done.stderr.splitlines()
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 2
    assert error.startswith("error: ") and message in error and str(copy.venv) in error
    assert pip_output in (copy.venv / "install.log").read_text()
    again = copy.run()
    assert again.returncode == 0 and copy.installs() == 2


def test_a_failed_update_leaves_no_stamp(copy):
    copy.run()
    copy.lock.write_text("one==2 --hash=sha256:01\n")
    assert copy.run(FAKE_PIP="broken").returncode == 1
    assert not copy.stamp.exists()


def test_a_killed_installation_is_rebuilt(copy):
    assert copy.run(FAKE_PIP="killed").returncode != 0
    assert copy.venv.exists() and not copy.stamp.exists()
    assert copy.run().returncode == 0 and copy.stamp.exists()


def test_a_concurrent_run_waits_and_installs_nothing(copy):
    first = copy.start(FAKE_SECONDS="2")
    deadline = time.monotonic() + 20
    while not copy.calls.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = copy.run()
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode, copy.installs()) == (0, 0, 1)
    assert "waiting" in second.stderr


def test_the_lock_is_not_held_by_the_script_that_sources_it(copy):
    script = f'. "{copy.root}/scripts/environment.sh"; exec {{fd}}<"{copy.lock}"; flock -n $fd'
    env = {**os.environ, "PYTHON": str(copy.python), "FAKE_CALLS": str(copy.calls)}
    assert subprocess.run(["bash", "-c", script], env=env, capture_output=True).returncode == 0
