"""Where models are found, and a download from a local server in the hub's place."""

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
    """Serves server.files; a path in server.cut closes after half of its content."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A hub of one model on this machine."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    weights = pickle.dumps({"bert.pooler.dense.bias": np.ones(2, np.float32)}, 2)
    server.files = {"/w.pdparams": weights, "/v.txt": b"[PAD]\n[UNK]\n"}
    server.cut, server.asked = set(), []
    address = f"http://127.0.0.1:{server.server_port}"
    model = replace(hub.PUBLISHED[NAME], weights=f"{address}/w.pdparams", vocab=f"{address}/v.txt")
    monkeypatch.setitem(hub.PUBLISHED, NAME, model)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_goes_before_everything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    (tmp_path / "home/models" / NAME).mkdir(parents=True)
    assert hub.find_model_dir(NAME, tmp_path / "home").resolve() == tmp_path / NAME
    assert hub.find_model_dir(f"./{NAME}/", tmp_path / "home").resolve() == tmp_path / NAME


@pytest.mark.parametrize("name", ["my-bert", NAME, "group/my-bert"])
def test_our_own_models_folder_goes_before_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "home/models" / name
    folder.mkdir(parents=True)
    assert hub.find_model_dir(name, tmp_path / "home") == folder


def test_download_once(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    folder = hub.find_model_dir(NAME, tmp_path / "home", said.append)
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
    assert len(said) == 1 and NAME in said[0]
    assert [p.name for p in folder.parent.iterdir()] == [NAME]  # nothing left beside it
    asked = len(server.asked)
    assert hub.find_model_dir(NAME, tmp_path / "home") == folder
    assert len(server.asked) == asked


@pytest.mark.parametrize("fault", ["missing", "cut", "empty"])
def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, server, fault):
    monkeypatch.chdir(tmp_path)
    if fault == "missing":
        del server.files["/w.pdparams"]
    elif fault == "cut":
        server.cut.add("/w.pdparams")
    else:
        server.files["/w.pdparams"] = b""
    with pytest.raises(WeightsError) as caught:
        hub.find_model_dir(NAME, tmp_path / "home")
    said = {"missing": "404", "cut": "bytes arrived", "empty": "an empty file arrived"}[fault]
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert list((tmp_path / "home/models").iterdir()) == []


def test_two_downloads_at_once_leave_one_folder(tmp_path, server, monkeypatch):
    """The slower process finds the other's folder in place and uses that."""
    monkeypatch.chdir(tmp_path)
    target = tmp_path / "models" / NAME
    fetch = hub._fetch

    def fetch_while_another_finishes(url, path):
        fetch(url, path)
        target.mkdir(exist_ok=True)
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(hub, "_fetch", fetch_while_another_finishes)
    assert hub.download(NAME, tmp_path) == target
    assert [p.name for p in target.parent.iterdir()] == [NAME]
    assert [p.name for p in target.iterdir()] == ["config.json"]


def test_offline_names_every_place_and_the_way_out(tmp_path, monkeypatch):
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


def test_a_home_that_cannot_be_made(tmp_path, monkeypatch, server):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").write_text("a file in the way")
    with pytest.raises(WeightsError, match="home"):
        hub.find_model_dir(NAME, tmp_path / "home")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nowhere", "there is no model folder ./nowhere"),
        ("some/where", "there is no model folder some/where"),
        ("../home/models/x", "there is no model folder"),
        ("no-such-bert", "not found: no such folder here, none at .*no-such-bert.*bert-base-ch"),
        ("", "name is empty"),
        ("model.safetensors", "is a file: give the folder that holds it"),
    ],
)
def test_names_that_lead_nowhere(tmp_path, monkeypatch, server, name, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(WeightsError, match=said) as caught:
        hub.find_model_dir(name, tmp_path / "home")
    assert "\n" not in str(caught.value)
    assert server.asked == []


def test_tables_equal_paddlenlp():
    from paddlenlp.transformers.bert import configuration
    from paddlenlp.transformers.bert.tokenizer import BertTokenizer

    files = configuration.BERT_PRETRAINED_RESOURCE_FILES_MAP["model_state"]
    vocabularies = BertTokenizer.pretrained_resource_files_map["vocab_file"]
    for name, model in hub.PUBLISHED.items():
        assert model.weights == files[name].replace("http://", "https://")
        assert model.vocab == vocabularies[name].replace("http://", "https://")
        lower = BertTokenizer.pretrained_init_configuration[name]["do_lower_case"]
        assert model.do_lower_case is lower
        config = hub.built_in_config(name)
        assert config.pop("layer_norm_eps") == 1e-12
        assert config == configuration.BERT_PRETRAINED_INIT_CONFIGURATION[name]


def test_built_in_config_is_the_callers_own():
    hub.built_in_config(NAME)["vocab_size"] = 1
    assert hub.built_in_config(NAME)["vocab_size"] == 28996
    assert hub.built_in_config("no-such-bert") is None
