"""A published file, received whatever the connection does, and its SHA-256 checked."""

import contextlib
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bert_paddle.common import atomic_files

TIMEOUT_S = 15.0  # to connect, and between two reads
ATTEMPTS = 5  # each going on where a broken connection left off
CHUNK = 1 << 18


@dataclass(frozen=True)
class Source:
    """A published file: its path below the base URL, its bytes and their SHA-256; None where nobody
    has published these. Its size is then what the server says."""

    path: str
    size: int | None
    sha256: str | None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


class Refused(Exception):
    """Why a file could not be had or cannot be used; becomes part of the DataError."""


def say(text: str, end: str = "\n") -> None:
    """A line for the one who waits, on stderr."""
    print(text, end=end, file=sys.stderr, flush=True)


def fetch(url: str, source: Source, root: Path) -> Path:
    """Return a file with the source's SHA-256: one put there by hand, or the one received.

    Raises Refused, after which the next call goes on with what has been received."""
    by_hand = root / source.name
    if by_hand.is_file():
        digest = atomic_files.sha256(by_hand)
        if source.sha256 not in (None, digest):
            raise Refused(f"{by_hand} is not the official file: its SHA-256 is {digest}")
        return by_hand
    part = root / f"{source.name}.part"
    left_over = part.exists()
    size = _announced(url) if source.size is None else source.size
    if _size(part) > size:
        part.unlink()  # of a file that has been replaced since
    for _ in range(ATTEMPTS):
        had = _size(part)
        if had < size:
            _receive(url, size, part)
        if _size(part) < size:
            if _size(part) <= had:
                break
            continue
        digest = atomic_files.sha256(part)
        if source.sha256 in (None, digest):
            return part
        part.unlink()
        if not left_over:
            raise Refused(f"{url} has the SHA-256 {digest} instead of {source.sha256}")
        left_over = False  # what an earlier run left may be to blame: once more, from the start
    raise Refused(f"{url}: broke off; {_size(part)} of {size} bytes are kept to go on from")


def _announced(url: str) -> int:
    """The size of a file, as the server says it."""
    response = _opened(url, {})
    assert response is not None  # None answers a range alone
    with response:
        if response.length is None:
            raise Refused(f"{url}: the server does not say how many bytes it has")
        return int(response.length)


def _opened(url: str, headers: dict[str, str]) -> Any:
    """The answer to a request; None where there is no such range in what the server has."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "bert_paddle"} | headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if not (headers and error.code == 416):
            raise Refused(f"{url}: HTTP {error.code} {error.reason}") from None
        return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(f"{url}: {getattr(error, 'reason', None) or error}") from None


def _receive(url: str, size: int, part: Path) -> None:
    """Add to `part` what the server sends until it is whole or the connection ends."""
    have = _size(part)
    response = _opened(url, {"Range": f"bytes={have}-"} if have else {})
    if response is None:
        part.unlink()
        return _receive(url, size, part)
    with response:
        if response.status != 206:
            have = 0  # no ranges here: the whole file comes again
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise Refused(f"{url}: not the range asked for; run again to begin afresh")
        if response.length is not None and have + response.length != size:
            have += response.length
            raise Refused(f"{url}: {have} bytes where {size} are expected")
        say(f"downloading {url} ({size / 1e6:.1f} MB)")
        with open(part, "ab" if have else "wb") as file:
            for chunk in _chunks(response):
                have += len(chunk)
                if have > size:
                    part.unlink()
                    raise Refused(f"{url}: more than the {size} bytes expected")
                file.write(chunk)
                if sys.stderr.isatty():
                    say(f"\r{have / 1e6:.1f} MB", end="\n" if have == size else "")


def _chunks(response: Any) -> Iterator[bytes]:
    """The body, up to where it or the connection ends."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        while chunk := response.read(CHUNK):
            yield chunk


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
