"""Finding model folders, and downloads from a local server in place of the hub."""

import json
import pickle
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import hub

NAME = "bert-base-cased"


class Handler(BaseHTTPRequestHandler):
    """Serves server.files; a path in server.truncated is cut after half its content."""

    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(
            content[: len(content) // 2] if self.path in self.server.truncated else content
        )

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A hub of one model on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    weights = pickle.dumps({"bert.pooler.dense.bias": np.ones(2, np.float32)}, 2)
    server.files = {"/w.pdparams": weights, "/v.txt": b"[PAD]\n[UNK]\n"}
    server.truncated, server.requests = set(), []
    address = f"http://127.0.0.1:{server.server_port}"
    model = replace(
        hub.HUB_MODELS[NAME], weights_url=f"{address}/w.pdparams", vocab_url=f"{address}/v.txt"
    )
    monkeypatch.setitem(hub.HUB_MODELS, NAME, model)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


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
    assert files["model_state.pdparams"] == server.files["/w.pdparams"]
    assert files["vocab.txt"] == server.files["/v.txt"]
    assert json.loads(files["tokenizer_config.json"])["do_lower_case"] is False
    config = json.loads(files["config.json"])
    assert config.items() >= {"model_type": "bert", "vocab_size": 28996}.items()
    assert len(messages) == 1 and NAME in messages[0]
    assert [p.name for p in folder.parent.iterdir()] == [NAME]  # no temporary folder left
    requests = len(server.requests)
    assert hub.find_model_dir(NAME, tmp_path / "home") == folder
    assert len(server.requests) == requests


@pytest.mark.parametrize("fault", ["missing", "truncated", "empty"])
def test_failed_download_leaves_nothing(tmp_path, monkeypatch, server, fault):
    monkeypatch.chdir(tmp_path)
    if fault == "missing":
        del server.files["/w.pdparams"]
    elif fault == "truncated":
        server.truncated.add("/w.pdparams")
    else:
        server.files["/w.pdparams"] = b""
    with pytest.raises(WeightsError) as caught:
        hub.find_model_dir(NAME, tmp_path / "home")
    expected = {"missing": "404", "truncated": "received ", "empty": "received an empty file"}[
        fault
    ]
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert list((tmp_path / "home/models").iterdir()) == []


def test_a_mirror_of_the_hub_takes_its_place(tmp_path, monkeypatch, server):
    address = f"http://127.0.0.1:{server.server_port}"
    model = hub.HUB_MODELS["bert-base-uncased"]
    weights, vocab = server.files["/w.pdparams"], server.files["/v.txt"]
    server.files = {
        model.weights_url.removeprefix("https://bj.bcebos.com"): weights,
        model.vocab_url.removeprefix("https://bj.bcebos.com"): vocab,
    }
    monkeypatch.setenv("PPNLP_ENDPOINT", f"{address}/paddlenlp/")
    folder = hub.find_model_dir("bert-base-uncased", tmp_path / "home", print)
    assert (folder / "vocab.txt").read_bytes() == vocab
    assert len(server.requests) == 2


def test_two_concurrent_downloads_leave_one_folder(tmp_path, server, monkeypatch):
    """The slower process finds the other's finished folder and uses it."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "models" / NAME
    download_file = hub._download_file

    def download_while_another_finishes(url, path):
        download_file(url, path)
        target.mkdir(exist_ok=True)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(hub, "_download_file", download_while_another_finishes)
    assert hub.download_model(NAME, tmp_path) == target
    assert [p.name for p in target.parent.iterdir()] == [NAME]
    assert [p.name for p in target.iterdir()] == ["config.json"]


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


def test_tables_equal_paddlenlp():
    from paddlenlp.transformers.bert import configuration
    from paddlenlp.transformers.bert.tokenizer import BertTokenizer

    files = configuration.BERT_PRETRAINED_RESOURCE_FILES_MAP["model_state"]
    vocabularies = BertTokenizer.pretrained_resource_files_map["vocab_file"]
    for name, model in hub.HUB_MODELS.items():
        assert model.weights_url == files[name].replace("http://", "https://")
        assert model.vocab_url == vocabularies[name].replace("http://", "https://")
        lower = BertTokenizer.pretrained_init_configuration[name]["do_lower_case"]
        assert model.do_lower_case is lower
        config = hub.built_in_config(name)
        assert config.pop("layer_norm_eps") == 1e-12
        assert config == configuration.BERT_PRETRAINED_INIT_CONFIGURATION[name]


def test_built_in_config_is_a_new_dict():
    hub.built_in_config(NAME)["vocab_size"] = 1
    assert hub.built_in_config(NAME)["vocab_size"] == 28996
    assert hub.built_in_config("no-such-bert") is None
