"""Write one shard: rows are added, chunks compressed, and a complete file appears at the end.

The datasets have a fixed size, which is known only after the last row. Chunks are therefore
compressed as they fill, kept in a temporary file, and copied into the HDF5 file at the end: memory
use is one chunk of rows.
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
# The datasets declare gzip level 4, but any reader inflates any level. zlib would take as long as
# everything else together; libdeflate compresses better in a third of the time. (ISA-L is twice as
# fast again, but its output is not always the same for the same rows.)
_DEFLATE_LEVEL = 2


class ShardWriter:
    """A shard being written: `add` rows up to `rows_left_in_chunk`, then `close`."""

    def __init__(self, path: Path, length: int, predictions: int):
        self.path, self.rows = path, 0
        prefix = f".{path.name}.{socket.gethostname()}-{os.getpid()}"
        self._chunk_file_path = path.with_name(f"{prefix}.chunks")
        self._partial_path = path.with_name(f"{prefix}.part")
        self._shapes = {key: schema.row_shape(key, length, predictions) for key in schema.DTYPES}
        self._chunk = {
            key: np.zeros((CHUNK_ROWS, *self._shapes[key]), dtype)
            for key, dtype in schema.DTYPES.items()
        }
        # (position in the temporary file, size) of each compressed chunk
        self._chunk_locations: dict[str, list[tuple[int, int]]] = {key: [] for key in schema.DTYPES}
        self._chunk_file = self._chunk_file_path.open("w+b")

    @property
    def rows_left_in_chunk(self) -> int:
        """Maximum number of rows for the next `add`."""
        return CHUNK_ROWS - self.rows % CHUNK_ROWS

    def add(self, rows: RowArrays) -> None:
        """Add at most `rows_left_in_chunk` rows."""
        begin = self.rows % CHUNK_ROWS
        count = len(rows["next_sentence_labels"])
        for key, chunk in self._chunk.items():
            chunk[begin : begin + count] = rows[key]
        self.rows += count
        if self.rows % CHUNK_ROWS == 0:
            self._flush_chunk(CHUNK_ROWS)

    def close(self) -> int:
        """Write the complete file, flush it and move it into place; returns its size in bytes."""
        import h5py

        rest = self.rows % CHUNK_ROWS
        if rest:
            for chunk in self._chunk.values():
                chunk[rest:] = 0
            # The only chunk must not be larger than its fixed-size dataset; else the last is full.
            self._flush_chunk(rest if rest == self.rows else CHUNK_ROWS)
        with h5py.File(self._partial_path, "w") as file:
            for key, dtype in schema.DTYPES.items():
                self._write_dataset(file, key, dtype)
        atomic_files.sync(self._partial_path)
        size = self._partial_path.stat().st_size
        os.replace(self._partial_path, self.path)
        atomic_files.sync(self.path.parent)
        self.remove_temporary_files()
        return size

    def remove_temporary_files(self) -> None:
        """Close and remove the temporary files."""
        self._chunk_file.close()
        self._chunk_file_path.unlink(missing_ok=True)
        self._partial_path.unlink(missing_ok=True)

    def _flush_chunk(self, rows: int) -> None:
        import deflate

        for key, chunk in self._chunk.items():
            data = deflate.zlib_compress(chunk[:rows].tobytes(), _DEFLATE_LEVEL)
            self._chunk_locations[key].append((self._chunk_file.tell(), len(data)))
            self._chunk_file.write(data)

    def _write_dataset(self, file: Any, key: str, dtype: np.dtype) -> None:
        shape = self._shapes[key]
        dataset = file.create_dataset(
            key,
            (self.rows, *shape),
            dtype,
            chunks=(min(self.rows, CHUNK_ROWS), *shape),
            track_times=False,  # else the bytes would depend on the time
            compression="gzip",
            compression_opts=schema.GZIP_LEVEL,
        )
        for number, (position, size) in enumerate(self._chunk_locations[key]):
            self._chunk_file.seek(position)
            start = (number * CHUNK_ROWS, *(0 for _ in shape))
            dataset.id.write_direct_chunk(start, self._chunk_file.read(size))
