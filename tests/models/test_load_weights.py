"""Every form of model folder gives the same tensors; every mismatch is a one-line error."""

import json
import pickle
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights, weight_names

TINY_HF = Path(__file__).parents[1] / "reference" / "tiny_hf"
SIZES = {
    "vocab_size": 11,
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 5,
    "type_vocab_size": 2,
}
WORD_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def paddle_tensors(**changed: int) -> dict[str, np.ndarray]:
    """A BERT of random numbers with a three-class head, under Paddle's names."""
    sizes = SIZES | changed
    rng = np.random.default_rng(3)
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": (sizes["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (sizes["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (sizes["type_vocab_size"], hidden),
        "embeddings.layer_norm.weight": (hidden,),
        "embeddings.layer_norm.bias": (hidden,),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    for i in range(sizes["num_hidden_layers"]):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"encoder.layers.{i}.self_attn.{part}.weight"] = (hidden, hidden)
            shapes[f"encoder.layers.{i}.self_attn.{part}.bias"] = (hidden,)
        for part, shape in (("linear1", (hidden, inner)), ("linear2", (inner, hidden))):
            shapes[f"encoder.layers.{i}.{part}.weight"] = shape
            shapes[f"encoder.layers.{i}.{part}.bias"] = shape[1:]
        for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"encoder.layers.{i}.{part}"] = (hidden,)
    shapes = {f"bert.{name}": shape for name, shape in shapes.items()}
    shapes |= {"classifier.weight": (hidden, 3), "classifier.bias": (3,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder: Path, tensors: dict | None, config: dict | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = SIZES | {"model_type": "bert"} | (config or {})
    (folder / "config.json").write_text(json.dumps(content))
    if tensors is not None:
        save_file(tensors, folder / "model.safetensors")
    return folder


def assert_equal(actual: dict, expected: dict) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].dtype == np.float32, name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForPretraining"])
def test_loads_what_paddlenlp_saves(tmp_path, safe, name):
    from paddlenlp.transformers.bert import modeling as transformers

    settings = SIZES | {"num_labels": 3, "layer_norm_eps": 1e-7}
    model = getattr(transformers, name)(transformers.BertConfig(**settings))
    model.save_pretrained(str(tmp_path), safe_serialization=safe)
    loaded = load_weights.load_weights(tmp_path)
    assert loaded.format == "paddle" and loaded.notes == []
    assert_equal(loaded.tensors, {k: v.numpy() for k, v in model.state_dict().items()})
    assert loaded.config.items() >= (SIZES | {"layer_norm_eps": 1e-7}).items()
    config = transformers.BertConfig(**{k: v for k, v in loaded.config.items() if k != "labels"})
    assert config.hidden_act == model.config.hidden_act
    assert config.layer_norm_eps == 1e-7


def test_both_forms_of_a_hugging_face_folder(tmp_path):
    safe = load_weights.load_weights(TINY_HF)
    assert safe.format == "huggingface"
    assert safe.config["labels"] == ("entailment", "neutral", "contradiction")
    assert safe.notes[0] == "pytorch_model.bin next to model.safetensors not read"
    for name in ("config.json", "pytorch_model.bin"):
        (tmp_path / name).write_bytes((TINY_HF / name).read_bytes())
    assert_equal(load_weights.load_weights(tmp_path).tensors, safe.tensors)


def test_format_is_detected_from_names_not_the_file(tmp_path):
    """Hugging Face tensors in Paddle's file, and vice versa with torch's metadata."""
    ours = paddle_tensors()
    theirs = weight_names.to_hf(ours)
    write(tmp_path / "a", None)
    (tmp_path / "a" / "model_state.pdparams").write_bytes(pickle.dumps(theirs, 4))
    loaded = load_weights.load_weights(tmp_path / "a")
    assert loaded.format == "huggingface"
    assert_equal(loaded.tensors, ours)
    save_file(ours, write(tmp_path / "b", None) / "model.safetensors", metadata={"format": "pt"})
    loaded = load_weights.load_weights(tmp_path / "b")
    assert loaded.format == "paddle"
    assert_equal(loaded.tensors, ours)


def test_prefix_gamma_buffer_and_half_precision(tmp_path):
    ours = {k: v for k, v in paddle_tensors().items() if not k.startswith("classifier.")}
    old = {
        name.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): value.astype(np.float16)
        for name, value in weight_names.to_hf(ours).items()
    }
    old["embeddings.position_ids"] = np.arange(5)[None]
    loaded = load_weights.load_weights(write(tmp_path, old))
    assert_equal(loaded.tensors, {k: v.astype(np.float16) for k, v in ours.items()})
    assert loaded.notes == [
        "Hugging Face names converted",
        "gamma/beta renamed",
        "prefix bert. added",
        "position_ids skipped",
        "float16 widened to float32",
    ]


def test_bfloat16_is_widened_exactly(tmp_path):
    ours = paddle_tensors()
    bits = {name: (value.view(np.uint32) >> 16).astype("<u2") for name, value in ours.items()}
    path = write(tmp_path, bits) / "model.safetensors"
    content = path.read_bytes()
    assert content.count(b'"dtype":"U16"') == len(bits)
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"U16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    loaded = load_weights.load_weights(tmp_path)
    upper = {k: (v.view(np.uint32) & 0xFFFF0000).view(np.float32) for k, v in ours.items()}
    assert_equal(loaded.tensors, upper)
    assert loaded.notes == ["bfloat16 widened to float32"]


def test_shards(tmp_path):
    ours = paddle_tensors()
    names = sorted(ours)
    write(tmp_path, None)
    weight_map = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    for part in sorted(set(weight_map.values())):
        tensors = {name: ours[name] for name in names if weight_map[name] == part}
        save_file(tensors, tmp_path / part)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_equal(load_weights.load_weights(tmp_path).tensors, ours)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(WeightsError, match="names model-1.safetensors, which is not in its folder"):
        load_weights.load_weights(tmp_path)
    outside = write(tmp_path / "outside", ours) / "model.safetensors"
    for name in ("outside/model.safetensors", str(outside)):
        index.write_text(json.dumps({"weight_map": {WORD_EMBEDDINGS: name}}))
        with pytest.raises(WeightsError, match="not in its folder"):
            load_weights.load_weights(tmp_path)


def test_older_paddlenlp_folder(tmp_path):
    old = paddle_tensors() | {"cls.predictions.decoder_bias": np.arange(11, dtype=np.float32)}
    old["cls.predictions.decoder_weight"] = old[WORD_EMBEDDINGS]
    nested = {
        "init_args": [SIZES | {"init_class": "BertModel"}],
        "init_class": "BertForPretraining",
    }
    (tmp_path / "model_config.json").write_text(json.dumps(nested))
    (tmp_path / "model_state.pdparams").write_bytes(pickle.dumps(old, 2))
    loaded = load_weights.load_weights(tmp_path)
    old["cls.predictions.decoder.weight"] = old.pop("cls.predictions.decoder_weight")
    old["cls.predictions.decoder.bias"] = old["cls.predictions.decoder_bias"]
    assert_equal(loaded.tensors, old)
    assert loaded.config.items() >= SIZES.items()
    assert loaded.notes[0] == "model_config.json converted"


def test_reads_a_read_only_folder(tmp_path):
    write(tmp_path / "m", weight_names.to_hf(paddle_tensors()))
    before = {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()}
    (tmp_path / "m").chmod(stat.S_IRUSR | stat.S_IXUSR)
    load_weights.load_weights(tmp_path / "m")
    (tmp_path / "m").chmod(stat.S_IRWXU)
    # root can write anyway, so the content is compared too.
    assert {p.name: p.read_bytes() for p in (tmp_path / "m").iterdir()} == before


def test_missing_type_vocab_size_comes_from_the_weights(tmp_path):
    path = write(tmp_path, paddle_tensors(type_vocab_size=16)) / "config.json"
    path.write_text(json.dumps({k: v for k, v in SIZES.items() if k != "type_vocab_size"}))
    assert load_weights.load_weights(tmp_path).config["type_vocab_size"] == 16


@pytest.mark.parametrize("task", ["TokenClassification", "MultipleChoice", "QuestionAnswering"])
def test_head_of_another_task_is_ignored(tmp_path, task):
    config = {"architectures": [f"BertFor{task}"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    loaded = load_weights.load_weights(write(tmp_path, paddle_tensors(), config))
    assert not any(name.startswith("classifier.") for name in loaded.tensors)
    assert loaded.config["labels"] is None
    assert loaded.notes == [f"head of BertFor{task} ignored"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("vocab_size", 12),
        ("hidden_size", 8),
        ("num_hidden_layers", 3),
        ("num_hidden_layers", 1),
        ("intermediate_size", 8),
        ("max_position_embeddings", 512),
        ("type_vocab_size", 16),
    ],
)
def test_configuration_that_disagrees_with_the_weights(tmp_path, setting, value):
    write(tmp_path, paddle_tensors(), {setting: value})
    with pytest.raises(WeightsError) as caught:
        load_weights.load_weights(tmp_path)
    assert f"{setting} {value} but {SIZES[setting]} in the weights" in str(caught.value)


def test_class_names_that_disagree_with_the_classifier(tmp_path):
    write(tmp_path, paddle_tensors(), {"id2label": {"0": "no", "1": "yes"}})
    loaded = load_weights.load_weights(tmp_path)
    assert re.search("names 2 classes, but the classifier .* has 3", loaded.head_problem)
    assert loaded.config["labels"] is None and "classifier.weight" not in loaded.tensors


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (("bert.", "roberta."), "the names are those of roberta"),
        (("bert.encoder.layers.", "bert.encoder.blocks."), "the first tensor is 'bert."),
        (("bert.embeddings.position", "bert.embeddings.place"), "no usable bert.embeddings.pos"),
    ],
)
def test_weights_of_another_architecture(tmp_path, rename, message):
    write(tmp_path, {name.replace(*rename): value for name, value in paddle_tensors().items()})
    with pytest.raises(WeightsError, match=message):
        load_weights.load_weights(tmp_path)


def test_unreadable_weights_are_one_line_errors(tmp_path):
    path = write(tmp_path, paddle_tensors()) / "model.safetensors"
    valid = path.read_bytes()
    for content, message in (
        (valid[:-8], "cannot be read"),
        (b"", "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message) as caught:
            load_weights.load_weights(tmp_path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.unlink()
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(WeightsError, match="no weights .tf_model.h5 is not supported.*pdparams"):
        load_weights.load_weights(tmp_path)


def test_quantized_or_foreign_content_is_refused(tmp_path):
    ints = {name: value.astype(np.int8) for name, value in paddle_tensors().items()}
    with pytest.raises(WeightsError, match="is int8; quantized"):
        load_weights.load_weights(write(tmp_path / "a", ints))
    file = write(tmp_path / "b", None) / "model_state.pdparams"
    file.write_bytes(pickle.dumps({"epoch": 3} | paddle_tensors()))
    with pytest.raises(WeightsError, match="epoch is not a tensor"):
        load_weights.load_weights(tmp_path / "b")


@pytest.mark.real_weights
def test_packaged_weights(minilm_dir):
    loaded = load_weights.load_weights(minilm_dir)
    assert loaded.format == "huggingface"
    assert loaded.config["hidden_size"] == 384 and loaded.config["labels"] is None
    assert len(loaded.tensors) == 7 + 6 * 16
    assert loaded.tensors["bert.encoder.layers.5.linear1.weight"].shape == (384, 1536)
    assert loaded.notes[1:] == ["prefix bert. added", "position_ids skipped"]
