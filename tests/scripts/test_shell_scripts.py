"""All scripts: valid syntax, a describing comment, no host names or absolute paths."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELL = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
SETTINGS = [ROOT / "Makefile", ROOT / "requirements.in", ROOT / "requirements-lock.txt"]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def names(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", SHELL, ids=names)
def test_syntax_is_valid(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SHELL, ids=names)
def test_scripts_start_with_a_description_and_stop_on_errors(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and lines[1].startswith("# ")
    assert "set -euo pipefail" in lines


@pytest.mark.parametrize("path", SHELL, ids=names)
def test_variables_are_documented_in_the_comment(path):
    text = path.read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    if "recipe.sh" in text:
        recipe = (ROOT / "scripts" / "recipe.sh").read_text(encoding="utf-8")
        comment += "\n".join(line for line in recipe.splitlines() if line.startswith("#"))
    taken = set(re.findall(r"\$\{([A-Z_]+):-", text)) - {"BASH_SOURCE"}
    assert {name for name in taken if name not in comment} == set()


@pytest.mark.parametrize(
    "path", [*SHELL, *SETTINGS, *sorted((ROOT / "scripts").glob("*.py"))], ids=names
)
def test_no_url_and_no_absolute_path(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\w+://", text)
    assert not re.search(r"(?<![\w.$}{])/(root|home|work|tmp)/", text)


def test_scripts_called_by_make_exist():
    called = re.findall(r"bash (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert called and all((ROOT / name).is_file() for name in called)


def test_the_lock_file_has_hashes_and_the_pinned_versions():
    lock = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert all(re.match(r"\S+==\S+ \\\n    --hash=sha256:", entry) for entry in entries)
    locked = dict(PINNED.findall(lock))
    asked = (ROOT / "requirements.in").read_text(encoding="utf-8")
    for name, version in PINNED.findall(asked):
        assert locked[name.replace("_", "-").lower()] == version
    for name in re.findall(r"^[a-z][\w-]*", asked, re.MULTILINE):
        assert name.replace("_", "-") in locked


def test_the_gpu_build_has_the_locked_version():
    gpu = dict(PINNED.findall((ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")))
    locked = dict(PINNED.findall((ROOT / "requirements-lock.txt").read_text(encoding="utf-8")))
    assert gpu == {"paddlepaddle-gpu": locked["paddlepaddle"]}
