"""Recomputation, static graphs and scaled_dot_product_attention against PaddleNLP's plain layers:
the same losses and gradients at every step."""

import io
import shutil

import numpy as np
import pytest
import tiny
from paddlenlp.transformers.bert.modeling import (
    BertConfig,
    BertForPretraining,
    BertForSequenceClassification,
)

from bert_paddle.common.errors import FlagError, OutputError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import finetune, loss
from bert_paddle.glue.args import parse_args
from bert_paddle.models import compute_mode
from bert_paddle.pretrain import model as pretraining
from bert_paddle.training import optim
from bert_paddle.training.step import Trainer

import paddle  # isort: skip

REQUIRED_FLAGS = ["--task_name", "sst-2", "--model_name_or_path", "m", "--output_dir", "o"]
MODEL_CLASSES = [BertForSequenceClassification, BertForPretraining]


@pytest.mark.parametrize(("decay", "warnings"), [("0", 1), ("0.01", 0)])
def test_lamb_without_weight_decay_warns(capsys, decay, warnings):
    model = make(BertForSequenceClassification)
    args = parse_args([*REQUIRED_FLAGS, "--optimizer", "lamb", "--weight_decay", decay])
    Trainer(model, None, args, False, RunLog())
    assert capsys.readouterr().err.count("the trust ratio is 1") == warnings


def make(model_class, dropout=0.0):
    paddle.seed(3)
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return model_class(BertConfig(**tiny.CONFIG, **dropouts, initializer_range=0.2))


def batches():
    """Batches of different sizes and lengths; the last has no masked tokens."""
    rng = np.random.default_rng(0)
    for lengths in ([9, 5, 7], [4, 4], [12, 3, 3, 8], [6]):
        rows, width = len(lengths), max(lengths)
        mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
        masked = np.flatnonzero(mask)[1::5] if rows > 1 else np.zeros(0, np.int64)
        yield {
            "input_ids": rng.integers(1, 40, (rows, width)) * mask,
            "input_mask": mask,
            "segment_ids": (np.arange(width) > 3) * mask,
            "labels": np.arange(rows) % 2,
            "masked_positions": masked,
            "masked_lm_ids": np.arange(len(masked)) % 40,
            "next_sentence_labels": np.arange(rows) % 2,
        }


def train_steps(model_class, *flags, dropout=0.0):
    """Losses in training and evaluation, gradients of some steps, state names, and stderr."""
    args, log = (
        parse_args([*REQUIRED_FLAGS, "--cpu_kernels", "0", *flags]),
        RunLog(stderr=io.StringIO()),
    )
    model = make(model_class, dropout)
    by_kernels = compute_mode.set_compute_mode(model, args, log)
    classifies = model_class is BertForSequenceClassification
    objective = loss.objective() if classifies else pretraining.objective()
    forward = (loss if classifies else pretraining).forward_pass(model, by_kernels)
    optimizer = optim.build_optimizer(model, args)
    losses, gradients = [], []
    for step, batch in enumerate(batches()):
        model.eval()
        with paddle.no_grad():
            losses.append(float(sum(objective.sums(forward, batch).values())))
        model.train()
        paddle.seed(step)
        total = sum(objective.sums(forward, batch).values())
        losses.append(float(total))
        total.backward()
        gradients.append(
            {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
        )
        optimizer.step()
        optimizer.clear_grad()
    return losses, gradients, list(model.state_dict()), log.stderr.getvalue()


def check_same(ours, reference, exact):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-5}
    assert np.isfinite(reference[0]).all()
    np.testing.assert_allclose(ours[0], reference[0], **(tolerance if exact else {"rtol": 1e-5}))
    for mine, others in zip(ours[1], reference[1], strict=True):
        for name, gradient in others.items():
            np.testing.assert_allclose(mine[name], gradient, err_msg=name, **tolerance)
    assert ours[2] == reference[2]  # names of the state


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("flag", ["--recompute", "--to_static"])
def test_same_losses_and_gradients_also_with_dropout(model_class, flag, dropout):
    check_same(
        train_steps(model_class, flag, dropout=dropout),
        train_steps(model_class, dropout=dropout),
        exact=False,
    )


@pytest.mark.parametrize("model_class", MODEL_CLASSES)
@pytest.mark.parametrize("others", [[], ["--recompute"], ["--to_static"]])
def test_flash_attention(model_class, others):
    ours = train_steps(model_class, "--flash_attention", *others)
    check_same(ours, train_steps(model_class), exact=False)
    assert "ordinary attention kernel (the flash kernel runs on GPUs only)" in ours[3]


def test_recompute_repeats_the_dropout_of_flash_attention():
    without_recompute = train_steps(MODEL_CLASSES[0], "--flash_attention", dropout=0.3)
    with_recompute = train_steps(MODEL_CLASSES[0], "--flash_attention", "--recompute", dropout=0.3)
    check_same(with_recompute, without_recompute, exact=False)
    no_dropout = train_steps(MODEL_CLASSES[0], "--flash_attention")
    assert abs(without_recompute[0][1] - no_dropout[0][1]) > 1e-4  # dropout is applied


def test_recomputation_calls_each_layer_twice(monkeypatch):
    model, calls = make(MODEL_CLASSES[0]), []
    by_kernels = compute_mode.set_compute_mode(
        model, parse_args([*REQUIRED_FLAGS, "--recompute"]), RunLog(stderr=io.StringIO())
    )
    forward = loss.forward_pass(model, by_kernels)
    for layer in model.bert.encoder.layers:
        layer.linear1.register_forward_pre_hook(lambda *_: calls.append(1))
    model.train()
    forward(next(batches())).sum().backward()
    assert len(calls) == 2 * len(model.bert.encoder.layers)


def test_attention_calls_paddles_function(monkeypatch):
    import paddle.nn.functional as F

    mask_shapes, original = [], F.scaled_dot_product_attention
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: mask_shapes.append(args[3].shape) or original(*args, **kwargs),
    )
    train_steps(MODEL_CLASSES[0], "--flash_attention")
    assert [3, 1, 9, 9] in mask_shapes  # a mask row for each query


def test_static_graph_is_traced_once_per_mode_and_in_half_precision_if_set():
    """Automatic mixed precision does nothing on CPUs, but its state can be set: the trace has its
    casts, as on a GPU."""
    from paddle.base import core, framework

    model = make(MODEL_CLASSES[0])
    compute_mode.set_compute_mode(
        model, parse_args([*REQUIRED_FLAGS, "--to_static"]), RunLog(stderr=io.StringIO())
    )
    static = model.forward.__closure__
    static = next(c.cell_contents for c in static if hasattr(c.cell_contents, "program_cache"))
    for batch in batches():
        loss.forward_pass(model, by_kernels=False)(batch)
    assert len(static.program_cache) == 1
    assert "bfloat16" not in str(static.concrete_program.main_program)
    half_precision = make(MODEL_CLASSES[0])
    compute_mode.set_compute_mode(
        half_precision, parse_args([*REQUIRED_FLAGS, "--to_static"]), RunLog(stderr=io.StringIO())
    )
    static = next(
        c.cell_contents
        for c in half_precision.forward.__closure__
        if hasattr(c.cell_contents, "program_cache")
    )
    lists = paddle.amp.white_list()["bfloat16"]["O1"], paddle.amp.black_list()["bfloat16"]["O1"]
    tracer = framework._dygraph_tracer()
    saved = tracer._amp_level, tracer._amp_dtype, tracer._get_amp_op_list()
    try:
        tracer._amp_level, tracer._amp_dtype = core.AmpLevel.O1, "bfloat16"
        tracer._set_amp_op_list(*lists)
        program = str(static.concrete_program.main_program)
    finally:
        tracer._amp_level, tracer._amp_dtype = saved[:2]
        tracer._set_amp_op_list(*saved[2])
    assert program.count("dtype:bfloat16") > 10


def test_to_device_keeps_the_array():
    array = np.arange(6).reshape(2, 3)
    tensor = compute_mode.to_device(array)
    assert tensor.dtype == paddle.int64 and (tensor.numpy() == array).all()


def test_incompatible_flags_are_errors():
    with pytest.raises(FlagError, match="--recompute and --to_static cannot be combined"):
        parse_args([*REQUIRED_FLAGS, "--recompute", "--to_static"])
    with pytest.raises(FlagError, match="--fused_adamw is for --optimizer adamw, not lamb"):
        parse_args([*REQUIRED_FLAGS, "--fused_adamw", "--optimizer", "lamb"])


def test_a_run_with_all_flags_is_resumed_with_them_only(tmp_path, capfd):
    """Without them, dropout would draw other masks; --recompute draws the same."""
    tiny.write_model(tmp_path / "model", labels=("negative", "positive"))
    tiny.write_sst2(tmp_path / "SST-2")
    flags = f"--task_name sst2 --model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path} "
    flags += f"--output_dir {tmp_path / 'run'} --max_seq_length 32 --save_steps 2 --do_train "
    flags += "--do_eval --report 0 "
    flags += "--num_train_epochs 1 "
    mode = "--to_static --flash_attention --fused_adamw"
    finetune.run(parse_args(f"{flags} {mode}".split()))
    stderr = capfd.readouterr().err
    assert "for --to_static, --flash_attention; our kernels are off" in stderr
    assert "--fused_adamw has no effect on the CPU" in stderr
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"model_{step}")
    flags += "--resume_from_checkpoint auto"
    with pytest.raises(OutputError, match="--to_static was on and is off; --flash_attention"):
        finetune.run(parse_args(f"{flags} --recompute".split()))
    assert finetune.run(parse_args(f"{flags} {mode}".split()))["global_step"] == 6
    assert "resuming from" in capfd.readouterr().err
