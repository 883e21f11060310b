"""ROUGE-L (Lin 2004) of two short texts: how long a sequence of words they have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.pseudo_text import WORD


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, not stemmed."""
    return WORD.findall(text.lower())


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table as the bits of a number (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for position, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << position
    everywhere = (1 << len(one)) - 1
    row = everywhere
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & everywhere
    return len(one) - row.bit_count()


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F-measure of precision and recall of the common subsequence, 0 to 1; 0 if there is no word."""
    return 2 * common_subsequence(one, other) / (len(one) + len(other)) if one or other else 0.0
