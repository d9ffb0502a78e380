"""Weights of BERT models of other kinds, saved by other programs: what is loaded, and what is drawn
anew."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_classifier import build, forward, read_expected
from test_load_weights import TINY_HF, assert_equal, paddle_tensors, write

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import activations, load_weights, weight_names
from bert_paddle.pretrain import model as pretrain_model

PRETRAINED = Path(__file__).parents[1] / "reference" / "tiny_hf_pretraining"


def without(*prefixes: str, tensors: dict | None = None) -> dict:
    tensors = tensors or paddle_tensors()
    return {name: value for name, value in tensors.items() if not name.startswith(prefixes)}


def masked_lm(folder: Path) -> Path:
    """A folder of Hugging Face's BertForMaskedLM, which has neither pooler nor NSP head."""
    folder.mkdir()
    config = json.loads((PRETRAINED / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    tensors = load_file(PRETRAINED / "model.safetensors")
    save_file(
        without("bert.pooler.", "cls.seq_relationship.", tensors=tensors),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def build_pretraining(folder: Path, seed: int = 1):
    loaded = load_weights.load_weights(folder)
    config = {key: value for key, value in loaded.config.items() if key != "labels"}
    return pretrain_model.build_model(config, seed, loaded)


def test_pretraining_continues_from_a_masked_lm(tmp_path):
    model, notes = build_pretraining(masked_lm(tmp_path / "m"))
    assert "new pooler (the weights have none)" in notes
    assert "new head (the weights have no cls.seq_relationship)" in notes
    model.eval()
    expected = json.loads((PRETRAINED / "expected.json").read_text())
    ids, positions = np.array(expected["input_ids"]), np.array(expected["prediction_positions"])
    rows, width = ids.shape
    mlm_logits, _ = pretrain_model.forward_pass(model, by_kernels=False)(
        {
            "input_ids": ids,
            "segment_ids": np.array(expected["token_type_ids"]),
            "input_mask": np.array(expected["attention_mask"]),
            "masked_positions": (np.arange(rows)[:, None] * width + positions).reshape(-1),
        },
    )
    of_transformers = np.array(expected["prediction_logits"]).reshape(mlm_logits.shape)
    np.testing.assert_allclose(mlm_logits.numpy(), of_transformers, atol=1e-4, rtol=1e-4)
    pooler = model.bert.pooler.dense
    again = build_pretraining(tmp_path / "m")[0].bert.pooler.dense
    assert np.array_equal(pooler.weight.numpy(), again.weight.numpy())  # from the seed
    assert 0.005 < pooler.weight.numpy().std() < 0.04 and not pooler.bias.numpy().any()


def test_fine_tuning_begins_from_a_masked_lm(tmp_path):
    built = build(masked_lm(tmp_path / "m"), ("no", "yes"))
    assert built.new_head and "new pooler (the weights have none)" in built.notes
    expected = load_weights.load_weights(PRETRAINED).tensors
    loaded = {name: value.numpy() for name, value in built.model.state_dict().items()}
    for name, value in without("bert.pooler.", "classifier.", tensors=loaded).items():
        assert np.array_equal(value, expected[name]), name
    assert 0.005 < loaded["bert.pooler.dense.weight"].std() < 0.04
    with pytest.raises(WeightsError, match="no classifier for this task"):
        build(tmp_path / "m", ("no", "yes"), need_head=True)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("layout", [weight_names.to_hf, dict])
def test_a_head_without_a_pooler_is_of_another_kind_of_model(tmp_path, prefix, layout):
    """As of BertForTokenClassification, whose folder need not name it."""
    tensors = layout(without("bert.pooler."))
    write(tmp_path, {f"{prefix}{name}": value for name, value in tensors.items()})
    built = build(tmp_path, ("a", "b", "c"))
    assert "new pooler (the weights have none)" in built.notes
    assert "no pooler, which the classifier reads" in built.notes[-1]
    with pytest.raises(WeightsError, match="no pooler, which the classifier reads"):
        build(tmp_path, ("a", "b", "c"), need_head=True)


def test_half_a_pooler_is_damage(tmp_path):
    write(tmp_path, without("bert.pooler.dense.bias"))
    with pytest.raises(WeightsError, match=r"1 missing \(bert.pooler.dense.bias\)"):
        build(tmp_path, ("a", "b", "c"))


@pytest.mark.parametrize(
    "wrapper",
    ["module.", "model.", "auto_model.", "0.auto_model.", "module.model._orig_mod.", "bert."],
)
@pytest.mark.parametrize("layout", [weight_names.to_hf, dict])
def test_one_wrapper_is_taken_off(tmp_path, wrapper, layout):
    tensors = {f"{wrapper}{name}": value for name, value in layout(paddle_tensors()).items()}
    loaded = load_weights.load_weights(write(tmp_path, tensors))
    assert_equal(loaded.tensors, paddle_tensors())
    assert f"prefix {wrapper} taken off" in loaded.notes


def test_a_wrapped_encoder_without_bert_in_its_names(tmp_path):
    encoder = weight_names.to_hf(without("classifier."))
    tensors = {f"model.{name.removeprefix('bert.')}": value for name, value in encoder.items()}
    loaded = load_weights.load_weights(write(tmp_path, tensors | {"fc.weight": np.ones((2, 4))}))
    assert_equal(loaded.tensors, without("classifier."))
    assert {"prefix model. taken off", "prefix bert. added"} <= set(loaded.notes)
    assert "not of BERT, skipped: fc.weight" in loaded.notes


def test_two_models_in_one_file_are_refused(tmp_path):
    encoder = weight_names.to_hf(without("classifier."))
    tensors = {f"{side}.{name}": v for side in ("model", "student") for name, v in encoder.items()}
    with pytest.raises(WeightsError, match=r"several BERT models \('model.', 'student.' begin"):
        load_weights.load_weights(write(tmp_path, tensors))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_the_state_dict_of_a_training_checkpoint_is_read(tmp_path, key):
    write(tmp_path, None)
    content = {"epoch": 3, key: paddle_tensors(), "optimizer": {"lr": 0.1}}
    (tmp_path / "model_state.pdparams").write_bytes(pickle.dumps(content, 4))
    loaded = load_weights.load_weights(tmp_path)
    assert_equal(loaded.tensors, paddle_tensors())
    assert loaded.notes == [f"the state dict '{key}' of model_state.pdparams read"]


def test_the_state_dict_of_a_torch_checkpoint_is_read(tmp_path):
    """`torch.save({"epoch": 7, "model": model.state_dict()})`: the pickle of a state dict becomes
    the value of a key in another one."""
    for file in TINY_HF.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").unlink()
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(TINY_HF / path.name) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in entries if name.endswith("data.pkl"))
    # PROTO, an empty dict, MARK, two keys, of which the second has the state dict; SETITEMS, STOP.
    # The first key has what torch's optimizers save: numbers of parameters as keys.
    state_dict, optimizer = entries[name][2:-1], b"X\x05\0\0\0optim}K\x07K\x07s"
    entries[name] = b"\x80\x02}(" + optimizer + b"X\x05\0\0\0model" + state_dict + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    loaded = load_weights.load_weights(tmp_path)
    assert_equal(loaded.tensors, load_weights.load_weights(TINY_HF).tensors)
    assert "the state dict 'model' of pytorch_model.bin read" in loaded.notes


def test_tensors_beside_a_whole_bert_are_skipped_and_named(tmp_path):
    """As TinyBERT's, which a distillation adds; integers are no reason to refuse the file."""
    extra = {f"fit_denses.{i}.weight": np.ones((3, 3), np.float32) for i in range(4)}
    extra["step"] = np.array([7])
    loaded = load_weights.load_weights(write(tmp_path, paddle_tensors() | extra))
    assert_equal(loaded.tensors, paddle_tensors())
    assert len(loaded.notes) == 1 and loaded.notes[0].endswith("fit_denses.2.weight, ... (5)")
    inside = {"bert.encoder.layers.0.adapter.weight": np.ones(2, np.float32)}
    write(tmp_path, paddle_tensors() | inside)
    with pytest.raises(WeightsError, match="1 unexpected"):
        build(tmp_path, ("a", "b", "c"))


def test_activations_are_those_of_transformers():
    import paddle

    x = np.linspace(-6, 6, 49)
    tanh_gelu = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    expected = {
        **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), tanh_gelu),
        "mish": x * np.tanh(np.log1p(np.exp(x))),
        "relu6": np.clip(x, 0, 6),
        "tanh": np.tanh(x),
        "silu": x / (1 + np.exp(-x)),
    }
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    for name, values in expected.items():
        model = activations.build_bert("BertForPretraining", sizes | {"hidden_act": name})
        for layer in (model.bert.encoder.layers[0], model.cls.predictions):
            actual = layer.activation(paddle.to_tensor(x.astype("float32"))).numpy()
            np.testing.assert_allclose(actual, values, atol=1e-5, rtol=0, err_msg=name)
        assert model.config.hidden_act == name


def test_a_model_with_the_other_gelu_has_other_logits(tmp_path):
    for file in TINY_HF.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((TINY_HF / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu_new"}))
    expected = read_expected(TINY_HF / "expected.json")
    labels = ("entailment", "neutral", "contradiction")
    logits = forward(build(tmp_path, labels, need_head=True).model, expected).numpy()
    difference = np.abs(logits - expected["logits"]).max()
    assert 1e-6 < difference < 0.01


def test_the_configuration_of_google_research(tmp_path):
    write(tmp_path, paddle_tensors())
    content = json.loads((tmp_path / "config.json").read_text())
    del content["model_type"]
    (tmp_path / "config.json").unlink()
    (tmp_path / "bert_config.json").write_text(json.dumps(content | {"directionality": "bidi"}))
    loaded = load_weights.load_weights(tmp_path)
    assert_equal(loaded.tensors, paddle_tensors())
    assert loaded.notes == ["bert_config.json read"]


def test_class_names_for_another_head_only_matter_without_training(tmp_path):
    write(tmp_path, paddle_tensors(), {"id2label": {"0": "no", "1": "yes"}})
    built = build(tmp_path, ("x", "y", "z"))
    assert built.new_head and "id2label names 2 classes" in built.notes[-1]
    with pytest.raises(WeightsError, match="id2label names 2 classes, but the classifier"):
        build(tmp_path, ("no", "yes"), need_head=True)


def test_an_output_layer_of_its_own_is_refused(tmp_path):
    folder = masked_lm(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    embeddings = tensors["bert.embeddings.word_embeddings.weight"]
    save_file(
        tensors | {"cls.predictions.decoder.weight": embeddings + 1}, folder / "model.safetensors"
    )
    with pytest.raises(WeightsError, match="an output layer of their own"):
        build_pretraining(folder)
