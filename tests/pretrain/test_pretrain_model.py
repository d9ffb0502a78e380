"""The pre-training model: initial weights, loaded weights, loss."""

import math

import numpy as np
import pytest
import tiny

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights, model_state
from bert_paddle.models.kernels import encoder
from bert_paddle.pretrain import model as pretrain_model

CONFIG = tiny.CONFIG | {"initializer_range": 0.02, "layer_norm_eps": 1e-12}


def make_batch(rows=3, width=8, predictions=4, seed=0):
    rng = np.random.default_rng(seed)
    maskable = np.arange(1, width)
    positions = [np.sort(rng.permutation(maskable)[:predictions]) + i * width for i in range(rows)]
    return {
        "input_ids": rng.integers(5, tiny.CONFIG["vocab_size"], (rows, width)),
        "input_mask": np.ones((rows, width), np.int64),
        "segment_ids": np.zeros((rows, width), np.int64),
        "masked_positions": np.concatenate(positions),
        "masked_lm_ids": rng.integers(5, tiny.CONFIG["vocab_size"], rows * predictions),
        "next_sentence_labels": rng.integers(0, 2, rows),
    }


def test_initial_weights_are_berts_and_depend_on_seed_and_name():
    shapes = {
        "bert.embeddings.word_embeddings.weight": (4000, 16),
        "cls.predictions.decoder.weight": (4000, 16),
        "bert.encoder.layers.0.linear1.weight": (16, 64),
        "bert.encoder.layers.0.linear1.bias": (64,),
        "bert.encoder.layers.0.norm1.weight": (16,),
        "cls.predictions.layer_norm.weight": (16,),
        "cls.predictions.decoder_bias": (4000,),
    }
    first = pretrain_model.initial_tensors(shapes, 0.02, 7)
    embeddings = first["bert.embeddings.word_embeddings.weight"]
    # A normal distribution truncated at 2 standard deviations has 0.8796 of its standard deviation.
    assert np.abs(embeddings).max() <= 0.04 and embeddings.std() == pytest.approx(
        0.8796 * 0.02, rel=0.01
    )
    assert abs(embeddings.mean()) < 1e-3
    assert np.array_equal(embeddings, first["cls.predictions.decoder.weight"])
    assert not first["bert.encoder.layers.0.linear1.bias"].any()
    assert not first["cls.predictions.decoder_bias"].any()
    assert (first["bert.encoder.layers.0.norm1.weight"] == 1).all()
    assert (first["cls.predictions.layer_norm.weight"] == 1).all()
    name = "bert.encoder.layers.0.linear1.weight"
    single = pretrain_model.initial_tensors({name: (16, 64)}, 0.02, 7)
    assert np.array_equal(first[name], single[name])
    assert not np.array_equal(first[name], pretrain_model.initial_tensors(shapes, 0.02, 8)[name])


def test_decoder_and_embeddings_stay_tied_after_setting_weights():
    model, notes = pretrain_model.build_model(CONFIG, 1, None)
    decoder, embeddings = (
        model.cls.predictions.decoder.weight,
        model.bert.embeddings.word_embeddings,
    )
    assert np.array_equal(decoder.numpy(), embeddings.weight.numpy())
    before = embeddings.weight.numpy().copy()
    embeddings.weight.set_value(embeddings.weight + 1)
    assert np.array_equal(decoder.numpy(), before + 1)
    assert notes == ["random weights from seed 1"]


def test_loaded_weights_replace_all_they_contain(tmp_path):
    model, _ = pretrain_model.build_model(CONFIG, 1, None)
    (tmp_path / "first").mkdir()
    model_state.model_writer(model, {})(tmp_path / "first")
    again, notes = pretrain_model.build_model(
        CONFIG, 2, load_weights.load_weights(tmp_path / "first")
    )
    for name, value in model_state.numpy_state_dict(model).items():
        assert np.array_equal(value, model_state.numpy_state_dict(again)[name]), name
    assert not any("new head" in note for note in notes)

    encoder = tiny.write_encoder(tmp_path / "encoder")
    third, notes = pretrain_model.build_model(CONFIG, 1, load_weights.load_weights(encoder))
    assert any("new head" in note for note in notes)
    name = "cls.seq_relationship.weight"
    assert np.array_equal(
        model_state.numpy_state_dict(third)[name], model_state.numpy_state_dict(model)[name]
    )
    name = "bert.pooler.dense.weight"
    assert not np.array_equal(
        model_state.numpy_state_dict(third)[name], model_state.numpy_state_dict(model)[name]
    )


def test_weights_of_another_size_are_rejected(tmp_path):
    encoder = tiny.write_encoder(tmp_path / "encoder")
    with pytest.raises(WeightsError, match=r"^--init_from: .*\[32\].*give the same model"):
        pretrain_model.build_model(
            CONFIG | {"hidden_size": 32}, 1, load_weights.load_weights(encoder)
        )


def test_loss_of_a_computed_example():
    import paddle

    def model(input_ids, token_type_ids, attention_mask, masked_positions):
        # Masked LM: p(label) = 1/2 and 1/4 of four tokens; NSP: 1/2 and 3/4.
        mlm_logits = paddle.to_tensor(np.log([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]))
        nsp_logits = paddle.to_tensor(np.log([[0.5, 0.5], [0.25, 0.75]]))
        return mlm_logits, nsp_logits

    batch = make_batch(rows=2, predictions=1) | {
        "masked_lm_ids": np.array([0, 2]),
        "next_sentence_labels": np.array([1, 1]),
    }
    objective = pretrain_model.objective()
    forward = pretrain_model.forward_pass(model, by_kernels=False)
    sums = {name: float(value) for name, value in objective.sums(forward, batch).items()}
    assert sums["mlm"] == pytest.approx(math.log(2) + math.log(4), rel=1e-6)
    assert sums["nsp"] == pytest.approx(math.log(2) + math.log(4 / 3), rel=1e-6)
    assert objective.counts(batch) == {"mlm": 2, "nsp": 2}
    assert objective.counts({}) == {}


def test_loss_is_that_of_paddlenlps_criterion():
    import paddle
    from paddlenlp.transformers.bert.modeling import BertPretrainingCriterion

    model, _ = pretrain_model.build_model(CONFIG, 3, None)
    model.eval()
    batch = make_batch(rows=5, predictions=3)
    objective = pretrain_model.objective()
    forward = pretrain_model.forward_pass(model, by_kernels=False)
    sums, counts = objective.sums(forward, batch), objective.counts(batch)
    ours = float(sums["mlm"]) / counts["mlm"] + float(sums["nsp"]) / counts["nsp"]
    mlm_logits, nsp_logits = forward(batch)
    theirs = BertPretrainingCriterion(CONFIG["vocab_size"])(
        mlm_logits,
        nsp_logits,
        paddle.to_tensor(batch["masked_lm_ids"])[:, None],
        paddle.to_tensor(batch["next_sentence_labels"])[:, None],
        float(counts["mlm"]),
    )
    assert ours == pytest.approx(float(theirs), rel=1e-6)


@pytest.mark.parametrize("by_kernels", [False, True])
def test_a_batch_without_masked_tokens_still_trains_nsp(by_kernels):
    model, _ = pretrain_model.build_model(CONFIG, 3, None)
    empty = make_batch() | {
        "masked_positions": np.zeros(0, np.int64),
        "masked_lm_ids": np.zeros(0, np.int64),
    }
    if by_kernels and (reason := encoder.unsupported_reason(model.bert)):
        pytest.skip(f"no kernels: {reason}")
    forward = pretrain_model.forward_pass(model, by_kernels)
    sums = pretrain_model.objective().sums(forward, empty)
    assert float(sums["mlm"]) == 0 and float(sums["nsp"]) > 0
    (sums["mlm"] + sums["nsp"]).backward()
    assert np.isfinite(model.cls.seq_relationship.weight.grad.numpy()).all()
