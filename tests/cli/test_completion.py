"""Shell completion: the scripts contain all commands and flags, and the Bash one works."""

import re
import subprocess

import pytest

from bert_paddle import cli
from bert_paddle.cli import completion
from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.pretrain.args import PretrainArgs


@pytest.fixture(scope="module")
def bash() -> str:
    return completion.completion_script("bash")


def test_the_script_has_every_command_and_flag(bash):
    for name in cli.COMMANDS:
        assert re.search(rf"subparsers=\(.*\b{name}\b.*\)", bash)
    for args_class in (GlueArgs, PretrainArgs):
        for field in flags.declared_flags(args_class):
            assert f" --{field.name} " in bash
    assert " --fill_missing " in bash and " -o " in bash


def complete(script: str, *words: str) -> list[str]:
    """Bash's completions of the last word."""
    shell_code = (
        f"{script}\nCOMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        f"_shtab_bert_paddle {words[0]} '{words[-1]}' '{words[-2]}'\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", shell_code], capture_output=True, text=True)
    return done.stdout.split()


def test_bash_completes_commands_and_flags(bash):
    assert complete(bash, "bert-paddle", "pre") == ["pretrain", "predict"]
    assert complete(bash, "bert-paddle", "glue", "--lear") == ["--learning_rate"]
    assert "--input_dir" in complete(bash, "bert-paddle", "pretrain", "--inp")
    assert complete(bash, "bert-paddle", "glue", "--input_d") == []


def test_zsh_script():
    script = completion.completion_script("zsh")
    assert script.startswith("#compdef bert-paddle\n") and "--learning_rate" in script


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "SHELL is missing: bash, zsh"),
        (["fish"], "unknown shell 'fish'; choose from bash, zsh"),
        (["bash", "zsh"], "give one SHELL"),
    ],
)
def test_unknown_shells_are_errors(argv, message):
    with pytest.raises(FlagError, match=message):
        completion.main(argv)


def test_the_command_prints_the_script(bash, capsys):
    completion.main(["bash"])
    assert capsys.readouterr().out == bash + "\n"
