"""All scripts: valid syntax, a describing comment, no host names or absolute paths."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
SHELL = [*sorted((ROOT / "scripts").glob("*.sh")), ROOT / ".ci" / "run"]
LOCKS = [ROOT / f"requirements-{name}.txt" for name in ("lock", "dev-lock", "cpu")]
SETTINGS = [ROOT / "Makefile", *LOCKS, ROOT / "requirements-overrides.txt"]
PADDLE_INDEX = "https://www.paddlepaddle.org.cn/packages/stable"
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
    text = path.read_text(encoding="utf-8").replace(PADDLE_INDEX, "")
    assert not re.search(r"\w+://", text)
    assert not re.search(r"(?<![\w.$}{])/(root|home|work|tmp)/", text)


def test_scripts_called_by_make_exist():
    called = re.findall(r"bash (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert called and all((ROOT / name).is_file() for name in called)


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / name).read_text(encoding="utf-8")))


def canonical(requirement: str) -> str:
    return re.split(r"[\[<>=; ]", requirement)[0].replace("_", "-").lower()


@pytest.mark.parametrize("name", [path.name for path in LOCKS])
def test_locks_have_one_version_and_hashes_for_every_package(name):
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text(encoding="utf-8").strip())
    assert all(re.match(r"\S+==[^\n]+ \\\n    --hash=sha256:", entry) for entry in entries)
    packages = [canonical(entry) for entry in entries]
    assert len(set(packages)) == len(packages)


def test_locks_hold_what_the_package_declares_and_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = project["project"]["dependencies"]
    extras = project["project"]["optional-dependencies"]
    lean, dev = pins("requirements-lock.txt"), pins("requirements-dev-lock.txt")
    assert {canonical(name) for name in needed} <= set(lean)
    more = [
        name for extra, names in extras.items() if extra not in ("cpu", "all") for name in names
    ]
    tools = project["dependency-groups"]["dev"]
    assert {canonical(name) for name in [*needed, *more, *tools]} <= set(dev)
    assert lean.items() <= dev.items()
    # Every extra but Paddle's build is in "all".
    (everything,) = extras["all"]
    named = set(re.findall(r"\w+", everything.partition("[")[2]))
    assert named == set(extras) - {"cpu", "all"}


def test_paddle_has_one_version_and_is_in_no_other_lock():
    (cpu,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]["cpu"]
    version = cpu.removeprefix("paddlepaddle==")
    assert pins("requirements-cpu.txt") == {"paddlepaddle": version}
    script = (ROOT / "scripts" / "environment.sh").read_text(encoding="utf-8")
    assert f"\npaddle_version={version}\n" in script
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"paddlepaddle-gpu=={version}" in dockerfile
    for lock in ("requirements-lock.txt", "requirements-dev-lock.txt"):
        assert "paddlepaddle" not in pins(lock)


def test_overrides_switch_off_what_paddlenlp_declares_and_bert_does_not_need():
    declared = {
        canonical(name)
        for name in importlib.metadata.requires("paddlenlp") or []
        if "extra ==" not in name
    }
    lines = (ROOT / "requirements-overrides.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    off = {canonical(line) for line in lines if line.endswith("; python_version < '0'")}
    assert declared - off == declared & set(pins("requirements-lock.txt"))
    assert off <= declared and [line for line in lines if canonical(line) not in off] == [
        "numpy >=1.26, <2.4"
    ]
