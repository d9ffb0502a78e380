"""Who may join a job: real sockets, with threads as ranks and strangers beside them."""

import os
import pickle
import socket
import threading
import time

import pytest

from bert_paddle.common.errors import UserError
from bert_paddle.distributed import authentication, collectives, joining
from bert_paddle.distributed.authentication import receive_exactly
from bert_paddle.distributed.heartbeat import ControlChannel, LostRankError

SECRET = b"a secret of at least sixteen characters"
HELLO_BYTES, PROOF_BYTES = 37, 32


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv("BERT_PADDLE_JOB_SECRET", raising=False)


def listen(secret: bytes = SECRET) -> joining.Listener:
    return joining.Listener("127.0.0.1", secret)


def in_threads(*functions) -> list:
    """The functions' results, or errors."""
    results: dict[int, object] = {}

    def run(number: int) -> None:
        try:
            results[number] = functions[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return [results[number] for number in range(len(functions))]


def record_joining(listener: joining.Listener) -> list[bytes]:
    """Let rank 1 join rank 0 through a relay. Returns what rank 1 has sent, and what it got, in
    each of its two connections."""
    relay = socket.create_server(("127.0.0.1", 0))
    recorded = []

    def forward() -> None:
        for _ in range(2):
            rank, _ = relay.accept()
            server = socket.create_connection(("127.0.0.1", listener.port))
            parts = []
            for source, target, count in (
                (rank, server, HELLO_BYTES),
                (server, rank, 32),
                (rank, server, PROOF_BYTES),
                (server, rank, PROOF_BYTES),
            ):
                parts.append(receive_exactly(source, count) or b"")
                target.sendall(parts[-1])
            recorded.extend(parts)

    channels = in_threads(
        lambda: listener.accept(2, 10),
        lambda: joining.connect("127.0.0.1", relay.getsockname()[1], SECRET, 1),
        forward,
    )
    assert isinstance(channels[0], ControlChannel) and isinstance(channels[1], ControlChannel)
    return recorded


def test_a_recorded_answer_is_of_no_use_and_the_secret_is_not_sent():
    recorded = record_joining(listen())
    assert len(set(recorded)) == len(recorded) == 8
    assert SECRET not in b"".join(recorded)
    listener = listen()

    def replay() -> list[bytes | None]:
        answers = []
        for start in (0, 4):
            with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
                stranger.sendall(recorded[start] + recorded[start + 2])
                answers.append(receive_exactly(stranger, 32))  # a nonce, another than recorded
                answers.append(receive_exactly(stranger, 1))
        return answers

    accepted, answers = in_threads(lambda: listener.accept(2, 0.5), replay)
    assert isinstance(accepted, LostRankError)
    assert "rank 1 did not connect to rank 0 within 0.5 s; a connection from 127.0.0.1 did not" in (
        str(accepted)
    )
    nonces = answers[::2]
    assert answers[1::2] == [None, None] and not {*nonces} & {recorded[1], recorded[5]}


def test_a_stranger_in_the_place_of_rank_0_is_refused():
    """One that replays rank 0's old answers, and one that sends back what it gets."""
    recorded = record_joining(listen())
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for kind in ("replay", "echo"):
            connection, _ = server.accept()
            with connection:
                receive_exactly(connection, HELLO_BYTES)
                connection.sendall(recorded[1])
                proof = receive_exactly(connection, PROOF_BYTES) or b""
                connection.sendall(recorded[3] if kind == "replay" else proof)

    def connect_twice() -> list[str]:
        messages = []
        for _ in range(2):
            with pytest.raises(UserError) as caught:
                joining.connect("127.0.0.1", server.getsockname()[1], SECRET, 1, 5)
            messages.append(str(caught.value))
        return messages

    _, messages = in_threads(answer, connect_twice)
    for message in messages:
        assert message.startswith("rank 1 and rank 0, at 127.0.0.1:")
        assert message.endswith(
            "BERT_PADDLE_JOB_SECRET must be the same for all processes of a job"
        )


def test_silent_and_wrong_strangers_do_not_keep_the_ranks_out():
    listener = listen()
    address = ("127.0.0.1", listener.port)
    strangers = [socket.create_connection(address) for _ in range(30)]
    strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 500)
    strangers[1].close()
    start = time.monotonic()
    channel, *others = in_threads(
        lambda: listener.accept(3, 10),
        *(lambda rank=rank: joining.connect(*address, SECRET, rank) for rank in (1, 2)),
        # A rank of another size of job, with the secret.
        lambda: joining.connect(*address, SECRET, 7),
    )
    assert time.monotonic() - start < authentication._PATIENCE_SECONDS
    assert isinstance(channel, ControlChannel) and isinstance(others[1], ControlChannel)
    for stranger in strangers[2:]:  # dropped as soon as the ranks are there
        stranger.settimeout(5)
        assert receive_exactly(stranger, 1) is None


def test_a_silent_stranger_is_dropped(monkeypatch):
    monkeypatch.setattr(authentication, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(joining, "_MAX_HANDSHAKES", 1)
    listener = listen()
    with socket.create_connection(("127.0.0.1", listener.port)):
        channel, _ = in_threads(
            lambda: listener.accept(2, 10),
            lambda: joining.connect("127.0.0.1", listener.port, SECRET, 1),
        )
    assert isinstance(channel, ControlChannel)


def test_an_unreachable_rank_0_is_an_error():
    listener = listen()
    listener._socket.close()
    for host, port in (("127.0.0.1", listener.port), ("127.0.0.1", 10**6), ("a\0b", 1)):
        with pytest.raises(LostRankError, match=f"rank 1 cannot reach rank 0 at {host}:{port} "):
            joining.connect(host, port, SECRET, 1, 1)


class Gather:
    """What Paddle does before the channel is there, and what others can read of it."""

    def __init__(self, size: int):
        self.barrier, self.sent = threading.Barrier(size, timeout=10), dict[int, bytes]()

    def of(self, rank: int):
        def gather(data: bytes) -> list[bytes]:
            self.sent[rank] = data
            self.barrier.wait()
            return [self.sent[number] for number in sorted(self.sent)]

        return gather


def join(size: int, secrets: dict[int, bytes | None], monkeypatch) -> tuple[list, bytes]:
    """The channels of ranks with these secrets in their environments, and all that was gathered."""
    gather, rank = Gather(size), threading.local()
    monkeypatch.setattr(authentication, "given_secret", lambda: secrets[rank.number])

    def run(number: int):
        rank.number = number
        return joining.join(number, size, "127.0.0.1", gather.of(number))

    channels = in_threads(*(lambda number=number: run(number) for number in range(size)))
    return channels, b"".join(gather.sent.values())


def test_a_given_secret_is_not_sent_and_without_one_rank_0_draws_it(monkeypatch):
    channels, sent = join(3, dict.fromkeys(range(3), SECRET), monkeypatch)
    assert all(isinstance(channel, ControlChannel) for channel in channels)
    assert SECRET not in sent and b'"secret":' not in sent
    channels, sent = join(2, dict.fromkeys(range(2)), monkeypatch)
    assert all(isinstance(channel, ControlChannel) for channel in channels)
    assert sent.count(b'"secret":') == 1


@pytest.mark.parametrize("without", [0, 1])
def test_a_secret_that_one_rank_lacks(monkeypatch, without):
    errors, _ = join(2, {without: None, 1 - without: SECRET}, monkeypatch)
    for error in errors:
        assert type(error) is UserError
        assert str(error).startswith(f"BERT_PADDLE_JOB_SECRET is not set on rank {without}: ")


@pytest.mark.parametrize("data", [b"[1]", b"\xff", b"[" * 100_000, b'{"host": 7, "port": "x"}'])
def test_strangers_values_are_not_believed(data):
    with pytest.raises(LostRankError, match="rank 1 cannot reach rank 0"):
        joining.join(1, 2, "127.0.0.1", lambda own: [data, own])


class Call:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_is_unpickled_before_the_ranks_are_connected(tmp_path, monkeypatch):
    payload = pickle.dumps(Call(str(tmp_path / "made")))
    monkeypatch.setattr(collectives, "get_world", lambda: collectives.World(1, 2))
    monkeypatch.setattr(collectives, "_gather_bytes", lambda data: [payload, payload])
    monkeypatch.setattr(collectives.values, "load", pickle.loads)
    with pytest.raises(LostRankError):
        collectives.connect(print)
    with pytest.raises(RuntimeError, match="not connected"):
        collectives.all_gather(1)
    assert not (tmp_path / "made").exists()
