"""Published GPT-2 models, from a local server in place of Hugging Face's hub."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_gpt2
from fileserver import running_server

from bert_paddle.clm import finetune
from bert_paddle.clm.args import parse_args
from bert_paddle.clm.generator import Generator
from bert_paddle.common import runtime
from bert_paddle.common.errors import WeightsError
from bert_paddle.models import gpt2_config, gpt2_hub, hub

FILES = ("vocab.json", "merges.txt", "model.safetensors")


def contents(name: str) -> bytes:
    return (tiny_gpt2.HF_DIR / name).read_bytes()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub on this machine, whose gpt2 is the tiny model."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    digests = {name: hashlib.sha256(contents(name)).hexdigest() for name in FILES}
    model = replace(gpt2_hub.GPT2_MODELS["gpt2"], weights_sha256=digests.pop(FILES[2]))
    monkeypatch.setitem(gpt2_hub.GPT2_MODELS, "gpt2", model)
    monkeypatch.setattr(gpt2_hub, "_VOCABULARY", digests)
    tiny = gpt2_config.read_gpt2_config(tiny_gpt2.HF_DIR)
    monkeypatch.setattr(gpt2_hub, "published_config", lambda name: tiny)
    with running_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        server.files = {path_of("gpt2", name): contents(name) for name in FILES}
        yield server


def path_of(model: str, name: str) -> str:
    revision = gpt2_hub.GPT2_MODELS[model].revision
    return f"openai-community/{model}/resolve/{revision}/{name}"


def test_a_published_model_is_downloaded_once_and_checked(server, tmp_path):
    lines: list[str] = []
    folder = hub.find_model_dir("gpt2", tmp_path / "home", lines.append, hub.GPT2)
    assert folder == tmp_path / "home" / "models" / "gpt2" and len(lines) == 1
    assert {path.name for path in folder.iterdir()} == {*FILES, "config.json"}
    assert all((folder / name).read_bytes() == contents(name) for name in FILES)
    assert gpt2_config.read_gpt2_config(folder) == gpt2_config.read_gpt2_config(tiny_gpt2.HF_DIR)
    requests = len(server.requests)
    assert hub.find_model_dir("gpt2", tmp_path / "home", family=hub.GPT2) == folder
    assert len(server.requests) == requests


def train_a_step(folder: Path, monkeypatch, model: str) -> None:
    monkeypatch.setattr(runtime, "bert_paddle_home", lambda: folder / "home")
    texts = folder / "texts.txt"
    texts.write_text("\n".join(tiny_gpt2.sentences(20)))
    flags = f"--train_file {texts} --output_dir {folder / 'out'} --max_steps 1 --report 0"
    finetune.run(parse_args(f"--model_name_or_path {model} {flags} --n_gpu 0".split()))


def test_training_and_generation_begin_with_the_name(server, tmp_path, monkeypatch):
    train_a_step(tmp_path, monkeypatch, "gpt2")
    assert (tmp_path / "out" / "model_1" / "model.safetensors").is_file()
    assert Generator("gpt2").positions == 64  # found in the cache


@pytest.mark.parametrize("name", ["model.safetensors", "merges.txt"])
def test_a_file_with_another_checksum_is_refused(server, tmp_path, name):
    server.files[path_of("gpt2", name)] = contents(name)[:-1] + b"?"
    with pytest.raises(WeightsError, match="has the SHA-256 .* instead of"):
        hub.find_model_dir("gpt2", tmp_path / "home", family=hub.GPT2)
    assert not (tmp_path / "home" / "models" / "gpt2").exists()


def test_a_broken_download_is_resumed(server, tmp_path):
    weights = path_of("gpt2", FILES[2])
    server.stop_after = [10**9] * 5 + [3000, 0]
    with pytest.raises(WeightsError, match="3000 of .* bytes are kept: run again to resume"):
        hub.find_model_dir("gpt2", tmp_path / "home", family=hub.GPT2)
    server.stop_after = []
    hub.find_model_dir("gpt2", tmp_path / "home", family=hub.GPT2)
    assert server.requests[-1] == (f"/{weights}", "bytes=3000-")


def test_a_model_of_the_other_family_is_refused_before_it_is_downloaded(server, tmp_path):
    with pytest.raises(WeightsError, match="'gpt2': this is a GPT-2, but a BERT is needed"):
        hub.find_model_dir("gpt2", tmp_path / "home")
    with pytest.raises(WeightsError, match="this is a BERT, but a GPT-2 is needed"):
        hub.find_model_dir("bert-base-cased", tmp_path / "home", family=hub.GPT2)
    with pytest.raises(WeightsError, match="'gpt-9' not found.*Hugging Face's hub.*gpt2-xl"):
        hub.find_model_dir("gpt-9", tmp_path / "home", family=hub.GPT2)
    assert server.requests == []


def test_random_weights_of_a_published_size_need_only_the_vocabulary(server, tmp_path, monkeypatch):
    sizes = "--random_weights --hidden_size 8 --num_hidden_layers 1 --num_attention_heads 1"
    train_a_step(tmp_path, monkeypatch, f"gpt2-xl {sizes}")
    home = tmp_path / "home"
    names = {path.removeprefix("/") for path, _ in server.requests}
    assert names == {path_of("gpt2", name) for name in FILES[:2]}
    assert hub.download_vocabulary("gpt2", home) == home / "vocabularies" / "gpt2"


def test_without_the_hub_the_message_names_the_places(server, tmp_path):
    server.files.clear()
    with pytest.raises(WeightsError) as caught:
        hub.find_model_dir("gpt2", tmp_path / "home", family=hub.GPT2)
    text = str(caught.value)
    assert str(tmp_path / "home" / "models" / "gpt2") in text and "\n" not in text
    assert "Hugging Face's hub failed" in text and "vocab.json with merges.txt" in text


def test_every_published_size_has_a_revision_and_a_configuration():
    assert gpt2_hub.GPT2_MODELS.keys() == gpt2_config.PUBLISHED_SIZES.keys()
    xl = gpt2_hub.config_json("gpt2-xl")
    assert (xl["n_layer"], xl["n_embd"], xl["n_head"], xl["n_positions"]) == (48, 1600, 25, 1024)
    assert all(len(model.revision) == 40 for model in gpt2_hub.GPT2_MODELS.values())
