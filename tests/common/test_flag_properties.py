"""A flag is declared in one place: its declaration alone makes every part of the program obey it.

`NewFlags` adds flags to run_glue.py's: `plain` with the default properties, and one for each other
property.
"""

import ast
import dataclasses
import random
import shutil
from pathlib import Path

import pytest
import tiny

from bert_paddle import api
from bert_paddle.cli import completion
from bert_paddle.common import config_file, flags
from bert_paddle.common.args import PADDLENLP_LAYERS
from bert_paddle.common.errors import FlagError, OutputError, UserError
from bert_paddle.common.flag_fields import (
    EVALUATING,
    TRAINING,
    OnRanks,
    OnResume,
    PathUse,
    Results,
    flag,
    flag_names,
)
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.size_args import SIZE
from bert_paddle.distributed import rank_agreement
from bert_paddle.distributed.collectives import World
from bert_paddle.glue import custom_args, finetune, output_check
from bert_paddle.glue.args import GlueArgs
from bert_paddle.models import compute_mode
from bert_paddle.pretrain import model_source
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.report import tables
from bert_paddle.report.run_data import RunData
from bert_paddle.sweep import grid, plan, run_status, table
from bert_paddle.training import model_card, resume_check, run_info
from bert_paddle.training.train_state import TrainState

SOURCE = Path(__file__).parents[2] / "bert_paddle"
NEW = "new flags"


@dataclasses.dataclass
class NewFlags(GlueArgs):
    plain: int = flag(0, "a number", group=NEW)
    aliased: int = flag(0, "a number", group=NEW, alias="other_name")
    listed: str | None = flag(None, "a,b", group=NEW, comma_separated=True)
    input_path: str | None = flag(None, "a file", group=NEW, path=PathUse.INPUT)
    model_path: str | None = flag(None, "a model", group=NEW, path=PathUse.MODEL)
    free_on_resume: int = flag(0, "a number", group=NEW, on_resume=OnResume.FREE)
    if_given: int = flag(0, "a number", group=NEW, on_resume=OnResume.IF_GIVEN)
    from_run: int = flag(0, "a number", group=NEW, on_resume=OnResume.FROM_RUN)
    mode: bool = flag(False, "a mode", group=NEW, on_resume=OnResume.COMPUTE_MODE)
    recognized: str = flag("a", "a file", group=NEW, recognized_by=("dev set",))
    same_later: int = flag(0, "a number", group=NEW, on_ranks=OnRanks.SAME_LATER)
    given: str | None = flag(None, "a file", group=NEW, on_ranks=OnRanks.GIVEN, keywords=("auto",))
    free_on_ranks: int = flag(0, "a number", group=NEW, on_ranks=OnRanks.FREE)
    once: int = flag(0, "a number", group=NEW, repeated=False)
    of_one_run: int = flag(0, "a number", group=NEW, set_by_sweep=True)
    no_axis: int = flag(0, "a number", group=NEW, not_in_grid="for a reason")
    added: bool = flag(False, "more results", group=NEW, results=Results.ADDED)
    same_results: int = flag(0, "a number", group=NEW, results=Results.SAME)
    rows: int = flag(0, "a number", group=NEW, changes_rows=True)
    unlisted: int = flag(0, "a number", group=NEW, in_comparisons=False)
    of_training: int = flag(0, "a number", group=NEW, needs=(TRAINING,))
    of_both: int = flag(0, "a number", group=NEW, needs=(TRAINING, EVALUATING))
    of_files: str | None = flag(None, "a text", group=NEW, part=custom_args._FORMAT)
    by_layers: bool = flag(False, "a mode", group=NEW, part=PADDLENLP_LAYERS)
    on_card: int = flag(0, "a number", group=NEW, card_name="new setting")


BASE = "--task_name sst2 --model_name_or_path m --output_dir out"


def parse(argv: str = "", base: str = BASE) -> NewFlags:
    return flags.parse(NewFlags, "", [*base.split(), *argv.split()])


def problems(argv: str) -> list[str]:
    with pytest.raises(FlagError) as caught:
        parse(argv)
    return caught.value.problems


def test_command_line_help_and_settings_file(tmp_path):
    help_text = flags.parser(NewFlags, "").format_help()
    assert "new flags:" in help_text and "--plain N" in help_text and "--other_name" in help_text
    assert parse("--other_name 3").aliased == 3
    assert "--plian is not a flag, did you mean --plain?" in problems("--plian 1")
    path = tmp_path / "settings.yaml"
    config_file.write(path, parse("--plain 7 --once 8"), flags.declared_flags(NewFlags))
    again = parse(f"--config {path} --other_name 2")
    assert (again.plain, again.once, again.aliased) == (7, 0, 2)
    assert "\n# once:" in path.read_text()
    path.write_text("listed: [a, b]\n")
    assert parse(f"--config {path}").listed == "a,b"


def test_api(monkeypatch):
    monkeypatch.setattr(api, "GlueArgs", NewFlags)
    values = {"task_name": "sst2", "model_name_or_path": "m", "output_dir": "out"}
    assert api._build_args(values | {"other_name": 4, "listed": ["a", "b"]}).aliased == 4


def test_completion(monkeypatch):
    from bert_paddle.cli import glue

    monkeypatch.setattr(glue, "NewFlags", NewFlags, raising=False)
    lines = completion.completion_script("zsh").splitlines()
    (plain,) = [line for line in lines if '"--plain[' in line]
    (path,) = [line for line in lines if '"--input_path[' in line]
    assert "_files" in path and "_files" not in plain


def test_what_a_run_must_do():
    assert problems("--do_eval --of_training 1") == ["--of_training needs training (--do_train)"]
    assert problems("--do_train --of_both 1") == ["--of_both needs both training and evaluation"]
    assert parse("--of_both 1").of_both == 1


def test_flags_about_own_files():
    assert problems("--of_files x") == [
        "--of_files: no data file is given (--train_file, --test_file)"
    ]


# --- resuming


def states(before: str, after: str, unknown: bool = False) -> tuple[TrainState, TrainState]:
    """unknown: the checkpoint is of a version without the new flags."""
    machine = {"device": "cpu", "processes": "1", "encoder": "kernels", "paddle": "3"}
    saved, new = (
        TrainState(
            total=9,
            step=4,
            args=args.as_dict(),
            compute_mode=machine | {"mode": compute_mode.flag_text(args.mode)},
            fingerprints={"dev set": "d"},
        )
        for args in (parse(before), parse(after))
    )
    if unknown:
        saved.args = {name: saved.args[name] for name in flag_names(GlueArgs)}
        saved.compute_mode = machine
    return saved, new


def resume(before: str, after: str, unknown: bool = False) -> list[str]:
    saved, new = states(before, after, unknown)
    explicit = parse(after).explicit_flags
    differences = resume_check.check_same_run(
        saved, new, Path("model_4"), explicit, args_class=NewFlags
    )
    return differences.accepted


@pytest.mark.parametrize("unknown", [False, True])
def test_a_resume_compares_flags_as_they_say(unknown):
    for refused, text in (
        ("--plain 1", "--plain was 0 and is 1"),
        ("--mode 1", "--mode was off and is on"),
    ):
        with pytest.raises(OutputError, match=text):
            resume("", refused, unknown)
    assert resume("", "", unknown) == resume("", "--free_on_resume 1", unknown) == []
    assert resume("", "--recognized b", unknown) == []
    (line,) = resume("", "--if_given 1", unknown)
    assert line == "--if_given was 0 and is 1 from step 5 on"


def test_what_is_recognized_by_its_content_may_not_change_it():
    saved, new = states("", "--recognized b")
    new.fingerprints = {"dev set": "other"}
    with pytest.raises(OutputError, match="--recognized was 'a' and is 'b'"):
        resume_check.check_same_run(saved, new, Path("m"), args_class=NewFlags)
    with pytest.raises(OutputError, match="--if_given was 1 and is 0 .to change it, give it"):
        resume("--if_given 1", "")


def test_flags_taken_from_the_run():
    for argv, value in (("", 5), ("--from_run 6", 6)):
        args = parse(argv)
        resume_check.take_flags_of_run(args, {"from_run": 5, "plain": 5})
        assert (args.from_run, args.plain) == (value, 0)


def test_a_real_run_and_its_resume(tmp_path):
    tiny.write_model(tmp_path / "m", labels=("negative", "positive"))
    tiny.write_sst2(tmp_path / "glue" / "SST-2")
    base = f"--task_name sst2 --model_name_or_path {tmp_path / 'm'} --data_dir {tmp_path / 'glue'} "
    base += f"--output_dir {tmp_path / 'out'} --max_seq_length 16 --max_steps 2 --report 0"
    finetune.run(parse("--from_run 5 --on_card 3", base))
    card = (tmp_path / "out" / "model_2" / "README.md").read_text()
    assert "| new setting | 3 |" in card
    again = f"{base} --resume_from_checkpoint auto --on_card 3"
    with pytest.raises(OutputError, match="--plain was 0 and is 1"):
        finetune.run(parse("--plain 1", again))
    args = parse("--free_on_resume 1", again)
    finetune.run(args)
    assert args.from_run == 5


# --- computing


def test_modes_are_recorded_and_turn_the_kernels_off(tmp_path, capsys):
    from bert_paddle.models import classifier, load_weights

    folder = tiny.write_model(tmp_path / "m")
    loaded = classifier.build_classifier(load_weights.load_weights(folder), ("no", "yes"), 1, True)
    args = parse("--by_layers 1 --mode 1")
    by_kernels = compute_mode.set_compute_mode(loaded.model, args, RunLog(active=True))
    assert "PaddleNLP's layers, for --by_layers" in capsys.readouterr().err
    mode = compute_mode.describe_mode(args, by_kernels)
    assert (mode["encoder"], mode["mode"]) == ("layers", "on")


# --- ranks


def test_ranks_compare_flags_as_they_say(monkeypatch):
    """The other rank's facts are those that its flags give."""

    def compare(first: str, second: str) -> str:
        own, other = parse(first), parse(second)
        others = rank_agreement._flags(other)
        monkeypatch.setattr(
            rank_agreement.collectives, "all_gather", lambda facts: [facts, {**facts, **others}]
        )
        monkeypatch.setattr(rank_agreement.collectives, "get_world", lambda: World(0, 2))
        told = []
        for check in (
            lambda: rank_agreement.check_flags("glue:run", own),
            lambda: rank_agreement.check_contents(own, {}),
        ):
            try:
                check()
            except UserError as error:
                told.append(str(error))
        return " | ".join(told)

    early, late = compare("", "--plain 1").split(" | ")
    assert "--plain: 0 on rank 0, 1 on rank 1" in early and early == late
    assert compare("", "--same_later 1").count("--same_later: 0 on rank 0, 1 on rank 1") == 1
    assert compare("--given a", "--given b") == compare("", "--free_on_ranks 1") == ""
    assert "--given: not given on rank 0, given on rank 1" in compare("", "--given b")
    assert "--given: auto on rank 0, given on rank 1" in compare("--given auto", "--given b")


# --- files


@pytest.mark.parametrize("name", ["input_path", "model_path"])
def test_what_is_read_is_not_written_over(tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n')
    base = f"--task_name sst2 --model_name_or_path m --output_dir {out} --overwrite_output_dir"
    output_check.check_outputs(parse("", base))
    with pytest.raises(OutputError, match=f"--{name} .*metrics.jsonl would be lost"):
        output_check.check_outputs(parse(f"--{name} {out / 'metrics.jsonl'}", base))


# --- sweeps


def test_sweeps(monkeypatch, tmp_path):
    for module in (grid, plan):
        monkeypatch.setattr(module, "GlueArgs", NewFlags)
    monkeypatch.setattr(plan, "parse_args", lambda argv: flags.parse(NewFlags, "", argv))
    values, told = grid.read_grid(None, ["plain=1,2", "no_axis=1"])
    assert told == ["no_axis=...: no_axis cannot be in a grid: for a reason"]
    base = "--task_name sst2 --model_name_or_path m --of_one_run 3 --other_name 2".split()
    planned = plan.plan_grid(tmp_path, values, base, None)
    assert [run.args.plain for run in planned.runs] == [1, 2]
    settings = planned.runs[0].settings
    assert settings["aliased"] == "2" and "of_one_run" not in settings
    args = parse("--plain 1 --same_results 1 --added 1")
    assert run_status.setting_differences(parse().as_dict(), args) == ["--plain was 0 and is 1"]
    assert flag_names(NewFlags, results=Results.ADDED)[-1] == "added"


def outcomes_of(folder: Path, values: dict[str, list[str]]) -> table.Summary:
    """A finished sweep whose runs had 10 and 20 training rows."""
    planned = plan.plan_grid(folder, values, BASE.split()[:4], None)
    outcomes = []
    for run, count in zip(planned.runs, (10, 20), strict=True):
        run.folder.mkdir(parents=True)
        info = {"settings": {}, "finished": "now", "metric": ["accuracy"], "rows": {"train": count}}
        run_info.atomic_files.write_json(run.folder / "run.json", info)
        outcomes.append(table.RunOutcome(run, {"eval_accuracy": 0.5, "data": "glue"}))
    return table.summarize(planned, outcomes)


def test_runs_of_a_sweep_with_other_rows(monkeypatch, tmp_path):
    for module in (grid, plan):
        monkeypatch.setattr(module, "GlueArgs", NewFlags)
    monkeypatch.setattr(plan, "parse_args", lambda argv: flags.parse(NewFlags, "", argv))
    assert outcomes_of(tmp_path / "a", {"plain": ["1", "2"]}).different_sizes
    assert not outcomes_of(tmp_path / "b", {"rows": ["1", "2"]}).different_sizes


# --- reports and cards


def test_comparisons_and_model_cards(tmp_path):
    runs = []
    for i in (1, 2):
        args = parse(f"--plain {i} --unlisted {i} --on_card 0")
        file = run_info.RunInfoFile(args, tmp_path / f"{i}", RunLog(active=True))
        file.output_dir.mkdir()
        file.start(run_info.RunInfo("run_glue", "SST-2", "glue", 1, ["accuracy"]), True, False)
        info = run_info.read(file.output_dir)
        runs.append(RunData(file.output_dir, f"run {i}", info, info["settings"], {}))
    rows = [row[0] for row in tables.differing_settings(runs).rows]
    assert "plain" in rows and "unlisted" not in rows
    state = TrainState(total=9)
    assert "new setting" not in model_card.training_settings(parse(), state)
    assert model_card.training_settings(parse("--on_card 1"), state)["new setting"] == 1


# --- pre-training


@dataclasses.dataclass
class NewPretrainFlags(PretrainArgs):
    pad_token_id: int = flag(-1, "a size", group=NEW, sentinel=-1, part=SIZE)


def test_model_sizes(tmp_path):
    tiny.write_model(tmp_path / "m")
    argv = f"--model_name_or_path {tmp_path / 'm'} --input_dir {tmp_path} --output_dir out"
    args = flags.parse(NewPretrainFlags, "", [*argv.split(), "--pad_token_id", "1"])
    assert model_source.read_model_source(args, tmp_path).config["pad_token_id"] == 1


@dataclasses.dataclass
class NewCreateFlags(CreateArgs):
    plain: int = flag(0, "a number", group=NEW)
    free: int = flag(0, "a number", group=NEW, on_resume=OnResume.FREE)


def test_shards_of_other_settings(tmp_path):
    rng = random.Random(0)
    text = "\n\n".join(f"{tiny.sentence(rng)}\n{tiny.sentence(rng)}" for _ in range(20))
    (tmp_path / "a.txt").write_text(text + "\n")
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    argv = f"--input_files {tmp_path / 'a.txt'} --vocab_file {tmp_path / 'vocab.txt'} "
    argv += f"--output_dir {tmp_path / 'out'} --max_seq_length 32 --max_random_next_share 1"

    def create(more: str = "") -> None:
        create_data.run(flags.parse(NewCreateFlags, "", [*argv.split(), *more.split()]))

    create()
    create("--free 1")
    with pytest.raises(OutputError, match="created with different settings .plain"):
        create("--plain 1")
    shutil.rmtree(tmp_path / "out")
    create("--plain 1")
    with pytest.raises(OutputError, match="created with different settings"):
        create()


# --- no lists elsewhere

# Earlier versions' flags, those recorded in another form, a command's own: no place for a new flag.
ALLOWED = {"_MODE_FLAGS_BEFORE_6", "_DESCRIBED_READING", "_CHOSEN_BY_THE_WALKTHROUGH"}


def flag_lists(path: Path, names: set[str]) -> list[str]:
    """The collections of three or more flags' names in a module, by line."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} & ALLOWED
    }
    for node in ast.walk(tree):
        words: list[str] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set) and id(node) not in skipped:
            words = [e.value for e in node.elts if isinstance(e, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
        if len(words) > 2 and all(word in names for word in words):
            found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {words}")
    return found


def test_no_module_has_a_list_of_flags():
    names = {*flag_names(GlueArgs), *flag_names(PretrainArgs), *flag_names(CreateArgs)}
    names -= set(flag_names(PretrainArgs, part=SIZE))  # keys of a model's configuration
    paths = sorted(SOURCE.rglob("*.py"))
    assert [line for path in paths for line in flag_lists(path, names)] == []
