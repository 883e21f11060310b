"""A flat index file read where it lies: its vectors as a memory map, none of them in memory before it is asked for."""

from __future__ import annotations

import os
import struct
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np

from ..core.errors import DataError
from ..encode.flat import HEADER_BYTES

_HEADER = struct.Struct("<4siqqq?iQ")
_FOURCC, _INNER_PRODUCT = b"IxFI", 0


class FlatFile:
    """The file of `faiss.write_index(IndexFlatIP)`; the layout is that of `encode.flat.flat_header`.

    Attributes:
        path: the file.
        dimension: of a vector.
        count: number of vectors.

    Args:
        data: their bytes, (count, 4·dimension) uint8, mapped when the file was opened: what takes its place later is
            another file.
    """

    def __init__(self, path: Path, dimension: int, count: int, data: np.ndarray) -> None:
        self.path, self.dimension, self.count, self._bytes = path, dimension, count, data

    def __len__(self) -> int:
        return self.count

    @property
    def row_bytes(self) -> int:
        """Bytes of a vector in the file."""
        return 4 * self.dimension

    @cached_property
    def vectors(self) -> np.ndarray:
        """All vectors (count, dimension) float32, mapped and read-only; 45 bytes into the file, so not aligned."""
        return self._bytes.reshape(-1).view("<f4").reshape(self.count, self.dimension)

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Copies the vectors `start` to `stop` − 1 into aligned memory, (stop − start, dimension) float32.

        Args:
            out: (at least stop − start, dimension) float32, C-contiguous; its first rows are filled and returned.
        """
        rows = np.empty((stop - start, self.dimension), np.float32) if out is None else out[: stop - start]
        rows.view(np.uint8)[:] = self._bytes[start:stop]  # as bytes: copies of unaligned floats go one by one
        return rows

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Copies the vectors at `positions` (n,) into memory, (n, dimension) float32."""
        return self._bytes[positions].view(np.float32)


def open_flat(path: str | os.PathLike[str]) -> FlatFile | None:
    """The flat inner-product index in `path`, None if it is an index of another type; only the header is read.

    Raises:
        DataError: a file that is cut, or whose header does not fit its size.
    """
    path = Path(path)
    try:
        with path.open("rb") as handle:
            return _open(path, handle)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def _open(path: Path, handle: IO[bytes]) -> FlatFile | None:
    header = handle.read(HEADER_BYTES)
    size = handle.seek(0, os.SEEK_END)
    if header[:4] != _FOURCC:
        return None
    if len(header) < HEADER_BYTES:
        raise DataError(path, f"is cut within its header ({size} bytes)", remedy="build it anew")
    _, dimension, count, _, _, trained, metric, floats = _HEADER.unpack(header)
    if dimension < 1 or count < 0 or not trained or metric != _INNER_PRODUCT or floats != dimension * count:
        raise DataError(
            path,
            f"damaged header: dimension {dimension}, {count} vectors, {floats} numbers, metric {metric}",
            remedy="build it anew",
        )
    if size != HEADER_BYTES + 4 * floats:
        raise DataError(
            path,
            f"{size:,} bytes, {count:,} vectors of dimension {dimension} take {HEADER_BYTES + 4 * floats:,}",
            remedy="build it anew",
        )
    shape = (count, 4 * dimension)
    data = (
        np.memmap(handle, np.uint8, "r", HEADER_BYTES, shape).view(np.ndarray) if count else np.empty(shape, np.uint8)
    )
    return FlatFile(path, dimension, count, data)
