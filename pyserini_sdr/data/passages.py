"""Passages of documents: `DOCID#0`, `DOCID#1`, …, cut by words; groups of documents to groups of passages and back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..core.errors import DataError
from .group import Candidate, Group
from .groups import read_groups
from .part_ids import DELIMITER, document_of, part_id
from .pseudo_methods import split_title
from .pseudo_text import NO_SPACES
from .records import Document

_TOKEN = re.compile(rf"[{NO_SPACES}]|(?:(?![{NO_SPACES}])\S)+")
"""A word with the marks around it; of scripts that put no spaces between words, a character."""


def passages(document: Document, words: int, stride: int) -> list[str]:
    """The texts of a document's passages, each with the title in front where the document's text begins with it.

    Passages begin every `stride` words and hold `words` of them, as white space divides them; the last one ends with
    the document and may be shorter. A document that is not longer than a passage has one: itself.

    Args:
        document: with `contents` as in a corpus.
        words: of a passage, without the title.
        stride: words from the beginning of a passage to that of the next, not above `words`.
    """
    body = split_title(document)[1]
    title = document.contents.lstrip()[: len(document.contents.lstrip()) - len(body)]
    starts = [found.start() for found in _TOKEN.finditer(body)]
    if len(starts) <= words:
        return [document.contents]
    bounds = [0, *starts[1:], len(body)]
    firsts = range(0, len(starts) - words + stride, stride)
    return [title + body[bounds[first] : bounds[min(first + words, len(starts))]].strip() for first in firsts]


def to_passages(group: Group, counts: Mapping[str, int], delimiter: str, most: int | None = None) -> Group:
    """A group of documents as one of their passages; scores go, as they are not the passages'.

    Texts that belong to no corpus stay as they are.

    Args:
        group: of documents.
        counts: passages by document id, for every id in the group.
        delimiter: of the ids.
        most: passages taken of a document at most, its first ones; None takes all.
    """

    def cut(candidates: Iterable[Candidate]) -> list[Candidate]:
        found: list[Candidate] = []
        for candidate in candidates:
            if candidate.id is None:
                found.append(candidate)
                continue
            count = counts[candidate.id] if most is None else min(most, counts[candidate.id])
            found += [Candidate(part_id(candidate.id, number, delimiter)) for number in range(count)]
        return found

    return Group(group.query_id, group.query, cut(group.positives), cut(group.negatives))


def fold_groups(path: str | os.PathLike[str], delimiter: str = DELIMITER) -> Iterator[Group]:
    """Yields groups of passages as groups of their documents, a document's score being the best of its passages'.

    Documents stand in the order of their first passages, under every name the scores have. Positives win: a document
    with passages on both sides is positive.

    Raises:
        DataError: no id in the file has the delimiter.
    """
    found = False
    for group in read_groups(path):
        found = found or any(delimiter in candidate.id for candidate in _with_ids(group))
        yield fold(group, delimiter)
    if not found:
        raise _no_passages(path, delimiter)


def fold(group: Group, delimiter: str = DELIMITER) -> Group:
    """One group, see `fold_groups`."""
    positives = _documents(group.positives, delimiter)
    negatives = {key: c for key, c in _documents(group.negatives, delimiter).items() if key not in positives}
    owner = {candidate.key: document_of(candidate.id, delimiter) for candidate in _with_ids(group)}
    scores: dict[str, dict[str, float]] = {}
    for name, table in group.scores.items():
        best = scores[name] = {}
        for key, score in table.items():
            document = owner.get(key, key)
            best[document] = max(score, best.get(document, score))
    return Group(group.query_id, group.query, list(positives.values()), list(negatives.values()), scores)


def best_passages(path: str | os.PathLike[str], name: str, delimiter: str = DELIMITER) -> Iterator[Group]:
    """Yields groups of passages in which each positive document is there with its best passage only.

    The best one has the highest score of `name`, the first of those that tie; of a document without a score it is the
    first. Negatives stay.

    Raises:
        DataError: no id in the file has the delimiter.
    """
    found = False
    for group in read_groups(path):
        found = found or any(delimiter in candidate.id for candidate in _with_ids(group))
        scores = group.scores.get(name, {})
        best: dict[str, Candidate] = {}
        for candidate in group.positives:
            document = candidate.key if candidate.id is None else document_of(candidate.id, delimiter)
            rival = best.setdefault(document, candidate)
            if scores.get(candidate.key, -float("inf")) > scores.get(rival.key, -float("inf")):
                best[document] = candidate
        kept = {candidate.key for candidate in (*best.values(), *group.negatives)}
        tables = {name: {key: x for key, x in table.items() if key in kept} for name, table in group.scores.items()}
        yield replace(group, positives=list(best.values()), scores=tables)
    if not found:
        raise _no_passages(path, delimiter)


def _with_ids(group: Group) -> Iterator[Candidate]:
    return (candidate for candidate in (*group.positives, *group.negatives) if candidate.id is not None)


def _documents(candidates: Iterable[Candidate], delimiter: str) -> dict[str, Candidate]:
    """Key → document, each once; of an id with a text the text goes, where it is a passage's."""
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        document = candidate
        if candidate.id is not None and delimiter in candidate.id:
            document = Candidate(document_of(candidate.id, delimiter))
        found.setdefault(document.key, document)
    return found


def _no_passages(path: str | os.PathLike[str], delimiter: str) -> DataError:
    return DataError(
        path, f"no document id holds {delimiter!r}: these are no groups of passages", remedy="name their delimiter"
    )
