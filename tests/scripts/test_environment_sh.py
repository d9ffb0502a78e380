"""environment.sh with a fake Python: when the .venv is reused, updated or rebuilt, and its errors.

The fake interpreter reports $FAKE_VERSION as its version, makes a .venv with a copy of itself, and
logs each `pip install` in $FAKE_CALLS before it behaves as $FAKE_PIP says.
"""

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
    *version_info\[:2\]*)
        case $version in 3.1[0-3].*) echo "${version%.*}" ;; *) exit 1 ;; esac ;;
    *version_info\[:3\]*) echo "$version" ;;
    *ensurepip*) exit 0 ;;
    "--version") echo "Python $version" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo made >"$3/made" ;;
    *"--target "*"uv=="*)
        [ -n "$FAKE_UV" ] || exit 1
        folder=$(echo "$*" | sed 's/.*--target \([^ ]*\).*/\1/')
        mkdir -p "$folder/bin" && cp "$FAKE_UV" "$folder/bin/uv" ;;
    "-m pip uninstall "*) echo "$*" >>"$FAKE_CALLS" ;;
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


FAKE_UV = r"""#!/bin/sh
case "$*" in
    --version) echo "uv 0" ;;
    "pip install "*) echo "uv $*" >>"$FAKE_CALLS" ;;
    *) exit 1 ;;
esac
"""
# What nvidia-smi prints: the CUDA version of the driver, and the GPU's compute capability.
FAKE_SMI = r"""#!/bin/sh
case "$*" in
    *compute_cap*) echo "$FAKE_CAPABILITY" ;;
    *) [ -n "$FAKE_CUDA" ] || exit 9
       echo "| NVIDIA-SMI 560.1   Driver Version: 560.1   CUDA Version: $FAKE_CUDA |" ;;
esac
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Copy:
    """A repository of only the locks and environment.sh, with the fake programs."""

    def __init__(self, folder: Path):
        self.root = folder / "repo"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(SCRIPTS / "environment.sh", self.root / "scripts")
        self.lock = self.root / "requirements-lock.txt"
        self.lock.write_text("one==1 --hash=sha256:00\n")
        self.dev_lock = self.root / "requirements-dev-lock.txt"
        self.dev_lock.write_text("two==1 --hash=sha256:00\n")
        (self.root / "requirements-cpu.txt").write_text("paddle==1 --hash=sha256:00\n")
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.calls = folder / "calls"
        self.python = executable(folder / "python", FAKE_PYTHON)
        self.venv = self.root / ".venv"
        self.stamp = self.venv / "installed"

    def start(self, *flags: str, **variables: str) -> subprocess.Popen:
        """Source the script; with flags, run it. By pip, unless INSTALLER says otherwise."""
        script = '. "$1/scripts/environment.sh"; echo "PY=$PY"'
        command = ["bash", "-euo", "pipefail", "-c", script, "bash", str(self.root)]
        if flags:
            command = ["bash", str(self.root / "scripts" / "environment.sh"), *flags]
        return subprocess.Popen(
            command,
            env={
                **os.environ,
                "PATH": f"{self.programs}:/usr/bin:/bin",
                "PYTHON": str(self.python),
                "FAKE_CALLS": str(self.calls),
                "INSTALLER": "pip",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *flags: str, **variables: str) -> subprocess.CompletedProcess:
        process = self.start(*flags, **variables)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def installs(self) -> int:
        """How often the lock and Paddle's build were installed."""
        calls = self.calls.read_text() if self.calls.exists() else ""
        return calls.count("/requirements-cpu.txt\n")


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_environment_is_created_once_with_hashes(copy):
    first = copy.run()
    assert (first.returncode, first.stdout) == (0, f"PY={copy.venv}/bin/python\n")
    assert len(first.stderr.splitlines()) == 1 and "Python 3.11" in first.stderr
    calls = copy.calls.read_text().splitlines()
    assert [call.split("/")[-1] for call in calls] == [copy.lock.name, "requirements-cpu.txt"]
    assert all("--no-deps --require-hashes" in call for call in calls)
    second = copy.run(PYTHON="/nowhere")
    assert (second.returncode, second.stderr, copy.installs()) == (0, "", 1)


@pytest.mark.parametrize("version", ["2.7.18", "3.9.18", "3.14.0", "3.110.0"])
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
        ("ERROR: No matching distribution found for one==1", "no package for Python 3.11 on"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "hash"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("error: Failed to initialize cache at `/proc/.cache/uv`", "in UV_CACHE_DIR;"),
        ("error: a word not met before", "installed: error: a word not met before;"),
        ("something else", "the installer stopped"),
    ],
)
def test_a_failed_installation_is_one_line_and_is_not_reused(copy, pip_output, message):
    done = copy.run(FAKE_PIP=pip_output)
    *_, error = done.stderr.splitlines()
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 2
    assert error.startswith("error: ") and message in error and str(copy.venv) in error
    assert pip_output in (copy.venv / "install.log").read_text()
    again = copy.run()
    assert again.returncode == 0 and copy.stamp.exists()


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


def test_every_python_that_paddle_has_is_taken(copy):
    for minor in (10, 11, 12, 13):
        done = copy.run(FAKE_VERSION=f"3.{minor}.1")
        assert done.returncode == 0 and f"Python 3.{minor}" in done.stderr
        shutil.rmtree(copy.venv)


def test_another_python_makes_the_venv_anew(copy):
    copy.run(FAKE_VERSION="3.11.7")
    (copy.venv / "bin" / "python").write_text("#!/bin/sh\necho 3.11\n")
    other = executable(copy.python.with_name("python312"), "#!/bin/sh\nexit 1\n")
    other.write_text(FAKE_PYTHON.replace("${FAKE_VERSION:-3.11.7}", "3.12.1"))
    done = copy.run(PYTHON=str(other))
    assert done.returncode == 0 and "another Python" in done.stderr and copy.installs() == 2


def test_dev_tools_are_added_once_and_stay(copy):
    copy.run()
    assert copy.run("--dev").returncode == 0
    assert copy.dev_lock.name in copy.calls.read_text()
    calls = copy.calls.read_text()
    assert copy.run("--dev").stderr == copy.run().stderr == ""
    assert copy.calls.read_text() == calls


def test_uv_installs_where_it_is(copy):
    executable(copy.programs / "uv", FAKE_UV)
    assert copy.run(INSTALLER="").returncode == 0
    calls = copy.calls.read_text().splitlines()
    assert len(calls) == 2 and all(call.startswith("uv pip install --python ") for call in calls)
    assert all("--no-deps --require-hashes" in call for call in calls)


def test_uv_is_fetched_once_where_it_is_not(copy):
    uv = executable(copy.python.with_name("uv"), FAKE_UV)
    assert copy.run(INSTALLER="", FAKE_UV=str(uv)).stderr.count("\n") == 1
    assert copy.calls.read_text().count("uv pip install") == 2
    copy.lock.write_text("one==2 --hash=sha256:01\n")
    assert copy.run(INSTALLER="", FAKE_UV="").returncode == 0
    assert copy.calls.read_text().count("uv pip install") == 4


def test_a_broken_uv_is_passed_over(copy):
    executable(copy.programs / "uv", "#!/bin/sh\nexit 1\n")
    done = copy.run(INSTALLER="")
    assert done.returncode == 0 and "pip installs" in done.stderr
    assert copy.installs() == 1 and "uv pip" not in copy.calls.read_text()


@pytest.mark.parametrize(
    ("cuda", "capability", "build"),
    [
        ("11.8", "7.5", "cu118"),
        ("12.2", "8.0", "cu126"),
        ("12.8", "12.0", "cu129"),
        ("12.9", "9.0\n10.0", "cu129"),
        ("12.4", "", "cu126"),
        ("13.0", "9.0", "cu130"),
    ],
)
def test_the_gpu_build_suits_the_driver_and_the_cpu_build_is_never_fetched(
    copy, cuda, capability, build
):
    executable(copy.programs / "nvidia-smi", FAKE_SMI)
    done = copy.run("--paddle", "gpu", FAKE_CUDA=cuda, FAKE_CAPABILITY=capability)
    assert done.returncode == 0, done.stderr
    calls = copy.calls.read_text()
    assert f"/{build}/ paddlepaddle-gpu==" in calls and "requirements-cpu" not in calls
    # A later script, and a changed lock, keep it.
    copy.lock.write_text("one==2 --hash=sha256:01\n")
    assert copy.run().returncode == 0
    assert copy.calls.read_text().count(f"/{build}/ paddlepaddle-gpu==") == 2
    assert "requirements-cpu" not in copy.calls.read_text()


def test_an_interrupted_installation_of_a_gpu_build_is_repeated_with_it(copy):
    assert copy.run("--dev", "--paddle=cu126", FAKE_PIP="killed").returncode != 0
    assert copy.run().returncode == 0
    copy.lock.write_text("one==2 --hash=sha256:01\n")
    assert copy.run(FAKE_PIP="No space left on device").returncode == 1
    copy.calls.unlink()
    assert copy.run().returncode == 0
    calls = copy.calls.read_text()
    assert "/cu126/ paddlepaddle-gpu==" in calls and "requirements-cpu" not in calls
    assert copy.dev_lock.name in calls


def test_a_gpu_build_replaces_the_cpu_build(copy):
    copy.run()
    assert copy.run("--paddle=cu126").returncode == 0
    calls = copy.calls.read_text().splitlines()
    names = [call.split()[-1] for call in calls[-3:]]
    assert names == ["paddlepaddle", "paddlepaddle-gpu", "paddlepaddle-gpu==3.3.1"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--paddle", "gpu"), "nvidia-smi does not run here"),
        (("--paddle", "cu12"), "not one of cpu, gpu, cu118"),
        (("--gpu",), "--gpu is no flag"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(copy, flags, message):
    executable(copy.programs / "nvidia-smi", FAKE_SMI)
    done = copy.run(*flags)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not copy.venv.exists()


def test_a_driver_that_is_too_old_is_told(copy):
    executable(copy.programs / "nvidia-smi", FAKE_SMI)
    done = copy.run("--paddle", "gpu", FAKE_CUDA="10.2", FAKE_CAPABILITY="7.0")
    assert done.returncode == 2 and "10.2" in done.stderr and not copy.venv.exists()
