"""Heartbeats and a control channel between ranks: dead-rank detection, barrier, all-gather.

Rank 0 has two TCP connections to every other rank:

    heartbeat   a thread on either side sends a line every second, and a last one with the reason
                when its process ends
    control     the main threads exchange bytes: a barrier and an all-gather of values in host
                memory, which need not wait for queued GPU work

Not by multiprocessing.connection: its `Listener.accept` authenticates one connection after the
other without a time limit, so that anything that connects and sends nothing would keep the ranks
out, and its `recv_bytes` cannot time out amid a message. `joining` connects the ranks.

A rank that is killed or stopped, on any host, is detected and named within `heartbeat_timeout`
seconds. The others wait for a rank that is only slow: without the barrier, gloo aborts a job when
one rank reaches a collective operation 30 seconds after another.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from bert_paddle.common.errors import RunError
from bert_paddle.distributed import environment
from bert_paddle.distributed.authentication import receive_exactly

_HEARTBEAT_SECONDS = 1.0
# Delay between losing a rank and ending this process, which may be about to raise the same error
# itself; and the lost rank's parent process can report a more specific error.
_GRACE_SECONDS = 3.0
# Lines on a heartbeat connection; any other line is the error that ends the sending rank.
_ALIVE, _BYE = "alive", "bye"


class LostRankError(RunError):
    """Another process has died or did not respond; usually the consequence of an earlier error."""


def heartbeat_timeout() -> float:
    """Seconds without a heartbeat after which a rank counts as dead; 0: never (for a debugger)."""
    return environment.seconds("BERT_PADDLE_SILENCE", 30)


def collective_timeout() -> float:
    """Seconds that rank 0 waits in a collective operation; other ranks wait twice as long."""
    return environment.seconds("BERT_PADDLE_PATIENCE", 600)


class ControlChannel:
    """This rank's connections by peer rank: rank 0 has one pair to every other rank, every other
    rank has one pair to rank 0."""

    def __init__(
        self, rank: int, heartbeats: dict[int, socket.socket], controls: dict[int, socket.socket]
    ):
        self.rank, self._heartbeats, self._controls = rank, heartbeats, controls
        self._heartbeat_timeout, self._timeout = heartbeat_timeout(), collective_timeout()
        self._closing, self._close_deadline = threading.Event(), 0.0
        self._thread: threading.Thread | None = None
        for connection in (*heartbeats.values(), *controls.values()):
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_heartbeat(self, on_lost: Callable[[str], Any]) -> None:
        """Start the thread that sends and receives heartbeats. It calls `on_lost` once, with a
        one-line message that names the lost rank."""
        self._thread = threading.Thread(
            target=self._run_heartbeat, args=(on_lost,), daemon=True, name="heartbeat"
        )
        self._thread.start()

    def barrier(self) -> None:
        """Wait until all ranks have called this. Raises LostRankError when one has died, or does
        not call it within the timeout: `collective_timeout` on rank 0, twice as long
        on the others."""
        self.all_gather(b"")

    def all_gather(self, value: bytes) -> list[bytes]:
        """Every rank's bytes, in rank order, on all ranks. Raises the errors of `barrier`."""
        if self.rank == 0:
            received = self._receive_from_all(self._timeout) | {0: value}
            values = [received[rank] for rank in sorted(received)]
            packed = b"".join(len(v).to_bytes(8, "big") + v for v in values)
            for rank in self._controls:
                self._send(rank, packed)
            return values
        self._send(0, value)
        return _unpack(self._receive_from_all(2 * self._timeout)[0])

    def close(self, reason: str = "") -> None:
        """Announce to the other ranks that this one ends. reason: its error, which ends them too;
        empty at a normal end."""
        if self._closing.is_set():
            return
        self._close_deadline = time.monotonic() + 2 * _HEARTBEAT_SECONDS
        self._closing.set()
        for rank in self._heartbeats:
            self._send_line(rank, reason or _BYE)
        if self._thread is not None and not reason:
            # Wait for the others' answers, so that no message is lost.
            self._thread.join(3 * _HEARTBEAT_SECONDS)

    def _receive_from_all(self, timeout: float) -> dict[int, bytes]:
        """One message from every control connection, by rank."""
        pending, deadline = dict(self._controls), time.monotonic() + timeout
        received: dict[int, bytes] = {}
        while pending:
            remaining = deadline - time.monotonic()
            ready, _, _ = select.select(list(pending.values()), [], [], max(0.0, remaining))
            for rank in [rank for rank, connection in pending.items() if connection in ready]:
                # The message's length in 8 bytes, then the message; None if the rank disconnected.
                size = receive_exactly(pending[rank], 8)
                data = size and receive_exactly(pending.pop(rank), int.from_bytes(size, "big"))
                if data is None:
                    raise self._connection_lost_error(rank)
                received[rank] = data
            if pending and remaining <= 0:
                raise LostRankError(
                    f"{rank_names(pending)} did not reach a collective operation within "
                    f"{timeout:g} s, but is alive: check what it is doing, or raise "
                    "BERT_PADDLE_PATIENCE (seconds)"
                )
        return received

    def _send(self, rank: int, data: bytes) -> None:
        try:
            self._controls[rank].sendall(len(data).to_bytes(8, "big") + data)
        except OSError:
            raise self._connection_lost_error(rank) from None

    def _connection_lost_error(self, rank: int) -> LostRankError:
        return LostRankError(
            f"rank {self.rank} lost the connection to rank {rank}: its process has ended"
        )

    def _run_heartbeat(self, on_lost: Callable[[str], Any]) -> None:
        """Send and receive heartbeats. A rank's silence is measured in heartbeats that this process
        has sent meanwhile, not in time: suspending and continuing the whole job loses no rank."""
        missed = dict.fromkeys(self._heartbeats, 0)
        buffers = dict.fromkeys(self._heartbeats, b"")
        due = 0.0
        while missed and not (self._closing.is_set() and time.monotonic() > self._close_deadline):
            if time.monotonic() >= due:
                due = time.monotonic() + _HEARTBEAT_SECONDS
                for rank in missed:
                    self._send_line(rank, _ALIVE)
                    missed[rank] += 1
                    if 0 < self._heartbeat_timeout < missed[rank] * _HEARTBEAT_SECONDS:
                        return self._report_lost(
                            f"rank {rank} has sent no heartbeat for {self._heartbeat_timeout:g} s: "
                            "its process is stopped, or its host or the network is down",
                            on_lost,
                        )
            watched = [self._heartbeats[rank] for rank in missed]
            ready, _, _ = select.select(watched, [], [], max(0.0, due - time.monotonic()))
            for rank in [rank for rank in missed if self._heartbeats[rank] in ready]:
                missed[rank] = 0
                data = _receive_available(self._heartbeats[rank])
                *lines, buffers[rank] = (buffers[rank] + data).split(b"\n")
                messages = [line.decode(errors="replace") for line in lines]
                messages = [message for message in messages if message != _ALIVE]
                ended = bool(messages) or not data
                if messages[:1] == [_BYE] or self._closing.is_set() and ended:
                    self._send_line(rank, _BYE)
                    del missed[rank]
                elif ended:
                    self._closing.wait(_GRACE_SECONDS)
                    killed = "has died without an error message (killed, maybe out of memory)"
                    message = messages[0] if messages else f"rank {rank} {killed}"
                    return self._report_lost(message, on_lost)

    def _report_lost(self, message: str, on_lost: Callable[[str], Any]) -> None:
        """Forward the message to the other ranks, which are not connected to the lost one, and call
        `on_lost`."""
        if not self._closing.is_set():
            for rank in self._heartbeats:
                self._send_line(rank, message)
            on_lost(message)

    def _send_line(self, rank: int, message: str) -> None:
        with contextlib.suppress(OSError):  # the receiving side detects dead ranks
            self._heartbeats[rank].sendall(" ".join(message.split()).encode() + b"\n")


def _unpack(data: bytes) -> list[bytes]:
    """Split values that were concatenated, each after its length in 8 bytes."""
    values = []
    while data:
        end = 8 + int.from_bytes(data[:8], "big")
        values.append(data[8:end])
        data = data[end:]
    return values


def _receive_available(connection: socket.socket) -> bytes:
    """The bytes that have arrived; empty when the connection is closed."""
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def rank_names(ranks: Iterable[int]) -> str:
    """Ranks for a message, ascending: "rank 1, rank 3"."""
    return ", ".join(f"rank {rank}" for rank in sorted(ranks))
