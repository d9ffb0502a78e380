"""A web server on this machine that can also misbehave, and an invented SST-2.zip for it."""

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
from bert_paddle.glue.data.download import Source, ensure
from bert_paddle.glue.data.tsv import find
from bert_paddle.glue.tasks import TASKS

SST2 = TASKS["SST-2"]
# Random text, so that the archive is about as large as its files and takes several chunks.
NOISE = "".join(f"{hashlib.sha256(b'%d' % i).hexdigest()}\t{i % 2}\n" for i in range(20_000))
SST2_FILES = {
    "train.tsv": "sentence\tlabel\n" + NOISE,
    "dev.tsv": "sentence\tlabel\ngood \t1\n",
    "test.tsv": "index\tsentence\n0\tbad\n",
}


def zipped(members: dict[str, str], links=()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            mode = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (mode | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def source(path: str, content: bytes) -> Source:
    return Source(path, len(content), hashlib.sha256(content).hexdigest())


SST2_ZIP = zipped({"SST-2/": ""} | {f"SST-2/{name}": text for name, text in SST2_FILES.items()})
SST2_SOURCE = source("glue/data/SST-2.zip", SST2_ZIP)


class Server:
    """Serves `files` by path; the attributes say how it misbehaves."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.ranges = True  # honours Range
        self.stop_after: list[int] = []  # bytes after which the next answers break off
        self.announce = True  # sends Content-Length
        self.chunk_pause = 0.0  # seconds between chunks
        self.asked: list[tuple[str, str | None]] = []  # path, Range
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path.removeprefix("/"))
        if content is None:
            return request.send_error(404)
        start = 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return request.send_error(416)
        request.send_response(206 if start else 200)
        if start:
            end = f"{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", f"bytes {start}-{end}")
        if self.announce:
            request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        stop = self.stop_after.pop(0) if self.stop_after else len(content)
        body = content[start : start + stop]
        for at in range(0, len(body), 65536):
            request.wfile.write(body[at : at + 65536])
            request.wfile.flush()
            time.sleep(self.chunk_pause)
        return None


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A running server that has the invented SST-2.zip where the official one is."""
    server = Server()
    server.files[SST2_SOURCE.path] = SST2_ZIP
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def fetch(home, server, task=SST2, sources=(SST2_SOURCE,), **kwargs) -> Path:
    return ensure(task, home, base_url=server.url, sources=sources, **kwargs)


def refused(home, server, task=SST2, sources=(SST2_SOURCE,), **kwargs) -> str:
    with pytest.raises(DataError) as caught:
        fetch(home, server, task, sources, **kwargs)
    assert "\n" not in str(caught.value)
    assert not (Path(home) / "glue" / task.folder).exists()
    assert find(task, None, {}, home).folder is None
    return str(caught.value)


def left(home) -> list[str]:
    """What is in the data folder, locks aside."""
    return sorted(p.name for p in (Path(home) / "glue").iterdir() if p.suffix != ".lock")
