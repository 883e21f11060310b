"""`Searcher`: an index with the encoder for its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core.errors import DataError, UsageError
from ..core.progress import warn
from ..encode.loading import load_any_encoder
from ..index.store import Index, open_index
from ..index.verify import UNIT_TOLERANCE
from ..model.fingerprint import tokens_fingerprint
from ..model.spec import is_for_queries_only
from ..trec.run import Ranking, rank
from .feedback import Feedback
from .shards import Shards, index_directories

if TYPE_CHECKING:
    from ..encode.loading import Encoder

_SAMPLE = 64
"""Vectors of an index that are looked at before it is searched."""


class Searcher:
    """Searches an index, or several as one, with queries as text.

    Args:
        index: index directory, a directory of shards, an open `Index`, or several of them.
        encoder: for the queries; None loads the one that made the index.
        threads: of torch and FAISS, for the whole process; 0 leaves their defaults.
        encoder_class: see `anserini.encoder_classes`; None is that of the encoder that made the index.
        faiss_device: where flat indexes are searched: `cpu`, `cuda`, `cuda:N`.
        nprobe, ef_search: of IVF and HNSW indexes; None leaves what their files say.
        memory: bytes for what is found in flat indexes; None is an eighth of what is free, 2 GB at most.
        options: for `BiEncoder.load` or `StockEncoder`, if it loads one.

    Attributes:
        indexes: the indexes.
        index: the first of them.
        encoder: the encoder.

    Raises:
        UsageError: the encoder is not the one that made the index; a setting that its type does not have.
    """

    def __init__(
        self,
        index: Path | str | Index | Sequence[Path | str | Index],
        encoder: Encoder | Path | str | None = None,
        *,
        threads: int = 0,
        encoder_class: str | None = None,
        faiss_device: str = "cpu",
        nprobe: int | None = None,
        ef_search: int | None = None,
        memory: int | None = None,
        **options: Any,
    ) -> None:
        self.indexes = _open(index)
        self.index = self.indexes[0]
        settings = {"device": faiss_device, "threads": threads, "memory": memory}
        self._shards = Shards(self.indexes, nprobe=nprobe, ef_search=ef_search, **settings)
        self.encoder = self._load_encoder(encoder, encoder_class, options)
        for part in self.indexes:
            part.check_encoder(self.encoder)
            self._warn_of_what_is_not_known(part)
            _warn_of_another_tokenizer(part, self.encoder)
            _check_norms(part, self.encoder)
        _warn_of_missing_shards(self.indexes)
        if threads:
            torch.set_num_threads(threads)

    def _load_encoder(
        self, encoder: Encoder | Path | str | None, encoder_class: str | None, options: dict[str, Any]
    ) -> Encoder:
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
            return load_any_encoder(encoder, side="query", **settings | options)
        return encoder

    def _warn_of_what_is_not_known(self, index: Index) -> None:
        stock = index.stock_class
        if index.spec is None:
            warn(f"{index.directory} does not tell its encoder: whether this one made it cannot be checked")
        elif stock is not None and not stock.one_checkpoint:
            found = self.encoder.resolved
            warn(f"whether {found} belongs to the documents' encoder of {index.directory} is not known")

    def __len__(self) -> int:
        """Number of documents."""
        return sum(map(len, self.indexes))

    def search(self, query: str, hits: int = 10) -> Ranking:
        """The best documents for a query, as `(docid, score)` in trec_eval's order."""
        return next(self.search_vectors(self.encoder.encode_queries([query]), hits))

    def search_topics(
        self,
        topics: Mapping[str, str],
        hits: int = 1000,
        *,
        batch_size: int | None = None,
        remove_query: bool = False,
        feedback: Feedback | None = None,
    ) -> Iterator[tuple[str, Ranking]]:
        """Yields `(qid, ranking)` for every topic, encoded and searched in batches.

        Args:
            topics: qid → query.
            hits: documents per topic.
            batch_size: topics at a time; None chooses.
            remove_query: drop the document whose id is the topic's, and still give `hits` others.
            feedback: move every query towards its best documents first.
        """
        qids = list(topics)
        size = batch_size or self._shards.batch_size(hits)
        for start in range(0, len(qids), size):
            batch = qids[start : start + size]
            vectors = self.encoder.encode_queries([topics[qid] for qid in batch])
            if feedback is not None:
                vectors = self.move(vectors, feedback)
            drop = batch if remove_query else None
            yield from zip(batch, self.search_vectors(vectors, hits, drop=drop), strict=True)

    def move(self, vectors: np.ndarray, feedback: Feedback) -> np.ndarray:
        """Query vectors (n, dim) float32 after feedback from the index."""
        best = self._shards.best_vectors(vectors, feedback.depth)
        return np.stack([feedback.move(vector, found) for vector, found in zip(vectors, best, strict=True)])

    def search_vectors(self, vectors: np.ndarray, hits: int, *, drop: Sequence[str] | None = None) -> Iterator[Ranking]:
        """Yields the ranking of every query vector.

        Args:
            vectors: (n, dim) float32.
            hits: documents per query.
            drop: one document id per query to leave out.
        """
        found = self._shards.search(vectors, hits + (drop is not None))
        for row, (docids, scores) in enumerate(found):
            if drop is not None and drop[row] in docids:
                place = docids.index(drop[row])
                del docids[place]
                scores = np.delete(scores, place)
            if (scores[1:] < scores[:-1]).all():  # in order and without ties, as nearly always
                yield list(zip(docids, scores.tolist(), strict=True))[:hits]
            else:
                yield rank(docids, scores, hits)


def _open(index: Path | str | Index | Sequence[Path | str | Index]) -> list[Index]:
    given = [index] if isinstance(index, Path | str | Index) else list(index)
    opened: list[Index] = []
    for one in given:
        opened += [one] if isinstance(one, Index) else map(open_index, index_directories([Path(one)]))
    if not opened:
        raise UsageError("no index to search")
    directories = [one.directory for one in opened]
    twice = [directory for directory in directories if directories.count(directory) > 1]
    if twice:
        raise UsageError(f"--index: {twice[0]} is given twice")
    return opened


def _warn_of_another_tokenizer(index: Index, encoder: Encoder) -> None:
    """Same weights are another encoder if texts become other tokens."""
    known, found = (index.manifest or {}).get("tokenizer"), getattr(encoder, "resolved", None)
    if known is None or found is None or getattr(encoder.spec, "queries_only", False):
        return
    if tokens_fingerprint(found.directory) != known:
        warn(
            f"{index.directory}: the tokenizer or configuration of {found} has changed since documents were encoded: "
            "queries may get other tokens"
        )


def _check_norms(index: Index, encoder: Encoder) -> None:
    """Looks at a sample of the vectors of an index: under cosine all have length 1, or long ones come first.

    Raises:
        DataError: one has not, though the index was made for cosine.
    """
    if not index.exact or not len(index) or not getattr(encoder.spec, "normalize", False):
        return
    sample = np.unique(np.linspace(0, len(index) - 1, min(len(index), _SAMPLE)).astype(np.int64))
    norms = np.linalg.norm(index.take(sample), axis=1)
    worst = int(np.argmax(abs(norms - 1)))
    if abs(norms[worst] - 1) <= UNIT_TOLERANCE:
        return
    what = f"the vector of {index.docids[int(sample[worst])]!r} has length {norms[worst]:.3g}, not 1 as cosine needs it"
    if index.spec is None:
        warn(f"{index.directory}: {what}")
    else:
        raise DataError(index.directory, what, remedy="python -m pyserini_sdr.index verify tells more; encode it anew")


def _warn_of_missing_shards(indexes: Sequence[Index]) -> None:
    shards = [(index.manifest or {}).get("shard") or {} for index in indexes]
    wanted = {shard.get("num", 1) for shard in shards} - {1}
    if len(wanted) == 1 and len(indexes) < max(wanted):
        warn(f"{indexes[0].directory} is a shard of {max(wanted)}, and {len(indexes)} of them are searched")


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
