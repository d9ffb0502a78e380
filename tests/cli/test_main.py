"""`python -m bert_paddle`: the command list, mistakes, lazy imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle import __main__, __version__, cli
from bert_paddle.common.errors import FlagError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_all_are_listed(argv, capsys):
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
    with pytest.raises(SystemExit) as exit_info:
        __main__.run([name, "--help"])
    assert exit_info.value.code == 0
    message = capsys.readouterr().out
    assert message.startswith(f"usage: bert-paddle {name} ") and "--config FILE.yaml" in message


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("submision", "did you mean submission?"),
        ("zzz", "the commands are glue, pretrain, clm, create-data"),
        ("--n_gpu", "comes before the command"),
    ],
)
def test_an_unknown_command_gives_the_nearest(word, message):
    with pytest.raises(FlagError, match=message):
        __main__.run([word])


def test_command_names_with_dash_or_underscore():
    assert cli.find_command("create_data") is cli.find_command("create-data")


def test_help_imports_no_other_command_and_no_heavy_library():
    probe = (
        "import sys, runpy; sys.argv = ['x', 'submission', '--help']\n"
        "try: runpy.run_module('bert_paddle', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "modules = [m for m in sys.modules if m.startswith('bert_paddle.cli.')]\n"
        "print(modules, {'paddle', 'numpy', 'yaml', 'sklearn'} & set(sys.modules), code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "['bert_paddle.cli.submission'] set() 0", done
