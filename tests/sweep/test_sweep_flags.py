"""The flags and grids of a sweep; problems are reported before the first run."""

from pathlib import Path

import pytest
import tiny_gpt2

from bert_paddle.cli import sweep as command
from bert_paddle.common.errors import FlagError, WeightsError
from bert_paddle.glue.args import parse_args
from bert_paddle.sweep import child_processes, grid, plan, seeds

ROOT = Path(__file__).resolve().parents[2]
BASE = "--task_name sst2 --model_name_or_path m".split()


def problems_of(argv: list[str]) -> str:
    with pytest.raises(FlagError) as caught:
        command.main(argv)
    return str(caught.value)


def test_the_preset_is_the_papers_and_the_file_says_the_same():
    values, problems = grid.read_grid("bert_paper", [])
    assert not problems and len(plan.plan_grid(Path("out"), values, BASE, None).runs) == 18
    assert grid.read_grid(str(ROOT / "scripts" / "sweeps" / "bert_paper.yaml"), []) == (values, [])


def test_words_win_over_the_file_and_aliases_are_the_same_flag(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text("learning_rate: [1e-5, 2e-5]\nper_device_train_batch_size: 8\nseed: [1, 2]\n")
    values, problems = grid.read_grid(str(path), ["batch_size=16,32", "lr_scheduler_type=linear"])
    assert not problems
    assert values["batch_size"] == ["16", "32"] and values["learning_rate"] == ["1e-5", "2e-5"]
    made = plan.plan_grid(tmp_path / "o", values, [*BASE, "--learning_rate", "9"], None)
    assert len(made.runs) == 8 and made.grid_flags == (
        "learning_rate",
        "batch_size",
        "lr_scheduler_type",
    )
    first = made.runs[0]
    assert (first.args.learning_rate, first.args.batch_size, first.args.seed) == (1e-5, 16, 1)
    assert first.folder.name == "learning_rate_1e-5-batch_size_16-lr_scheduler_type_linear-seed_1"


def test_settings_that_say_the_same_are_run_once():
    values = {"learning_rate": ["2e-5", "0.00002", "3e-5"], "num_train_epochs": ["3", "3.0"]}
    made = plan.plan_grid(Path("o"), values, BASE, None)
    assert [one.values for one in made.runs] == [
        {"learning_rate": "2e-5", "num_train_epochs": "3"},
        {"learning_rate": "3e-5", "num_train_epochs": "3"},
    ]
    assert made.duplicates == 4


def test_folders_of_models_with_one_name_differ(tmp_path):
    values = {"model_name_or_path": ["a/model_1", "b/model_1", "c/" + "x" * 250]}
    made = plan.plan_grid(tmp_path, values, ["--task_name", "sst2"], "1,2")
    names = [one.folder.name for one in made.runs]
    assert len(set(names)) == 6 and max(map(len, names)) < 200
    again = plan.plan_grid(tmp_path, values, ["--task_name", "sst2"], "1,2")
    assert [one.folder for one in again.runs] == [one.folder for one in made.runs]


def test_a_base_from_a_runs_settings(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "task_name: RTE\nmodel_name_or_path: m\noutput_dir: elsewhere\nseed: 5\nseeds: 7,8\n"
        "warmup_ratio: 0.1\nlearning_rate: 1.0\ndo_train: true\ndo_eval: false\n"
    )
    made = plan.plan_grid(tmp_path, {"learning_rate": ["2e-5"]}, ["--config", str(path)], None)
    assert [one.seed for one in made.runs] == [7, 8]
    argv = made.runs[0].argv(overwrite=False)
    assert "--warmup_ratio=0.1" in argv and "--do_eval=0" in argv and "--seed=7" in argv
    assert not any(word.startswith(("--seeds", "--config")) for word in argv)
    assert sum(word.startswith("--output_dir") for word in argv) == 1
    assert made.runs[0].args.output_dir == str(tmp_path / "learning_rate_2e-5-seed_7")


def test_all_mistakes_of_all_combinations_together(tmp_path):
    out = ["--output_dir", str(tmp_path / "out")]
    message = problems_of(
        [*out, "learning_rate=2e-5,abc", "batch_size=0,8,16", "--", "--task_name", "MRCP"]
    )
    assert (
        "--learning_rate must be a number, not 'abc' (with learning_rate=abc batch_size=0"
        in message
    )
    assert "--batch_size must be at least 1, not 0 (with" in message
    assert message.count("--model_name_or_path is required;") == 1
    assert "did you mean MRPC" in message and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["learing_rate=1,2", "--", *BASE], "did you mean learning_rate?"),
        (["learning_rate", "--", *BASE], "write FLAG=VALUE,VALUE"),
        (["learning_rate=1,,2", "--", *BASE], "write FLAG=VALUE,VALUE"),
        (["batch_size=1", "per_device_train_batch_size=2", "--", *BASE], "twice"),
        (["output_dir=a,b", "--", *BASE], "cannot be in a grid"),
        (["task_name=rte,cola", "--", *BASE], "run a sweep for each"),
        (["batch_size=1"], "give them after a lone --"),
        (["--", *BASE], "nothing to vary"),
        (["--seeds", "1", "seed=1,2", "--", *BASE], "give one of them"),
        (["--seeds", "1,2,1", "--", *BASE], "--seeds: 1 is given twice, but has one run"),
        (["seed=2,2", "--", *BASE], "--seeds: 2 is given twice"),
        (["batch_size=1", "--", *BASE, "--seeds", "3,3"], "--seeds: 3 is given twice"),
        (["--program", "clm", "seed=1,x", "--", *BASE[2:]], "--seeds: each must be a number"),
        (["--seeds", "1,x", "--", *BASE], "--seeds: each must be a number, not 'x'"),
        (["--grid", "bert_papr", "--", *BASE], "did you mean the grid bert_paper?"),
        (["--grid", "none.yaml", "--", *BASE], "no such file; the built-in grids: bert_paper"),
        (["batch_size=1", "--", *BASE, "--output_dir", "x"], "belongs before the --"),
        (["batch_size=1", "--", *BASE, "--do_eval"], "--do_train is required in a sweep"),
        (["batch_size=1", "--", *BASE, "--resume_from_checkpoint", "."], "its own newest"),
        (["--task_name", "rte", "batch_size=1"], "--task_name is not a flag"),
    ],
)
def test_mistakes(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in problems_of(["--output_dir", "out", *argv])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("batch_size: [1,\n", "it is not valid YAML in line 2"),
        ("a: 1\nbatch_size:\n", "g.yaml:1: a is not a flag"),
        ("batch_size:\n", "g.yaml:1: batch_size takes a list"),
        ("batch_size: {a: 1}\n", "g.yaml:1: batch_size takes a list"),
        ("seeds: [1]\n", "use seed=1,2,3"),
    ],
)
def test_mistakes_in_a_grid_file(text, words, tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text(text)
    message = problems_of(["--output_dir", str(tmp_path / "o"), "--grid", str(path), "--", *BASE])
    assert words in message


def test_the_learning_rates_that_ship_are_a_grid():
    assert grid.read_grid(str(ROOT / "scripts/sweeps/learning_rates.yaml"), [])[1] == []


def test_models_are_checked_before_the_first_run(tmp_path, tiny_dir, monkeypatch):
    monkeypatch.setattr(child_processes, "run_children", lambda *rest: pytest.fail("started"))
    out = ["--output_dir", str(tmp_path / "out")]
    base = ["--", "--task_name", "sst2", "--model_name_or_path", str(tiny_dir)]
    short, values = ["--max_seq_length", "32"], ["freeze_layers=1,9", "reinit_layers=0,2"]
    with pytest.raises(FlagError) as caught:
        command.main([*out, *values, "--seeds", "1,2", *base, *short])
    both = "--freeze_layers 1 and --reinit_layers 2: the model has 2 layers, and one that is drawn"
    assert caught.value.problems == [
        f"{both} anew must be trained (with freeze_layers=1 reinit_layers=2)",
        "--freeze_layers 9: the model has 2 layers (with freeze_layers=9 reinit_layers=0 and 1 "
        "more)",
    ]
    with pytest.raises(FlagError, match=r"--reinit_layers 3: the model has 2 layers$"):
        flags = ["--seeds", "1,2", "--reinit_layers", "3"]
        seeds.run_seeds(parse_args([*out, *base[1:], *short, *flags]))
    with pytest.raises(WeightsError, match="there is no model folder"):
        command.main([*out, "seed=1,2", *base[:-1], str(tmp_path / "none")])
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n")
    clm = ["--program", "clm", *out, "freeze_layers=0,4", "--", "--train_file", str(texts)]
    with pytest.raises(FlagError, match="--max_seq_length 128 is beyond the 64 positions of"):
        command.main([*out, "seed=1,2", *base])
    with pytest.raises(FlagError, match=r"4: the model has 3 layers \(with freeze_layers=4\)"):
        command.main([*clm, "--model_name_or_path", str(tiny_gpt2.HF_DIR)])
    small = ["--model_name_or_path", "gpt2", "--random_weights", "--num_hidden_layers", "3"]
    with pytest.raises(FlagError, match="4: the model has 3 layers"):
        command.main([*clm, *small])
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
