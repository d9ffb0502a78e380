"""All scripts: they parse, say what they are for, and name no host and no foreign folder."""

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
def test_bash_parses_it(path):
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SHELL, ids=names)
def test_it_begins_with_what_it_does_and_stops_at_the_first_failure(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash" and lines[1].startswith("# ")
    assert "set -euo pipefail" in lines


@pytest.mark.parametrize("path", SHELL, ids=names)
def test_variables_that_it_takes_are_in_its_comment(path):
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
def test_no_address_and_no_path_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\w+://", text)
    assert not re.search(r"(?<![\w.$}{])/(root|home|work|tmp)/", text)


def test_every_script_that_make_calls_is_there():
    called = re.findall(r"bash (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert called and all((ROOT / name).is_file() for name in called)


def test_the_lock_has_a_hash_for_everything_and_the_pins_asked_for():
    lock = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert all(re.match(r"\S+==\S+ \\\n    --hash=sha256:", entry) for entry in entries)
    locked = dict(PINNED.findall(lock))
    asked = (ROOT / "requirements.in").read_text(encoding="utf-8")
    for name, version in PINNED.findall(asked):
        assert locked[name.replace("_", "-").lower()] == version
    for name in re.findall(r"^[a-z][\w-]*", asked, re.MULTILINE):
        assert name.replace("_", "-") in locked


def test_the_gpu_build_is_the_version_of_the_lock():
    gpu = dict(PINNED.findall((ROOT / "requirements-gpu.txt").read_text(encoding="utf-8")))
    locked = dict(PINNED.findall((ROOT / "requirements-lock.txt").read_text(encoding="utf-8")))
    assert gpu == {"paddlepaddle-gpu": locked["paddlepaddle"]}
