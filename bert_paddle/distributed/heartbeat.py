"""What the processes of a job know of each other: who lives, who has come, who is gone and why.

Rank 0 is in the middle and has two connections to each other rank, both plain TCP:

    pulse   a thread on either side says every second that it lives, and at the end why it goes
    door    the main threads meet here, and exchange values: what stands in memory anyway need
            not go by way of a GPU, which would first finish its work

So a rank that is killed or stopped, on whatever host, is found and named within `silence` seconds,
and one that is only slow is waited for: without the door, gloo ends a job when one rank comes to
an exchange 30 seconds after another.
"""

import contextlib
import hmac
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from bert_paddle.common.errors import RunError

_BEAT = 1.0  # seconds between two signs of life
# So long after another's end this process gives up as well, unless it ends meanwhile: it may be
# about to raise the same error, and who started the dead one knows more of its death.
_GRACE = 3.0
_ALIVE, _BYE = "alive", "bye"
Address = tuple[str, int, bytes]  # host, port, and a secret that keeps strangers out


class LostRankError(RunError):
    """Another process is gone or did not come; mostly not the first error of its job."""


def heartbeat_timeout() -> float:
    """Seconds without a sign of life after which a rank counts as dead; 0: never (a debugger)."""
    return float(os.environ.get("BERT_PADDLE_SILENCE") or 30)


def collective_timeout() -> float:
    """Seconds that rank 0 waits for the others to come to an exchange."""
    return float(os.environ.get("BERT_PADDLE_PATIENCE") or 600)


class Listener:
    """Rank 0's open port, until all others are connected."""

    def __init__(self, host: str):
        self._socket = socket.socket()
        try:
            self._socket.bind((host, 0))
        except OSError:  # the host goes by a name or address that is not its own
            self._socket.bind(("", 0))
        self._socket.listen(1024)
        self.address: Address = (host, self._socket.getsockname()[1], secrets.token_bytes(16))

    def accept(self, size: int, seconds: float = 60.0) -> "ControlChannel":
        """The connections of ranks 1 to size-1. Raises LostError where one is not made in time."""
        found: dict[tuple[bytes, int], socket.socket] = {}
        end = time.monotonic() + seconds
        while len(found) < 2 * (size - 1):
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                one, _ = self._socket.accept()
                one.settimeout(5.0)
                hello = _receive(one, 21)
            except TimeoutError:
                if time.monotonic() < end:
                    continue  # of a stranger that says nothing
                there = {rank for _, rank in found}
                missing = _ranks(rank for rank in range(1, size) if rank not in there)
                raise LostRankError(
                    f"{missing} did not connect to rank 0 within {seconds:g} s"
                ) from None
            if hello is None or not hmac.compare_digest(hello[:16], self.address[2]):
                one.close()
                continue
            found[hello[16:17], int.from_bytes(hello[17:], "big")] = one
        self._socket.close()
        ranks = range(1, size)
        return ControlChannel(
            0, {r: found[b"p", r] for r in ranks}, {r: found[b"d", r] for r in ranks}
        )


def connect(address: Address, rank: int, seconds: float = 60.0) -> "ControlChannel":
    """The connections of any other rank, to rank 0. Raises LostError where they cannot be made."""
    host, port, secret = address
    made = []
    for kind in (b"p", b"d"):
        try:
            one = socket.create_connection((host, port), timeout=seconds)
            one.sendall(secret + kind + rank.to_bytes(4, "big"))
        except OSError as error:
            raise LostRankError(
                f"rank {rank} cannot reach rank 0 at {host}:{port} ({error}): the hosts of a job "
                "must reach each other on all ports"
            ) from None
        made.append(one)
    return ControlChannel(rank, {0: made[0]}, {0: made[1]})


class ControlChannel:
    """This rank's connections. `pulses` and `doors`: by rank, to all others on rank 0, to rank 0
    on the others."""

    def __init__(
        self, rank: int, pulses: dict[int, socket.socket], doors: dict[int, socket.socket]
    ):
        self.rank, self._pulses, self._doors = rank, pulses, doors
        self._silence, self._patience = heartbeat_timeout(), collective_timeout()
        self._left, self._until = threading.Event(), 0.0
        self._thread: threading.Thread | None = None
        for one in (*pulses.values(), *doors.values()):
            one.settimeout(None)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def watch(self, lost: Callable[[str], Any]) -> None:
        """Start the thread that says and hears signs of life. `lost` is called there, once, with
        a line that names the rank that is gone."""
        self._thread = threading.Thread(target=self._watch, args=(lost,), daemon=True, name="pulse")
        self._thread.start()

    def meet(self) -> None:
        """Return when all ranks have called this as often. Raises LostError when one is gone, or
        does not come within the patience: rank 0's; the others wait twice as long for rank 0."""
        self.exchange(b"")

    def exchange(self, own: bytes) -> list[bytes]:
        """Every rank's bytes, in rank order, on all ranks; otherwise as `meet`."""
        if 0 not in self._doors:  # this is rank 0
            found = self._await(self._patience) | {0: own}
            everyone = [found[rank] for rank in sorted(found)]
            packed = b"".join(len(one).to_bytes(8, "big") + one for one in everyone)
            for rank in self._doors:
                self._knock(rank, packed)
            return everyone
        self._knock(0, own)
        return _unpacked(self._await(2 * self._patience)[0])

    def leave(self, reason: str = "") -> None:
        """Say that this rank goes: in good order, or for a reason that ends the others too."""
        if self._left.is_set():
            return
        self._until = time.monotonic() + 2 * _BEAT
        self._left.set()
        for rank in self._pulses:
            self._say(rank, reason or _BYE)
        if self._thread is not None and not reason:
            self._thread.join(3 * _BEAT)  # until the others have answered: nothing is lost

    def _await(self, seconds: float) -> dict[int, bytes]:
        """What comes through every door, by rank."""
        missing, end = dict(self._doors), time.monotonic() + seconds
        found: dict[int, bytes] = {}
        while missing:
            left = end - time.monotonic()
            ready, _, _ = select.select(list(missing.values()), [], [], max(0.0, left))
            for rank in [rank for rank, one in missing.items() if one in ready]:
                size = _receive(missing[rank], 8)
                data = size and _receive(missing.pop(rank), int.from_bytes(size, "big"))
                if data is None:
                    raise LostRankError(
                        f"rank {self.rank} lost rank {rank}, whose process has ended"
                    )
                found[rank] = data
            if missing and left <= 0:
                raise LostRankError(
                    f"{_ranks(missing)} did not come to an exchange for {seconds:g} s, although "
                    "alive: see what it does there, or raise BERT_PADDLE_PATIENCE (seconds)"
                )
        return found

    def _knock(self, rank: int, data: bytes = b"") -> None:
        try:
            self._doors[rank].sendall(len(data).to_bytes(8, "big") + data)
        except OSError:
            raise LostRankError(
                f"rank {self.rank} lost rank {rank}, whose process has ended"
            ) from None

    def _watch(self, lost: Callable[[str], Any]) -> None:
        """Beat and listen. Silence is counted in beats of our own, so that a job that is stopped
        and goes on as a whole finds nobody dead."""
        silent, heard = dict.fromkeys(self._pulses, 0), dict.fromkeys(self._pulses, b"")
        due = 0.0
        while silent and not (self._left.is_set() and time.monotonic() > self._until):
            if time.monotonic() >= due:
                due = time.monotonic() + _BEAT
                for rank in silent:
                    self._say(rank, _ALIVE)
                    silent[rank] += 1
                    if 0 < self._silence < silent[rank] * _BEAT:
                        return self._tell(
                            f"rank {rank} has given no sign of life for {self._silence:g} s: its "
                            "process is stopped, its host or the network is down",
                            lost,
                        )
            waiting = [self._pulses[rank] for rank in silent]
            ready, _, _ = select.select(waiting, [], [], max(0.0, due - time.monotonic()))
            for rank in [rank for rank in silent if self._pulses[rank] in ready]:
                silent[rank] = 0
                data = _some(self._pulses[rank])
                *lines, heard[rank] = (heard[rank] + data).split(b"\n")
                words = [line.decode(errors="replace") for line in lines]
                words = [line for line in words if line != _ALIVE]
                if words[:1] == [_BYE] or self._left.is_set() and (words or not data):
                    self._say(rank, _BYE)
                    del silent[rank]
                elif words or not data:
                    self._left.wait(_GRACE)
                    gone = f"rank {rank} has ended without a word (killed, perhaps for want of "
                    return self._tell(words[0] if words else f"{gone}memory)", lost)

    def _tell(self, line: str, lost: Callable[[str], Any]) -> None:
        """Pass it on to the others, who have no connection with that rank, and end."""
        if not self._left.is_set():
            for rank in self._pulses:
                self._say(rank, line)
            lost(line)

    def _say(self, rank: int, line: str) -> None:
        with contextlib.suppress(OSError):  # who is gone is found by listening
            self._pulses[rank].sendall(" ".join(line.split()).encode() + b"\n")


def _unpacked(data: bytes) -> list[bytes]:
    found = []
    while data:
        end = 8 + int.from_bytes(data[:8], "big")
        found.append(data[8:end])
        data = data[end:]
    return found


def _some(one: socket.socket) -> bytes:
    try:
        return one.recv(65536)
    except OSError:
        return b""


def _receive(one: socket.socket, count: int) -> bytes | None:
    """So many bytes; None when the other side has gone."""
    data = bytearray()
    while len(data) < count:
        try:
            part = one.recv(min(count - len(data), 1 << 20))
        except TimeoutError:
            raise
        except OSError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


def _ranks(ranks: Any) -> str:
    return ", ".join(f"rank {rank}" for rank in sorted(ranks))
