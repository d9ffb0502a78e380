"""Dead-rank detection, barrier and all-gather, with threads as ranks; a second or two each."""

import queue
import socket
import threading
import time

import pytest

from bert_paddle.distributed import heartbeat, joining
from bert_paddle.distributed.heartbeat import ControlChannel, LostRankError


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch):
    monkeypatch.setattr(heartbeat, "_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(heartbeat, "_GRACE_SECONDS", 0.1)
    monkeypatch.setenv("BERT_PADDLE_SILENCE", "0.5")
    monkeypatch.setenv("BERT_PADDLE_PATIENCE", "0.5")


def connect_ranks(size: int) -> list[ControlChannel]:
    listener = joining.Listener("127.0.0.1", b"secret")
    channels: dict[int, ControlChannel] = {}

    def connect(rank: int) -> None:
        channels[rank] = joining.connect("127.0.0.1", listener.port, b"secret", rank)

    threads = [threading.Thread(target=connect, args=(rank,)) for rank in range(1, size)]
    for thread in threads:
        thread.start()
    channels[0] = listener.accept(size, 5)
    for thread in threads:
        thread.join()
    return [channels[rank] for rank in range(size)]


def start_heartbeats(ranks: list[ControlChannel]) -> list[queue.Queue]:
    """The queues of the lost-rank messages that each rank gets."""
    messages: list[queue.Queue] = [queue.Queue() for _ in ranks]
    for channel, queue_ in zip(ranks, messages, strict=True):
        channel.start_heartbeat(queue_.put)
    return messages


def kill(channel: ControlChannel) -> None:
    """Shut down the connections, as the system does for a killed process."""
    for connection in (*channel._heartbeats.values(), *channel._controls.values()):
        connection.shutdown(socket.SHUT_RDWR)


def test_barrier_and_close_report_no_lost_rank():
    ranks, events = connect_ranks(3), []

    def run_barrier(channel: ControlChannel, delay: float) -> None:
        time.sleep(delay)
        events.append((1, channel.rank))
        channel.barrier()
        events.append((2, channel.rank))

    messages = start_heartbeats(ranks)
    threads = [
        threading.Thread(target=run_barrier, args=(channel, channel.rank * 0.1))
        for channel in ranks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(events[:3]) == [(1, 0), (1, 1), (1, 2)]  # no rank passes before all have arrived
    ranks[1].close()
    time.sleep(0.8)  # longer than the heartbeat timeout and the grace period
    ranks[0].close()
    time.sleep(0.3)
    ranks[2].close()
    assert all(queue_.empty() for queue_ in messages)


def test_the_rank_missing_at_a_barrier_is_named():
    ranks = connect_ranks(3)
    ranks[2]._send(0, b"")  # rank 2 has arrived
    with pytest.raises(
        LostRankError, match=r"^rank 1 did not reach a collective operation within 0.5"
    ):
        ranks[0].barrier()


def test_other_ranks_have_a_longer_timeout_than_rank_0():
    ranks = connect_ranks(2)
    start = time.monotonic()
    with pytest.raises(LostRankError, match="^rank 0 did not reach"):
        ranks[1].barrier()
    assert time.monotonic() - start >= 1.0


def test_all_ranks_name_a_dead_rank():
    ranks = connect_ranks(3)
    messages = start_heartbeats(ranks)
    kill(ranks[1])
    assert messages[0].get(timeout=5).startswith("rank 1 has died without an error message")
    assert messages[2].get(timeout=5).startswith("rank 1 has died without an error message")
    with pytest.raises(LostRankError, match="rank 0 lost the connection to rank 1"):
        ranks[0].barrier()


@pytest.mark.parametrize("stopped", [0, 1])
def test_all_ranks_name_a_stopped_rank(stopped):
    """A stopped rank keeps its connections but sends nothing."""
    ranks = connect_ranks(3)
    messages = [queue.Queue() for _ in ranks]
    for channel, queue_ in zip(ranks, messages, strict=True):
        if channel.rank != stopped:
            channel.start_heartbeat(queue_.put)
    for rank in {0, 1, 2} - {stopped}:
        assert messages[rank].get(timeout=5).startswith(f"rank {stopped} has sent no heartbeat")


def test_timeout_0_disables_dead_rank_detection(monkeypatch):
    monkeypatch.setenv("BERT_PADDLE_SILENCE", "0")
    ranks = connect_ranks(2)
    messages: queue.Queue = queue.Queue()
    ranks[0].start_heartbeat(messages.put)
    time.sleep(1)
    assert messages.empty()


def test_a_close_reason_reaches_every_rank_once():
    ranks = connect_ranks(3)
    messages = start_heartbeats(ranks)
    ranks[2].close("rank 2: the loss\nis nan")
    assert [messages[rank].get(timeout=5) for rank in (0, 1)] == ["rank 2: the loss is nan"] * 2
    time.sleep(0.3)
    assert all(queue_.empty() for queue_ in messages)


def test_all_gather_returns_all_bytes_in_rank_order():
    """Empty values, values larger than a socket buffer, and two operations in a row."""
    ranks, gathered = connect_ranks(3), {}
    sent = [b"", b"\0" * 3_000_000, b"two"]

    def gather(channel: ControlChannel) -> None:
        first = channel.all_gather(sent[channel.rank])
        gathered[channel.rank] = [first, channel.all_gather(str(channel.rank).encode())]

    threads = [threading.Thread(target=gather, args=(channel,)) for channel in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert [gathered[rank] for rank in range(3)] == [[sent, [b"0", b"1", b"2"]]] * 3
