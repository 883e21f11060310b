"""`Searcher`: an index with the encoder for its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from ..core.errors import DataError, UsageError
from ..core.progress import warn
from ..encode.loading import load_any_encoder
from ..index.store import Index, open_index
from ..model.spec import is_for_queries_only
from ..trec.run import Ranking, rank

if TYPE_CHECKING:
    from ..encode.loading import Encoder

_TIE_MARGIN = 32
"""Hits fetched beyond those asked for, so that ties at the cut are decided by document id and not by FAISS."""


class Searcher:
    """Searches an index with queries as text.

    Args:
        index: index directory, or an open `Index`.
        encoder: for the queries; None loads the one that made the index.
        threads: of FAISS; 0 leaves its default.
        encoder_class: see `anserini.encoder_classes`; None is that of the encoder that made the index.
        options: for `BiEncoder.load` or `StockEncoder`, if it loads one.

    Raises:
        UsageError: the encoder is not the one that made the index.
    """

    def __init__(
        self,
        index: Path | str | Index,
        encoder: Encoder | Path | str | None = None,
        *,
        threads: int = 0,
        encoder_class: str | None = None,
        **options: Any,
    ) -> None:
        self.index = index if isinstance(index, Index) else open_index(Path(index))
        stock = self.index.stock_class
        if encoder is None:
            if stock is not None and not stock.one_checkpoint:
                raise UsageError(
                    f"{self.index.directory}: its encoder class has a checkpoint of its own for queries; give --encoder"
                )
            if self.index.manifest is None or "encoder" not in self.index.manifest:
                raise DataError(self.index.directory, "does not tell its encoder", remedy="give --encoder")
            encoder = self.index.manifest["encoder"]
            if Path(encoder).is_absolute() and not Path(encoder).exists():
                raise DataError(
                    self.index.directory,
                    f"was made by the checkpoint {encoder}, which is not there any more",
                    remedy="give --encoder with its new place",
                )
        if isinstance(encoder, str | Path):
            settings = {} if is_for_queries_only(Path(encoder)) else self.index.encoder_settings(encoder_class)
            settings |= options
            encoder = load_any_encoder(encoder, side="query", **settings)
        self.encoder = encoder
        self.index.check_encoder(encoder)
        if self.index.spec is None:
            warn(f"{self.index.directory} does not tell its encoder: whether this one made it cannot be checked")
        elif stock is not None and not stock.one_checkpoint:
            warn(f"whether {encoder.resolved} belongs to the documents' encoder of {self.index.directory} is not known")
        if threads:
            faiss.omp_set_num_threads(threads)

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
    """An encoder of ours in the shape that stock `pyserini.search.faiss.FaissSearcher` takes as its query encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def encode(self, query: str, **_: Any) -> np.ndarray:
        """The vector of one query, (dim,) float32."""
        return self.encoder.encode_queries([query])[0]

    def encode_batch(self, queries: Sequence[str], **_: Any) -> np.ndarray:
        """The vectors of queries, (n, dim) float32."""
        return self.encoder.encode_queries(queries)
