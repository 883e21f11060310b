"""Queries that are trained on and measured with: equal ones, and ones that differ by few words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from .doctext import normalise

NEAR = Fraction(4, 5)
"""Share of the words of two queries together that both have, from which on they are near duplicates."""


@dataclass(frozen=True)
class Leak:
    """A query that is held out, and the training query that is like it.

    Args:
        qid: of the one held out.
        twin: of the training query.
        equal: they differ in case and punctuation only.
    """

    qid: str
    twin: str
    equal: bool


class TrainingQueries:
    """Finds near duplicates among training queries without comparing all pairs.

    Two sets of words with a Jaccard similarity of at least t share one of the rarest |x| − ⌈t·|x|⌉ + 1 words of each
    (prefix filtering, Chaudhuri et al. 2006), so that only queries with such a word in common are compared.

    Args:
        topics: query id → query.
    """

    def __init__(self, topics: Mapping[str, str]) -> None:
        self._equal = {text: qid for qid, query in topics.items() if (text := normalise(query))}
        self._words = {qid: frozenset(text.split()) for text, qid in self._equal.items()}
        self._frequency = Counter(word for words in self._words.values() for word in words)
        self._holding: dict[str, list[str]] = defaultdict(list)
        for qid, words in self._words.items():
            for word in self._rarest(words):
                self._holding[word].append(qid)

    def _rarest(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (self._frequency[word], word))
        return ordered[: len(words) - ceil(NEAR * len(words)) + 1]

    def leaks(self, held: Mapping[str, str]) -> Iterator[Leak]:
        """Yields the queries held out that are like a training query, in their order, with the most similar one."""
        for qid, query in held.items():
            text = normalise(query)
            if text in self._equal:
                yield Leak(qid, self._equal[text], True)
                continue
            words = frozenset(text.split())
            others = dict.fromkeys(other for word in self._rarest(words) for other in self._holding.get(word, ()))
            shares = [(Fraction(len(words & self._words[o]), len(words | self._words[o])), o) for o in others]
            best = max(shares, default=None, key=lambda pair: pair[0])
            if best is not None and best[0] >= NEAR:
                yield Leak(qid, best[1], False)
