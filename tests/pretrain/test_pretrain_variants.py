"""Pre-training without next-sentence prediction (--nsp 0) and with masks drawn at read time
(--dynamic_masking), from text to a model."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import DataError, FlagError
from bert_paddle.export.export import export_model
from bert_paddle.models import load_weights
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import parse_args as create_args
from bert_paddle.training import checkpoint

SETS = {
    "pairs": "--max_predictions_per_seq 6",
    "pairs_without_masks": "--dynamic_masking 1",
    "single": "--nsp 0 --max_predictions_per_seq 6",
    "single_without_masks": "--nsp 0 --dynamic_masking 1",
    "masked_otherwise": "--max_predictions_per_seq 12 --masked_lm_prob 0.4",
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    """A folder of shards for each of SETS, of the same 40 documents."""
    folder = tmp_path_factory.mktemp("sets")
    rng = random.Random(0)
    documents = ["\n".join(tiny.sentence(rng) for _ in range(rng.randint(2, 6))) for _ in range(40)]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    (folder / "vocab").mkdir()
    Tokenizer(tiny.VOCAB).save(folder / "vocab")
    for name, flags in SETS.items():
        argv = f"--input_files {folder / 'text.txt'} --vocab_file {folder / 'vocab'} --corpus_name "
        argv += f"c --output_dir {folder / name} --max_seq_length 32 --test_share 0.3 "
        create_data.run(create_args([*argv.split(), "--dupe_factor", "1", *flags.split()]))
    return folder


@pytest.fixture
def run(tiny_dir, sets, tmp_path):
    """Trains on the shards of a set in this process, with flags for the tiny model."""

    def call(name: str, *flags: str, out: str = "out", model: Path = tiny_dir):
        argv = f"--model_name_or_path {model} --input_dir {sets / name} --report 0 "
        argv += f"--output_dir {tmp_path / out} --batch_size 8 --learning_rate 1e-2 "
        return pretrain.run(parse_args([*argv.split(), *" ".join(flags).split()]))

    return call


def weights(folder: Path, step: int) -> dict[str, np.ndarray]:
    return load_file(folder / f"model_{step}" / "model.safetensors")


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_masked_words_alone(run, tmp_path, capsys):
    values = run("single", "--nsp 0 --max_steps 6 --save_steps 3 --logging_steps 2")
    captured = capsys.readouterr()
    assert "nsp" not in captured.out and captured.out.count("mlm accu") == 2
    assert "sentence pairs" not in captured.err
    assert not [name for name in values if "nsp" in name]
    assert values["eval_loss"] == values["eval_mlm_loss"] and values["eval_perplexity"] > 1
    out = tmp_path / "out"
    assert "nsp" not in (out / "metrics.jsonl").read_text()
    config = json.loads((out / "model_6/config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    first, last = weights(out, 3), weights(out, 6)
    assert not [name for name in last if "seq_relationship" in name]
    trained = {name for name in last if not np.array_equal(first[name], last[name])}
    assert {name for name in last if name not in trained and "k_proj.bias" not in name} == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    card = (out / "model_6/README.md").read_text()
    assert "without next-sentence prediction" in card and "import BertForMaskedLM" in card
    optimizer = load_file(out / "model_6" / checkpoint.OPTIMIZER_FILE)
    assert not [name for name in optimizer if "pooler" in name]


def test_the_model_loads_in_paddlenlp_fine_tunes_and_is_exported(run, tmp_path):
    from paddlenlp.transformers.bert.modeling import BertForMaskedLM

    from bert_paddle.glue import finetune
    from bert_paddle.glue.args import parse_args as glue_args

    run("single", "--nsp 0 --max_steps 2 --do_eval 0")
    folder = tmp_path / "out" / "model_2"
    ours = weights(tmp_path / "out", 2)
    theirs = BertForMaskedLM.from_pretrained(str(folder)).state_dict()
    assert {name: value.numpy().tolist() for name, value in theirs.items()} == {
        name: value.tolist() for name, value in ours.items()
    }
    data = tiny.write_sst2(tmp_path / "glue" / "SST-2").parent
    argv = f"--task_name sst2 --model_name_or_path {folder} --data_dir {data} --max_steps 2 "
    argv += f"--output_dir {tmp_path / 'tuned'} --max_seq_length 32 --report 0"
    assert finetune.run(glue_args(argv.split()))["global_step"] == 2

    export_model(str(folder), "hf", str(tmp_path / "hf"))
    config = json.loads((tmp_path / "hf/config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    names = load_file(tmp_path / "hf/model.safetensors").keys()
    assert "cls.predictions.bias" in names
    assert not [name for name in names if "pooler" in name or "seq_relationship" in name]
    assert "AutoModelForMaskedLM" in (tmp_path / "hf/README.md").read_text()
    # The export, without a pooler, begins another training and can be exported again.
    again = run("single", f"--nsp 0 --max_steps 1 --init_from {tmp_path / 'hf'}", out="again")
    assert again["global_step"] == 1
    export_model(str(tmp_path / "hf"), "hf", str(tmp_path / "hf2"))
    assert same(*(load_file(tmp_path / n / "model.safetensors") for n in ("hf", "hf2")))


def test_both_kinds_of_layers_give_the_same_logits():
    from test_pretrain_model import CONFIG, make_batch

    batch, logits = make_batch(), []
    for nsp in (True, False):
        model, _ = pretrain_model.build_model(CONFIG, 1, None, nsp)
        model.eval()
        for by_kernels in (True, False):
            mlm_logits, nsp_logits = pretrain_model.forward_pass(model, by_kernels, nsp)(batch)
            assert (nsp_logits is not None) == nsp
            logits.append(mlm_logits.numpy())
    for other in logits[1:]:  # the models have the same weights but for the NSP head
        np.testing.assert_allclose(logits[0], other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("pairs_without_masks", "--dynamic_masking 1 --whole_word_mask 1"),
        ("single_without_masks", "--dynamic_masking 1 --nsp 0 --mlm_probability 0.3"),
        ("pairs", "--dynamic_masking 1"),
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit(run, tmp_path, name, flags):
    plan = f"{flags} --num_train_epochs 3 --save_steps 2 --max_steps 10 --logging_steps 2"
    whole = run(name, plan, out="whole")
    run(name, plan, out="cut")
    for step in (6, 8, 10):  # the resume begins in another epoch than the end
        shutil.rmtree(checkpoint.checkpoint_dir(tmp_path / "cut", step))
    resumed = run(name, plan, "--resume_from_checkpoint auto", out="cut")
    assert same(weights(tmp_path / "whole", 10), weights(tmp_path / "cut", 10))
    assert whole["eval_loss"] == resumed["eval_loss"]


def test_static_masks_repeat_and_dynamic_ones_do_not(run, tmp_path):
    """The training loss of two epochs of a model that learns nothing, without dropout."""
    for dynamic in (0, 1):
        flags = f"--dynamic_masking {dynamic} --num_train_epochs 2 --logging_steps 1 --do_eval 0"
        run("single", "--nsp 0 --learning_rate 1e-30", flags, "--batch_size 1000",
            out=f"d{dynamic}", model=tiny_config(tmp_path))  # fmt: skip
        lines = (tmp_path / f"d{dynamic}" / "metrics.jsonl").read_text().splitlines()
        losses = [r["loss"] for r in map(json.loads, lines) if r["kind"] == "train"]
        assert len(losses) == 2 and (abs(losses[0] - losses[1]) < 1e-5) == (not dynamic)


def tiny_config(folder: Path) -> Path:
    """A configuration without dropout."""
    dropout = {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "bert", **tiny.CONFIG, **dropout}))
    return path


def test_held_out_rows_have_the_same_15_percent_however_training_masks(run, capsys):
    still = "--learning_rate 1e-30 --max_steps 1"
    for name in ("pairs", "pairs_without_masks"):
        losses = {
            run(name, still, f"--dynamic_masking 1 {flags}", out=f"{name}{i}")["eval_mlm_loss"]
            for i, flags in enumerate(("", "--mlm_probability 0.5", "--whole_word_mask 1"))
        }
        assert len(losses) == 1
    assert "held-out masks: fixed ones, the same for all runs" in capsys.readouterr().err
    static = run("pairs", still, out="static")
    assert (
        static["eval_mlm_loss"]
        == run("pairs", still, "--dynamic_masking 1", out="d")["eval_mlm_loss"]
    ), "the masks of a held-out shard that has some are kept"


def test_held_out_shards_masked_otherwise_are_masked_anew(run, capsys):
    still = "--learning_rate 1e-30 --max_steps 1"
    otherwise = run("masked_otherwise", still)
    assert "held-out masks: fixed ones" in capsys.readouterr().err
    reference = run("pairs_without_masks", still, "--dynamic_masking 1", out="reference")
    # The same rows but for their order, so about as hard.
    assert otherwise["eval_samples"] == reference["eval_samples"]
    assert otherwise["eval_mlm_loss"] == pytest.approx(reference["eval_mlm_loss"], rel=0.05)


def test_what_shards_lack_is_refused_before_the_model_is_built(run, monkeypatch):
    monkeypatch.setattr(pretrain_model, "build_model", lambda *args: pytest.fail("too late"))
    with pytest.raises(DataError, match=r"c_\w+_0.hdf5: no next_sentence_labels.*--nsp 0"):
        run("single")
    with pytest.raises(DataError, match=r"c_training_0.hdf5: no masked_lm_pos.*--dynamic_masking"):
        run("pairs_without_masks")
    with pytest.raises(DataError) as caught:
        run("single_without_masks", "--nsp 1 --dynamic_masking 1")
    assert "no next_sentence_labels" in str(caught.value) and "masked" not in str(caught.value)


def test_what_is_told(run, sets, tmp_path, capsys):
    run("pairs", "--nsp 0 --max_steps 1 --do_eval 0")
    assert "--nsp 0: the rows of c_training_0.hdf5 are sentence pairs" in capsys.readouterr().err
    plain = tmp_path / "plain" / "vocab.txt"
    plain.parent.mkdir()
    plain.write_text("\n".join(piece.replace("##", "@@") for piece in tiny.VOCAB) + "\n")
    copied = shutil.copytree(sets / "pairs", tmp_path / "shards")
    for path in (copied / "c_metadata.json", copied / "vocab.txt"):
        path.unlink()  # of the other vocabulary
    flags = f"--dynamic_masking 1 --whole_word_mask 1 --max_steps 1 --vocab_file {plain}"
    run(str(copied), flags, "--do_eval 0", out="words")
    assert "no piece of the vocabulary begins with ##" in capsys.readouterr().err
    config = tiny_config(tmp_path)
    with pytest.raises(DataError) as caught:
        run(str(copied), "--dynamic_masking 1", out="none", model=config)
    assert str(caught.value).startswith("--dynamic_masking needs the vocabulary of the shards")
    assert "--vocab_file" in str(caught.value)


def test_flags_that_need_dynamic_masking():
    argv = "--model_name_or_path m --input_dir . --output_dir o --masked_lm_prob 0.3".split()
    with pytest.raises(FlagError) as caught:
        parse_args([*argv, "--whole_word_mask", "1"])
    problems = "; ".join(caught.value.problems)
    assert "--mlm_probability needs --dynamic_masking 1" in problems
    assert "--whole_word_mask needs --dynamic_masking 1" in problems
    assert parse_args([*argv, "--dynamic_masking"]).mlm_probability == 0.3


def test_a_model_with_a_next_sentence_head_goes_on_without_it(run, tmp_path, capsys):
    run("pairs", "--max_steps 1", out="first")
    first = tmp_path / "first" / "model_1"
    capsys.readouterr()
    still = "--nsp 0 --learning_rate 1e-30 --max_steps 1"
    run("single", still, f"--init_from {first}", out="next")
    assert "unused head cls.*" in capsys.readouterr().err
    assert load_weights.load_weights(tmp_path / "next" / "model_1").tensors.keys() < (
        load_weights.load_weights(first).tensors.keys()
    )
    pooler = "bert.pooler.dense.weight"
    assert np.array_equal(
        weights(tmp_path / "first", 1)[pooler], weights(tmp_path / "next", 1)[pooler]
    )
