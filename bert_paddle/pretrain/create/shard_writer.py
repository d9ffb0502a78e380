"""Writing one shard: rows come in, compressed chunks go out, a whole file appears at the end.

The layout's datasets have a fixed size, which is known only when the last row is made. So chunks
are compressed as they fill, kept in a file beside, and put into the HDF5 file at the end: at no
time is there more than a chunk of rows in memory.
"""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.pretrain.create.masking import RowArrays
from bert_paddle.pretrain.data import schema

CHUNK_ROWS = 1024
# The datasets say gzip level 4, and any reader inflates what is here. zlib would take as long as
# all the rest together; libdeflate makes it smaller in a third of the time. (ISA-L is twice as fast
# again, but now and then gave other bytes for the same rows.)
_DEFLATE_LEVEL = 2


class ShardFile:
    """A shard being written. `room` more rows fill the chunk; `close` makes the file appear."""

    def __init__(self, path: Path, length: int, predictions: int):
        self.path, self.rows = path, 0
        own = f".{path.name}.{socket.gethostname()}-{os.getpid()}"
        self._chunks_path, self._part = (
            path.with_name(f"{own}.chunks"),
            path.with_name(f"{own}.part"),
        )
        self._shapes = {key: schema.row_shape(key, length, predictions) for key in schema.DTYPES}
        self._held = {
            key: np.zeros((CHUNK_ROWS, *self._shapes[key]), dtype)
            for key, dtype in schema.DTYPES.items()
        }
        self._places: dict[str, list[tuple[int, int]]] = {key: [] for key in schema.DTYPES}
        self._chunks = self._chunks_path.open("w+b")

    @property
    def room(self) -> int:
        """Rows that may come at once."""
        return CHUNK_ROWS - self.rows % CHUNK_ROWS

    def add(self, rows: RowArrays) -> None:
        """Take at most `room` rows."""
        begin = self.rows % CHUNK_ROWS
        count = len(rows["next_sentence_labels"])
        for key, held in self._held.items():
            held[begin : begin + count] = rows[key]
        self.rows += count
        if self.rows % CHUNK_ROWS == 0:
            self._keep(CHUNK_ROWS)

    def close(self) -> int:
        """Write the file under its name, whole and flushed; its size in bytes."""
        import h5py

        rest = self.rows % CHUNK_ROWS
        if rest:
            for held in self._held.values():
                held[rest:] = 0
            # A chunk may not be larger than a dataset of fixed size; else the last one is full.
            self._keep(rest if rest == self.rows else CHUNK_ROWS)
        with h5py.File(self._part, "w") as file:
            for key, dtype in schema.DTYPES.items():
                self._put(file, key, dtype)
        atomic_files.sync(self._part)
        size = self._part.stat().st_size
        os.replace(self._part, self.path)
        atomic_files.sync(self.path.parent)
        self.discard()
        return size

    def discard(self) -> None:
        """Remove what is beside the file."""
        self._chunks.close()
        self._chunks_path.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _keep(self, rows: int) -> None:
        import deflate

        for key, held in self._held.items():
            data = deflate.zlib_compress(held[:rows].tobytes(), _DEFLATE_LEVEL)
            self._places[key].append((self._chunks.tell(), len(data)))
            self._chunks.write(data)

    def _put(self, file: Any, key: str, dtype: np.dtype) -> None:
        shape = self._shapes[key]
        dataset = file.create_dataset(
            key,
            (self.rows, *shape),
            dtype,
            chunks=(min(self.rows, CHUNK_ROWS), *shape),
            track_times=False,  # else the bytes would depend on the second
            compression="gzip",
            compression_opts=schema.GZIP_LEVEL,
        )
        for number, (place, size) in enumerate(self._places[key]):
            self._chunks.seek(place)
            start = (number * CHUNK_ROWS, *(0 for _ in shape))
            dataset.id.write_direct_chunk(start, self._chunks.read(size))
