"""What is said while ranks are missing, and what may arrive from the network."""

import dataclasses
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bert_paddle import cli
from bert_paddle.common.errors import UserError
from bert_paddle.distributed import collectives, rendezvous, values
from bert_paddle.distributed.heartbeat import LostRankError

ROOT = Path(__file__).parents[2]
GLUE = "-m bert_paddle glue --task_name sst2 --model_name_or_path none --output_dir out --n_gpu 0"


def free_address() -> tuple[str, int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()


@pytest.fixture
def soon(monkeypatch):
    """Notes at once, and little patience."""
    monkeypatch.setattr(rendezvous, "_FIRST_NOTE_SECONDS", 0.0)
    monkeypatch.setenv("FLAGS_stop_check_timeout", "2")


def test_all_ranks_meet_although_strangers_connect(monkeypatch):
    monkeypatch.setattr(rendezvous, "_FIRST_NOTE_SECONDS", 0.3)
    monkeypatch.setattr(rendezvous, "_NOTE_SECONDS", 0.3)
    address, notes, done = free_address(), [], []

    def run(rank: int) -> None:
        rendezvous.wait_for_ranks(rank, 3, address, notes.append)
        done.append(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (1, 0)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    with (
        socket.create_connection(address) as stranger,
        socket.create_connection(address) as impostor,  # does not take rank 1's place
    ):
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        number = (1).to_bytes(rendezvous._RANK_BYTES, "big")
        impostor.sendall(rendezvous._HELLO + number)
        time.sleep(1.5)
        assert done == []
        run(2)
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2]
    assert f"waiting for rank 2 to connect to 127.0.0.1:{address[1]}" in notes


def test_a_rank_that_never_comes(soon):
    notes, address = [], free_address()
    with pytest.raises(LostRankError, match="rank 1, rank 2 did not start within 2 s"):
        rendezvous.wait_for_ranks(0, 3, address, notes.append)
    assert notes == [f"waiting for rank 1, rank 2 to connect to 127.0.0.1:{address[1]}"]
    with pytest.raises(LostRankError, match="rank 0 did not start at 127.0.0.1:"):
        rendezvous.wait_for_ranks(1, 2, address, notes.append)
    assert notes[-1] == f"rank 1 waits for rank 0 at 127.0.0.1:{address[1]}"


def run_alone(**variables: str) -> subprocess.CompletedProcess:
    names = ("PADDLE_TRAINER_ID", "PADDLE_TRAINER_ENDPOINTS", "PADDLE_CURRENT_ENDPOINT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, *GLUE.split()],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | variables,
        timeout=100,
    )


def test_the_number_of_ranks_alone():
    result = run_alone(PADDLE_TRAINERS_NUM="2")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: PADDLE_TRAINERS_NUM=2 says that this process is one of several")


def test_a_job_whose_second_rank_is_missing():
    address = f"127.0.0.1:{free_address()[1]}"
    result = run_alone(
        PADDLE_TRAINERS_NUM="2",
        PADDLE_TRAINER_ID="0",
        PADDLE_TRAINER_ENDPOINTS=f"{address},127.0.0.1:1",
        PADDLE_CURRENT_ENDPOINT=address,
        PADDLE_MASTER=f"127.0.0.1:{free_address()[1]}",
        FLAGS_stop_check_timeout="3",
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "error: rank 1 did not start within 3 s"


@pytest.mark.parametrize("missing", rendezvous._NEEDED)
def test_missing_variables(monkeypatch, missing):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    for name in rendezvous._NEEDED:
        monkeypatch.setenv(name, "0")
    monkeypatch.delenv(missing)
    with pytest.raises(UserError, match=f"but {missing} is not set: unset PADDLE_TRAINERS_NUM"):
        rendezvous.check_environment()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PADDLE_TRAINER_ID", "abc", "must be a whole number"),
        ("PADDLE_TRAINER_ID", "", "must be a whole number"),
        ("PADDLE_TRAINER_ID", "-1", "must be a whole number"),
        ("PADDLE_TRAINER_ID", "2", "is no rank of PADDLE_TRAINERS_NUM=2 processes"),
        ("PADDLE_TRAINERS_NUM", "x", "must be a whole number"),
        ("PADDLE_TRAINERS_NUM", "1" * 5000, "must be a whole number"),
        ("PADDLE_TRAINER_ENDPOINTS", "x", "must be the host:port of each of 2 processes"),
        ("PADDLE_TRAINER_ENDPOINTS", "h:1", "must be the host:port of each of 2 processes"),
        ("BERT_PADDLE_SILENCE", "abc", "must be a number of seconds"),
        ("BERT_PADDLE_PATIENCE", "nan", "must be a number of seconds"),
        ("BERT_PADDLE_JOB_SECRET", "guess me", "it needs at least 16 that cannot be guessed"),
    ],
)
def test_wrong_variables_are_told_at_the_start(monkeypatch, name, text, message):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "h:1,h:2")
    monkeypatch.setenv("PADDLE_CURRENT_ENDPOINT", "h:2")
    rendezvous.check_environment()
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=f"{name}.*{message}") as caught:
        rendezvous.check_environment()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PADDLE_TRAINER_ID": "abc"}, "PADDLE_TRAINER_ID=abc must be a whole number"),
        (
            {f"PADDLE_{name}": "0" for name in ("TRAINER_ID", "CURRENT_ENDPOINT")}
            | {"PADDLE_TRAINERS_NUM": "2", "PADDLE_TRAINER_ENDPOINTS": "h:1,h:2"},
            "PADDLE_TRAINERS_NUM=2 says .* works alone",
        ),
    ],
)
@pytest.mark.parametrize(
    "command", ["predict m text", "export m --format hf", "generate m --prompt a"]
)
def test_commands_of_one_process(monkeypatch, variables, message, command):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    name, *flags = command.split()
    with pytest.raises(UserError, match=message):
        cli.find_command(name)(flags)


def test_a_check_says_a_wrong_variable_once(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINER_ID", "abc")
    with pytest.raises(UserError, match="PADDLE_TRAINER_ID=abc must be a whole number"):
        cli.find_command("check")([])


def test_no_meeting_where_paddles_store_listens(monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINER_ENDPOINTS", "10.0.0.1:80,10.0.0.2:80")
    for master, expected in (("", None), ("10.0.0.1:80", None), ("h:1", ("10.0.0.1", 80))):
        monkeypatch.setenv("PADDLE_MASTER", master)
        assert rendezvous.meeting_address() == expected


# Values


def test_values_arrive_as_they_are():
    value = {
        "array": np.arange(3, dtype=np.float32),
        "scalar": np.float64(2.5),
        "path": Path("a"),
        "world": collectives.World(1, 2),
        1: [None, True, (b"x", "y", {3})],
    }
    loaded = values.load(values.dump(value))
    assert loaded["array"].tolist() == [0, 1, 2] and loaded["array"].dtype == np.float32
    assert {k: v for k, v in loaded.items() if k != "array"} == {
        k: v for k, v in value.items() if k != "array"
    }


@dataclasses.dataclass
class Elsewhere:
    x: int = 0


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(os.system, "false"),
        Call(eval, "1"),
        Call(np.load, "x"),
        Call(subprocess.Popen, "false"),
        Call(collectives.get_world),
        Elsewhere(),
    ],
)
def test_nothing_else_is_loaded(value):
    with pytest.raises(pickle.UnpicklingError, match="refused: "):
        values.load(pickle.dumps(value))
