"""Untrusted model folders: errors are one short line, and no code of theirs runs."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file
from test_load_weights import paddle_tensors
from test_load_weights import write as write_folder

from bert_paddle.common.errors import UserError, WeightsError
from bert_paddle.glue import tasks
from bert_paddle.models import hub, load_weights, model_config, tokenizer
from bert_paddle.models.tokenizer import SPECIAL_TOKENS

SIZES = {
    "vocab_size": 11,
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 5,
}


def test_code_in_a_model_folder_is_not_read(tmp_path):
    malicious = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Model: pass\n"
    (tmp_path / "modeling.py").write_text(malicious)
    pointers = {"auto_map": {"AutoModel": "modeling.Model", "AutoTokenizer": ["modeling.Model"]}}
    (tmp_path / "config.json").write_text(
        json.dumps(SIZES | pointers | {"trust_remote_code": True})
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(pointers))
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "a"]))
    assert model_config.read_config(tmp_path).values["vocab_size"] == 11
    assert "code of its own" in error_of(tokenizer.load_tokenizer, tmp_path)
    assert not (tmp_path / "ran").exists()


def error_of(call, *args) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": 10**30}, "hidden_size is 1000"),
        ({"hidden_size": [1] * 10**5}, "hidden_size is [1, 1"),
        ({"hidden_act": "x" * 10**5}, "is not supported, only"),
        ({"model_type": ["x" * 10**5]}, "but only bert is supported"),
        ({"id2label": {"0": "a", "1": "a"}}, "unique printable name"),
        ({"id2label": {"0": "a\nb", "1": "c"}}, "unique printable name"),
        ({"id2label": {"0": "a", "00": "b"}}, "without a gap"),
    ],
)
def test_configurations(tmp_path, changed, message):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SIZES | changed))
    text = error_of(model_config.read_config_file, path)
    assert text.startswith(f"{path}: ") and message in text


VOCAB = {token: i for i, token in enumerate([*SPECIAL_TOKENS, "a"])}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "vocab.txt",
            "\n".join([*SPECIAL_TOKENS, "a", "b", "a"]),
            "/vocab.txt: .*'a' twice.*line 8.*give",
        ),
        (
            "vocab.txt",
            "\n".join([*SPECIAL_TOKENS[:2], "a"]),
            r"/vocab.txt: .*lacks \[CLS\].*--vocab_file",
        ),
        (
            "vocab.txt",
            "\n".join([*SPECIAL_TOKENS, "x" * 10**5, "x" * 10**5]),
            "/vocab.txt: .*twice",
        ),
        ("tokenizer.json", "[" * 10**5, "/tokenizer.json is not JSON"),
        ("tokenizer.json", {"model": [1]}, "not a WordPiece tokenizer"),
        ("tokenizer.json", {"model": {"vocab": VOCAB | {"b": "6"}}}, "are not 0 to 6"),
        ("tokenizer.json", {"model": {"vocab": VOCAB | {"b": 6.0}}}, "are not 0 to 6"),
        ("tokenizer.json", {"model": {"vocab": VOCAB | {"a\nb": 6}}}, "token 6, .*line break"),
        (
            "tokenizer.json",
            {"model": {"vocab": VOCAB | {"\ud800": 6}}},
            "token 6, .*a lone surrogate",
        ),
        ("tokenizer_config.json", "[" * 10**5, "/tokenizer_config.json is not JSON"),
        (
            "tokenizer_config.json",
            {"strip_accents": "yes"},
            "strip_accents is 'yes'.*true or false",
        ),
        ("tokenizer_config.json", {"do_lower_case": 1}, "do_lower_case is '1'.*true or false"),
    ],
)
def test_vocabularies(tmp_path, name, content, message):
    if name == "tokenizer_config.json":
        (tmp_path / "vocab.txt").write_text("\n".join(VOCAB))
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    assert re.search(message, error_of(tokenizer.load_tokenizer, tmp_path))


def test_normalizer_of_another_form_is_refused(tmp_path):
    content = {"model": {"type": "WordPiece", "vocab": VOCAB}, "normalizer": ["x"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert "normalizer is ['x']" in error_of(tokenizer.load_tokenizer, tmp_path)


def test_a_classifier_without_dimensions(tmp_path):
    folder = write_folder(tmp_path, None, {"id2label": {"0": "no", "1": "yes"}})
    tensors = paddle_tensors() | {"classifier.weight": np.zeros((), np.float32)}
    save_file(tensors, folder / "model.safetensors")
    loaded = load_weights.load_weights(folder)
    assert "has 0" in loaded.head_problem
    assert "classifier.weight" not in loaded.tensors


LONG = "\x1b[2J\n" + "x" * 100_000


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({LONG: np.zeros(1, np.float32)}, "the first tensor is"),
        ({f"bert.{LONG}": np.zeros(1, np.float32)}, "1 unexpected"),
        ({"bert.x": np.zeros(1, np.int8), LONG: np.zeros(1, np.int8)}, "is int8"),
    ],
)
def test_tensor_names_are_truncated_and_escaped_in_messages(tmp_path, tensors, message):
    model = paddle_tensors(num_hidden_layers=1)
    folder = write_folder(tmp_path, None, {"num_hidden_layers": 1})
    saved = tensors if message == "the first tensor is" else model | tensors
    save_file(saved, folder / "model.safetensors")

    def load():
        loaded = load_weights.load_weights(folder)
        load_weights.match_weights(
            loaded.tensors, {name: value.shape for name, value in model.items()}
        )

    text = error_of(load)
    assert message in text and "\x1b" not in text


# Names that are used as paths


@pytest.mark.parametrize("name", ["../sst2", "/etc", "sst2/../..", "SST-2\0", "", "sst2;ls"])
def test_only_listed_tasks_are_accepted(name):
    with pytest.raises(UserError):
        tasks.get_task(name)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "x\0y", "$(touch ran)"])
def test_model_name_cannot_leave_the_models_folder(tmp_path, monkeypatch, name):
    home = tmp_path / "home"
    (home / "models" / "a").mkdir(parents=True)
    (home / "outside").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError):
        hub.find_model_dir(name, home)
