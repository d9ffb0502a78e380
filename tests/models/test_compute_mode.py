"""Recomputation, static graphs and scaled_dot_product_attention against PaddleNLP's plain layers:
the same losses and gradients, update by update."""

import io
import shutil

import numpy as np
import pytest
import tiny
from paddlenlp.transformers import BertConfig, BertForPretraining, BertForSequenceClassification

from bert_paddle.common.errors import FlagError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data import dataset
from bert_paddle.models import compute_mode
from bert_paddle.pretrain import model as pretraining
from bert_paddle.training import optim
from bert_paddle.training.step import Trainer

import paddle  # isort: skip

NEEDED = ["--task_name", "sst-2", "--model_name_or_path", "m", "--output_dir", "o"]
KINDS = [BertForSequenceClassification, BertForPretraining]


@pytest.mark.parametrize(("decay", "said"), [("0", 1), ("0.01", 0)])
def test_lamb_without_decay_is_told(capsys, decay, said):
    model = make(BertForSequenceClassification)
    args = parse_args([*NEEDED, "--optimizer", "lamb", "--weight_decay", decay])
    Trainer(model, None, args, False, RunLog())
    assert capsys.readouterr().err.count("no weight's rate is scaled") == said


def make(kind, dropout=0.0):
    paddle.seed(3)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return kind(BertConfig(**tiny.CONFIG, **rates, initializer_range=0.2))


def batches():
    """Batches of different sizes and lengths; the last has no masked words."""
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


def course(kind, *flags, dropout=0.0):
    """Losses in training and evaluation and gradients of some updates, and what was said."""
    args, out = parse_args([*NEEDED, "--cpu_kernels", "0", *flags]), RunLog(err=io.StringIO())
    network = make(kind, dropout)
    compute_mode.set_compute_mode(network, args, out)
    classifies = kind is BertForSequenceClassification
    objective = dataset.objective(False) if classifies else pretraining.objective()
    optimizer = optim.build(network, args)
    losses, gradients = [], []
    for number, batch in enumerate(batches()):
        network.eval()
        with paddle.no_grad():
            losses.append(float(sum(objective.sums(network, batch).values())))
        network.train()
        paddle.seed(number)
        loss = sum(objective.sums(network, batch).values())
        losses.append(float(loss))
        loss.backward()
        gradients.append(
            {n: p.grad.numpy() for n, p in network.named_parameters() if p.grad is not None}
        )
        optimizer.step()
        optimizer.clear_grad()
    return losses, gradients, list(network.state_dict()), out.err.getvalue()


def check_same(ours, theirs, exact):
    near = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-5}
    assert np.isfinite(theirs[0]).all()
    np.testing.assert_allclose(ours[0], theirs[0], **(near if exact else {"rtol": 1e-5}))
    for mine, others in zip(ours[1], theirs[1], strict=True):
        for name, gradient in others.items():
            np.testing.assert_allclose(mine[name], gradient, err_msg=name, **near)
    assert ours[2] == theirs[2]  # names of the state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("flag", ["--recompute", "--to_static"])
def test_the_same_course_also_with_dropout(kind, flag, dropout):
    check_same(course(kind, flag, dropout=dropout), course(kind, dropout=dropout), exact=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("others", [[], ["--recompute"], ["--to_static"]])
def test_flash_attention(kind, others):
    ours = course(kind, "--flash_attention", *others)
    check_same(ours, course(kind), exact=False)
    assert "no flash kernel (it runs on GPUs only)" in ours[3]


def test_dropout_of_flash_attention_is_replayed_too():
    plain = course(KINDS[0], "--flash_attention", dropout=0.3)
    again = course(KINDS[0], "--flash_attention", "--recompute", dropout=0.3)
    check_same(again, plain, exact=False)
    still = course(KINDS[0], "--flash_attention")
    assert abs(plain[0][1] - still[0][1]) > 1e-4  # there is dropout


def test_recomputation_calls_each_layer_twice(monkeypatch):
    network, calls = make(KINDS[0]), []
    compute_mode.set_compute_mode(
        network, parse_args([*NEEDED, "--recompute"]), RunLog(err=io.StringIO())
    )
    for layer in network.bert.encoder.layers:
        layer.linear1.register_forward_pre_hook(lambda *_: calls.append(1))
    network.train()
    dataset.forward(network, next(batches())).sum().backward()
    assert len(calls) == 2 * len(network.bert.encoder.layers)


def test_attention_goes_by_paddles_function(monkeypatch):
    import paddle.nn.functional as F

    seen, real = [], F.scaled_dot_product_attention
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda *given, **named: seen.append(given[3].shape) or real(*given, **named),
    )
    course(KINDS[0], "--flash_attention")
    assert [3, 1, 9, 9] in seen  # the mask, by query


def test_a_static_graph_is_traced_once_for_each_mode_and_in_half_precision_where_asked():
    """Automatic mixed precision does nothing on CPUs, but its state can be set: the trace has its
    casts, as it would on a GPU."""
    from paddle.base import core, framework

    network = make(KINDS[0])
    compute_mode.set_compute_mode(
        network, parse_args([*NEEDED, "--to_static"]), RunLog(err=io.StringIO())
    )
    static = network.forward.__closure__
    static = next(c.cell_contents for c in static if hasattr(c.cell_contents, "program_cache"))
    for batch in batches():
        dataset.forward(network, batch)
    assert len(static.program_cache) == 1
    assert "bfloat16" not in str(static.concrete_program.main_program)
    fresh = make(KINDS[0])
    compute_mode.set_compute_mode(
        fresh, parse_args([*NEEDED, "--to_static"]), RunLog(err=io.StringIO())
    )
    static = next(
        c.cell_contents
        for c in fresh.forward.__closure__
        if hasattr(c.cell_contents, "program_cache")
    )
    lists = paddle.amp.white_list()["bfloat16"]["O1"], paddle.amp.black_list()["bfloat16"]["O1"]
    tracer = framework._dygraph_tracer()
    kept = tracer._amp_level, tracer._amp_dtype, tracer._get_amp_op_list()
    try:
        tracer._amp_level, tracer._amp_dtype = core.AmpLevel.O1, "bfloat16"
        tracer._set_amp_op_list(*lists)
        program = str(static.concrete_program.main_program)
    finally:
        tracer._amp_level, tracer._amp_dtype = kept[:2]
        tracer._set_amp_op_list(*kept[2])
    assert program.count("dtype:bfloat16") > 10


def test_a_tensor_is_the_array():
    array = np.arange(6).reshape(2, 3)
    found = compute_mode.tensor(array)
    assert found.dtype == paddle.int64 and (found.numpy() == array).all()


def test_what_does_not_go_together_is_told():
    with pytest.raises(FlagError, match="--recompute and --to_static cannot be combined"):
        parse_args([*NEEDED, "--recompute", "--to_static"])
    with pytest.raises(FlagError, match="--fused_adamw is for --optimizer adamw, not lamb"):
        parse_args([*NEEDED, "--fused_adamw", "--optimizer", "lamb"])


def test_a_run_with_all_of_them_and_one_that_goes_on_without(tmp_path, capfd):
    """Its checkpoints are those of any run."""
    tiny.write_model(tmp_path / "model", labels=("negative", "positive"))
    tiny.write_sst2(tmp_path / "SST-2")
    flags = f"--task_name sst2 --model_name_or_path {tmp_path / 'model'} --data_dir {tmp_path} "
    flags += f"--output_dir {tmp_path / 'run'} --max_seq_length 32 --save_steps 2 --do_train "
    flags += "--do_eval --report 0 "
    flags += "--num_train_epochs 1 "
    finetune.run(parse_args(f"{flags} --to_static --flash_attention --fused_adamw".split()))
    said = capfd.readouterr().err
    assert "for --to_static, --flash_attention; our kernels are off" in said
    assert "--fused_adamw has no effect on the CPU" in said
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"model_{step}")
    more = "--recompute --resume_from_checkpoint auto"
    assert finetune.run(parse_args(f"{flags} {more}".split()))["global_step"] == 6
    assert "going on from" in capfd.readouterr().err
