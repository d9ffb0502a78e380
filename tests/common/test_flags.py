"""Parsing: all mistakes reported together, switches, sentinels; the flag lists are frozen."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle import cli
from bert_paddle.cli.compare import CompareArgs
from bert_paddle.cli.export import ExportArgs
from bert_paddle.cli.predict import PredictArgs
from bert_paddle.cli.submission import SubmissionArgs
from bert_paddle.cli.sweep import SweepArgs
from bert_paddle.common import flags, suggest
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import FlagError
from bert_paddle.common.size_args import SIZE
from bert_paddle.glue.args import GlueArgs, parse_args
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.recipe import Recipe

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "run_glue": GlueArgs,
    "run_pretrain": PretrainArgs,
    "create_data": CreateArgs,
    "predict": PredictArgs,
    "submission": SubmissionArgs,
    "sweep": SweepArgs,
    "compare": CompareArgs,
    "export": ExportArgs,
}
REQUIRED_FLAGS = ["--task_name", "sst-2", "--model_name_or_path", "m", "--output_dir", "o"]


def problems(*argv: str) -> list[str]:
    with pytest.raises(FlagError) as caught:
        parse_args(argv)
    return caught.value.problems


def test_documented_command_line_a():
    args = parse_args(
        "--model_type bert --model_name_or_path bert-base-uncased --task_name SST-2 "
        "--max_seq_length 128 --batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 "
        "--logging_steps 1 --save_steps 500 --output_dir ./tmp/SST-2/ --n_gpu 1".split()
    )
    assert (args.batch_size, args.learning_rate, args.num_train_epochs) == (32, 2e-5, 3.0)
    assert (args.do_train, args.do_eval, args.do_predict) == (True, True, False)


def test_documented_command_line_c():
    args = parse_args(
        "--model_name_or_path bert-base-uncased --task_name cola --do_train --do_eval "
        "--max_seq_length 128 --per_device_train_batch_size 32 --learning_rate 2e-5 "
        "--num_train_epochs 3 --output_dir ./res/cola/".split()
    )
    assert (args.task_name, args.batch_size) == ("CoLA", 32)
    assert (args.do_train, args.do_eval) == (True, True)


def test_all_mistakes_are_reported_together():
    reported = problems(
        "--batch_size", "0", "--learning_rate", "-1e-5", "--seed", "x", "--n_gup", "2"
    )
    text = "; ".join(reported)
    assert "--n_gup is not a flag, did you mean --n_gpu?" in text
    assert "--batch_size must be at least 1, not 0" in text
    assert "--learning_rate must be greater than 0, not -1e-5" in text
    assert "--seed must be a number, not 'x'" in text
    for name in ("task_name", "model_name_or_path", "output_dir"):
        assert f"--{name} is required" in text
    assert len(reported) == 7


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--max_steps=0", "must be at least 1 (or -1), not 0"),
        ("--max_steps=2.5", "must be a whole number"),
        ("--num_train_epochs=nan", "must be a finite number"),
        ("--num_train_epochs=0", "must be greater than 0"),
        ("--warmup_ratio=1.5", "must be at most 1"),
        ("--seed=1e12", "must be at most"),
        ("--do_eval=maybe", "is a switch"),
        ("--optimizer=sgd", "must be one of adamw, lamb"),
        ("--vocab_file=/nowhere/v.txt", "no such file"),
        ("--model_type=gpt", "must be bert"),
        ("--batch_size", "needs a value"),
        ("--output_dir=", "must not be empty"),
        ("--resume_from_checkpoint=/nowhere", "no such folder"),
        ("--load_best_model_at_end --do_train", "needs both training and evaluation"),
        ("--do_train 0 --do_eval 0", "nothing to do"),
        ("--task_name ax --do_train", "AX has no training set"),
        ("--task_name snli", "unknown task"),
        ("--task_name ax --do_eval", "AX has no dev set"),
        ("--data_dir /nowhere", "--data_dir /nowhere: no such folder"),
        ("--do_eval --overwrite_output_dir", "needs training"),
        ("--do_predict --resume_from_checkpoint auto", "needs training"),
        ("--warmup_steps 5 --warmup_ratio 0.1", "both set"),
    ],
)
def test_one_mistake(flag, message):
    reported = problems(*REQUIRED_FLAGS, *flag.split(" "))
    assert len(reported) == 1 and message in reported[0], reported


def test_switches_and_numbers_in_every_spelling():
    args = parse_args(
        [
            *REQUIRED_FLAGS,
            "--do_train",
            "--do_eval",
            "false",
            "--num_train_epochs",
            "1e5",
            "--max_steps=1e6",
        ]
    )
    assert (args.do_train, args.do_eval) == (True, False)
    assert args.num_train_epochs == 1e5
    assert args.max_steps == 1_000_000 and isinstance(args.max_steps, int)
    assert parse_args([*REQUIRED_FLAGS, "--amp_level", "o2"]).amp_level == "O2"


def test_ax_predicts_by_default():
    args = parse_args([*REQUIRED_FLAGS, "--task_name", "AX"])
    assert (args.do_train, args.do_eval, args.do_predict) == (False, False, True)


@pytest.mark.parametrize(("program", "args_class"), PROGRAMS.items())
def test_flag_lists_are_frozen(program, args_class):
    """Users' scripts depend on names, defaults and aliases: change them only on purpose."""
    frozen = json.loads((Path(__file__).parents[1] / "reference" / "flags.json").read_text())
    current = {
        f.name: ["required" if f.metadata["required"] else f.default, f.metadata["alias"]]
        for f in flags.declared_flags(args_class)
    }
    assert current == frozen[program]


def test_every_flag_is_used():
    source = "".join(p.read_text() for p in (ROOT / "bert_paddle").rglob("*.py"))
    read_by_name = {
        *flags.flag_names(PretrainArgs, part=SIZE),
        *(field.name for field in dataclasses.fields(Recipe)),
    }
    names = {
        field.name
        for args_class in PROGRAMS.values()
        for field in flags.declared_flags(args_class)
        if not field.metadata["card_name"]  # the model card reads these
    }
    for name in names - read_by_name:
        assert f"args.{name}" in source or f"self.{name}" in source, name


def test_shared_flags_are_independent_of_the_task():
    assert not {"task_name", "data_dir"} & {f.name for f in flags.declared_flags(CommonArgs)}


@pytest.mark.parametrize("argv", [["--help"], ["--task_name"]])
def test_help_and_mistakes_import_no_heavy_packages(argv):
    probe = (
        "import sys, runpy; sys.argv = ['run_glue.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('run_glue.py', run_name='__main__')\n"
        "except SystemExit as end: code = end.code or 0\n"
        "heavy = {'paddle', 'paddlenlp', 'sklearn', 'scipy', 'tokenizers'} & set(sys.modules)\n"
        "print(sorted(heavy), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *argv], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == f"[] {0 if argv == ['--help'] else 2}", done


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("output_dir", "a" * 300, "has a name of 300 bytes, and file systems allow 255"),
        ("data_dir", "/x/" + "\u00e9" * 128, "has a name of 256 bytes"),
        ("data_dir", "x/" * 2048, "has a path of 4,096 bytes, and file systems allow 4,095"),
        ("data_dir", "~no_such_user_/x", "begins with ~no_such_user_, whose home directory is not"),
        ("output_dir", "a\0b", "must not contain a NUL character: 'a\\x00b'"),
        ("output_dir", "a\udcff", "is not UTF-8 ('a\\udcff'): rename it"),
        ("adam_epsilon", "1e-300", "must be at least 1.2e-38, not 1e-300"),
    ],
)
def test_values_that_cannot_be_used(flag, value, message):
    assert any(
        problem.startswith(f"--{flag} {message}")
        for problem in problems(*REQUIRED_FLAGS, f"--{flag}", value)
    )


@pytest.mark.parametrize(
    "line", ["report", "predict", "generate", "submission", "export", "compare"]
)
def test_positional_arguments_that_can_be_no_files(line):
    for value, message in (
        ("a\0b", "must not contain a NUL character: 'a\\x00b'"),
        ("a" * 256, "has a name of 256 bytes"),
        ("~no_such_user_/x", "begins with ~no_such_user_"),
        ("", "must not be empty"),
    ):
        with pytest.raises(FlagError) as caught:
            cli.find_command(line)([value])
        name = {"report": "RUN", "submission": "RUN", "compare": "RUN_A"}.get(line, "MODEL_DIR")
        assert any(problem.startswith(f"{name} {message}") for problem in caught.value.problems)


def test_a_nul_character_in_a_settings_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text('output_dir: "a\\0b"\n')
    (problem,) = problems(*REQUIRED_FLAGS[:4], "--config", str(path))
    assert problem.startswith(f"{path}:1: output_dir must not contain a NUL character")


def test_no_name_is_proposed_for_a_very_long_one():
    """The comparison takes time quadratic in the length."""
    assert suggest.nearest("n" * 100_000, ["n" * 100_001]) == []
    assert suggest.nearest("seet", ["n" * 100_000, "seed"]) == ["seed"]
