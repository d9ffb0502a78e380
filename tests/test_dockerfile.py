"""The Dockerfile, as far as it can be judged without a container engine."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
STEPS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]


def arguments(step: str) -> list[str]:
    return [words for name, words in STEPS if name == step]


def test_what_it_copies_is_there_and_reaches_the_engine():
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {name for words in arguments("COPY") for name in words.split()[:-1]}
    assert copied == allowed and all((ROOT / name).exists() for name in copied)


def test_it_has_the_python_that_the_package_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (base,) = arguments("FROM")
    assert base.startswith("python:3.11-") and project["requires-python"] == ">=3.11,<3.12"


def test_packages_come_from_the_lock_with_their_hashes():
    installs = [words for words in arguments("RUN") if "pip install" in words]
    assert "--require-hashes --requirement requirements-lock.txt" in installs[0]
    assert "requirements-gpu.txt" in installs[1] and "uninstall --yes paddlepaddle" in installs[1]
    assert "--no-deps --no-build-isolation ." in installs[2] and len(installs) == 3


def test_it_runs_the_command_as_no_root_user():
    names = [name for name, _ in STEPS]
    assert arguments("USER") == ["bert"] and names.index("USER") > names.index("COPY")
    assert arguments("ENTRYPOINT") == ['["bert-paddle"]']
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "bert-paddle" in project["scripts"]
