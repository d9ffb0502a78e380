"""Write one shard: rows are added, chunks are compressed, and the complete file appears at the end.

The datasets have a fixed size, which is known only after the last row. Each full chunk is therefore
compressed and written to a temporary file, from which all are copied into the HDF5 file at the end:
memory use is one chunk of rows.
"""

import os
import socket
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.row_checks import RowArrays

CHUNK_ROWS = 1024
# The datasets declare gzip level 4, but readers decompress any level. zlib at level 4 would take as
# long as all other work together; libdeflate at level 2 compresses better in a third of the time.
# (ISA-L needs half of that, but its output is not always the same for the same rows.)
_DEFLATE_LEVEL = 2


def _compressor() -> Callable[[bytes, int], bytes]:
    """libdeflate's zlib_compress; zlib's where the extra `data` is not installed, which gives other
    bytes for the same rows."""
    try:
        import deflate
    except ModuleNotFoundError:
        return zlib.compress
    return deflate.zlib_compress


class ShardWriter:
    """A shard being written: call `add` with at most `rows_left_in_chunk` rows at a time, then
    `close`. rows: number of rows so far."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]):
        """shapes: of a row, by the dataset's name."""
        self.path, self.rows = path, 0
        prefix = f".{path.name}.{socket.gethostname()}-{os.getpid()}"
        self._chunk_file_path = path.with_name(f"{prefix}.chunks")
        self._partial_path = path.with_name(f"{prefix}.part")
        self._shapes = dict(shapes)
        self._chunk = {
            key: np.zeros((CHUNK_ROWS, *shape), schema.DTYPES[key])
            for key, shape in self._shapes.items()
        }
        # (offset in the temporary file, size in bytes) of each compressed chunk
        self._chunk_locations: dict[str, list[tuple[int, int]]] = {key: [] for key in shapes}
        self._chunk_file = self._chunk_file_path.open("w+b")

    @property
    def rows_left_in_chunk(self) -> int:
        """Maximum number of rows for the next `add`."""
        return CHUNK_ROWS - self.rows % CHUNK_ROWS

    def add(self, rows: RowArrays) -> None:
        """Add at most `rows_left_in_chunk` rows."""
        start = self.rows % CHUNK_ROWS
        count = len(rows["input_ids"])
        for key, chunk in self._chunk.items():
            chunk[start : start + count] = rows[key]
        self.rows += count
        if self.rows % CHUNK_ROWS == 0:
            self._flush_chunk(CHUNK_ROWS)

    def close(self) -> int:
        """Write the complete file, flush it and move it into place; returns its size in bytes."""
        import h5py

        last_rows = self.rows % CHUNK_ROWS
        if last_rows:
            for chunk in self._chunk.values():
                chunk[last_rows:] = 0
            # HDF5 stores a partly filled last chunk in full size. But a chunk may not have more
            # rows than its dataset: a shard of fewer than CHUNK_ROWS rows is one smaller chunk.
            self._flush_chunk(last_rows if last_rows == self.rows else CHUNK_ROWS)
        with h5py.File(self._partial_path, "w") as file:
            for key in self._shapes:
                self._write_dataset(file, key, schema.DTYPES[key])
        size = self._partial_path.stat().st_size
        atomic_files.move_into_place(self._partial_path, self.path)
        self.remove_temporary_files()
        return size

    def remove_temporary_files(self) -> None:
        """Close and remove the temporary files."""
        self._chunk_file.close()
        self._chunk_file_path.unlink(missing_ok=True)
        self._partial_path.unlink(missing_ok=True)

    def _flush_chunk(self, rows: int) -> None:
        """Compress the first `rows` rows of the current chunk into the temporary file."""
        compress = _compressor()
        for key, chunk in self._chunk.items():
            data = compress(chunk[:rows].tobytes(), _DEFLATE_LEVEL)
            self._chunk_locations[key].append((self._chunk_file.tell(), len(data)))
            self._chunk_file.write(data)

    def _write_dataset(self, file: Any, key: str, dtype: np.dtype) -> None:
        shape = self._shapes[key]
        dataset = file.create_dataset(
            key,
            (self.rows, *shape),
            dtype,
            chunks=(min(self.rows, CHUNK_ROWS), *shape),
            track_times=False,  # a time stamp would make the bytes differ
            compression="gzip",
            compression_opts=schema.GZIP_LEVEL,
        )
        for number, (file_offset, size) in enumerate(self._chunk_locations[key]):
            self._chunk_file.seek(file_offset)
            start = (number * CHUNK_ROWS, *(0 for _ in shape))  # of the chunk, in the dataset
            dataset.id.write_direct_chunk(start, self._chunk_file.read(size))
