"""`Searcher`: an index with the encoder for its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ..core.errors import DataError
from ..core.progress import warn
from ..index.store import Index, open_index
from ..model.encoder import BiEncoder
from ..trec.run import Ranking, rank

_TIE_MARGIN = 32
"""Hits fetched beyond those asked for, so that ties at the cut are decided by document id and not by FAISS."""


class Searcher:
    """Searches an index with queries as text.

    Args:
        index: index directory, or an open `Index`.
        encoder: for the queries; None loads the one that made the index.
        threads: of FAISS; 0 leaves its default.
        options: for `BiEncoder.load`, if it loads one.

    Raises:
        UsageError: the encoder is not the one that made the index.
    """

    def __init__(
        self, index: Path | str | Index, encoder: BiEncoder | str | None = None, *, threads: int = 0, **options: Any
    ) -> None:
        self.index = index if isinstance(index, Index) else open_index(Path(index))
        if encoder is None:
            if self.index.manifest is None or "encoder" not in self.index.manifest:
                raise DataError(self.index.directory, "does not tell its encoder", remedy="give --encoder")
            encoder = self.index.manifest["encoder"]
        if not isinstance(encoder, BiEncoder):
            encoder = BiEncoder.load(encoder, **{**self._document_side(), **options})
        self.encoder = encoder
        self.index.check_encoder(encoder)
        if self.index.spec is None:
            warn(f"{self.index.directory} does not tell its encoder: whether this one made it cannot be checked")
        if threads:
            faiss.omp_set_num_threads(threads)

    def _document_side(self) -> dict[str, Any]:
        """What an index made with overriding flags was made with; a query encoder must have the same."""
        if self.index.spec is None:
            return {}
        side = self.index.spec.document_side()
        del side["dimension"]
        return side

    def search(self, query: str, hits: int = 10) -> Ranking:
        """The best documents for a query, as `(docid, score)` in trec_eval's order."""
        return next(self.search_vectors(self.encoder.encode_queries([query]), hits))

    def search_topics(
        self, topics: Mapping[str, str], hits: int = 1000, *, batch_size: int = 256, remove_query: bool = False
    ) -> Iterator[tuple[str, Ranking]]:
        """Yields `(qid, ranking)` for every topic, encoded and searched in batches.

        Args:
            topics: qid → query.
            hits: documents per topic.
            batch_size: topics at a time.
            remove_query: drop the document whose id is the topic's, and still give `hits` others.
        """
        qids = list(topics)
        for start in range(0, len(qids), batch_size):
            batch = qids[start : start + batch_size]
            vectors = self.encoder.encode_queries([topics[qid] for qid in batch])
            drop = batch if remove_query else None
            yield from zip(batch, self.search_vectors(vectors, hits, drop=drop), strict=True)

    def search_vectors(self, vectors: np.ndarray, hits: int, *, drop: Sequence[str] | None = None) -> Iterator[Ranking]:
        """Yields the ranking of every query vector.

        Args:
            vectors: (n, dim) float32.
            hits: documents per query.
            drop: one document id per query to leave out.
        """
        depth = min(hits + _TIE_MARGIN, len(self.index))
        scores, positions = self.index.faiss_index.search(np.ascontiguousarray(vectors, dtype=np.float32), depth)
        docids = self.index.docids
        for row in range(len(vectors)):
            found = [
                (docids[p], s) for p, s in zip(positions[row].tolist(), scores[row].tolist(), strict=True) if p >= 0
            ]
            if drop is not None:
                found = [hit for hit in found if hit[0] != drop[row]]
            yield rank([docid for docid, _ in found], [score for _, score in found], hits)


class StockQueryEncoder:
    """A `BiEncoder` in the shape that stock `pyserini.search.faiss.FaissSearcher` takes as its query encoder."""

    def __init__(self, encoder: BiEncoder) -> None:
        self.encoder = encoder

    def encode(self, query: str, **_: Any) -> np.ndarray:
        """The vector of one query, (dim,) float32."""
        return self.encoder.encode_queries([query])[0]

    def encode_batch(self, queries: Sequence[str], **_: Any) -> np.ndarray:
        """The vectors of queries, (n, dim) float32."""
        return self.encoder.encode_queries(queries)
