"""Methods that make pseudo-queries: a stream of documents in, the documents with their queries cut out of them out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Protocol

from .doctext import content_words
from .pseudo_text import WORD, Span, count_words, fraction, hash64, pieces, without
from .records import Document

_EDGE = " \t\n.:;,"
_MARKS = f"{_EDGE}!?"


@dataclass(frozen=True)
class Rules:
    """What a pseudo-query and what is left of its document must be like.

    Args:
        seed: of the draws.
        per_document: queries per document at most.
        min_tokens: words that must be left in the document, else it is not touched.
        min_query_tokens: fewest words of a query.
        max_query_tokens: most words of a query.
        keep: probability with which the query stays in the document.
    """

    seed: int = 0
    per_document: int = 1
    min_tokens: int = 10
    min_query_tokens: int = 3
    max_query_tokens: int = 32
    keep: float = 0.0

    def accepts(self, query: str) -> bool:
        """Whether a query has a sensible length."""
        return self.min_query_tokens <= count_words(query) <= self.max_query_tokens

    def leaves(self, text: str) -> bool:
        """Whether enough is left of a document."""
        return count_words(text) >= self.min_tokens


@dataclass(frozen=True, slots=True)
class Cut:
    """A document with its pseudo-queries.

    Args:
        queries: may be none: the document makes no query, but is cut like the others where it can be.
        document: as it stands in the corpus.
        held: as it stands there if its queries are dev or test queries.
        short: whether it was too short to be cut.
    """

    queries: list[str]
    document: Document
    held: Document
    short: bool = False


class Method(Protocol):
    """One way to make pseudo-queries."""

    default_keep: ClassVar[float]
    """Probability with which a query stays in its training document, if the user does not say."""
    several: ClassVar[bool]
    """Whether it can make several queries for a document."""

    def prepare(self, documents: Callable[[], Iterable[Document]]) -> None:
        """Reads the corpus beforehand, if the method needs to."""
        ...

    def stream(self, documents: Iterable[Document]) -> Iterator[Cut]:
        """One `Cut` per document, in order."""
        ...


class _PerDocument:
    """A method that looks at one document at a time."""

    default_keep: ClassVar[float] = 0.0
    several: ClassVar[bool] = False

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def prepare(self, documents: Callable[[], Iterable[Document]]) -> None:
        pass

    def stream(self, documents: Iterable[Document]) -> Iterator[Cut]:
        return map(self.cut, documents)

    def cut(self, document: Document) -> Cut:
        raise NotImplementedError

    def _kept(self, document: Document, number: int) -> bool:
        return fraction(self.rules.seed, f"keep {number}", document.id) < self.rules.keep

    def _single(self, document: Document, query: str, whole: str, rest: str, title: str | None) -> Cut:
        """The cut of a document that loses one query."""
        if not self.rules.leaves(rest):
            return Cut([], document, document, short=True)
        held = replace(document, contents=rest, title=title)
        kept = replace(held, contents=whole) if self._kept(document, 0) else held
        return Cut([query] if self.rules.accepts(query) else [], kept, held)


def split_title(document: Document) -> tuple[str, str]:
    """Title and body of a document: `contents` begins with the title where there is one, else the title is empty."""
    title = (document.title or "").strip()
    if title and document.contents.lstrip().startswith(title):
        return title, document.contents.lstrip()[len(title) :].lstrip(_EDGE)
    return "", document.contents


class TitleBody(_PerDocument):
    """Query = title; the titles leave the whole corpus, also as metadata."""

    def cut(self, document: Document) -> Cut:
        if not document.title:
            return Cut([], document, document)
        query = document.title.strip().rstrip(_EDGE)
        return self._single(document, query, document.contents, split_title(document)[1], None)


class FirstSentence(_PerDocument):
    """Query = first sentence (after the title, which stays)."""

    def cut(self, document: Document) -> Cut:
        title, body = split_title(document)
        (start, end), *rest = pieces(body, self.rules.max_query_tokens) or [(0, 0)]
        if not rest:
            return Cut([], document, document, short=True)
        query = body[start:end].rstrip(_EDGE)
        return self._single(document, query, document.contents, _joined(title, body[end:].strip()), document.title)


class InverseCloze(_PerDocument):
    """Query = a random sentence, which stays in a tenth of the training documents (Lee et al. 2019, arXiv 1906.00300).

    In dev and test documents it never stays.
    """

    default_keep: ClassVar[float] = 0.1
    several: ClassVar[bool] = True

    def cut(self, document: Document) -> Cut:
        title, body = split_title(document)
        rules = self.rules
        found = [span for span in pieces(body, rules.max_query_tokens) if rules.accepts(body[slice(*span)])]
        found.sort(key=lambda span: hash64(rules.seed, f"sentence {span[0]}", document.id))
        chosen: list[Span] = []
        rest = body
        for span in found[: rules.per_document]:
            shorter = without(body, [*chosen, span])
            if not rules.leaves(shorter):
                break
            chosen, rest = [*chosen, span], shorter
        if not chosen:
            return Cut([], document, document, short=True)
        removed = [span for number, span in enumerate(chosen) if not self._kept(document, number)]
        kept = replace(document, contents=_joined(title, without(body, removed)))
        queries = [body[slice(*span)].rstrip(_EDGE) for span in chosen]
        return Cut(queries, kept, replace(document, contents=_joined(title, rest)))


class KeyPhrases(_PerDocument):
    """Query = the words and word pairs of highest tf-idf, in the order of the text.

    A pair counts if it stands in the text twice; its inverse document frequency is taken as that of its words together.
    Words of only one document are no key phrases: they would be identifiers and misprints. Of the phrases, each is cut
    out everywhere in its document with probability 1 − keep. Half of them stay by default, in dev and test documents
    too: with all of them gone, a document would be relevant because it lacks the words of the query.

    Args:
        rules: see `Rules`.
        phrases: phrases per query.
    """

    default_keep: ClassVar[float] = 0.5
    several: ClassVar[bool] = True

    def __init__(self, rules: Rules, phrases: int = 5) -> None:
        super().__init__(rules)
        self.phrases = phrases
        self._frequencies: Counter[str] = Counter()
        self._documents = 0

    def prepare(self, documents: Callable[[], Iterable[Document]]) -> None:
        for document in documents():
            self._frequencies.update(set(content_words(document.contents)))
            self._documents += 1

    def cut(self, document: Document) -> Cut:
        ranked = self._ranked(document.contents)[: self.phrases * self.rules.per_document]
        removed = {
            word for number, phrase in enumerate(ranked) if not self._kept(document, number) for word in phrase.split()
        }
        rest = _without_words(document.contents, removed)
        if not self.rules.leaves(rest):
            return Cut([], document, document, short=True)
        shares = [ranked[number :: self.rules.per_document] for number in range(self.rules.per_document)]
        places = _first_places(document.contents)
        queries = [" ".join(sorted(share, key=lambda phrase: places[phrase.split()[0]])) for share in shares]
        changed = replace(
            document, contents=rest, title=(_without_words(document.title, removed) or None) if document.title else None
        )
        return Cut([query for query in queries if self.rules.accepts(query)], changed, changed)

    def _ranked(self, text: str) -> list[str]:
        """Phrases by falling score; a word that a better pair holds is not taken again."""
        words = [word.group().lower() for word in WORD.finditer(text)]
        weights = {word: self._weight(word) for word in content_words(text)}
        counts = Counter(word for word in words if weights.get(word))
        pairs = ((a, b) for a, b in pairwise(words) if a != b and weights.get(a) and weights.get(b))
        twice = Counter(pairs)
        scores = {word: count * weights[word] for word, count in counts.items()}
        scores |= {f"{a} {b}": n * (weights[a] + weights[b]) for (a, b), n in twice.items() if n > 1}
        chosen, taken = [], set()
        for phrase in sorted(scores, key=lambda phrase: (-scores[phrase], phrase)):
            parts = phrase.split()
            if not taken.intersection(parts):
                chosen.append(phrase)
                taken.update(parts)
        return chosen

    def _weight(self, word: str) -> float:
        """Inverse document frequency; 0 for words of one document and those of every document."""
        frequency = self._frequencies[word]
        return math.log(self._documents / frequency) if frequency > 1 else 0.0


def _first_places(text: str) -> dict[str, int]:
    """Word → where it first stands in a text."""
    first: dict[str, int] = {}
    for found in WORD.finditer(text):
        first.setdefault(found.group().lower(), found.start())
    return first


def _without_words(text: str, words: set[str]) -> str:
    """`text` without these words, and without the marks that stood behind them at its beginning."""
    spans = [found.span() for found in WORD.finditer(text) if found.group().lower() in words]
    rest = re.sub(r"\s+([.,;:!?])", r"\1", without(text, spans))
    return rest.lstrip(_MARKS) if spans and not text[: spans[0][0]].strip(_MARKS) else rest


def _joined(title: str, body: str) -> str:
    return f"{title} {body}" if title else body
