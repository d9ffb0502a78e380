"""`bert-paddle check`: the stored references, how trainings are compared with them, and that a
small mistake is seen."""

import copy
import importlib.util
import io
from pathlib import Path

import fake_amp
import numpy as np
import paddle
import pytest

from bert_paddle.cli.selfcheck import compare, small_model, train
from bert_paddle.cli.selfcheck.ways import BY_NAME, FLOAT32, TOLERANCES, WAYS
from bert_paddle.common.run_log import RunLog
from bert_paddle.models.kernels import products
from bert_paddle.training import optim
from bert_paddle.training.step import Objective, Trainer

SCRIPT = Path(__file__).parents[1] / "reference" / "selfcheck.py"
heads = pytest.mark.parametrize("head", small_model.HEADS)
KERNELS, LAYERS = BY_NAME["float32, C kernels"], BY_NAME["float32"]


@pytest.fixture(scope="module")
def script():
    """tests/reference/selfcheck.py, which wrote the references."""
    spec = importlib.util.spec_from_file_location("reference_selfcheck", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def deviation(head, way=KERNELS):
    record = train.train_head(head, way, RunLog(stdout=io.StringIO(), stderr=io.StringIO()))
    return compare.deviations(record, compare.reference()[way.optimizer][head])


@heads
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_the_stored_references_are_those_of_the_script(script, head, optimizer):
    record, largest_gradient = script.train(head, optimizer)
    found = compare.deviations(record, compare.reference()[optimizer][head])
    assert max(found.loss, found.gradient, found.weight) < 1e-7
    assert largest_gradient * 65536 < 0.5 * 65504  # float16 with Paddle's first loss scale


@heads
@pytest.mark.parametrize("way", [KERNELS, LAYERS, BY_NAME["LAMB"]], ids=lambda way: way.name)
def test_the_product_agrees(head, way):
    found = deviation(head, way)
    assert FLOAT32.exceeded_by(found) == []
    assert found.gradient < FLOAT32.gradient / 10 and found.loss < FLOAT32.loss / 10


@heads
def test_a_gradient_that_is_one_percent_too_large_is_seen(head, monkeypatch):
    """In the product's own backward pass: that of one kind of weight."""
    original = products.Products.multiply
    output_projection = (small_model.CONFIG["hidden_size"],) * 2

    def scaled(self, a, b, result, **options):
        original(self, a, b, result, **options)
        if options.get("transpose_a") and tuple(result.shape) == output_projection:
            result.scale_(1.01)
        return result

    monkeypatch.setattr(products.Products, "multiply", scaled)
    assert "gradient" in FLOAT32.exceeded_by(deviation(head))


@pytest.mark.parametrize("name", ["bert.encoder.layers.1.norm1.bias", "bert.pooler.dense.weight"])
def test_a_gradient_hook_of_one_percent_is_seen(name, monkeypatch):
    original = train._build_model

    def build(*args):
        model = original(*args)
        dict(model.named_parameters())[name].register_hook(lambda gradient: gradient * 1.01)
        return model

    monkeypatch.setattr(train, "_build_model", build)
    assert "gradient" in FLOAT32.exceeded_by(deviation(small_model.FINE_TUNING, LAYERS))


@heads
def test_one_percent_of_any_tensor_is_seen(head):
    wanted = compare.reference()["adamw"][head]
    for name, norms in wanted["gradients"].items():
        record = copy.deepcopy(wanted)
        record["gradients"][name] = [norm * 1.01 for norm in norms]
        exceeded = FLOAT32.exceeded_by(compare.deviations(record, wanted))
        # The gradient of a key's bias is 0 but for rounding.
        assert exceeded == ([] if name.endswith("k_proj.bias") else ["gradient"]), name


def test_decay_of_a_bias_is_seen(monkeypatch):
    """A mistake that hardly changes losses and gradients."""
    original, bias = optim.is_decayed, "cls.predictions.decoder_bias"
    monkeypatch.setattr(optim, "is_decayed", lambda name: name == bias or original(name))
    assert FLOAT32.exceeded_by(deviation(small_model.PRETRAINING)) == ["weight"]


def test_what_is_not_a_number_or_missing_is_too_large():
    wanted = compare.reference()["adamw"][small_model.PRETRAINING]
    for part, name in (("losses", "nsp"), ("gradients", "bert.pooler.dense.bias")):
        record = copy.deepcopy(wanted)
        record[part][name][-1] = float("nan")
        assert len(FLOAT32.exceeded_by(compare.deviations(record, wanted))) == 1
        del record[part][name]
        assert len(FLOAT32.exceeded_by(compare.deviations(record, wanted))) == 3


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_flags_are_those_of_both_programs(way):
    for head in small_model.HEADS:
        args = train.training_args(head, way)
        assert args.optimizer == way.optimizer
        assert (args.use_amp, way.device) in ((False, way.device), (True, "gpu"))
        if args.use_amp:
            assert way.precision == f"{args.amp_dtype} {args.amp_level}"
        assert way.precision in TOLERANCES
        assert bool(way.environment) == (way.precision == "float32")


@heads
def test_micro_batches_and_ranks_share_the_same_rows(head):
    whole = small_model.batch(head, 3)
    for parts, size in ((1, 1), (2, 1), (1, 2), (2, 2)):
        batches = [
            batch
            for rank in range(size)
            for batch in small_model.micro_batches(head, 3, parts, rank, size)
        ]
        assert len(batches) == parts * size
        for name, values in whole.items():
            if name == "masked_positions":  # indices into the batch's own rows
                assert sum(len(batch[name]) for batch in batches) == len(values)
            else:
                merged = np.concatenate([batch[name] for batch in batches])
                assert sorted(map(str, merged)) == sorted(map(str, values))


def test_recorded_gradients_are_unscaled(monkeypatch):
    fake_amp.install(monkeypatch)
    linear = paddle.nn.Linear(2, 1)
    objective = Objective(
        lambda model, batch: {"loss": model(paddle.to_tensor(batch["x"])).sum()},
        lambda batch: {"loss": len(batch["x"])},
    )
    args = train.training_args(small_model.FINE_TUNING, BY_NAME["float16 O1"])
    log = RunLog(stdout=io.StringIO(), stderr=io.StringIO())
    trainer, recorded = Trainer(linear, objective, args, True, log), []
    trainer.before_optimizer_step.append(lambda: recorded.append(train.current_gradients(trainer)))
    assert trainer.loss_scale() == 65536
    trainer.step([{"x": np.array([[2.0, 4.0], [4.0, 8.0]], "float32")}], 0.1, 1, {})
    assert recorded[0][linear.weight.name].ravel().tolist() == [3.0, 6.0]
