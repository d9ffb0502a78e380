"""Command lines and flags of PaddleNLP's and Hugging Face's programs: each documented line, run for
two steps, does here what it says, or is answered in one line."""

import json
import math
import re
import shutil
from pathlib import Path

import peer_lines
import pytest
import shard_files
import tiny
from peer_lines import CREATE, GLUE, LINES, OTHER, PRETRAIN, Line

from bert_paddle import api
from bert_paddle.common import flag_texts, run_log
from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.distributed import device
from bert_paddle.glue import finetune
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.args import parse_args as glue_args
from bert_paddle.models import hub
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.args import parse_args as pretrain_args
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.args import parse_args as create_args
from bert_paddle.sweep import grid
from bert_paddle.training import checkpoint, optim

ROOT = Path(__file__).parents[1]
FLAGS_PAGE = (ROOT / "docs" / "FLAGS.md").read_text(encoding="utf-8")
PARSERS = {GLUE: glue_args, PRETRAIN: pretrain_args, CREATE: create_args}
RUNNING = [line for line in LINES if line.settings]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """What the lines name: models, data/ with shards; and GLUE files."""
    base = tmp_path_factory.mktemp("peers")
    for name in ("bert-base-uncased", "bert-base-cased"):
        tiny.write_encoder(base / "home" / "models" / name, max_position_embeddings=128)
    tiny.write_sst2(base / "glue" / "SST-2", train=70, dev=9, test=5)
    rows = [f"{i % 2}\t{i}\t{i}\t{tiny.sentence(_rng(i))}\tthe cat sat\n" for i in range(70)]
    (base / "glue" / "MRPC").mkdir()
    for name, count in (("train", 70), ("dev", 9)):
        header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
        (base / "glue" / "MRPC" / f"{name}.tsv").write_text(header + "".join(rows[:count]))
    size = len(tiny.VOCAB)
    shard_files.write_shards(base / "data", [70], length=32, vocab_size=size)
    return base


def _rng(seed: int):
    import random

    return random.Random(seed)


@pytest.fixture
def place(files, tmp_path, monkeypatch) -> Path:
    shutil.copytree(files / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(files / "home"))
    monkeypatch.setenv("GLUE_DATA_DIR", str(files / "glue"))
    return tmp_path


def name_of(line: Line) -> str:
    words = re.sub(r"\\\n", " ", line.text).split()
    return next(w for w in words if w.endswith(".py")) + f" {line.argv[-1]} {len(line.argv)}"


def records(folder: Path, kind: str) -> list[dict]:
    return [r for r in run_log.read_metrics(folder) if r["kind"] == kind]


@pytest.mark.parametrize("line", RUNNING, ids=name_of)
def test_a_documented_line_trains_with_its_settings(place, line):
    """The model is tiny and the device the CPU; two steps of up to 32 rows."""
    argv = [*line.argv, "--max_steps", "2", "--device", "cpu", "--output_dir", "out"]
    if line.program == PRETRAIN:
        sizes = {name: value for name, value in tiny.CONFIG.items() if name != "type_vocab_size"}
        argv += [f"--{name}={value}" for name, value in sizes.items()]
        pretrain.run(pretrain_args(argv))
    else:
        finetune.run(glue_args([*argv, "--report", "0"]))
    out = Path("out")
    settings = json.loads((out / "run.json").read_text())["settings"]
    expected = line.settings | {"device": "cpu"}
    assert {name: settings[name] for name in expected} == expected
    state, _ = checkpoint.load(out / "model_2")
    assert state.step == 2 and state.rows_per_step == 32
    rates = [record["learning_rate"] for record in records(out, "train")]
    warmup = settings["warmup_steps"]
    peak = settings["learning_rate"]
    assert rates == ([0.0, peak / warmup] if warmup else [peak, peak / 2])
    assert len(records(out, "eval")) == int(line.program == GLUE)


@pytest.mark.parametrize("line", RUNNING, ids=name_of)
def test_a_documented_line_asks_for_its_device(place, line):
    """Verbatim, as the launcher passes it: on this build of Paddle some are one clear error."""
    args = PARSERS[line.program](line.argv)
    wanted = line.settings.get("device", "auto")
    assert args.device == wanted
    if wanted in ("gpu", "xpu"):
        with pytest.raises(FlagError, match=f"--device {wanted}"):
            device.set_up_device(args.device, args.n_gpu)


@pytest.mark.parametrize("line", [line for line in LINES if line.answer], ids=name_of)
def test_a_line_that_cannot_run_is_answered(place, line):
    with pytest.raises(FlagError) as caught:
        PARSERS[line.program](line.argv)
    assert line.answer in str(caught.value) and "\n" not in str(caught.value)


def test_every_line_and_program_is_on_the_page():
    for line in LINES:
        script = next(w for w in re.sub(r"\\\n", " ", line.text).split() if w.endswith(".py"))
        assert f"`{Path(script).name}`" in FLAGS_PAGE
        assert line.program != OTHER or line.command in FLAGS_PAGE


@pytest.mark.parametrize("args_class", [GlueArgs, PretrainArgs, CreateArgs])
def test_the_page_says_what_becomes_of_every_flag(args_class):
    for peer in flag_texts.peer_flags(args_class).values():
        assert f"| `--{peer.name}` | {peer.help} |" in FLAGS_PAGE


# --- the effect of each flag


def train(flags: str = "", steps: int = 6, out: str = "out") -> Path:
    argv = "--model_name_or_path bert-base-uncased --task_name sst2 --max_seq_length 16 "
    argv += f"--batch_size 4 --output_dir {out} --report 0 --logging_steps 1 --max_steps {steps} "
    finetune.run(glue_args((argv + flags).split()))
    return Path(out)


def evaluated(folder: Path) -> list[int]:
    return [record["step"] for record in records(folder, "eval")]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--lr_scheduler_type cosine", [(1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)]),
        (
            "--lr_scheduler_type cosine --warmup_steps 0.34",
            [0, 1 / 3, 2 / 3, *((1 + math.cos(math.pi * i / 3)) / 2 for i in range(3))],
        ),
        ("--lr_scheduler_type constant_with_warmup --num_warmup_steps 2", [0, 0.5, 1, 1, 1, 1]),
        ("--warmup_proportion 0.5", [0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
        ("--warmup_steps 0.01", [0, 1, 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_schedules(place, flags, expected):
    out = train(f"{flags} --learning_rate 1e-3")
    rates = [record["learning_rate"] for record in records(out, "train")]
    assert rates == pytest.approx([1e-3 * value for value in expected])


@pytest.mark.parametrize(
    ("flags", "evaluations", "saves"),
    [
        ("--save_steps 4", [4, 6], [4, 6]),
        ("--eval_steps 2 --save_steps 4", [2, 4, 6], [4, 6]),
        ("--eval_strategy steps --eval_steps 4 --save_strategy no", [4, 6], [6]),
        ("--evaluation_strategy no --save_steps 2", [6], [2, 4, 6]),
        ("--do_train --eval_strategy epoch --save_steps 4 --batch_size 14", [5, 6], [4, 6]),
        ("--eval_strategy steps --logging_steps 3 --save_strategy epoch", [3, 6], [6]),
        ("--do_train --save_steps 4", [], [4, 6]),
    ],
)
def test_when_a_run_is_evaluated_and_saved(place, flags, evaluations, saves):
    out = train(flags)
    assert evaluated(out) == evaluations and checkpoint.saved_steps(out) == saves


def test_an_evaluation_apart_saves_a_new_best_step_that_is_to_be_loaded(place):
    out = train("--eval_steps 1 --save_strategy no --load_best_model_at_end --metric loss")
    losses = [record["loss"] for record in records(out, "eval")]
    results = json.loads((out / "all_results.json").read_text())
    assert results["best_step"] == 1 + losses.index(min(losses))
    assert results["best_step"] in checkpoint.saved_steps(out)
    assert results["eval_loss"] == min(losses)


def test_early_stopping_by_evaluations_apart_is_saved(place):
    flags = "--eval_steps 1 --save_strategy no --early_stopping_patience 2 --learning_rate 1e-12"
    out = train(flags, steps=9)
    assert evaluated(out) == [1, 2, 3] and checkpoint.saved_steps(out) == [3]


def test_a_resume_goes_on_with_evaluations_apart(place):
    flags = "--eval_steps 2 --save_steps 3 --metric loss"
    whole = train(flags, out="whole")
    part = train(flags, out="part")
    shutil.rmtree(part / "model_6")
    train(f"{flags} --resume_from_checkpoint auto", out="part")
    for kind in ("train", "eval"):
        losses = [[r["step"], r["loss"]] for r in records(part, kind)]
        assert losses == [[r["step"], r["loss"]] for r in records(whole, kind)]
    states = [checkpoint.load(folder / "model_6")[0] for folder in (whole, part)]
    assert states[0].best_step == states[1].best_step
    assert states[0].best_metric == states[1].best_metric


def test_numbers_of_rows(place):
    flags = "--max_train_samples 10 --max_eval_samples 4 --max_predict_samples 3 --do_predict"
    out = train(f"{flags} --do_train --do_eval")
    info = json.loads((out / "run.json").read_text())
    assert info["rows"] == {"train": 10, "dev": 4, "SST-2": 3}
    assert len((out / "predictions" / "SST-2.tsv").read_text().splitlines()) == 4
    assert info["steps"]["per_epoch"] == 3


def pretrained(flags: str, out: str = "out") -> Path:
    argv = "--model_name_or_path google-bert/bert-base-uncased --input_dir data --output_dir "
    argv += f"{out} --max_steps 4 --batch_size 4 --logging_steps 1 --report 0 --device cpu "
    sizes = {name: value for name, value in tiny.CONFIG.items() if name != "type_vocab_size"}
    argv += " ".join(f"--{name}={value}" for name, value in sizes.items())
    pretrain.run(pretrain_args(f"{argv} {flags}".split()))
    return Path(out)


def test_a_pre_training_is_evaluated_apart(place):
    shard = next(path for path in (place / "data").iterdir() if path.suffix == ".hdf5")
    shutil.copy(shard, place / "data" / "held_test_0.hdf5")
    out = pretrained("--do_train --evaluation_strategy steps --eval_steps 3 --save_strategy no")
    assert evaluated(out) == [3, 4] and checkpoint.saved_steps(out) == [4]
    settings = json.loads((out / "run.json").read_text())["settings"]
    assert settings["model_name_or_path"] == "bert-base-uncased" and settings["do_eval"]
    with pytest.raises(DataError, match="--max_eval_samples 99: the held-out shards have 70 rows"):
        pretrained("--max_eval_samples 99", out="b")


@pytest.mark.parametrize("name", ["train", "eval", "predict"])
def test_more_samples_than_rows(place, name):
    with pytest.raises(DataError, match=rf"--max_{name}_samples 99: .* has \d+ rows"):
        train(f"--max_{name}_samples 99 --do_train --do_eval --do_predict")
    assert not (place / "out" / "model_6").exists()


def test_the_betas_of_adam(place):
    args = glue_args("--task_name sst2 --model_name_or_path m --output_dir o --adam_beta1 0.8 "
                     "--adam_beta2 0.9".split())  # fmt: skip
    import paddle

    for name in ("adamw", "lamb"):
        args.optimizer = name
        optimizer = optim.build_optimizer(paddle.nn.Linear(2, 2), args)
        assert (optimizer._beta1, optimizer._beta2) == (0.8, 0.9)
    default, changed = train("--learning_rate 1e-2"), train("--adam_beta1 0.1", out="b")
    assert records(default, "train")[-1]["loss"] != records(changed, "train")[-1]["loss"]
    assert "| Adam beta1 | 0.1 |" in (changed / "model_6" / "README.md").read_text()


@pytest.mark.parametrize("kind", ["folder", "file", "name"])
def test_another_tokenizer_is_used_and_saved(place, files, kind):
    folder = files / "home" / "models" / "other"
    shutil.copytree(files / "home" / "models" / "bert-base-uncased", folder, dirs_exist_ok=True)
    words = (folder / "vocab.txt").read_text().replace("\ngood\n", "\ngoood\n")
    (folder / "vocab.txt").write_text(words)
    name = {"folder": folder, "file": folder / "vocab.txt", "name": "other"}[kind]
    out = train(f"--tokenizer_name {name}", steps=1)
    assert "\ngoood\n" in (out / "model_1" / "vocab.txt").read_text()
    args = "--model_name_or_path bert-base-uncased --input_dir data --output_dir o "
    args += f"--tokenizer_name_or_path {name}"
    from bert_paddle.pretrain.model_source import read_model_source

    source = read_model_source(pretrain_args(args.split()), files / "home")
    assert source.tokenizer is not None and "goood" in source.tokenizer.vocab


def test_a_published_name_as_tokenizer_downloads_no_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "download_vocabulary", lambda name, home: home / name)
    found = hub.find_tokenizer("bert-base-cased", tmp_path)
    assert found == (tmp_path / "bert-base-cased", None)


@pytest.mark.parametrize(
    ("metric", "best"),
    [("eval_loss", min), ("eval_accuracy", max), ("accuracy", max), ("loss", min)],
)
def test_the_metric_of_the_best_step(place, metric, best):
    out = train(f"--metric_for_best_model {metric} --save_steps 1 --learning_rate 3e-3")
    name = metric.removeprefix("eval_")
    values = [record[name] for record in records(out, "eval")]
    results = json.loads((out / "all_results.json").read_text())
    assert results["best_metric"] == best(values)
    assert json.loads((out / "run.json").read_text())["higher_is_better"] is (best is max)


@pytest.mark.parametrize(
    ("flags", "folder"),
    [
        ("--report_to visualdl", "out/runs"),
        ("--logging_dir board", "board"),
        ("--report_to visualdl --logging_dir board", "board"),
        ("--report_to none --logging_dir board", None),
    ],
)
def test_logs_for_visualdl(place, flags, folder):
    train(flags, steps=1)
    logs = [str(path.parent) for path in Path(".").rglob("vdlrecords.*.log")]
    assert logs == ([folder] if folder else [])


def parse(flags: str):
    return glue_args(f"--task_name sst2 --model_name_or_path m --output_dir o {flags}".split())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--fp16", {"use_amp": True, "amp_dtype": "float16"}),
        ("--bf16 True --fp16 False", {"use_amp": True, "amp_dtype": "bfloat16"}),
        ("--fp16 False", {"use_amp": False}),
        ("--amp --fp16_opt_level O2 --scale_loss 1024", {"amp_level": "O2", "scale_loss": 1024.0}),
        ("--gradient_checkpointing", {"recompute": True}),
        ("--dataloader_num_workers 3", {"num_workers": 3}),
        ("--per_gpu_train_batch_size 7", {"batch_size": 7}),
        ("--optim adamw_torch", {"optimizer": "adamw"}),
        ("--no_cuda", {"device": "cpu"}),
        ("--device gpu:1", {"device": "gpu:1"}),
        ("--checkpointing_steps epoch", {"save_strategy": "epoch"}),
        ("--checkpointing_steps 7", {"save_strategy": "steps", "save_steps": 7}),
        ("--task_name mrpc --metric_for_best_model combined_score", {"metric": None}),
        ("--greater_is_better True --metric accuracy", {"greater_is_better": True}),
        ("--batch_size 8 --per_device_train_batch_size 8", {"batch_size": 8}),
        ("--learning_rate 2e-5 --learning_rate 3e-5", {"learning_rate": 3e-5}),
        ("--evaluate_during_training 1", {"eval_strategy": "steps"}),
        ("--model_revision main --push_to_hub False --deepspeed none", {}),
    ],
)
def test_flags_that_stand_for_ours(flags, expected):
    args = parse(flags)
    assert {name: getattr(args, name) for name in expected} == expected


def test_flags_that_change_nothing_are_noted():
    notes = parse("--pad_to_max_length --overwrite_cache 1 --optim adamw_hf").notes
    assert [note.split(":")[0] for note in notes] == [
        "--pad_to_max_length",
        "--overwrite_cache 1",
        "--optim adamw_hf",
    ]
    assert parse("--fp16").notes == ()


def test_a_settings_file_and_its_override(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("fp16: true\nevaluation_strategy: epoch\noptim: adamw_torch\n")
    args = parse(f"--config {path}")
    assert (args.use_amp, args.eval_strategy, len(args.notes)) == (True, "epoch", 1)
    assert parse(f"--config {path} --fp16 False").use_amp is False
    path.write_text("batch_size: 4\nfp16: true\nuse_amp: false\n")
    with pytest.raises(
        FlagError, match=r"s.yaml:2: fp16 true and .*s.yaml:3: use_amp false contra"
    ):
        parse(f"--config {path}")


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("--batch_size 8 --per_device_train_batch_size 9", "contradict each other: give one"),
        ("--fp16 --use_amp 0", "--fp16 and --use_amp 0 contradict each other"),
        ("--fp16 --bf16", "--fp16 and --bf16 contradict each other"),
        ("--lr_scheduler_type inverse_sqrt", "must be one of linear, cosine, poly, constant"),
        ("--optim sgd", "--optim sgd is not supported: the optimizers here are adamw and lamb"),
        ("--report_to wandb", "--report_to wandb is not supported: give --report_to visualdl"),
        ("--device cuda:1", "--device cuda:1: Paddle calls it gpu:1"),
        ("--device 'g p u'", "give auto, cpu, gpu, gpu:1, xpu"),
        ("--device gpu:1 --n_gpu 2", "is one device, and --n_gpu 2 needs as many"),
        ("--device xpu --n_gpu 0", "contradict each other"),
        ("--eval_strategy epoch --eval_steps 3", "contradict each other"),
        ("--eval_strategy steps --do_train --do_eval 0", "and --do_eval 0 contradict"),
        ("--metric f1", "--metric f1: SST-2 has accuracy, loss"),
        ("--metric_for_best_model loss --greater_is_better", "the lowest value of --metric loss"),
        ("--vocab_file v --tokenizer_name t", "both set: give one of them"),
        ("--warmup_steps 1.5", "must be a whole number"),
        ("--dataloader_num_workers", "--dataloader_num_workers needs a value"),
        ("--deepspeed ds.json", "--deepspeed ds.json is not supported"),
        ("--metric_for_best_model combined_score", "is the mean of two metrics"),
        ("--validation_split_percentage ten", "must be a number, not 'ten'"),
        ("--load_best_model_at_end --eval_strategy no", "needs evaluations"),
    ],
)
def test_bad_values_are_answered_before_anything_is_loaded(flags, answer):
    import shlex

    base = "--task_name sst2 --model_name_or_path m --output_dir o"
    with pytest.raises(FlagError) as caught:
        glue_args([*base.split(), *shlex.split(flags)])
    assert answer in str(caught.value)


def test_flags_of_a_users_own_files(tmp_path):
    (tmp_path / "a.csv").write_text("text,stars\nx,1\ny,2\n")
    base = f"--train_file {tmp_path / 'a.csv'} --model_name_or_path m --output_dir o "
    args = glue_args(f"{base} --text_column_name text --label_column_name stars".split())
    assert (args.text_column, args.label_column) == ("text", "stars")
    args = glue_args(f"{base} --metric_name f1 --validation_split_percentage 20".split())
    assert (args.metric, args.validation_share) == ("f1", 0.2)
    with pytest.raises(FlagError, match="names several columns: give --text_column and"):
        glue_args(f"{base} --text_column_name text,stars".split())


def test_the_api_and_grids():
    values = {"task_name": "sst2", "model_name_or_path": "m", "output_dir": "o"}
    args = api._build_args(values | {"fp16": True, "max_length": 64, "overwrite_cache": True})
    assert (args.use_amp, args.max_seq_length, len(args.notes)) == (True, 64, 1)
    with pytest.raises(FlagError, match="fp16 False and use_amp True contradict each other"):
        api._build_args(values | {"fp16": False, "use_amp": True})
    _, problems = grid.read_grid(None, ["fp16=0,1"])
    assert problems == [
        "fp16=...: fp16 is not a flag of run_glue.py: --use_amp with --amp_dtype float16"
    ]


@pytest.mark.parametrize("name", ["xpu", "npu", "tpu", "gpu:1"])
def test_a_device_that_paddle_does_not_have(name):
    with pytest.raises(FlagError, match=f"--device {name}") as caught:
        device.set_up_device(name)
    assert "\n" not in str(caught.value)


def test_log_lines_of_a_short_run(place):
    out = train("--max_train_samples 8 --batch_size 1 --num_train_epochs 5", steps=-1)
    assert [r["step"] for r in records(out, "train")][:3] == [1, 2, 3]
    argv = "--model_name_or_path bert-base-uncased --task_name sst2 --max_seq_length 16 --report 0 "
    argv += "--max_train_samples 42 --batch_size 1 --num_train_epochs 1 --output_dir b"
    finetune.run(glue_args(argv.split()))
    assert [r["step"] for r in records(Path("b"), "train")] == list(range(2, 43, 2))


# Flags of transformers' programs that are none here, and mistyped ones: what is suggested.
UNKNOWN = {
    "eval_delay": None,
    "eval_do_concat_batches": None,
    "torch_empty_cache_steps": None,
    "lr_scheduler_kwargs": None,
    "save_only_model": None,
    "restore_callback_states_from_checkpoint": None,
    "full_determinism": None,
    "dataloader_drop_last": None,
    "dataloader_prefetch_factor": None,
    "past_index": None,
    "run_name": None,
    "length_column_name": None,
    "include_inputs_for_metrics": None,
    "neftune_noise_alpha": None,
    "batch_eval_metrics": None,
    "adafactor": None,
    "accelerator_config": None,
    "skip_memory_metrics": None,
    "ray_scope": None,
    "tf32": None,
    "train_batch_size": None,
    "learning-rate": "--learning_rate",
    "lerning_rate": "--learning_rate",
    "eval_stratgy": "--eval_strategy",
    "num_epochs": None,
    "n_gpus": "--n_gpu",
    "do_test": None,
    "test_share": None,
    "use_gpu": None,
    "n_cpu": None,
    "min_seq_length": None,
    "min_train_samples": None,
    "eval_iters": None,
}


@pytest.mark.parametrize(("name", "meant"), UNKNOWN.items())
def test_an_unknown_flag_is_never_answered_with_an_unrelated_one(name, meant):
    with pytest.raises(FlagError) as caught:
        parse(f"--{name} 1")
    (line,) = caught.value.problems
    ending = f", did you mean {meant}?" if meant else " (see --help)"
    assert line == f"--{name} is not a flag{ending}"


def test_the_lines_are_verbatim_ones():
    assert len({line.text for line in peer_lines.LINES}) == len(LINES)
