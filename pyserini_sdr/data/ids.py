"""Compact sets of ids: 8 bytes of hash each, so that millions of documents fit anywhere."""

from __future__ import annotations

from array import array
from hashlib import blake2b

import numpy as np


def hash_id(id: str) -> int:
    """A 64-bit hash of an id, the same in every process."""
    return int.from_bytes(blake2b(id.encode("utf-8"), digest_size=8).digest(), "little")


class IdHashes:
    """Hashes of ids in the order in which they were added; 8 bytes each, about 24 while they are sorted."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, id: str) -> None:
        """Adds an id."""
        self._hashes.append(hash_id(id))

    def array(self) -> np.ndarray:
        """The hashes, `(n,)` uint64, in order of addition (a view: do not add while it is held)."""
        return np.frombuffer(self._hashes, dtype=np.uint64) if self._hashes else np.empty(0, np.uint64)

    def as_set(self) -> IdSet:
        """The ids added so far, for asking whether an id is among them."""
        return IdSet(np.sort(self.array()))

    def repeated(self) -> set[int]:
        """Hashes that were added more than once: the only ids that can be duplicates."""
        return repeated(self.array())


def repeated(hashes: np.ndarray) -> set[int]:
    """The values that occur more than once in `hashes`, `(n,)` integers."""
    ordered = np.sort(hashes)
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


class IdSet:
    """Ids that can be asked for, 8 bytes each; among ten million an absent id is found once in 10^12 questions.

    Args:
        hashes: `(n,)` uint64, ascending.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.find(id) is not None

    def find(self, id: str) -> int | None:
        """Position of the first hash equal to that of `id`, or `None`."""
        hashed = np.uint64(hash_id(id))
        position = int(np.searchsorted(self._hashes, hashed))
        return position if position < len(self) and self._hashes[position] == hashed else None
