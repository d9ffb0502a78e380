"""Runs of run_clm: training, samples, resuming bit for bit, packing, freezing, evaluation alone."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import same
import tiny_gpt2
from safetensors.numpy import load_file

from bert_paddle.clm import finetune, model_source
from bert_paddle.clm.args import ClmArgs, parse_args
from bert_paddle.common.errors import BertPaddleError, FlagError, UserError, WeightsError
from bert_paddle.common.run_log import RunLog
from bert_paddle.models import gpt2_weights
from bert_paddle.models.byte_level_bpe import load_bpe_tokenizer
from bert_paddle.training import loop

TOKENS = (
    "--bos_token",
    "<|startoftext|>",
    "--eos_token",
    "<|endoftext|>",
    "--pad_token",
    "<|pad|>",
)


@pytest.fixture(scope="module")
def bios(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "bios.csv"
    rows = (f'{i},"{text}"\n' for i, text in enumerate(tiny_gpt2.sentences(44, seed=1)))
    path.write_text("name,bio\n" + "".join(rows), encoding="utf-8")
    return path


def flags(bios: Path, out: Path, *more: str) -> ClmArgs:
    return parse_args(
        [
            *("--model_name_or_path", str(tiny_gpt2.HF_DIR), "--train_file", str(bios)),
            *("--text_column", "bio", "--output_dir", str(out), "--learning_rate", "1e-3"),
            *("--num_train_epochs", "2", "--logging_steps", "1", "--report", "0"),
            *("--batch_size", "8", "--n_gpu", "0", *TOKENS, *more),
        ]
    )


def run(bios: Path, out: Path, *more: str) -> dict:
    return finetune.run(flags(bios, out, *more))


def test_the_documented_lines_and_files(bios, tmp_path, capsys):
    results = run(bios, tmp_path, "--sample_every", "4", "--sample_length", "12", "--report", "1")
    out, err = capsys.readouterr()
    assert re.search(r"gpt\.embeddings\.word_embeddings\.weight +\[342, 32\]", err)
    assert re.search(r"gpt\.decoder\.layers\.0\.linear1\.weight +\[32, 128\]", err)
    assert re.search(r"gpt\.decoder\.norm\.bias +\[32\]", err) and "layers.1." not in err
    size = (tmp_path / "model_10" / "model.safetensors").stat().st_size
    assert re.search(rf"model_10:\n(  .*\n)*  model\.safetensors +{size:,} bytes", err)
    lines = out.splitlines()
    train = [line for line in lines if line.startswith("global step")]
    assert len(train) == 10 and re.fullmatch(
        r"global step 10, epoch: 1, batch: 5, loss: \d+\.\d{6}, speed: [\d.]+ step/s", train[-1]
    )
    evaluation = next(line for line in lines if line.startswith("eval loss:"))
    match = re.fullmatch(r"eval loss: ([\d.]+), perplexity: ([\d.]+)", evaluation)
    assert match and float(match[2]) == pytest.approx(math.exp(float(match[1])), rel=1e-5)
    assert sum(line.startswith("sample: ") for line in lines) == 3  # steps 4, 8 and the last
    assert "bos <|startoftext|> (id 340), eos <|endoftext|> (id 0), pad <|pad|> (id 341)" in err
    assert "split: 39 texts to train on, 5 to evaluate on" in err
    assert "51,168 parameters, 51,168 of them trained" in err
    assert results["eval_perplexity"] == pytest.approx(float(match[2]), rel=1e-6)
    model = tmp_path / "model_10"
    assert {"model.safetensors", "config.json", "vocab.json", "merges.txt"} <= {
        path.name for path in model.iterdir()
    }
    config = json.loads((model / "config.json").read_text())
    assert config["model_type"] == "gpt2" and config["bos_token_id"] == 340
    kinds = [json.loads(s)["kind"] for s in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("sample") == 3 and "text-generation" in (model / "README.md").read_text()


def test_training_lowers_the_perplexity(bios, tmp_path):
    before = run(bios, tmp_path / "a", "--do_eval", "--validation_file", str(bios))
    after = run(bios, tmp_path / "b", "--num_train_epochs", "12", "--learning_rate", "3e-3")
    assert after["eval_perplexity"] < before["eval_perplexity"] / 4


def test_sampling_changes_nothing_in_the_run(bios, tmp_path):
    run(bios, tmp_path / "without", "--save_steps", "5")
    samples = ("--sample_every", "1", "--sample_length", "10", "--sample_prompt", "The old")
    run(bios, tmp_path / "with", "--save_steps", "5", *samples)
    for name in ("model.safetensors", "state/optimizer.safetensors"):
        a, b = (tmp_path / run / "model_10" / name for run in ("without", "with"))
        assert a.read_bytes() == b.read_bytes()

    def records(name: str) -> list:
        return [r for r in same.records(tmp_path / name) if r["kind"] != "sample"]

    assert records("without") == records("with")


@pytest.mark.parametrize("more", [(), ("--packing", "--gradient_accumulation_steps", "2")])
def test_an_interrupted_run_resumes_bit_for_bit(bios, tmp_path, monkeypatch, more):
    more = ("--save_steps", "2", "--sample_every", "3", "--sample_length", "8", *more)
    run(bios, tmp_path / "whole", *more)
    saved = []
    original = loop.Trainer.step

    def dies_at_the_fourth(self, *args, **kwargs):
        saved.append(1)
        if len(saved) == 4:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop.Trainer, "step", dies_at_the_fourth)
    with pytest.raises((KeyboardInterrupt, BertPaddleError)):
        run(bios, tmp_path / "cut", *more)
    monkeypatch.undo()
    run(bios, tmp_path / "cut", *more, "--resume_from_checkpoint", "auto")
    last = max(int(p.name.split("_")[1]) for p in (tmp_path / "whole").glob("model_*"))
    assert same.differences(tmp_path / "whole", tmp_path / "cut", last) == []


def test_a_packed_row_has_the_loss_of_its_texts_alone(bios, tmp_path):
    """All texts in one step, without dropout: the same mean over all predicted tokens."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_gpt2.HF_DIR.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    (folder / "config.json").write_text(json.dumps(config | rates))
    losses, sizes = {}, {}
    for name, more in {"alone": (), "packed": ("--packing",)}.items():
        out = tmp_path / name
        batch = ("--batch_size", "64", "--max_steps", "1", "--max_seq_length", "60")
        model = ("--model_name_or_path", str(folder))
        finetune.run(flags(bios, out, *model, *batch, *more))
        record = next(r for r in same.records(out) if r["kind"] == "train")
        losses[name], sizes[name] = record["loss"], record["batch"]
    assert losses["packed"] == pytest.approx(losses["alone"], rel=1e-5)


def test_frozen_parts_keep_their_weights(bios, tmp_path, capsys):
    run(bios, tmp_path / "out", "--freeze_layers", "2", "--freeze_embeddings")
    assert re.search(r"51,168 parameters, 12,\d\d\d of them trained", capsys.readouterr().err)
    before = gpt2_weights.load_gpt2_weights(tiny_gpt2.HF_DIR).tensors
    after = load_file(tmp_path / "out" / "model_10" / "model.safetensors")
    for name, value in before.items():
        frozen = "embeddings" in name or ".layers.0." in name or ".layers.1." in name
        assert np.array_equal(after[name], value) == frozen, name


def test_recompute_gives_the_same_weights(bios, tmp_path):
    for name, more in {"a": (), "b": ("--recompute",)}.items():
        run(bios, tmp_path / name, "--max_steps", "3", *more)
    a, b = (load_file(tmp_path / run / "model_3" / "model.safetensors") for run in ("a", "b"))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-6)


def test_random_weights_from_sizes(bios, tmp_path, capsys):
    sizes = ("--hidden_size", "64", "--num_hidden_layers", "1", "--max_position_embeddings", "48")
    run(bios, tmp_path, "--random_weights", *sizes, "--max_steps", "2")
    config = json.loads((tmp_path / "model_2" / "config.json").read_text())
    assert (config["num_attention_heads"], config["intermediate_size"]) == (1, 256)
    assert config["vocab_size"] == 342 and "random weights from seed 42" in capsys.readouterr().err


def test_evaluation_alone_and_the_best_checkpoint_by_perplexity(bios, tmp_path):
    results = run(
        *(bios, tmp_path / "out", "--save_steps", "2", "--load_best_model_at_end"),
        *("--learning_rate", "0.3", "--num_train_epochs", "3", "--early_stopping_patience", "2"),
    )
    records = [r for r in same.records(tmp_path / "out") if r["kind"] == "eval"]
    best = min(records, key=lambda record: record["perplexity"])
    assert results["best_step"] == best["step"] and results["eval_perplexity"] == best["perplexity"]
    assert results["global_step"] < 15  # stopped early
    alone = finetune.run(
        parse_args(
            [
                *("--model_name_or_path", str(tmp_path / "out" / results["model"])),
                *("--do_eval", "--validation_file", str(bios), "--text_column", "bio"),
                *("--output_dir", str(tmp_path / "alone"), "--report", "0", "--n_gpu", "0"),
            ]
        )
    )
    assert alone["eval_samples"] == 44 and "global_step" not in alone


def test_the_loss_does_not_depend_on_batches_and_padding(bios, tmp_path):
    losses = set()
    for size, pad in (
        ("1", "<|pad|>"),
        ("3", "<|pad|>"),
        ("16", "<|startoftext|>"),  # what is padding is known from the lengths
        ("16", "<|endoftext|>"),
    ):
        more = ("--do_eval", "--validation_file", str(bios), "--pad_token", pad)
        args = flags(bios, tmp_path / size / pad[2:5], *more)
        args.eval_batch_size = int(size)
        losses.add(round(finetune.run(args)["eval_loss"], 5))
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--max_seq_length", "65"), "--max_seq_length 65 is more than the model's 64 positions"),
        (("--freeze_layers", "4"), "--freeze_layers 4: the model has 3 layers"),
        (("--bos_token", "a"), "--bos_token a: this is an ordinary token"),
        (("--bos_token", "born"), "the text contains born"),
        (("--sample_every", "1", "--sample_length", "64"), "the model has 64 positions"),
        (("--model_name_or_path", "gpt-9"), "model 'gpt-9' not found"),
    ],
)
def test_mistakes_are_refused_before_training(bios, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run(bios, tmp_path, *more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--model_type", "bert"), "--model_type must be gpt2, not 'bert'"),
        (("--hidden_size", "32"), "give --random_weights"),
        (("--do_eval", "--freeze_layers", "1"), "--freeze_layers needs training"),
        (("--packing_across_texts",), "needs --packing"),
        (("--sample_top_p", "1.5"), "--sample_top_p"),
        (("--do_lower_case", "1"), "--do_lower_case is not for GPT-2"),
        (("--validation_file", "none.csv"), "none.csv: no such file"),
        (("--file_format", "text"), "--text_column is for files with columns"),
    ],
)
def test_mistakes_in_the_flags(bios, tmp_path, more, message):
    with pytest.raises(FlagError, match=message):
        flags(bios, tmp_path, *more)


def test_the_tokenizer_of_another_folder(bios, tmp_path, capsys):
    load_bpe_tokenizer(tiny_gpt2.HF_DIR).save(tmp_path)
    for name, more in ((".", ()), ("vocab.json", ("--random_weights",))):
        args = flags(bios, tmp_path, "--tokenizer_name", str(tmp_path / name), *more)
        model_source.read_model_source(args, RunLog(active=True))
        assert f"tokenizer: {tmp_path}/" in capsys.readouterr().err
    args = flags(bios, tmp_path, "--tokenizer_name", "nowhere/at/all")
    with pytest.raises(WeightsError, match="--tokenizer_name_or_path: there is no model folder"):
        model_source.read_model_source(args, RunLog(active=False))


def test_the_help_is_about_gpt2(capsys):
    with pytest.raises(SystemExit):
        parse_args(["--help"])
    said = " ".join(capsys.readouterr().out.split()).replace("BERT_PADDLE_HOME", "")
    assert "merges.txt beside it" in said and "word piece" not in said and "BERT" not in said


def test_a_bert_folder_is_refused(bios, tmp_path, tiny_dir):
    with pytest.raises(UserError, match="the model is 'bert', but gpt2 is needed"):
        run(bios, tmp_path, "--model_name_or_path", str(tiny_dir))


def test_a_vocabulary_of_another_model_is_refused(bios, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((tiny_gpt2.HF_DIR / name).read_bytes())
    from bert_paddle.models.bpe_files import byte_characters, write_vocabulary

    write_vocabulary(folder, list(byte_characters().values()), [])
    with pytest.raises(UserError, match="256 tokens, but the model 342 word embeddings"):
        run(bios, tmp_path / "out", "--model_name_or_path", str(folder))
