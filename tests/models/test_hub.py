"""Finding model folders, and downloads from a local server in place of the hub."""

import ast
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fileserver import running_server

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import hub

NAME = "bert-base-cased"


WEIGHTS = pickle.dumps({"bert.pooler.dense.bias": np.ones(2000, np.float32)}, 2)


@pytest.fixture
def server(monkeypatch):
    """A hub of one model on this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with running_server() as server:
        server.files = {"w.pdparams": WEIGHTS, "v.txt": b"[PAD]\n[UNK]\n"}
        urls = {"weights_url": f"{server.url}/w.pdparams", "vocab_url": f"{server.url}/v.txt"}
        monkeypatch.setitem(hub.HUB_MODELS, NAME, replace(hub.HUB_MODELS[NAME], **urls))
        yield server


def entries(folder):
    """Names in a folder, without lock files."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_an_existing_folder_has_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    (tmp_path / "home/models" / NAME).mkdir(parents=True)
    assert hub.find_model_dir(NAME, tmp_path / "home").resolve() == tmp_path / NAME
    assert hub.find_model_dir(f"./{NAME}/", tmp_path / "home").resolve() == tmp_path / NAME


@pytest.mark.parametrize("name", ["my-bert", NAME, "group/my-bert"])
def test_home_models_folder_precedes_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home/models" / name
    folder.mkdir(parents=True)
    assert hub.find_model_dir(name, tmp_path / "home") == folder


def test_download_once(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    messages: list[str] = []
    folder = hub.find_model_dir(NAME, tmp_path / "home", messages.append)
    assert folder == tmp_path / "home/models" / NAME
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == {
        "config.json",
        "model_state.pdparams",
        "vocab.txt",
        "tokenizer_config.json",
    }
    assert files["model_state.pdparams"] == server.files["w.pdparams"]
    assert files["vocab.txt"] == server.files["v.txt"]
    assert json.loads(files["tokenizer_config.json"])["do_lower_case"] is False
    config = json.loads(files["config.json"])
    assert config.items() >= {"model_type": "bert", "vocab_size": 28996}.items()
    assert len(messages) == 1 and NAME in messages[0]
    assert entries(folder.parent) == [NAME]  # no temporary folder left
    requests = len(server.requests)
    assert hub.find_model_dir(NAME, tmp_path / "home") == folder
    assert len(server.requests) == requests


@pytest.mark.parametrize("fault", ["missing", "empty"])
def test_a_failed_download_leaves_no_model(tmp_path, monkeypatch, server, fault):
    monkeypatch.chdir(tmp_path)
    if fault == "missing":
        del server.files["v.txt"]
    else:
        server.files["v.txt"] = b""
    with pytest.raises(WeightsError) as caught:
        hub.find_model_dir(NAME, tmp_path / "home")
    expected = {"missing": "404", "empty": "the server sends an empty file"}[fault]
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert entries(tmp_path / "home/models") == []


def test_a_broken_download_is_resumed_in_the_same_call(tmp_path, monkeypatch, server):
    """Each file is asked for twice: for its size, and for its content."""
    monkeypatch.chdir(tmp_path)
    server.stop_after = [100, 100, 100, 5000]
    folder = hub.find_model_dir(NAME, tmp_path / "home")
    assert (folder / "model_state.pdparams").read_bytes() == WEIGHTS
    assert server.requests[-1] == ("/w.pdparams", "bytes=5000-")


def test_a_download_that_broke_off_is_resumed_by_the_next_call(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    server.stop_after = [100, 100, 100, 5000, 0]
    with pytest.raises(WeightsError, match="5000 of .* bytes are kept: run again to resume"):
        hub.find_model_dir(NAME, tmp_path / "home")
    assert not (tmp_path / "home/models" / NAME).exists()
    requests = len(server.requests)
    folder = hub.find_model_dir(NAME, tmp_path / "home")
    assert (folder / "model_state.pdparams").read_bytes() == WEIGHTS
    resumed = [("/w.pdparams", None), ("/w.pdparams", "bytes=5000-")]
    assert server.requests[requests:] == resumed
    assert entries(tmp_path / "home/models") == [NAME]


def test_a_mirror_of_the_hub_takes_its_place(tmp_path, monkeypatch, server):
    model = hub.HUB_MODELS["bert-base-uncased"]
    weights, vocab = server.files["w.pdparams"], server.files["v.txt"]
    server.files = {
        model.weights_url.removeprefix("https://bj.bcebos.com/"): weights,
        model.vocab_url.removeprefix("https://bj.bcebos.com/"): vocab,
    }
    monkeypatch.setenv("PPNLP_ENDPOINT", f"{server.url}/paddlenlp/")
    folder = hub.find_model_dir("bert-base-uncased", tmp_path / "home", print)
    assert (folder / "vocab.txt").read_bytes() == vocab
    assert {path for path, _ in server.requests} == {f"/{name}" for name in server.files}


def test_of_two_calls_one_downloads_and_the_other_waits(tmp_path, server):
    server.chunk_pause = 0.3
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: hub.download_model(NAME, tmp_path), range(2)))
    assert folders == [tmp_path / "models" / NAME] * 2
    assert len([path for path, _ in server.requests if path == "/w.pdparams"]) == 2  # size, content
    assert entries(tmp_path / "models") == [NAME]


def test_offline_error_names_every_place_and_a_fix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WeightsError) as caught:
        hub.find_model_dir("bert-base-uncased", tmp_path / "home")
    text = str(caught.value)
    assert "\n" not in text
    assert "no folder bert-base-uncased here" in text
    assert str(tmp_path / "home/models/bert-base-uncased") in text
    assert "https://bj.bcebos.com/" in text
    assert "config.json, weights and vocab.txt" in text


def test_home_that_cannot_be_created(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").write_text("a file")
    with pytest.raises(WeightsError, match="home"):
        hub.find_model_dir(NAME, tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "there is no model folder ./nowhere"),
        ("some/where", "there is no model folder some/where"),
        ("../home/models/x", "there is no model folder"),
        ("no-such-bert", "not found: no such folder here, none at .*no-such-bert.*bert-base-ch"),
        ("", "name is empty"),
        ("model.safetensors", "is a file: give the folder that holds it"),
    ],
)
def test_unknown_names(tmp_path, monkeypatch, server, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(WeightsError, match=message) as caught:
        hub.find_model_dir(name, tmp_path / "home")
    assert "\n" not in str(caught.value)
    assert server.requests == []


def attributes_of_class(path: Path) -> dict[str, Any]:
    """The literal attributes of class BertTokenizer, whose import would be of all of PaddleNLP."""
    classes = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ClassDef)]
    (body,) = [node.body for node in classes if node.name == "BertTokenizer"]
    values: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            values[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    return values


def test_tables_equal_paddlenlp():
    from paddlenlp.transformers.bert import configuration

    tokenizer = attributes_of_class(Path(configuration.__file__).with_name("tokenizer.py"))
    files = configuration.BERT_PRETRAINED_RESOURCE_FILES_MAP["model_state"]
    vocabularies = tokenizer["pretrained_resource_files_map"]["vocab_file"]
    published = {name: model for name, model in hub.HUB_MODELS.items() if name in files}
    assert len(published) == 6
    for name, model in published.items():
        assert model.weights_url == files[name].replace("http://", "https://")
        assert model.vocab_url == vocabularies[name].replace("http://", "https://")
        lower = tokenizer["pretrained_init_configuration"][name]["do_lower_case"]
        assert model.do_lower_case is lower
        config = hub.built_in_config(name)
        assert config.pop("layer_norm_eps") == 1e-12
        assert config == configuration.BERT_PRETRAINED_INIT_CONFIGURATION[name]


def test_built_in_config_is_a_new_dict():
    hub.built_in_config(NAME)["vocab_size"] = 1
    assert hub.built_in_config(NAME)["vocab_size"] == 28996
    assert hub.built_in_config("no-such-bert") is None


@pytest.mark.parametrize("download", [hub.download_model, hub.download_vocabulary])
def test_a_home_that_cannot_be_written_names_the_variable(download):
    with pytest.raises(WeightsError, match="; or set BERT_PADDLE_HOME to a folder that can be wri"):
        download("bert-base-uncased", Path("/proc/none"))
