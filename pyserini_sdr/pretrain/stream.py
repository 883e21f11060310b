"""The training documents of a corpus in a shuffled order that is a function of the corpus and the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.corpus import CorpusSummary
from ..data.reading import StretchReader
from ..data.records import Document, DocumentParser

_BLOCK = 1024
"""Documents that are read together, where the buffer has room for them; places of a `CorpusSummary` are as dense."""


@dataclass(frozen=True)
class Drawn:
    """A document as it comes up in training.

    Args:
        epoch: pass over the corpus, from 0.
        position: of the document in the corpus, from 0.
        document: itself.
    """

    epoch: int
    position: int
    document: Document


class DocumentStream:
    """An endless stream of the documents of a corpus; any place in it can be gone to at once.

    Blocks of the corpus come in an order given by (seed, epoch); as many as fit into the buffer are read together and
    their documents shuffled by (seed, epoch, number of the buffer). Blocks of a corpus with `.gz` files keep their
    order, since such a file can be read from its beginning only. At most `buffer` documents are in memory.

    Args:
        corpus: as scanned.
        held_out: positions of documents that never come.
        buffer: documents that are shuffled together.
        seed: of the order.
    """

    def __init__(self, corpus: CorpusSummary, held_out: Sequence[int], *, buffer: int, seed: int) -> None:
        self._corpus, self._seed = corpus, seed
        self._held_out = frozenset(held_out)
        self._block = min(_BLOCK, buffer)
        self._per_buffer = buffer // self._block
        count = -(-corpus.count // self._block)
        self._sizes = np.full(count, self._block, dtype=np.int64)
        self._sizes[-1] = corpus.count - (count - 1) * self._block
        np.subtract.at(self._sizes, np.asarray(sorted(held_out), dtype=np.int64) // self._block, 1)
        self.size = int(self._sizes.sum())
        """Documents of an epoch."""
        self._in_order = any(file.suffix == ".gz" for file in corpus.files)
        self._reader = StretchReader(corpus.files, DocumentParser(), corpus.places)
        self._order: tuple[int, np.ndarray, np.ndarray] | None = None
        self._buffer: tuple[tuple[int, int], list[Drawn]] | None = None

    def take(self, first: int, number: int) -> Iterator[Drawn]:
        """`number` documents from position `first` of the endless stream."""
        for place in range(first, first + number):
            epoch, within = divmod(place, self.size)
            blocks, ends = self._blocks(epoch)
            which = int(np.searchsorted(ends, within, side="right"))
            yield self._filled(epoch, which, blocks)[within - (int(ends[which - 1]) if which else 0)]

    def read(self, positions: Sequence[int]) -> list[Document]:
        """The documents at ascending positions of the corpus."""
        return [document for position in positions for document in self._reader.read(position, position + 1)]

    def _blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks in the order of an epoch, and the documents up to the end of each buffer."""
        if self._order is None or self._order[0] != epoch:
            count = len(self._sizes)
            rng = np.random.default_rng([self._seed, 0, epoch])
            blocks = np.arange(count) if self._in_order else rng.permutation(count)
            starts = np.arange(0, count, self._per_buffer)
            ends = np.cumsum(np.add.reduceat(self._sizes[blocks], starts))
            self._order = epoch, blocks, ends
        return self._order[1], self._order[2]

    def _filled(self, epoch: int, which: int, blocks: np.ndarray) -> list[Drawn]:
        if self._buffer is None or self._buffer[0] != (epoch, which):
            self._buffer = None  # not two of them at a time
            found = []
            for block in sorted(blocks[which * self._per_buffer : (which + 1) * self._per_buffer].tolist()):
                start = block * self._block
                documents = self._reader.read(start, min(start + self._block, self._corpus.count))
                found += [
                    Drawn(epoch, position, document)
                    for position, document in enumerate(documents, start)
                    if position not in self._held_out
                ]
            order = np.random.default_rng([self._seed, 1, epoch, which]).permutation(len(found))
            self._buffer = (epoch, which), [found[place] for place in order]
        return self._buffer[1]
