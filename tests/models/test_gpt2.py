"""GPT-2's weights in every layout, logits and loss equal to transformers', the key/value cache."""

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
import tiny_gpt2
from safetensors.numpy import load_file, save_file

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import gpt2, gpt2_config, gpt2_weights

REFERENCE = tiny_gpt2.REFERENCE
NAMES = ("tiny_gpt2", "tiny_gpt2_erf")


def build(folder: Path):
    loaded = gpt2_weights.load_gpt2_weights(folder)
    return gpt2.build_gpt2(loaded.config, loaded.tensors)


def all_logits(model, ids: np.ndarray) -> np.ndarray:
    with paddle.no_grad():
        return gpt2.logits(model, gpt2.hidden_states(model, paddle.to_tensor(ids))).numpy()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the reference model without its tokenizer."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(REFERENCE / "tiny_gpt2" / name, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return load_file(REFERENCE / "tiny_gpt2_expected.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_loss_equal_transformers(name):
    expected = load_file(REFERENCE / f"{name}_expected.safetensors")
    model = build(REFERENCE / name)
    ids, lengths = expected["ids"], expected["lengths"]
    logits = all_logits(model, ids)
    losses = []
    for row, length in enumerate(lengths):  # padding on the right changes nothing before it
        np.testing.assert_allclose(
            logits[row, :length], expected["logits"][row, :length], atol=1e-5, rtol=0
        )
        targets = paddle.to_tensor(ids[row, 1:length])
        losses.append(
            F.cross_entropy(paddle.to_tensor(logits[row, : length - 1]), targets, reduction="none")
        )
    loss = float(paddle.concat(losses).mean())
    assert loss == pytest.approx(float(expected["loss"][0]), abs=1e-6)


def rewrite(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = dict(load_file(path))
    save_file(change(tensors), path)


LAYOUTS = {
    "without prefix": lambda t: {k.removeprefix("transformer."): v for k, v in t.items()},
    "with buffers": lambda t: (
        t
        | {
            f"transformer.h.{i}.attn.{name}": np.ones((1, 1, 64, 64), np.uint8)
            for i in range(3)
            for name in ("bias", "masked_bias")
        }
    ),
    "with lm_head": lambda t: t | {"lm_head.weight": t["transformer.wte.weight"].copy()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_hugging_face_gives_the_same_weights(folder, layout):
    original = gpt2_weights.load_gpt2_weights(folder).tensors
    rewrite(folder, LAYOUTS[layout])
    loaded = gpt2_weights.load_gpt2_weights(folder)
    assert loaded.tensors.keys() == original.keys() and loaded.format == "huggingface"
    assert all(np.array_equal(loaded.tensors[k], original[k]) for k in original)


def test_shards_and_paddles_own_files_give_the_same_weights(folder):
    original = gpt2_weights.load_gpt2_weights(folder).tensors
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    sharded = gpt2_weights.load_gpt2_weights(folder)
    index.unlink()
    paddle.save({k: paddle.to_tensor(v) for k, v in original.items()}, str(folder / "m"))
    (folder / "m").rename(folder / "model_state.pdparams")
    saved = gpt2_weights.load_gpt2_weights(folder)
    assert (sharded.format, saved.format) == ("huggingface", "paddle")
    for loaded in (sharded.tensors, saved.tensors):
        assert loaded.keys() == original.keys()
        assert all(np.array_equal(loaded[name], original[name]) for name in original)


def test_torch_files_are_read_without_running_them(folder):
    original = gpt2_weights.load_gpt2_weights(folder).tensors
    (folder / "model.safetensors").unlink()
    shutil.copy(REFERENCE / "tiny_gpt2" / "pytorch_model.bin", folder)
    loaded = gpt2_weights.load_gpt2_weights(folder).tensors
    assert all(np.array_equal(loaded[name], original[name]) for name in original)


def test_float16_is_widened(folder, expected):
    rewrite(folder, lambda t: {k: v.astype(np.float16) for k, v in t.items()})
    loaded = gpt2_weights.load_gpt2_weights(folder)
    assert "float16 widened to float32" in loaded.notes
    logits = all_logits(gpt2.build_gpt2(loaded.config, loaded.tensors), expected["ids"])
    np.testing.assert_allclose(logits[0], expected["logits"][0], atol=0.1)


def test_a_paddle_folder_is_read_back_also_with_fused_projections(folder, tmp_path):
    loaded = gpt2_weights.load_gpt2_weights(folder)
    config = json.loads(loaded.config.to_json_string())
    (folder / "config.json").write_text(json.dumps(config))
    save_file(loaded.tensors, folder / "model.safetensors")
    again = gpt2_weights.load_gpt2_weights(folder)
    assert again.format == "paddle" and again.config == loaded.config
    fused = {}
    for name, value in loaded.tensors.items():
        if "self_attn.q_proj" in name:
            parts = [
                loaded.tensors[name.replace("q_proj", p)] for p in ("q_proj", "k_proj", "v_proj")
            ]
            by_head = [part.reshape(*part.shape[:-1], 4, 1, -1) for part in parts]
            joined = np.concatenate(by_head, axis=-2).reshape(*value.shape[:-1], -1)
            fused[name.removeprefix("gpt.").replace("q_proj", "qkv_proj")] = joined
        elif "k_proj" not in name and "v_proj" not in name:
            fused[name.removeprefix("gpt.")] = value
    save_file(fused, folder / "model.safetensors")
    split = gpt2_weights.load_gpt2_weights(folder).tensors
    assert split.keys() == loaded.tensors.keys()
    assert all(np.array_equal(split[name], value) for name, value in loaded.tensors.items())


def test_exported_names_are_those_that_transformers_wrote(folder):
    loaded = gpt2_weights.load_gpt2_weights(folder)
    exported = gpt2_weights.to_hugging_face(loaded.tensors)
    original = load_file(folder / "model.safetensors")
    assert exported.keys() == original.keys()
    assert all(np.array_equal(exported[name], value) for name, value in original.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("transformer.h.1.ln_2.bias") is None or t, "1 missing"),
        (lambda t: t | {"transformer.h.7.ln_2.bias": np.zeros(32, np.float32)}, "1 unexpected"),
        (lambda t: t | {"transformer.wpe.weight": np.zeros((9, 32), np.float32)}, "1 misshapen"),
        (lambda t: t | {"lm_head.weight": np.zeros((342, 32), np.float32)}, "output layer"),
        (lambda t: {"bert.pooler.weight": np.zeros(3, np.float32)}, "no GPT-2 weights"),
    ],
)
def test_wrong_weights_are_refused(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=message):
        gpt2_weights.load_gpt2_weights(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "the model is 'bert'"),
        ({"model_type": "llama"}, "the model is 'llama'"),
        ({"n_head": 5}, "not divisible"),
        ({"n_layer": None}, "lacks n_layer"),
        ({"activation_function": "silu"}, "activation_function 'silu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"resid_pdrop": 2}, "hidden_dropout_prob is 2"),
    ],
)
def test_wrong_configurations_are_refused(folder, change, message):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsError, match=message):
        gpt2_config.read_gpt2_config(folder)


def test_settings_that_paddlenlp_misreads(folder):
    """n_inner null is four times the width; each dropout rate is its own; erf stays erf."""
    config = json.loads((folder / "config.json").read_text())
    rates = {"embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.3}
    (folder / "config.json").write_text(
        json.dumps(config | rates | {"activation_function": "gelu"})
    )
    read = gpt2_config.read_gpt2_config(folder)
    assert read.intermediate_size == 4 * 32 and read.activation == "gelu"
    dropouts = (
        read.embedding_dropout_prob,
        read.attention_probs_dropout_prob,
        read.hidden_dropout_prob,
    )
    assert dropouts == (0.1, 0.2, 0.3)
    hugging_face = read.as_hugging_face()
    assert {name: hugging_face[name] for name in rates} == rates


def test_published_sizes():
    small = gpt2_config.published_config("gpt2")
    assert small is not None
    count = sum(int(np.prod(shape)) for shape in gpt2_weights.gpt2_shapes(small).values())
    assert count == 124_439_808
    assert gpt2_config.published_config("gpt3") is None


def test_random_weights_and_new_rows_come_from_the_seed():
    config = gpt2_config.Gpt2Config(300, 32, 2, 2, 16, 64)
    first, again, other = (gpt2.initial_tensors(config, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    words = gpt2_weights.WORD_EMBEDDINGS
    assert not np.array_equal(first[words], other[words])
    assert first[words].std() == pytest.approx(0.02, rel=0.05)
    residual = first["gpt.decoder.layers.0.linear2.weight"]
    assert residual.std() == pytest.approx(0.02 / 2, rel=0.05)
    resized = gpt2.resize_embeddings(first, 305, 0.02, seed=1)[words]
    assert resized.shape == (305, 32) and np.array_equal(resized[:300], first[words])
    assert 0 < resized[300:].std() < 0.04


def test_the_cache_gives_the_same_logits(expected):
    model = build(REFERENCE / "tiny_gpt2")
    ids = expected["ids"]
    whole = all_logits(model, ids)
    cache = gpt2.KeyValueCache(model.config.num_hidden_layers)
    parts = []
    with paddle.no_grad():
        for start, stop in ((0, 7), (7, 8), (8, 12), (12, 20)):
            chunk = paddle.to_tensor(ids[:, start:stop])
            parts.append(gpt2.logits(model, gpt2.hidden_states(model, chunk, cache=cache)).numpy())
    assert cache.length == 20
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


def test_texts_in_one_row_do_not_see_each_other(expected):
    model = build(REFERENCE / "tiny_gpt2")
    a, b = expected["ids"][0, :9], expected["ids"][1, :6]
    row = np.concatenate([a, b])[None]
    numbers = np.array([[0] * 9 + [1] * 6])
    positions = np.array([[*range(9), *range(6)]])
    with paddle.no_grad():
        hidden = gpt2.hidden_states(
            model, paddle.to_tensor(row), paddle.to_tensor(positions), gpt2.text_mask(numbers)
        )
        packed = gpt2.logits(model, hidden).numpy()[0]
    for part, alone in ((packed[:9], a), (packed[9:], b)):
        np.testing.assert_allclose(part, all_logits(model, alone[None])[0], atol=1e-5)


@pytest.mark.parametrize("ids", [np.array([[342]]), np.array([[-1]]), np.zeros((1, 65), np.int64)])
def test_ids_outside_the_tables_are_refused(ids):
    with pytest.raises(ValueError, match="outside the model|longer than the model"):
        gpt2.check_ids(build(REFERENCE / "tiny_gpt2"), ids)
