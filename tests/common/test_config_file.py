"""--config FILE.yaml: accepted and rejected content, error messages; settings.yaml round trip."""

import dataclasses

import pytest

from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flags import flag
from bert_paddle.glue.args import GlueArgs, parse_args
from bert_paddle.pretrain.args import PretrainArgs

REQUIRED_FLAGS = "task_name: sst-2\nmodel_name_or_path: m\noutput_dir: o\n"


@pytest.fixture
def parse(tmp_path):
    def call(text: str | bytes, *argv: str) -> GlueArgs:
        path = tmp_path / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return parse_args(["--config", str(path), *argv])

    return call


def test_values_are_converted_as_on_the_command_line(parse):
    # YAML 1.1 reads 2e-5 as a string and `no` as a boolean: here the flag's type decides.
    args = parse(
        REQUIRED_FLAGS
        + "learning_rate: 2e-5\nnum_train_epochs: 1e1\ndo_train: yes\ngroup_by_length: yes\n"
        "vocab_file: null\nmax_steps: -1\namp_level: o2\n"
    )
    assert (args.learning_rate, args.num_train_epochs, args.max_steps) == (2e-5, 10.0, -1)
    assert (args.do_train, args.group_by_length, args.vocab_file) == (True, True, None)
    assert args.amp_level == "O2" and args.task_name == "SST-2"
    assert "do_train" in args.explicit_flags and "vocab_file" not in args.explicit_flags


def test_the_command_line_overrides_the_file(parse):
    args = parse(
        REQUIRED_FLAGS + "seed: 1\nbatch_size: 16\n", "--seed", "7", "--output_dir", "other"
    )
    assert (args.seed, args.batch_size, args.output_dir) == (7, 16, "other")


def test_aliases_and_dashes_name_the_same_flag(parse):
    text = REQUIRED_FLAGS + "per-device-train-batch-size: 16\n--per_device_eval_batch_size: 4\n"
    args = parse(text)
    assert (args.batch_size, args.eval_batch_size) == (16, 4)


MISTAKES = {
    "learning_rat: 1": "a.yaml:4: learning_rat is not a flag, did you mean learning_rate?",
    "zzzzzz: 1": "a.yaml:4: zzzzzz is not a flag of this command",
    "seed: many": "a.yaml:4: seed must be a number, not 'many'",
    "max_steps: 0": "a.yaml:4: max_steps must be at least 1 (or -1), not 0",
    "do_eval: maybe": "a.yaml:4: do_eval is a switch",
    "optimizer: sgd": "a.yaml:4: optimizer must be one of adamw, lamb",
    "seed: [1, 2]": "a.yaml:4: seed takes one value, not a list",
    "seed: {a: 1}": "a.yaml:4: seed takes one value, not nested settings",
    "seed: 1\nseed: 2": "a.yaml:5: seed is set a second time (first in line 4)",
    "batch_size: 1\nper_device_train_batch_size: 2": "is set a second time (first in line 4)",
    "config: b.yaml": "config is not a flag",
    "[a": "it is not valid YAML in line 5",
    "---\na: 1": "it is not valid YAML",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_reported_with_its_line(parse, line):
    with pytest.raises(FlagError) as caught:
        parse(REQUIRED_FLAGS + line + "\n", *"--task_name sst2 --model_name_or_path m".split())
    assert any(MISTAKES[line] in problem for problem in caught.value.problems)


def test_all_mistakes_of_file_and_command_line_are_reported_together(parse):
    with pytest.raises(FlagError) as caught:
        parse(REQUIRED_FLAGS + "seed: x\nlearning_rat: 1\n", "--batch_size", "0")
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"- a\n- b\n", "it must contain lines such as"),
        (b"just words", "it must contain lines such as"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"a: " + b"[" * 5000, "not valid YAML|too deeply"),
        (b"#" * (2 << 20), "bytes of YAML or more"),
    ],
)
def test_files_that_are_not_settings(parse, content, message):
    with pytest.raises(FlagError, match=message):
        parse(content)


def test_a_missing_file_a_folder_and_a_missing_value(tmp_path):
    for argv, message in (
        (["--config", str(tmp_path / "none.yaml")], "no such file"),
        (["--config", str(tmp_path)], "cannot be read"),
        (["--config"], "--config needs a value"),
        (["--confg", "x"], "did you mean --config"),
    ):
        with pytest.raises(FlagError, match=message):
            parse_args(argv)


def test_saved_settings_parse_to_the_same_flags(tmp_path):
    argv = (
        "--task_name sst2 --model_name_or_path m --learning_rate 3e-5 --do_eval --do_train 0 "
        "--seed 9 --warmup_ratio 0.1 --amp_level O2"
    ).split()
    # Names that unquoted YAML would read as something else, or reject.
    for output_dir in ("o", "a: b # c", "no", "1e3", "\U0001f600 'x' \"y\"", "tab\there"):
        first = parse_args([*argv, "--output_dir", output_dir, "--debug"])
        flags.save_settings(first, tmp_path)
        second = parse_args(["--config", str(tmp_path / "settings.yaml")])
        before, after = first.as_dict(), second.as_dict()
        assert before.pop("debug") and not after.pop("debug")  # not repeated
        assert before == after


def test_overwriting_is_not_repeated_from_saved_settings(tmp_path):
    argv = "--task_name sst2 --model_name_or_path m --output_dir o --overwrite_output_dir"
    flags.save_settings(parse_args(argv.split()), tmp_path)
    text = (tmp_path / "settings.yaml").read_text()
    assert not parse_args(["--config", str(tmp_path / "settings.yaml")]).overwrite_output_dir
    assert "# overwrite_output_dir:" in text


def test_settings_are_grouped_and_have_the_help(tmp_path):
    flags.save_settings(
        PretrainArgs(model_name_or_path="m", input_dir="i", output_dir="o"), tmp_path
    )
    lines = (tmp_path / "settings.yaml").read_text().splitlines()
    assert "# learning-rate schedule" in lines
    assert "warmup_steps: 0  # steps of linear warm-up; below 1 a share of all steps" in lines
    assert "# init_from:  # load the initial weights" in "\n".join(lines)


@dataclasses.dataclass
class TextArgs:
    texts: tuple[str, ...] = flags.positional("TEXT ...", "texts to read", minimum=1)
    json: bool = flag(False, "as JSON", group="g")
    seeds: str | None = flag(None, "numbers", group="g", comma_separated=True)
    output: str | None = flag(None, "where to", group="g", alias="o")


@pytest.mark.parametrize(
    ("argv", "texts", "json", "output"),
    [
        (["a", "b"], ("a", "b"), False, None),
        (["--json", "a b", "-o", "f", "c"], ("a b", "c"), True, "f"),
        (["a", "--json"], ("a",), True, None),
        (["--json", "0", "a"], ("a",), False, None),
        (["- a dash", "-"], ("- a dash", "-"), False, None),
        (["--json", "--", "--x", "-y"], ("--x", "-y"), True, None),
        (["-of", "a"], ("a",), False, "f"),
    ],
)
def test_positional_arguments_and_flags(argv, texts, json, output):
    args = flags.parse(TextArgs, "", argv)
    assert (args.texts, args.json, args.output) == (texts, json, output)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], r"^TEXT \.\.\. is missing: texts to read$"),
        (["--jsn", "a", "b"], r"^--jsn is not a flag, did you mean --json\?$"),
        (["a", "-x"], "^-x is not a flag"),
    ],
)
def test_mistakes_with_positional_arguments(argv, message):
    with pytest.raises(FlagError, match=message):
        flags.parse(TextArgs, "", argv)


def test_positional_arguments_and_lists_from_a_file(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text("texts: [a, b c]\nseeds: [1, 2]\n")
    args = flags.parse(TextArgs, "", ["--config", str(path)])
    assert (args.texts, args.seeds) == (("a", "b c"), "1,2")
    assert flags.parse(TextArgs, "", ["--config", str(path), "other"]).texts == ("other",)


def test_a_second_file_is_rejected(parse, tmp_path):
    (tmp_path / "b.yaml").write_text("seed: 2\n")
    with pytest.raises(FlagError, match="--config is given more than once"):
        parse(REQUIRED_FLAGS, f"--config={tmp_path / 'b.yaml'}")


def test_custom_data_and_a_task_override_each_other(parse, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.touch()
    task = parse(REQUIRED_FLAGS + f"data_dir: {tmp_path}\nseed: 3\n", "--train_file", str(rows))
    assert (task.task_name, task.data_dir, task.seed) == (None, None, 3)
    in_config = f"model_name_or_path: m\noutput_dir: o\ntrain_file: {rows}\nmetric: f1\nseed: 3\n"
    custom = parse(in_config + "label_column: label\n", "--task_name", "sst2")
    assert (custom.task_name, custom.train_file, custom.metric, custom.label_column) == (
        "SST-2",
        *[None] * 3,
    )
    assert custom.seed == 3
    with pytest.raises(
        FlagError, match="mutually exclusive"
    ):  # both on the command line, or both in the file
        parse(REQUIRED_FLAGS + f"train_file: {rows}\n")
