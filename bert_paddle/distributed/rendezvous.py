"""Before Paddle connects the ranks: is the environment complete, and have all ranks come?

Paddle's own store waits for them for 900 seconds, in C++, with Python's lock held: nothing can be
said and no signal is obeyed meanwhile. So the ranks meet here first. Their connections carry rank
numbers only. A stranger that names a rank can only end the waiting too early: then Paddle waits.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from itertools import chain

from bert_paddle.common.errors import UserError
from bert_paddle.distributed import environment
from bert_paddle.distributed.authentication import given_secret, receive_exactly
from bert_paddle.distributed.heartbeat import (
    LostRankError,
    collective_timeout,
    heartbeat_timeout,
    rank_names,
)

_NEEDED = ("PADDLE_TRAINER_ID", "PADDLE_TRAINER_ENDPOINTS", "PADDLE_CURRENT_ENDPOINT")
_WAY_OUT = "unset PADDLE_TRAINERS_NUM, or start the job with python -m paddle.distributed.launch"
_FIRST_NOTE_SECONDS, _NOTE_SECONDS = 10.0, 60.0
_HELLO, _GO = b"bert_paddle", b"go"
_RANK_BYTES = 4


def check_environment() -> None:
    """Check the variables of a job, before anything is read. Raises UserError if some are missing
    or wrong."""
    heartbeat_timeout()
    collective_timeout()
    given_secret()
    rank = environment.whole_number("PADDLE_TRAINER_ID", 0)
    size = environment.whole_number("PADDLE_TRAINERS_NUM", 1)
    if rank >= max(1, size):
        raise UserError(
            f"PADDLE_TRAINER_ID={rank} is no rank of PADDLE_TRAINERS_NUM={size} processes, which "
            f"are numbered from 0: {_WAY_OUT}"
        )
    if size <= 1:
        return
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"PADDLE_TRAINERS_NUM={size} says that this process "
            f"is one of several, but {', '.join(missing)} is not set: {_WAY_OUT}"
        )
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    wrong = [name for name in endpoints if not name.rpartition(":")[2].isdigit()]
    if wrong or len(endpoints) <= rank:
        raise UserError(
            f"PADDLE_TRAINER_ENDPOINTS={','.join(endpoints)[:80]} must be the host:port of each of "
            f"{size} processes: {_WAY_OUT}"
        )


def _timeout() -> float:
    """Seconds to wait for all ranks: those of Paddle's store."""
    return environment.seconds("FLAGS_stop_check_timeout", 900.0)


def meeting_address() -> tuple[str, int] | None:
    """Host and port where rank 0 waits for the others: its endpoint. None if Paddle's store is to
    listen there, so that nothing else may."""
    endpoint = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")[0]
    master = os.environ.get("PADDLE_MASTER", "")
    master_host, master_port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    if master_host and master_port:
        master = f"{master_host}:{master_port}"
    host, _, port = endpoint.rpartition(":")
    if not master or master == endpoint or not port.isdigit():
        return None
    return host, int(port)


def wait_for_ranks(
    rank: int, size: int, address: tuple[str, int], note: Callable[[str], None]
) -> None:
    """Return when all ranks have called this. note: called with a line, after some seconds, that
    says which ranks are missing.

    Raises LostRankError if one is missing after the time that Paddle's store would wait.
    """
    deadline = time.monotonic() + _timeout()
    if rank == 0:
        _wait_for_others(size, address, deadline, note)
    else:
        _wait_for_first(rank, address, deadline, note)


class _Notes:
    """Says now and then, not at once, what is being waited for."""

    def __init__(self, note: Callable[[str], None]):
        self._note, self._due = note, time.monotonic() + _FIRST_NOTE_SECONDS

    def say(self, text: str) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _NOTE_SECONDS
            self._note(text)


def _wait_for_others(
    size: int, address: tuple[str, int], deadline: float, note: Callable[[str], None]
) -> None:
    notes, connections = _Notes(note), dict[int, list[socket.socket]]()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError:  # the host is known by a name or address that is not one of its own
            try:
                listener.bind(("", address[1]))
            except OSError:  # in use: Paddle's store waits instead
                return
        listener.listen(1024)
        while len(connections) < size - 1:
            missing = rank_names(rank for rank in range(1, size) if rank not in connections)
            if time.monotonic() > deadline:
                raise LostRankError(f"{missing} did not start within {_timeout():g} s")
            notes.say(f"waiting for {missing} to connect to {address[0]}:{address[1]}")
            listener.settimeout(1.0)
            try:
                connection, _ = listener.accept()
                connection.settimeout(5.0)
                hello = receive_exactly(connection, len(_HELLO) + _RANK_BYTES) or b""
            except TimeoutError:
                continue
            rank = int.from_bytes(hello[len(_HELLO) :], "big")
            if hello.startswith(_HELLO) and 0 < rank < size:
                connections.setdefault(rank, []).append(stack.enter_context(connection))
            else:
                connection.close()
        for connection in chain.from_iterable(connections.values()):
            with contextlib.suppress(OSError):  # a rank that has ended since is told of later
                connection.sendall(_GO)


def _wait_for_first(
    rank: int, address: tuple[str, int], deadline: float, note: Callable[[str], None]
) -> None:
    notes, place = _Notes(note), f"{address[0]}:{address[1]}"
    while True:
        try:
            with socket.create_connection(address, timeout=5.0) as connection:
                connection.sendall(_HELLO + rank.to_bytes(_RANK_BYTES, "big"))
                connection.settimeout(max(1.0, deadline - time.monotonic()))
                if receive_exactly(connection, len(_GO)) == _GO:
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise LostRankError(f"rank 0 did not start at {place} within {_timeout():g} s")
        notes.say(f"rank {rank} waits for rank 0 at {place}")
        time.sleep(0.5)
