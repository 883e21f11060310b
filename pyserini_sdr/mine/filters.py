"""What keeps a document from becoming a negative: it is relevant, scores like a positive, or repeats a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from ..core.errors import DataError
from ..data.group import Candidate
from ..data.store import DocumentStore
from .options import MineOptions
from .pools import Pool, Scores

Test = Callable[[Candidate], bool]
"""Whether a candidate is to be dropped."""


class Filters:
    """The filters that the options ask for, and what each has dropped.

    Args:
        known: query id → every document known to be relevant.
        corpus: of the texts that duplicates are found by.
        texts: the open store of that corpus, if there is one.

    Attributes:
        dropped: filter → documents that it has dropped; each counts for the first that drops it.
        unscored: queries with candidates and no score of a positive, where one is needed; by kind of score.
        unjudged: documents that the teacher has not scored.
    """

    def __init__(
        self,
        options: MineOptions,
        known: Mapping[str, Set[str]],
        corpus: Path,
        texts: DocumentStore | None = None,
    ) -> None:
        self._options, self._known = options, known
        self._duplicates = Duplicates(corpus, texts) if options.drop_duplicates else None
        names = {
            "known_positives": True,
            "max_score": options.max_score is not None,
            "margin": options.margin is not None,
            "relative_margin": options.relative_margin is not None,
            "teacher_margin": options.teacher_margin is not None,
            "unscored_positive": options.unscored_positive == "drop",
            "duplicates": options.drop_duplicates,
        }
        self.dropped = Counter(dict.fromkeys((name for name, used in names.items() if used), 0))
        self.unscored: Counter[str] = Counter()
        self.unjudged = 0

    def apply(self, pools: Iterable[Pool]) -> Iterator[Pool]:
        """Yields the pools with their candidates thinned."""
        for pool in pools:
            relevant = self._known.get(pool.query_id, set()) | {c.id for c in pool.positives if c.id is not None}
            self._drop(pool, "known_positives", lambda c, ids=relevant: c.id in ids)
            self._by_source_scores(pool)
            self._by_teacher(pool)
            if self._duplicates is not None:
                self._drop(pool, "duplicates", self._duplicates.test(pool))
            yield pool

    def _drop(self, pool: Pool, name: str, test: Test) -> None:
        kept = [candidate for candidate in pool.candidates if not test(candidate)]
        self.dropped[name] += len(pool.candidates) - len(kept)
        pool.candidates = kept

    def _by_source_scores(self, pool: Pool) -> None:
        options = self._options
        if (limit := options.max_score) is not None:
            self._drop(pool, "max_score", above([(scores, limit) for scores in pool.sources]))
        if not options.by_positive:
            return
        best = [(scores, pool.best_positive(scores)) for scores in pool.sources]
        references = [(scores, positive) for scores, positive in best if positive is not None]
        if not references:
            self._unscored(pool, "source")
        if (margin := options.margin) is not None:
            self._drop(pool, "margin", above([(scores, s - margin) for scores, s in references]))
        if (share := options.relative_margin) is not None:
            limits = [(scores, s - abs(s) * share) for scores, s in references]
            self._drop(pool, "relative_margin", above(limits))

    def _by_teacher(self, pool: Pool) -> None:
        margin, name = self._options.teacher_margin, self._options.teacher_scores
        if margin is None or name is None:
            return
        scores = pool.tables.get(name, {})
        self.unjudged += sum(candidate.key not in scores for candidate in pool.candidates)
        positive = pool.best_positive(scores)
        if positive is None:
            self._unscored(pool, "teacher")
        else:
            self._drop(pool, "teacher_margin", above([(scores, positive - margin)]))

    def _unscored(self, pool: Pool, kind: str) -> None:
        if not pool.candidates:
            return
        self.unscored[kind] += 1
        if self._options.unscored_positive == "drop":
            self._drop(pool, "unscored_positive", lambda candidate: True)


def above(limits: list[tuple[Scores, float]]) -> Test:
    """A test that drops what any of the sources that score it scores above its limit."""
    return lambda candidate: any(scores.get(candidate.key, limit) > limit for scores, limit in limits)


class Duplicates:
    """Finds equal texts: those of a positive, or of a candidate that ranks better.

    Args:
        corpus: of the texts of candidates that carry an id only.
        texts: the open store of that corpus, if there is one; else it is opened when the first text is asked for.
    """

    def __init__(self, corpus: Path, texts: DocumentStore | None = None) -> None:
        self._corpus, self._texts = corpus, texts
        self._of_document = lru_cache(maxsize=1 << 20)(self._read)  # documents recur from query to query

    def test(self, pool: Pool) -> Test:
        """The test for the candidates of a pool, to be asked in their order."""
        seen = {self._of(candidate, pool) for candidate in pool.positives}

        def repeated(candidate: Candidate) -> bool:
            hashed = self._of(candidate, pool)
            if hashed in seen:
                return True
            seen.add(hashed)
            return False

        return repeated

    def _of(self, candidate: Candidate, pool: Pool) -> bytes:
        if candidate.text is not None:
            return text_hash(candidate.text)
        assert candidate.id is not None
        hashed = self._of_document(candidate.id)
        if hashed is None:
            raise DataError(
                self._corpus,
                f"no document {candidate.id!r}, a candidate of query {pool.query_id!r}, in the corpus",
                remedy="take negatives and positives of this corpus, or give --no-drop-duplicates",
            )
        return hashed

    def _read(self, id: str) -> bytes | None:
        if self._texts is None:
            self._texts = DocumentStore(self._corpus)
        return text_hash(self._texts[id]) if id in self._texts else None


def text_hash(text: str) -> bytes:
    """The same for texts that differ in case and white space only."""
    return blake2b(" ".join(text.casefold().split()).encode(), digest_size=12).digest()
