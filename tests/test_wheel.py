"""The package as people install it: built, installed elsewhere, and run from there."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import shard_files
import tiny

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bert_paddle"


def sh(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built offline from a copy: setuptools leaves its folders where it builds."""
    base = tmp_path_factory.mktemp("wheel")
    copy = base / "copy"
    shutil.copytree(PACKAGE, copy / "bert_paddle", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    done = sh(*pip, "wheel", ".", *offline, "-w", base / "dist", cwd=copy)
    assert done.returncode == 0, done.stderr
    (built,) = (base / "dist").glob("bert_paddle-*-py3-none-any.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    """The wheel in a folder of its own, with bin/bert-paddle."""
    target = wheel.parent / "installed"
    done = sh(
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"),
        *("--no-index", "--target", target, wheel),
        cwd=wheel.parent,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_everything_of_the_package_is_in_the_wheel(wheel):
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wanted - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"bert_paddle"}
    assert any(name.endswith("LICENSE") for name in names)


def test_the_metadata_name_the_licence_and_show_no_broken_picture(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        fields, _, readme = archive.read(path).decode("utf-8").partition("\n\n")
    assert "\nLicense-Expression: Apache-2.0\n" in fields and "\nLicense-File: LICENSE" in fields
    assert readme.startswith("# bert_paddle")
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", readme) == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (None, "see the guide, [there](https://x.org/a), [here](#b)  end"),
        (
            "https://x.org/raw/",
            "see [the guide](https://x.org/raw/docs/A.md#c), [there](https://x.org/a), [here](#b)"
            " ![shot](https://x.org/raw/docs/s.png) end",
        ),
    ],
)
def test_relative_addresses_are_made_absolute_or_taken_out(url, wanted):
    page_readme = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")["page_readme"]
    text = (
        "see [the guide](docs/A.md#c), [there](https://x.org/a), [here](#b) ![shot](docs/s.png) end"
    )
    assert page_readme(text, url) == wanted


def test_the_installed_command_lists_its_commands(installed, tmp_path):
    command = installed / "bin" / "bert-paddle"
    for words in (("--help",), ()):
        done = sh(command, *words, cwd=tmp_path, PYTHONPATH=str(installed))
        assert done.returncode == 0 and "  create-data  " in done.stdout, done.stderr
    module = sh(sys.executable, "-m", "bert_paddle", cwd=tmp_path, PYTHONPATH=str(installed))
    assert module.stdout == done.stdout


def test_the_installed_package_pre_trains_and_reports(installed, tiny_dir, tmp_path):
    command, elsewhere = installed / "bin" / "bert-paddle", {"PYTHONPATH": str(installed)}
    rows = shard_files.make_rows(8, vocab_size=tiny.CONFIG["vocab_size"])
    (tmp_path / "shards").mkdir()
    shard_files.write_shard(tmp_path / "shards" / "part_0.hdf5", rows)
    trained = sh(
        *(command, "pretrain", "--model_name_or_path", tiny_dir, "--input_dir", "shards"),
        *("--output_dir", "out", "--max_steps", "1", "--batch_size", "8", "--n_gpu", "0"),
        cwd=tmp_path,
        **elsewhere,
    )
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "out" / "model_1" / "manifest.json").is_file()
    drawn = sh(command, "report", "out", "-o", "page.html", cwd=tmp_path, **elsewhere)
    assert drawn.returncode == 0 and (tmp_path / "page.html").is_file(), drawn.stderr


def test_the_installed_package_trains_reports_and_predicts(installed, tiny_dir, tmp_path):
    command, elsewhere = installed / "bin" / "bert-paddle", {"PYTHONPATH": str(installed)}
    tiny.write_sst2(tmp_path / "glue" / "SST-2", train=16)
    # Two processes: each is started anew from the installed script.
    trained = sh(
        *(command, "glue", "--task_name", "sst2", "--model_name_or_path", tiny_dir),
        *("--data_dir", "glue", "--output_dir", "out", "--max_seq_length", "32"),
        *("--max_steps", "1", "--n_gpu", "2"),
        cwd=tmp_path,
        **elsewhere,
    )
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.splitlines()[-1].startswith("eval loss: ")
    assert (tmp_path / "out" / "report.html").is_file(), trained.stderr
    said = sh(command, "predict", "out/model_1", "the cat sat", cwd=tmp_path, **elsewhere)
    assert said.returncode == 0 and said.stdout.endswith("\tthe cat sat\n"), said.stderr
