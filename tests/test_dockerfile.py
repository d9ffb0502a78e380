"""The Dockerfile, as far as it can be judged without a container engine."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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


def test_it_has_a_python_that_the_package_takes():
    (base,) = arguments("FROM")
    assert base.startswith("python:3.11-")


def test_one_build_of_paddle_is_installed_and_packages_have_their_hashes():
    installs = [words for words in arguments("RUN") if "pip install" in words]
    lock, paddle, package = installs
    assert "--no-deps --require-hashes --requirement requirements-lock.txt" in lock
    assert "--require-hashes --requirement requirements-cpu.txt ;;" in paddle
    assert "uninstall" not in paddle and "--no-deps --no-build-isolation ." in package
    assert all("--mount=type=cache,target=/root/.cache/pip" in words for words in installs[:2])
    assert "dev-lock" not in " ".join(installs)


def test_any_user_can_write_where_the_package_writes():
    (folders,) = (words for words in arguments("RUN") if "useradd" in words)
    (settings,) = arguments("ENV")
    values = dict(word.split("=") for word in settings.split())
    writable = folders.partition("chmod 1777 ")[2].split()
    assert {values["HOME"], values["XDG_CACHE_HOME"], values["BERT_PADDLE_HOME"]} <= set(writable)
    assert arguments("WORKDIR")[-1] in writable


def test_it_runs_the_command_as_no_root_user():
    names = [name for name, _ in STEPS]
    assert arguments("USER") == ["bert"] and names.index("USER") > names.index("COPY")
    assert arguments("ENTRYPOINT") == ['["bert-paddle"]']
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "bert-paddle" in project["scripts"]
