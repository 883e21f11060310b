"""Exact inner-product search of flat index files, larger than memory if need be.

One pass over the files serves a batch of queries. A block of documents at a time is copied out of the memory map into
a core's cache and scored approximately (`approximate.py`); pairs that may be good enough are scored again in float32,
pair by pair, and those that are good enough kept (`found.py`). Good enough is a guess at the score of the k-th best,
from a sample of the documents. If in the end k documents reach it, the best are among them for certain; if not, the
query is searched again with a lower guess.

As a score is computed from its query and document alone, it does not depend on batches, blocks, threads, shards or the
device, and documents with equal vectors have equal scores.
"""

from __future__ import annotations

import contextlib
import math
import queue
from collections.abc import Iterator, Sequence

import faiss
import numpy as np
import torch

from ..core.errors import DataError, SdrError
from ..core.runtime import available_cores
from ..index.flat import FlatFile
from ..index.room import available_memory
from ..model.device import has_bf16
from .approximate import Bfloat16Scorer, Block, DirectScorer, Error, Float32Scorer, Scorer
from .found import Found, Hits, TooManyError
from .workers import Workers

_ROWS, _ROWS_FEW, _ROWS_GPU = 1024, 4096, 65536
"""Documents in a block; for few queries; on a GPU."""
_FEW, _VERY_FEW = 16, 4
"""With fewer queries reading the documents takes the time: rounding them, or at last copying them, only adds to it."""
_SAMPLE, _SAMPLE_FEW = 4096, 1024
"""Documents in the sample, at least."""
_PAIR_COST = 12
"""A pair that is scored again takes as long as about so many in a float32 product."""
_PAIR_BYTES = 64
"""Memory that a pair takes at most, with what is made of it on the way."""
_QUERIES, _QUERIES_FROM_DISK = 1024, 4096
"""Queries in a pass at most; where the files are larger than memory, and every pass reads them again."""
_QUERIES_GUESSED = 256
"""Queries whose scores with the sample are in memory together."""

Place = tuple[int, int, int]
"""Number of a file, first and last + 1 row."""


class ExactSearch:
    """Searches flat files as one index; positions count through them in their order.

    Args:
        files: of one dimension.
        device: the CPU, or a GPU, to which every pass copies the files block by block.
        threads: on the CPU; 0 is one per core.
        memory: bytes for what is found; None is an eighth of what is free, 2 GB at most.
        bf16: approximate scores in bf16; None does so where the CPU is fast at it.
    """

    def __init__(
        self,
        files: Sequence[FlatFile],
        *,
        device: torch.device | None = None,
        threads: int = 0,
        memory: int | None = None,
        bf16: bool | None = None,
    ) -> None:
        self.files, self.device = list(files), device or torch.device("cpu")
        self._starts = np.cumsum([0, *map(len, self.files)])
        self._on_cpu = self.device.type == "cpu"
        self._bf16 = self._on_cpu and (has_bf16("cpu") if bf16 is None else bf16)
        free = available_memory() or 8 << 30
        memory = memory or min(free // 8, 2 << 30)
        self._most = _QUERIES if sum(len(file) * file.row_bytes for file in self.files) < free else _QUERIES_FROM_DISK
        self._pairs = max(memory // _PAIR_BYTES, 1 << 16)
        self._workers = Workers((threads or available_cores()) if self._on_cpu else 1)
        self._known: dict[tuple[Place, bool], Block] = {}
        self._samples: dict[tuple[torch.dtype, int], tuple[torch.Tensor, Block]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batch_size(self, depth: int) -> int:
        """Queries that one pass over the files can serve within the memory."""
        return int(min(max(self._pairs // (4 * max(depth, 1)), 1), self._most))

    def take(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at `positions` (n,), (n, dim) float32."""
        vectors = np.empty((len(positions), self.files[0].dimension), np.float32)
        of = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(of).tolist():
            rows = np.flatnonzero(of == number)
            vectors[rows] = self.files[number].take(positions[rows] - self._starts[number])
        return vectors

    def search(self, queries: np.ndarray, depth: int) -> list[Hits]:
        """The k best documents for every query, and those that tie with the last of them.

        Args:
            queries: (n, dim) float32.
            depth: k; all documents if there are fewer.

        Raises:
            SdrError: a query vector with NaN or infinite values.
            DataError: a document vector with such.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if not np.isfinite(queries).all():
            raise SdrError("the encoder gave NaN or infinite values for a query; is the checkpoint damaged?")
        depth = min(depth, len(self))
        if not depth:
            return [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(queries)
        step = self.batch_size(depth)
        results: list[Hits] = []
        with _full_precision():
            for start in range(0, len(queries), step):
                results += self._search(queries[start : start + step], depth)
        return results

    def _search(self, queries: np.ndarray, depth: int, lower: int = 1, *, rounded: bool = True) -> list[Hits]:
        """One pass over the files, and others for the queries for which it found too little.

        Args:
            lower: how many times k documents the guess should let pass.
            rounded: whether bf16 may be used.
        """
        rounded = rounded and self._bf16 and len(queries) >= _FEW
        error = Error(queries, rounded=rounded)
        shared = torch.from_numpy(queries).to(self.device)
        shared = shared.bfloat16() if rounded else shared
        least, candidates = self._guess(shared, error, depth, lower)
        if rounded and candidates * _PAIR_COST > len(self) * len(queries):  # scores too close together for bf16
            return self._search(queries, depth, lower, rounded=False)
        found = Found(least, depth, self._pairs if len(queries) > 1 else None)
        try:
            self._scan(queries, shared, error, found)
        except TooManyError:  # fewer at a time, at last one by one and without a limit
            half = len(queries) // 2
            first = self._search(queries[:half], depth, lower, rounded=rounded)
            return first + self._search(queries[half:], depth, lower, rounded=rounded)
        results = found.hits()
        missed = [row for row, hits in enumerate(results) if hits is None]
        if missed:
            for row, hits in zip(missed, self._search(queries[missed], depth, 16 * lower), strict=True):
                results[row] = hits
        return results  # type: ignore[return-value]

    def _guess(self, queries: torch.Tensor, error: Error, depth: int, lower: int) -> tuple[np.ndarray, float]:
        """Scores that the k-th best reaches in all likelihood, (n,) float32, and about how many candidates they make.

        Of a sample of m of N documents about k·m/N are among the k best; the guess is the score of the one that stands
        four standard deviations behind that.
        """
        sample, block = self._sample(queries.dtype, _SAMPLE if len(queries) >= _FEW else _SAMPLE_FEW)
        size, whole = len(sample), len(sample) == len(self)
        bound = error.bound(block)
        among = min(lower * depth, len(self)) * size / len(self)
        place = size - math.ceil(among if whole else among + 4 * math.sqrt(among) + 4)
        least = np.full(len(queries), -np.inf, np.float32)
        if place < 0:
            return least, float(len(self) * len(queries))
        passed: list[int] = []
        rounded = queries.dtype == torch.bfloat16
        roundoff = 2.0**-8 if rounded else 0.0

        def guess(start: int) -> None:
            part = slice(start, start + _QUERIES_GUESSED)
            scores = (queries[part] @ sample.T).float().cpu().numpy()
            kth = np.partition(scores, place, axis=1)[:, place]
            if whole or not rounded:  # where nothing is left to chance, or little is lost by it: rounding
                kth = kth - roundoff * np.abs(kth) - bound[part]
            least[part] = kth
            passed.append(np.count_nonzero(scores >= (least[part] - bound[part])[:, None]))

        self._workers.run(guess, range(0, len(queries), _QUERIES_GUESSED))
        return least, sum(passed) * (len(self) / size)

    def _sample(self, dtype: torch.dtype, least: int) -> tuple[torch.Tensor, Block]:
        """Documents at even distances, (m, dim) of a type and on the device, and what the bound needs to know."""
        if (dtype, least) not in self._samples:
            size = min(len(self), max(least, min(len(self) // 64, 8 * least)))
            spread = (np.arange(size) + 0.5) * (len(self) / size)
            exact = torch.from_numpy(self.take(spread.astype(np.int64)))
            sample = exact.to(dtype)
            norms = [float(torch.linalg.vector_norm(v, dim=1).max()) for v in (exact, exact - sample)]
            self._samples[dtype, least] = sample.to(self.device), Block(*norms)
        return self._samples[dtype, least]

    def _scan(self, queries: np.ndarray, shared: torch.Tensor, error: Error, found: Found) -> None:
        """Adds all pairs to `found` that it takes.

        Args:
            queries: (n, dim) float32.
            shared: the same in the type and on the device of the approximate scores.
        """
        rounded = shared.dtype == torch.bfloat16
        rows = _ROWS_GPU if not self._on_cpu else _ROWS_FEW if len(queries) < _FEW else _ROWS
        direct = self._on_cpu and len(queries) < _VERY_FEW
        desks: queue.SimpleQueue[tuple[Scorer, np.ndarray | None]] = queue.SimpleQueue()
        for _ in range(self._workers.count):
            if direct:
                desks.put((DirectScorer(queries), None))
                continue
            scorer = Bfloat16Scorer(shared, rows) if rounded else Float32Scorer(shared)
            desks.put((scorer, np.empty((rows, queries.shape[1]), np.float32)))

        def scan(place: Place) -> None:
            number, first, last = place
            scorer, room = desks.get()
            file = self.files[number]
            documents = file.vectors[first:last] if room is None else file.read(first, last, room)
            block = scorer.load(documents, self._known.get((place, rounded)))
            if (place, rounded) not in self._known:
                self._check(documents, block, place)
                self._known[place, rounded] = block
            for query_rows, columns in scorer.above(error.floor(found.least, block)):
                if len(columns):
                    scores = _inner_products(queries, query_rows, documents, columns)
                    found.add(query_rows, columns + (self._starts[number] + first), scores)
            desks.put((scorer, room))

        self._workers.run(scan, self._places(rows))

    def _places(self, rows: int) -> Iterator[Place]:
        for number, file in enumerate(self.files):
            for first in range(0, len(file), rows):
                yield number, first, min(first + rows, len(file))

    def _check(self, documents: np.ndarray, block: Block, place: Place) -> None:
        if not math.isfinite(block.norm):
            number, first, _ = place
            bad = first + int(np.argmin(np.isfinite(np.linalg.norm(documents, axis=1))))
            raise DataError(
                self.files[number].path,
                f"vector {bad + 1} has NaN or infinite values",
                remedy="python -m pyserini_sdr.index verify tells more; encode the corpus anew",
            )


def _inner_products(queries: np.ndarray, rows: np.ndarray, documents: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Inner products of pairs (n,) float32, as FAISS computes them for one query."""
    scores = np.empty(len(rows), np.float32)
    faiss.pairwise_indexed_inner_product(
        queries.shape[1],
        len(rows),
        *(faiss.swig_ptr(array) for array in (queries, rows, documents, columns, scores)),
    )
    return scores


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """float32 products are of float32 numbers: the bound on their errors needs it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
