"""`python -m bert_paddle`: the list, mistakes, and that only the command that runs is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle import __main__, __version__, cli
from bert_paddle.common.errors import FlagError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_lists_every_command(argv, capsys):
    __main__.run(argv)
    listed = capsys.readouterr().out
    for name, about in cli.COMMANDS.items():
        assert f"  {name} " in listed and about in listed


def test_version(capsys):
    __main__.run(["--version"])
    assert capsys.readouterr().out == f"bert-paddle {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_module_and_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as end:
        __main__.run([name, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: bert-paddle {name} ") and "--config FILE.yaml" in said


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("submision", "did you mean submission?"),
        ("zzz", "the commands are glue, pretrain, create-data"),
        ("--n_gpu", "comes before the command"),
    ],
)
def test_a_wrong_command_names_the_right_one(word, said):
    with pytest.raises(FlagError, match=said):
        __main__.run([word])


def test_both_spellings_of_a_dash():
    assert cli.find("create_data") is cli.find("create-data")


def test_help_imports_no_other_command_and_nothing_heavy():
    probe = (
        "import sys, runpy; sys.argv = ['x', 'submission', '--help']\n"
        "try: runpy.run_module('bert_paddle', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "own = [m for m in sys.modules if m.startswith('bert_paddle.cli.')]\n"
        "print(own, {'paddle', 'numpy', 'yaml', 'sklearn'} & set(sys.modules), code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "['bert_paddle.cli.submission'] set() 0", done
