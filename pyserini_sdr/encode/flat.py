"""FAISS's flat inner-product index as a file format, written as a stream: no index in memory, no faiss needed."""

from __future__ import annotations

import struct

HEADER_BYTES = 45


def flat_header(dimension: int, count: int) -> bytes:
    """The 45 bytes before the vectors in `faiss.write_index(IndexFlatIP)` (faiss 1.7 and later).

    Fields: fourcc `IxFI`, d (int32), ntotal (int64), two unused int64, is_trained (bool), metric (int32, 0 = inner
    product), number of floats that follow (uint64). A test compares it with faiss's own bytes.
    """
    return struct.pack("<4siqqq?iQ", b"IxFI", dimension, count, 1 << 20, 1 << 20, True, 0, count * dimension)
