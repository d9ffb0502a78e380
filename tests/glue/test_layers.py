"""Frozen, re-drawn and slower layers: what changes in the model, the optimizer and checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import same
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import UserError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import finetune, layer_settings, loss
from bert_paddle.glue.args import parse_args
from bert_paddle.models import classifier, load_weights, model_state
from bert_paddle.training import optim
from bert_paddle.training.step import Trainer

ALL = "--freeze_layers 2 --freeze_embeddings --reinit_layers 1 --layerwise_lr_decay 0.8"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model of three layers without a classifier, and SST-2."""
    base = tmp_path_factory.mktemp("layers")
    tiny.write_encoder(base / "model", num_hidden_layers=3)
    tiny.write_sst2(base / "glue" / "SST-2")
    return base


def parse(place: Path, flags: str, out: Path | str = "o"):
    argv = f"--task_name sst-2 --model_name_or_path {place / 'model'} --data_dir {place / 'glue'} "
    argv += f"--output_dir {out} --batch_size 8 --max_seq_length 32 --report 0 {flags}"
    return parse_args(argv.split())


def run(place: Path, out: Path, flags: str) -> dict:
    return finetune.run(parse(place, flags, out))


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / model_state.WEIGHTS_FILE)


@pytest.fixture(scope="module")
def frozen_run(place) -> Path:
    run(place, place / "frozen", f"--num_train_epochs 2 --save_steps 6 {ALL}")
    return place / "frozen"


def test_frozen_parameters_keep_their_values_and_have_no_state(place, frozen_run, capsys):
    before, after = tensors(place / "model"), tensors(frozen_run / "model_12")
    fixed = ("bert.embeddings.", "bert.encoder.layers.0.", "bert.encoder.layers.1.")
    frozen = {name for name in after if name.startswith(fixed)}
    for name in before:
        assert np.array_equal(before[name], after[name]) == (name in frozen), name
    state = load_file(next((frozen_run / "model_12").glob("state/optimizer*.safetensors")))
    trained = {key.split("|")[0] for key in state}
    assert trained == set(after) - frozen
    info = json.loads((frozen_run / "run.json").read_text())
    assert info["trained_parameters"] == sum(after[name].size for name in trained)
    assert info["parameters"] == sum(tensor.size for tensor in after.values())
    card = (frozen_run / "model_12" / "README.md").read_text()
    assert "| frozen layers | 2 |" in card and "| layerwise lr decay | 0.8 |" in card


def test_a_resumed_run_equals_an_uninterrupted_one(place, frozen_run, tmp_path):
    flags = f"--num_train_epochs 2 --save_steps 6 {ALL}"
    shutil.copytree(frozen_run, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "model_12")
    run(place, tmp_path / "out", f"{flags} --resume_from_checkpoint auto")
    whole, resumed = frozen_run / "model_12", tmp_path / "out" / "model_12"
    files = same.checkpoint_files(whole), same.checkpoint_files(resumed)
    assert files[0] == files[1]
    with pytest.raises(UserError, match="--freeze_layers was 2 and is 1"):
        other = flags.replace("freeze_layers 2", "freeze_layers 1")
        run(place, tmp_path / "out", f"{other} --resume_from_checkpoint auto")


def load_model(place: Path):
    loaded = load_weights.load_weights(place / "model")
    return classifier.build_classifier(loaded, ("negative", "positive"), 1, False).model


def test_drawn_anew_are_the_last_layers_and_the_pooler(place, capsys):
    models = [load_model(place) for _ in range(3)]
    args = parse(place, "--reinit_layers 2")
    for model, seed in zip(models[1:], (7, 7), strict=True):
        layer_settings.apply_to_model(args, model, seed, RunLog(active=True))
    assert "drawn anew by --seed 7: the last 2 layers and the pooler" in capsys.readouterr().err
    original, one, other = ({k: v.numpy() for k, v in m.state_dict().items()} for m in models)
    drawn = ("bert.pooler.", "bert.encoder.layers.1.", "bert.encoder.layers.2.")
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])
        if value.ndim > 1:
            assert np.array_equal(value, original[name]) != name.startswith(drawn), name
    weight = one["bert.encoder.layers.2.linear1.weight"]
    assert abs(weight.std() - 0.02) < 0.002
    assert set(one["bert.encoder.layers.2.norm1.weight"]) == {1}
    assert set(one["bert.pooler.dense.bias"]) == {0}


@pytest.mark.parametrize("flags", ["--cpu_kernels 1", "--cpu_kernels 0", "--optimizer lamb"])
def test_each_layer_moves_by_its_share_of_the_learning_rate(place, flags):
    """In the first step of Adam, each weight with a gradient moves by the learning rate; lamb's
    trust ratio without decay is 1."""
    moved = {}
    for decay in (1, 0.5):
        model = load_model(place)
        args = parse(place, f"--layerwise_lr_decay {decay} --learning_rate 1e-3 {flags}")
        layer_settings.apply_to_model(args, model, 1, RunLog(active=False))
        optimizer = optim.build_optimizer(model, args, False, args.cpu_kernels)
        before = {name: p.numpy().copy() for name, p in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = parameter * 0 + 0.5
        optimizer.clip_gradients(list(model.parameters()), 0)
        optimizer.set_lr(1e-3)
        optimizer.step()
        moved[decay] = {n: np.abs(p.numpy() - before[n]).max() for n, p in model.named_parameters()}
    for name, distance in moved[1].items():
        share = 1.0
        for part, depth in (
            ("embeddings", 4),
            ("layers.0.", 3),
            ("layers.1.", 2),
            ("layers.2.", 1),
        ):
            share = 0.5**depth if part in name else share
        assert moved[0.5][name] == pytest.approx(share * distance, rel=0.01), name


@pytest.mark.parametrize("flags", ["--freeze_layers 2 --freeze_embeddings", "--freeze_layers 1"])
def test_the_kernels_give_the_gradients_of_the_layers(place, flags):
    ids = np.random.default_rng(0).integers(5, 60, (3, 9))
    batch = {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": ids * 0}
    batch |= {"labels": np.array([0, 1, 1])}
    found = []
    for by_kernels in (True, False):
        model = load_model(place)
        args = parse(place, flags)
        layer_settings.apply_to_model(args, model, 1, RunLog(active=False))
        model.eval()  # no dropout
        trainer = Trainer(
            model, loss.objective(), args, False, RunLog(active=False),
            loss.forward_pass(model, by_kernels),
        )  # fmt: skip
        seen: dict[str, np.ndarray] = {}

        def keep(model=model, seen=seen) -> None:
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    seen[name] = parameter.grad.numpy()

        trainer.before_optimizer_step.append(keep)
        trainer.step([batch], 0.0, 1, {})
        found.append(seen)
    assert found[0].keys() == found[1].keys()
    frozen = "bert.encoder.layers.0.linear1.weight"
    assert frozen not in found[0]
    assert ("bert.embeddings.word_embeddings.weight" in found[0]) == ("embeddings" not in flags)
    for name, gradient in found[0].items():
        np.testing.assert_allclose(gradient, found[1][name], rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--freeze_layers 4", "--freeze_layers 4: the model has 3 layers"),
        ("--reinit_layers 4", "--reinit_layers 4: the model has 3 layers"),
        ("--freeze_layers 2 --reinit_layers 2", "and one that is drawn anew must be trained"),
        ("--do_eval --reinit_layers 1", "--reinit_layers needs training (--do_train)"),
        ("--do_eval --freeze_layers 1", "--freeze_layers needs training (--do_train)"),
        ("--do_eval --freeze_embeddings", "--freeze_embeddings needs training (--do_train)"),
        ("--do_eval --layerwise_lr_decay 0.9", "--layerwise_lr_decay needs training (--do_train)"),
        ("--do_eval --class_weights balanced", "--class_weights needs training (--do_train)"),
        ("--layerwise_lr_decay 0", "--layerwise_lr_decay must be greater than 0"),
        ("--layerwise_lr_decay 1.1", "--layerwise_lr_decay must be at most 1"),
    ],
)
def test_what_is_refused(place, tmp_path, flags, message):
    with pytest.raises(UserError) as caught:
        run(place, tmp_path / "out", flags)
    assert message in str(caught.value)
