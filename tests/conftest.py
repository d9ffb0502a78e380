"""Fixtures for all tests: no network, tiny models made on the fly, real files where they are."""

import os
import socket
import sys
from pathlib import Path

import pytest

from bert_paddle.common import runtime
from bert_paddle.models import paddlenlp_bert

runtime.configure(processes=int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
runtime.import_paddle()
# Alone, before test files import parts of it by PaddleNLP's names: all of PaddleNLP takes 15 s.
paddlenlp_bert.bert_module()

# Files that take longest (20 s and more) begin first, so that no process is idle at the
# end (with scripts/test.sh, which distributes whole files in this order).
LONGEST_FILES = (
    "test_trajectory.py",
    "training/test_resume_table.py",
    "distributed/test_launch.py",
    "test_peer_lines.py",
    "clm/test_clm_run.py",
    "test_wheel.py",
    "training/test_crashes.py",
    "training/test_stop_table.py",
    "distributed/test_collectives.py",
    "distributed/test_two_hosts.py",
    "distributed/test_stop_signals.py",
    "clm/test_gpt2_document.py",
    "cli/test_submission.py",
    "training/test_resume_other_batch.py",
    "cli/test_check.py",
    "pretrain/test_pretrain_processes.py",
    "common/test_stop_commands.py",
    "models/kernels/test_kernels_loss_curve.py",
    "test_command_lines.py",
    "sweep/test_sweep_runs.py",
    "test_documents.py",
    "sweep/test_glue_document.py",
    "export/test_export.py",
    "models/test_compute_mode.py",
    "training/test_resume_processes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    order = {folder / name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """Every connection but to this machine's loopback is refused, as without a network."""
    connect = socket.socket.connect

    def only_loopback(self, address):
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(101, f"Network is unreachable (blocked by the tests): {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)


@pytest.fixture(scope="session")
def _cache(tmp_path_factory) -> Path:
    """What is made at first use, such as compiled kernels and matplotlib's list of fonts, is made
    once for all tests."""
    base = tmp_path_factory.getbasetemp()
    # With xdist, each process has a folder of its own there.
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path_factory, _cache):
    """Nothing under the user's own cache is read or written."""
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(_cache))
    monkeypatch.delenv("GLUE_DATA_DIR", raising=False)


@pytest.fixture
def forked_python(monkeypatch, tmp_path) -> Path:
    """The processes that this one starts with its own Python are forks, which start at once."""
    import forks

    python = forks.python_for_scripts(tmp_path / "python")
    monkeypatch.setattr(sys, "executable", str(python))
    return python


_GLUE = os.environ.get("GLUE_DATA_DIR", "")
_GPT2_VOCAB = runtime.bert_paddle_home() / "vocabularies" / "gpt2"
_MINILM = runtime.bert_paddle_home() / "models" / "all-minilm-l6-v2"


@pytest.fixture
def glue_data_dir() -> Path:
    """The folder of the official GLUE files; the test is skipped without it."""
    if not _GLUE or not Path(_GLUE).is_dir():
        pytest.skip("GLUE_DATA_DIR is not set to a folder of GLUE files")
    return Path(_GLUE)


@pytest.fixture
def minilm_dir() -> Path:
    """The packaged real weights; the test is skipped without them."""
    if not (_MINILM / "model.safetensors").is_file():
        pytest.skip(f"no packaged weights in {_MINILM} (scripts/fetch_minilm.sh fetches them)")
    return _MINILM


@pytest.fixture
def gpt2_vocab_dir() -> Path:
    """GPT-2's real vocabulary; the test is skipped without it."""
    if not (_GPT2_VOCAB / "merges.txt").is_file():
        pytest.skip(f"no vocabulary in {_GPT2_VOCAB} (scripts/fetch_gpt2_vocab.sh fetches it)")
    return _GPT2_VOCAB


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory) -> Path:
    """A folder with a two-layer BERT of random weights, in Paddle form, with a vocabulary."""
    import tiny

    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
