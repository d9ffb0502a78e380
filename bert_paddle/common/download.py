"""Download a published file: resume after broken connections, verify size and SHA-256. One process
at a time."""

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
from bert_paddle.common.printed_lines import print_line

TIMEOUT_S = 15.0  # to connect, and between two reads
ATTEMPTS = 5  # each resumes from the bytes received
CHUNK = 1 << 18  # bytes per read


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its path relative to the base URL, its size in bytes and its SHA-256; None
    if not published. An unpublished size is that which the server states."""

    path: str
    size: int | None
    sha256: str | None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


class DownloadError(Exception):
    """A file could not be downloaded or used. The message becomes part of a UserError."""


def print_status(text: str, end: str = "\n") -> None:
    """Print a progress line to stderr."""
    print_line(text, end=end)


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`; the system releases it if the process is killed.
    Raises OSError."""
    import filelock  # PaddleNLP needs it too

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print_status("waiting for another process that is downloading the same files")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def fetch_file(url: str, source: RemoteFile, root: Path) -> Path:
    """Download `source` from `url` and return its path, `<root>/<name>.part`; or return
    `<root>/<name>`, if the user put the file there. Its SHA-256 is verified.

    Raises DownloadError, after which the next call resumes from the bytes received."""
    user_file = root / source.name
    if user_file.is_file():
        digest = atomic_files.sha256(user_file)
        if source.sha256 not in (None, digest):
            raise DownloadError(f"{user_file} is not the official file: its SHA-256 is {digest}")
        return user_file
    part = root / f"{source.name}.part"
    resumed = part.exists()
    size = _remote_size(url) if source.size is None else source.size
    if _file_size(part) > size:
        part.unlink()  # longer than the published file: bytes of another version
    for _ in range(ATTEMPTS):
        size_before = _file_size(part)
        if size_before < size:
            _download_rest(url, size, part)
        if _file_size(part) < size:
            if _file_size(part) <= size_before:
                break  # no progress
            continue
        digest = atomic_files.sha256(part)
        if source.sha256 in (None, digest):
            return part
        part.unlink()
        if not resumed:
            raise DownloadError(f"{url} has the SHA-256 {digest} instead of {source.sha256}")
        resumed = False  # an earlier run's bytes may be wrong: start over, once
    raise DownloadError(
        f"{url}: connection lost; {_file_size(part)} of {size} bytes are kept: run again to resume"
    )


def _remote_size(url: str) -> int:
    """The size of a file in bytes, from the server's Content-Length."""
    response = _open_url(url, {})
    assert response is not None  # None only for range requests
    with response:
        if response.length is None:
            raise DownloadError(f"{url}: the server does not state the file's size")
        if response.length == 0:
            raise DownloadError(f"{url}: the server sends an empty file")
        return int(response.length)


def _open_url(url: str, headers: dict[str, str]) -> Any:
    """The response to a GET request; None where the requested range does not exist (416). Raises
    DownloadError for any other error."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "bert_paddle"} | headers)
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if not (headers and error.code == 416):
            raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from None
        return None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{url}: {getattr(error, 'reason', None) or error}") from None


def _download_rest(url: str, size: int, part: Path) -> None:
    """Download the missing bytes into `part`, until it is complete or the connection breaks."""
    received = _file_size(part)
    response = _open_url(url, {"Range": f"bytes={received}-"} if received else {})
    if response is None:
        part.unlink()
        return _download_rest(url, size, part)
    with response:
        if response.status != 206:
            received = 0  # ranges are not supported: the server sends the whole file
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {received}-"):
            part.unlink(missing_ok=True)
            raise DownloadError(
                f"{url}: the server sent a different range than requested; run again to start over"
            )
        if response.length is not None and received + response.length != size:
            received += response.length
            raise DownloadError(f"{url}: {received} bytes where {size} are expected")
        print_status(f"downloading {url} ({size / 1e6:.1f} MB)")
        with open(part, "ab" if received else "wb") as file:
            for chunk in _read_chunks(response):
                received += len(chunk)
                if received > size:
                    part.unlink()
                    raise DownloadError(f"{url}: more than the {size} bytes expected")
                file.write(chunk)
                if sys.stderr.isatty():
                    print_status(f"{received / 1e6:.1f} MB", end="\n" if received == size else "\r")


def _read_chunks(response: Any) -> Iterator[bytes]:
    """The response body in chunks, until it ends or the connection breaks."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        # Not read: when a connection is reset, it loses what has arrived of the chunk.
        while chunk := response.read1(CHUNK):
            yield chunk


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
