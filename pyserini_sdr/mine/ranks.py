"""Queries are kept by the rank of their best positive: for a teacher in groups, or in the rankings of the sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import DataError
from ..data.group import Candidate

if TYPE_CHECKING:
    from .pools import Pool


@dataclass(frozen=True)
class RankWindow:
    """Ranks from `first` to `last`, from 1."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> RankWindow:
        """Of `A-B`, or `A` for `A-A`; `ValueError` says what is wrong with anything else."""
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError("expected a rank or A-B, as 1 or 2-15")
        window = cls(int(first), int(last) if dash else int(first))
        if window.first < 1 or window.last < window.first:
            raise ValueError("ranks count from 1, and the first must not be above the last")
        return window

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_named(text: str) -> tuple[str, RankWindow]:
    """Name and window of `NAME=A-B`; `ValueError` says what is wrong."""
    name, sign, window = text.rpartition("=")
    if not sign or not name:
        raise ValueError("expected NAME=A-B, as ce=1 or student=2-15")
    return name, RankWindow.parse(window)


def rank_of_best(
    positives: Sequence[Candidate], negatives: Sequence[Candidate], scores: Mapping[str, float]
) -> int | None:
    """Rank, from 1, of the positive with the highest score among positives and negatives; None if none has a score.

    Negatives above it are those with a higher score: one with the same score, or with none, does not count.
    """
    best = max((scores[c.key] for c in positives if c.key in scores), default=None)
    if best is None:
        return None
    return 1 + sum(scores.get(candidate.key, best) > best for candidate in negatives)


class RankFilter:
    """Keeps the queries whose best positive stands where it should in every ranking of their pool (`Pool.ranks`).

    Args:
        windows: name of a ranking → where.
        every: where in rankings that are not named there.
        output: what is to be written, for the message when nothing is left.

    Attributes:
        found: name of a ranking → how many queries were `kept`, ranked `better`, `worse`, or `unranked`, by it alone.
        read: queries looked at.
        kept: queries that every ranking keeps.
    """

    def __init__(self, windows: Mapping[str, RankWindow], every: RankWindow | None, output: Path) -> None:
        self._windows, self._every, self._output = dict(windows), every, output
        self.found: dict[str, Counter[str]] = {}
        self.read = self.kept = 0

    def apply(self, pools: Iterable[Pool]) -> Iterator[Pool]:
        """Yields the pools that are kept.

        Raises:
            DataError: none is.
        """
        for pool in pools:
            self.read += 1
            if self._keeps(pool.ranks):
                self.kept += 1
                yield pool
        if self.read and not self.kept:
            raise DataError(
                self._output,
                f"not written: of {self.read:,} queries none has its best positive at these ranks ({self.summary()})",
                remedy="widen the ranks",
            )

    def _keeps(self, ranks: Mapping[str, int | None]) -> bool:
        verdicts = [self._verdict(name, rank) for name, rank in ranks.items()]
        return all(verdict == "kept" for verdict in verdicts)

    def _verdict(self, name: str, rank: int | None) -> str:
        window = self._window(name)
        if rank is None:
            verdict = "unranked"
        else:
            verdict = "better" if rank < window.first else "worse" if rank > window.last else "kept"
        self.found.setdefault(name, Counter())[verdict] += 1
        return verdict

    def _window(self, name: str) -> RankWindow:
        window = self._windows.get(name, self._every)
        assert window is not None
        return window

    def facts(self) -> dict[str, dict[str, int | str]]:
        """For the manifest: by ranking, the ranks wanted and what became of the queries."""
        return {name: {"ranks": str(self._window(name)), **_counts(found)} for name, found in self.found.items()}

    def summary(self) -> str:
        """One line."""
        return "; ".join(
            f"{name}={self._window(name)}: " + ", ".join(f"{count:,} {what}" for what, count in _counts(found).items())
            for name, found in self.found.items()
        )


def _counts(found: Counter[str]) -> dict[str, int]:
    return {what: found[what] for what in ("kept", "better", "worse", "unranked")}
