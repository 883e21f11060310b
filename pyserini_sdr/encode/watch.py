"""What goes wrong in silence while a corpus is encoded: refused where it must be a mistake, else warned of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import SdrError
from ..core.progress import warn
from ..data.corpus import Document
from ..data.records import begins_with_title
from .texts import Reading

COLLAPSED = 0.9999
"""Length of the mean of unit vectors from which on all are nearly the same."""
_FEW = 8
"""Documents from which on equal vectors are no chance."""


class Watch:
    """Looks at every chunk as it is read and as it is computed.

    Args:
        encoder: with `seen`, if what it sees of the texts can be told.
        reading: how the corpus is read.
    """

    def __init__(self, encoder: Any, reading: Reading) -> None:
        self._seen = encoder.seen("documents") if hasattr(encoder, "seen") else None
        self._contents_only = reading.fields is None
        self._texts = self._titled = self._without = self._collapsed = 0

    def read(self, documents: Sequence[Document], prepared: Any) -> None:
        """Looks at documents and their tokens.

        Raises:
            SdrError: nothing of the texts is left in their tokens.
        """
        self._texts = len({document.contents for document in documents})
        if self._contents_only:
            titled = [document for document in documents if document.title]
            self._titled += len(titled)
            self._without += sum(not begins_with_title(document) for document in titled)
        if self._seen is not None and hasattr(prepared, "ids") and self._texts == len(documents):
            self._seen.add(prepared.ids)

    def computed(self, vectors: np.ndarray, ids: Sequence[str]) -> None:
        """Looks at the vectors (n, dim) float32 of a chunk.

        Raises:
            SdrError: one is not finite.
        """
        bad = ~np.isfinite(vectors).all(axis=1)
        if bad.any():
            raise SdrError(
                f"document {ids[int(np.argmax(bad))]!r}: the encoder gave NaN or infinite values; "
                "try --precision fp32, or check the checkpoint"
            )
        if len(ids) >= _FEW and collapsed(vectors):
            self._collapsed += 1

    def report(self) -> None:
        """Warns of what has been found in all chunks."""
        if self._seen is not None:
            self._seen.report()
        if self._without:
            warn(
                f"{self._without:,} of {self._titled:,} titles are not encoded: `contents` does not begin with them; "
                "see collection check, or give --fields title text"
            )
        if self._collapsed:
            warn(f"the vectors of {self._collapsed} chunks are nearly all the same: the encoder has collapsed")


def collapsed(vectors: np.ndarray) -> bool:
    """Whether vectors (n, dim) are nearly all the same but for their lengths."""
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return bool(np.linalg.norm(units.mean(axis=0)) > COLLAPSED)
