"""A local HTTP server that can simulate failures, and an invented SST-2.zip for it."""

import contextlib
import hashlib
import http.server
import io
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data.download import RemoteFile, ensure_downloaded
from bert_paddle.glue.data.tsv import find_task_dir
from bert_paddle.glue.tasks import TASKS

SST2 = TASKS["SST-2"]
# Random text, so that the archive is about as large as its files and takes several chunks.
NOISE = "".join(f"{hashlib.sha256(b'%d' % i).hexdigest()}\t{i % 2}\n" for i in range(20_000))
SST2_FILES = {
    "train.tsv": "sentence\tlabel\n" + NOISE,
    "dev.tsv": "sentence\tlabel\ngood \t1\n",
    "test.tsv": "index\tsentence\n0\tbad\n",
}


def make_zip(members: dict[str, str], links=()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            mode = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (mode | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def remote_file(path: str, content: bytes) -> RemoteFile:
    return RemoteFile(path, len(content), hashlib.sha256(content).hexdigest())


SST2_ZIP = make_zip({"SST-2/": ""} | {f"SST-2/{name}": text for name, text in SST2_FILES.items()})
SST2_SOURCE = remote_file("glue/data/SST-2.zip", SST2_ZIP)


class Server:
    """Serves `files` by path; the attributes control the simulated failures."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.ranges = True  # supports Range requests
        self.stop_after: list[int] = []  # bytes after which the next responses break off
        self.announce = True  # sends Content-Length
        self.chunk_pause = 0.0  # seconds between chunks
        self.requests: list[tuple[str, str | None]] = []  # path, Range
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.respond(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def respond(self, request):
        byte_range = request.headers.get("Range")
        self.requests.append((request.path, byte_range))
        content = self.files.get(request.path.removeprefix("/"))
        if content is None:
            return request.send_error(404)
        start = 0
        if byte_range and self.ranges:
            start = int(byte_range.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return request.send_error(416)
        # Before the client sees the headers, with which it may begin its next request.
        stop = self.stop_after.pop(0) if self.stop_after else len(content)
        request.send_response(206 if start else 200)
        if start:
            end = f"{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", f"bytes {start}-{end}")
        if self.announce:
            request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        body = content[start : start + stop]
        for offset in range(0, len(body), 65536):
            request.wfile.write(body[offset : offset + 65536])
            request.wfile.flush()
            time.sleep(self.chunk_pause)
        return None


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A running server with the invented SST-2.zip at the official path."""
    server = Server()
    server.files[SST2_SOURCE.path] = SST2_ZIP
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def download_task(home, server, task=SST2, sources=(SST2_SOURCE,), **kwargs) -> Path:
    return ensure_downloaded(task, home, base_url=server.url, sources=sources, **kwargs)


def download_error(home, server, task=SST2, sources=(SST2_SOURCE,), **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        download_task(home, server, task, sources, **kwargs)
    assert "\n" not in str(caught.value)
    assert not (Path(home) / "glue" / task.folder).exists()
    assert find_task_dir(task, None, {}, home).folder is None
    return str(caught.value)


def data_dir_entries(home) -> list[str]:
    """Names in the data folder, without lock files."""
    return sorted(p.name for p in (Path(home) / "glue").iterdir() if p.suffix != ".lock")
