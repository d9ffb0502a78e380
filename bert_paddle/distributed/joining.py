"""Connecting the ranks: rank 0 listens, the others come, and both sides prove that they belong to
the job before anything else is read from a connection."""

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from bert_paddle.common.errors import UserError
from bert_paddle.distributed import authentication
from bert_paddle.distributed.authentication import WAY_OUT, Handshake, RefusedError, prove
from bert_paddle.distributed.heartbeat import ControlChannel, LostRankError, rank_names

# An exchange of bytes between all ranks that others may read and change.
OpenGather = Callable[[bytes], list[bytes]]
_HEARTBEAT, _CONTROL = b"h", b"c"  # type of a connection
_MAX_HANDSHAKES = 256  # at a time


def join(rank: int, size: int, host: str, gather: OpenGather) -> ControlChannel:
    """Connect all ranks, which must call this together. host: this rank's name or address. Without
    a secret in the environment, rank 0 draws one and sends it through `gather`.

    Raises LostRankError if a rank does not come, UserError if the ranks' secrets differ.
    """
    given = authentication.given_secret()
    secret = given or authentication.new_secret().encode()
    listener = Listener(host, secret) if rank == 0 else None
    own: dict[str, Any] = {"secret_is_given": given is not None}
    if listener is not None:
        own |= {"host": listener.host, "port": listener.port}
        own |= {} if given else {"secret": secret.decode()}
    received = [_parse(data) for data in gather(json.dumps(own).encode())]
    without = [n for n, facts in enumerate(received) if not facts.get("secret_is_given")]
    if without and len(without) < size:
        raise UserError(
            f"{authentication.SECRET_VARIABLE} is not set on {rank_names(without)}: {WAY_OUT}"
        )
    if listener is not None:
        return listener.accept(size)
    address = received[0]
    if given is None:
        secret = str(address.get("secret", "")).encode()
    port = address.get("port")
    return connect(str(address.get("host")), port if isinstance(port, int) else 0, secret, rank)


def _parse(data: bytes) -> dict[str, Any]:
    """What a rank, or a stranger in its place, has sent; empty if that is no object in JSON."""
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


class Listener:
    """Rank 0's listening port, open until all other ranks are connected."""

    def __init__(self, host: str, secret: bytes):
        self._socket, self._secret = socket.socket(), secret
        try:
            self._socket.bind((host, 0))
        except OSError:  # the host is known by a name or address that is not one of its own
            self._socket.bind(("", 0))
        self._socket.listen(1024)
        self._handshakes: dict[socket.socket, Handshake] = {}
        self._refused = ""  # the address of a connection whose proof was wrong
        self.host, self.port = host, self._socket.getsockname()[1]

    def accept(self, size: int, timeout: float = 60.0) -> ControlChannel:
        """Wait until ranks 1 to size-1 are connected. Raises LostRankError if one is missing after
        `timeout` seconds."""
        connections: dict[tuple[bytes, int], socket.socket] = {}
        deadline = time.monotonic() + timeout
        ranks = range(1, size)
        while len(connections) < 2 * len(ranks):
            if time.monotonic() > deadline:
                raise self._missing_error({rank for _, rank in connections}, size, timeout)
            for (connection_type, rank), connection in self._authenticated(deadline):
                if rank in ranks and connection_type in (_HEARTBEAT, _CONTROL):
                    connections[connection_type, rank] = connection
                else:
                    connection.close()
        self._socket.close()
        for connection in self._handshakes:
            connection.close()
        return ControlChannel(
            0,
            {rank: connections[_HEARTBEAT, rank] for rank in ranks},
            {rank: connections[_CONTROL, rank] for rank in ranks},
        )

    def _authenticated(self, deadline: float) -> list[tuple[tuple[bytes, int], socket.socket]]:
        """Wait for something to arrive. Returns the connections that have proved themselves now,
        with their types and ranks."""
        for connection in [
            c for c, handshake in self._handshakes.items() if handshake.is_expired()
        ]:
            self._drop(connection)
        watched = list(self._handshakes)
        if len(watched) < _MAX_HANDSHAKES:
            watched.append(self._socket)
        # At least once a second, to drop connections that stay silent.
        remaining = min(1.0, max(0.0, deadline - time.monotonic()))
        authenticated = []
        for ready in select.select(watched, [], [], remaining)[0]:
            if ready is self._socket:
                with contextlib.suppress(OSError):  # gone again
                    connection, (peer, _) = self._socket.accept()
                    self._handshakes[connection] = Handshake(connection, peer, self._secret)
                continue
            try:
                identity = self._handshakes[ready].advance()
            except RefusedError:
                self._refused = self._handshakes[ready].peer
                self._drop(ready)
            except OSError:
                self._drop(ready)
            else:
                if identity is not None:
                    del self._handshakes[ready]
                    authenticated.append((identity, ready))
        return authenticated

    def _drop(self, connection: socket.socket) -> None:
        del self._handshakes[connection]
        connection.close()

    def _missing_error(self, connected: set[int], size: int, timeout: float) -> LostRankError:
        missing = rank_names(rank for rank in range(1, size) if rank not in connected)
        stranger = (
            f"; a connection from {self._refused} did not know the job's secret: {WAY_OUT}"
            if self._refused
            else ""
        )
        return LostRankError(f"{missing} did not connect to rank 0 within {timeout:g} s{stranger}")


def connect(
    host: str, port: int, secret: bytes, rank: int, timeout: float = 60.0
) -> ControlChannel:
    """Connect this rank, which is not 0, to rank 0. Raises LostRankError if rank 0 cannot be
    reached, UserError if it has another secret."""
    connections = []
    for connection_type in (_HEARTBEAT, _CONTROL):
        try:
            connection = socket.create_connection((host, port), timeout=timeout)
            prove(connection, secret, connection_type, rank)
        except RefusedError:
            raise UserError(
                f"rank {rank} and rank 0, at {host}:{port}, have different secrets: {WAY_OUT}"
            ) from None
        except (OSError, ValueError, OverflowError) as error:  # the latter: it is no address
            raise LostRankError(
                f"rank {rank} cannot reach rank 0 at {host}:{port} ({error}): the hosts of a job "
                "must reach each other on all ports"
            ) from None
        connections.append(connection)
    return ControlChannel(rank, {0: connections[0]}, {0: connections[1]})
