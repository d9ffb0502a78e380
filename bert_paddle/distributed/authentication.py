"""Who may join a job's control channel: both sides prove that they know the job's secret.

    rank n                               rank 0
    type, rank, its nonce          →
                                   ←     its nonce
    HMAC-SHA256 of both nonces     →
                                   ←     HMAC-SHA256 of both nonces

The secret itself is never sent, a recorded answer is of no use with other nonces, and neither
side's answer can be sent back to it: each names its sender. The messages that follow are neither
encrypted nor signed.
"""

import hmac
import os
import secrets
import socket
import time

from bert_paddle.common.errors import UserError

SECRET_VARIABLE = "BERT_PADDLE_JOB_SECRET"
WAY_OUT = f"{SECRET_VARIABLE} must be the same for all processes of a job"
_MIN_SECRET_BYTES = 16
_NONCE_BYTES = _PROOF_BYTES = 32
_IDENTITY_BYTES = 5  # the connection's type in 1, the rank in 4
# A rank answers at once; whatever else connects is dropped after this many seconds.
_PATIENCE_SECONDS = 5.0


class RefusedError(Exception):
    """The other side of a connection has not proved that it belongs to the job."""


def given_secret() -> bytes | None:
    """The job's secret in the environment, set by the user or by the parent of `--n_gpu N`; None
    if there is none. Raises UserError if it can be guessed."""
    secret = os.fsencode(os.environ.get(SECRET_VARIABLE, ""))
    if 0 < len(secret) < _MIN_SECRET_BYTES:
        raise UserError(
            f"{SECRET_VARIABLE} has {len(secret)} characters; it needs at least "
            f"{_MIN_SECRET_BYTES} that cannot be guessed, such as those of: openssl rand -hex 32"
        )
    return secret or None


def new_secret() -> str:
    """A secret for one job."""
    return secrets.token_hex(32)


def prove(connection: socket.socket, secret: bytes, connection_type: bytes, rank: int) -> None:
    """Rank `rank`'s side. Raises RefusedError when rank 0 does not accept the proof or does not
    prove itself, OSError when the connection breaks or nothing arrives."""
    identity = connection_type + rank.to_bytes(4, "big")
    own_nonce = secrets.token_bytes(_NONCE_BYTES)
    connection.sendall(identity + own_nonce)
    nonce = receive_exactly(connection, _NONCE_BYTES)
    if nonce is None:
        raise ConnectionResetError("it ended the connection")
    nonces = own_nonce + nonce
    connection.sendall(_proof(secret, b"rank n", identity, nonces))
    answer = receive_exactly(connection, _PROOF_BYTES)
    if answer is None or not hmac.compare_digest(
        answer, _proof(secret, b"rank 0", identity, nonces)
    ):
        raise RefusedError


class Handshake:
    """Rank 0's side of one connection, which never waits: several are in progress at a time, so
    that nothing that connects and stays silent keeps the ranks out.

    peer: the other side's address.
    """

    def __init__(self, connection: socket.socket, peer: str, secret: bytes):
        connection.setblocking(False)
        self.peer = peer
        self._connection, self._secret = connection, secret
        self._nonce = secrets.token_bytes(_NONCE_BYTES)
        self._received = b""
        self._deadline = time.monotonic() + _PATIENCE_SECONDS

    def is_expired(self) -> bool:
        """Whether it has taken too long."""
        return time.monotonic() > self._deadline

    def advance(self) -> tuple[bytes, int] | None:
        """Read what has arrived, and answer. Returns the connection's type and the rank once the
        other side has proved itself, None until then.

        Raises RefusedError when its proof is wrong, OSError when the connection has broken.
        """
        hello_size = _IDENTITY_BYTES + _NONCE_BYTES
        end = hello_size if len(self._received) < hello_size else hello_size + _PROOF_BYTES
        data = self._connection.recv(end - len(self._received))
        if not data:
            raise ConnectionResetError
        self._received += data
        if len(self._received) < end:
            return None
        if end == hello_size:
            self._connection.sendall(self._nonce)
            return None
        identity = self._received[:_IDENTITY_BYTES]
        nonces = self._received[_IDENTITY_BYTES:hello_size] + self._nonce
        proof = _proof(self._secret, b"rank n", identity, nonces)
        if not hmac.compare_digest(self._received[hello_size:], proof):
            raise RefusedError
        self._connection.sendall(_proof(self._secret, b"rank 0", identity, nonces))
        return identity[:1], int.from_bytes(identity[1:], "big")


def _proof(secret: bytes, sender: bytes, identity: bytes, nonces: bytes) -> bytes:
    return hmac.digest(secret, b"bert_paddle " + sender + identity + nonces, "sha256")


def receive_exactly(connection: socket.socket, count: int) -> bytes | None:
    """`count` bytes; None when the other side has closed the connection. Raises TimeoutError if the
    connection has a timeout."""
    data = bytearray()
    while len(data) < count:
        try:
            chunk = connection.recv(min(count - len(data), 1 << 20))
        except TimeoutError:  # an OSError, but not a closed connection
            raise
        except OSError:
            return None
        if not chunk:
            return None
        data += chunk
    return bytes(data)
