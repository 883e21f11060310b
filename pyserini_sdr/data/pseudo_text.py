"""Text work of pseudo-queries: words, sentences as places in a text, cutting them out, draws by hash."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

Span = tuple[int, int]
"""Start and end of a piece of text."""

NO_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"  # Kana, Han, Thai
WORD = re.compile(rf"[{NO_SPACES}]|(?:(?![{NO_SPACES}])[^\W_])+")
"""A word; of scripts that put no spaces between words, a character."""

_STOP = re.compile(r"[.!?]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\uff09]*|\u0964|\n\s*\n")
_BEFORE = re.compile(r"(\S*?)[.!?]+[\"'\u201d\u2019\u00bb)\]]*$")
_OPENING = "\"'\u201c\u2018\u00ab(["
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        "e.g i.e vs cf al fig figs dr mr mrs ms prof st no nos vol pp eq eqs ref refs sec ch approx ca resp gen col lt "
        "sgt jan feb mar apr jun jul aug sep sept oct nov dec u.s u.k u.n",
    )
)


def count_words(text: str) -> int:
    """Number of words in a text."""
    return sum(1 for _ in WORD.finditer(text))


def sentences(text: str) -> list[Span]:
    """The sentences of a text in order, without the white space between them.

    A full stop ends a sentence only before white space and something that can begin one (no lower-case letter), and not
    after an abbreviation or an initial; a full stop that stands alone, as in tokenised texts, always does. Paragraph
    ends and the full stops of Chinese, Japanese and Hindi count too.
    """
    spans, start = [], 0
    for found in _STOP.finditer(text):
        if found.group()[0] in ".!?" and not _ends_sentence(text, start, found.start(), found.end()):
            continue
        spans.append((start, found.end()))
        start = found.end()
    spans.append((start, len(text)))
    return [span for span in (_trimmed(text, *span) for span in spans) if span[0] < span[1]]


def _ends_sentence(text: str, start: int, stop: int, end: int) -> bool:
    rest = text[end : end + 24].lstrip().lstrip(_OPENING)
    if rest[:1].islower():  # `. the next` ends a sentence only where every full stop is a word of its own
        return stop == 0 or text[stop - 1].isspace()
    if text[stop] != ".":
        return True
    before = _BEFORE.search(text[max(start, stop - 40) : end])
    word = before.group(1).lstrip(_OPENING) if before else ""
    initial = len(word) == 1 and word.isupper()
    return not initial and word.lower() not in _ABBREVIATIONS


def _trimmed(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def pieces(text: str, most: int) -> list[Span]:
    """The sentences of a text, those of more than `most` words divided into equal parts, an only one into two at least.

    Texts without punctuation thus give pieces too.
    """
    found: list[Span] = []
    whole = sentences(text)
    for start, end in whole:
        words = list(WORD.finditer(text, start, end))
        parts = max(-(-len(words) // most), 2 if len(whole) == 1 and len(words) > 1 else 1)
        bounds = [words[len(words) * part // parts].start() for part in range(1, parts)]
        found += [_trimmed(text, *span) for span in zip([start, *bounds], [*bounds, end], strict=True)]
    return found


def without(text: str, spans: Sequence[Span]) -> str:
    """`text` with the given pieces cut out, what is left joined by one space; the rest stays as it is."""
    kept, start = [], 0
    for first, last in sorted(spans):
        kept.append(text[start:first].strip())
        start = max(start, last)
    kept.append(text[start:].strip())
    return " ".join(part for part in kept if part)


def hash64(seed: int, purpose: str, id: str) -> int:
    """A 64-bit number that depends on its arguments only, in every process."""
    return int.from_bytes(blake2b(f"{seed} {purpose} {id}".encode(), digest_size=8).digest(), "little")


def fraction(seed: int, purpose: str, id: str) -> float:
    """A uniform draw from [0, 1) for a document, whatever the order of the corpus."""
    return hash64(seed, purpose, id) / 2**64
