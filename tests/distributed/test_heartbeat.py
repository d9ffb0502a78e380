"""Who lives, who has come, who is gone and why: ranks as threads, and a second or two each."""

import queue
import socket
import threading
import time

import pytest

from bert_paddle.distributed import heartbeat
from bert_paddle.distributed.heartbeat import ControlChannel, LostRankError


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(heartbeat, "_BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "_GRACE", 0.1)
    monkeypatch.setenv("BERT_PADDLE_SILENCE", "0.5")
    monkeypatch.setenv("BERT_PADDLE_PATIENCE", "0.5")


def job(size: int) -> list[ControlChannel]:
    listener = heartbeat.Listener("127.0.0.1")
    made: dict[int, ControlChannel] = {}

    def make(rank: int) -> None:
        made[rank] = heartbeat.connect(listener.address, rank)

    threads = [threading.Thread(target=make, args=(rank,)) for rank in range(1, size)]
    for thread in threads:
        thread.start()
    made[0] = listener.accept(size, 5)
    for thread in threads:
        thread.join()
    return [made[rank] for rank in range(size)]


def watched(ranks: list[ControlChannel]) -> list[queue.Queue]:
    told: list[queue.Queue] = [queue.Queue() for _ in ranks]
    for one, lines in zip(ranks, told, strict=True):
        one.watch(lines.put)
    return told


def gone(one: ControlChannel) -> None:
    """What the system does with the connections of a process that is killed."""
    for connection in (*one._pulses.values(), *one._doors.values()):
        connection.shutdown(socket.SHUT_RDWR)


def test_all_meet_and_leave_without_alarm():
    ranks, came = job(3), []

    def meet(one: ControlChannel, after: float) -> None:
        time.sleep(after)
        came.append((1, one.rank))
        one.meet()
        came.append((2, one.rank))

    told = watched(ranks)
    threads = [threading.Thread(target=meet, args=(one, one.rank * 0.1)) for one in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(came[:3]) == [(1, 0), (1, 1), (1, 2)]  # nobody goes on before all have come
    ranks[1].leave()
    time.sleep(0.8)  # longer than the silence and the grace
    ranks[0].leave()
    time.sleep(0.3)
    ranks[2].leave()
    assert all(lines.empty() for lines in told)


def test_who_does_not_come_is_named():
    ranks = job(3)
    ranks[2]._knock(0)  # rank 2 has come
    with pytest.raises(LostRankError, match=r"^rank 1 did not come to an exchange for 0.5 s"):
        ranks[0].meet()


def test_the_others_wait_longer_than_rank_0_does_for_them():
    ranks = job(2)
    begun = time.monotonic()
    with pytest.raises(LostRankError, match="^rank 0 did not come"):
        ranks[1].meet()
    assert time.monotonic() - begun >= 1.0


def test_a_dead_rank_is_named_by_all():
    ranks = job(3)
    told = watched(ranks)
    gone(ranks[1])
    assert told[0].get(timeout=5).startswith("rank 1 has ended without a word")
    assert told[2].get(timeout=5).startswith("rank 1 has ended without a word")
    with pytest.raises(LostRankError, match="rank 0 lost rank 1"):
        ranks[0].meet()


@pytest.mark.parametrize("silent", [0, 1])
def test_a_stopped_rank_is_named_by_all(silent):
    """A rank that is stopped keeps its connections, and says nothing."""
    ranks = job(3)
    told = [queue.Queue() for _ in ranks]
    for one, lines in zip(ranks, told, strict=True):
        if one.rank != silent:
            one.watch(lines.put)
    for rank in {0, 1, 2} - {silent}:
        assert told[rank].get(timeout=5).startswith(f"rank {silent} has given no sign of life")


def test_no_silence_is_too_long_for_a_debugger(monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_SILENCE", "0")
    ranks = job(2)
    lines: queue.Queue = queue.Queue()
    ranks[0].watch(lines.put)
    time.sleep(1)
    assert lines.empty()


def test_a_reason_reaches_everybody_once():
    ranks = job(3)
    told = watched(ranks)
    ranks[2].leave("rank 2: the loss\nis nan")
    assert [told[rank].get(timeout=5) for rank in (0, 1)] == ["rank 2: the loss is nan"] * 2
    time.sleep(0.3)
    assert all(lines.empty() for lines in told)


def test_strangers_do_not_count():
    listener = heartbeat.Listener("127.0.0.1")
    host, port, secret = listener.address
    stranger = socket.create_connection((host, port))
    stranger.sendall(b"x" * len(secret) + b"p" + (1).to_bytes(4, "big"))
    with pytest.raises(
        LostRankError, match="^rank 1, rank 2 did not connect to rank 0 within 0.3 s"
    ):
        listener.accept(3, 0.3)


def test_no_way_to_rank_0_is_told():
    listener = heartbeat.Listener("127.0.0.1")
    listener._socket.close()
    with pytest.raises(LostRankError, match="rank 1 cannot reach rank 0 at 127.0.0.1:"):
        heartbeat.connect(listener.address, 1, 1)


def test_everyones_bytes_reach_everyone_in_order():
    """Nothing, and more than a connection holds at once; one exchange after the other."""
    ranks, found = job(3), {}
    sent = [b"", b"\0" * 3_000_000, b"two"]

    def exchange(one: ControlChannel) -> None:
        found[one.rank] = [one.exchange(sent[one.rank]), one.exchange(str(one.rank).encode())]

    threads = [threading.Thread(target=exchange, args=(one,)) for one in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert [found[rank] for rank in range(3)] == [[sent, [b"0", b"1", b"2"]]] * 3
