"""What each method makes of a document: masked texts for the encoder, and for the decoders that get its vector.

CoT-MAE: arXiv 2208.07670 and its authors' code; MASTER: arXiv 2212.07841 and its authors' code. What is ours is told in
`docs/pretraining.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .masking import Masked, Masker, Word, choose
from .options import DECODER_MASK, PretrainOptions

MIN_SPAN = 5
"""Tokens of the shortest span: a document of fewer than two of them has no two spans."""
_SHORT = 0.15
"""Share of documents whose spans are shorter than they could be (the authors' code of CoT-MAE)."""
_CHARACTERS = 32
"""Characters of a text that are tokenized per token that is wanted, at most."""


@dataclass(frozen=True)
class Row:
    """One pass through the encoder.

    Args:
        term: name of the loss of the encoder's own masked tokens.
        text: for the encoder.
        decoded: decoder → the text that it fills in with the help of the encoder's vector.
    """

    term: str
    text: Masked
    decoded: Mapping[str, Masked] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Tokens that are worked on."""
        return len(self.text.ids) + sum(len(text.ids) for text in self.decoded.values())


@dataclass(frozen=True)
class Source:
    """A document as the methods see it.

    Args:
        words: of its text.
        queries: words of each of its queries.
    """

    words: list[Word]
    queries: Sequence[list[Word]] = ()


class Method:
    """A way to make rows of documents.

    Args:
        masker: tokenizes and masks.
        encoder_mask, decoder_mask: shares of tokens.
        max_length: tokens of a text, special tokens included.
        rarity: log weights of tokens, for masks that prefer rare words; None: all are alike.

    Attributes:
        terms: names of the encoder's losses.
        decoders: names of the decoders, which are names of their losses too.
    """

    terms: tuple[str, ...] = ("mlm",)
    decoders: tuple[str, ...] = ()
    spans = 1
    """Texts of full length that are looked for in a document."""

    def __init__(
        self,
        masker: Masker,
        *,
        encoder_mask: float,
        decoder_mask: float,
        max_length: int,
        rarity: np.ndarray | None = None,
    ) -> None:
        self.masker, self.encoder_mask, self.decoder_mask = masker, encoder_mask, decoder_mask
        self.rarity, self.length = rarity, masker.room(max_length)

    def rows(self, source: Source, rng: np.random.Generator) -> list[Row]:
        """The rows of a document; none if it is too short."""
        text = window(source.words, self.length, rng)
        return [Row("mlm", self._encoded(text, rng))] if text else []

    def clip(self, text: str, rng: np.random.Generator) -> str:
        """A random stretch of a long text, from which all texts can be drawn that are needed."""
        most = self.length * self.spans * _CHARACTERS
        if len(text) <= most:
            return text
        start = int(rng.integers(len(text) - most + 1))
        return text[start : start + most].partition(" ")[2] or text[start : start + most]

    def _encoded(self, words: Sequence[Word], rng: np.random.Generator) -> Masked:
        return self.masker.for_encoder(words, choose(words, self.encoder_mask, rng), rng)

    def _decoded(self, words: Sequence[Word], rng: np.random.Generator, *, rare: bool = False) -> Masked:
        chosen = choose(words, self.decoder_mask, rng, self.rarity if rare else None)
        return self.masker.for_decoder(words, chosen, rng)


class CotMae(Method):
    """Two spans of a document; each is filled in with the help of the other's vector."""

    decoders = ("decoder",)
    spans = 4

    def rows(self, source: Source, rng: np.random.Generator) -> list[Row]:
        found = two_spans(source.words, self.length, rng)
        if found is None:
            return []
        return [
            Row("mlm", self._encoded(own, rng), {"decoder": self._decoded(other, rng)})
            for own, other in (found, found[::-1])
        ]


class Master(Method):
    """Three masked views of a text, and decoders for: its rare words, its queries, its second half, what was masked.

    The authors' fifth decoder, for a continuation that GPT-2 has generated, is left out.
    """

    terms = ("mlm", "mlm_next", "mlm_complement")
    decoders = ("rare_words", "queries", "next", "complement")

    def rows(self, source: Source, rng: np.random.Generator) -> list[Row]:
        text = window(source.words, self.length, rng)
        if not text:
            return []
        decoded = {"rare_words": self._decoded(text, rng, rare=True)}
        if source.queries:
            order = rng.permutation(len(source.queries))
            words = fitting([word for place in order for word in source.queries[place]], self.length)
            if words:
                decoded["queries"] = self._decoded(words, rng)
        rows = [Row("mlm", self._encoded(text, rng), decoded)]
        if len(text) > 1:
            first, second = text[: len(text) // 2], text[len(text) // 2 :]
            after = {"next": self._decoded(second, rng, rare=True)}
            rows.append(Row("mlm_next", self._encoded(first, rng), after))
            chosen = choose(text, self.decoder_mask, rng)
            others = set(range(len(text))) - chosen
            if others:
                rest = {"complement": self.masker.for_decoder(text, others, rng)}
                rows.append(Row("mlm_complement", self.masker.for_encoder(text, chosen, rng), rest))
        return rows


METHODS: dict[str, type[Method]] = {"cot-mae": CotMae, "master": Master, "mlm": Method}


def make_method(options: PretrainOptions, masker: Masker, rarity: np.ndarray | None = None) -> Method:
    """The method of the options."""
    share = options.decoder_mask or DECODER_MASK.get(options.method, 0.0)
    method = METHODS[options.method](
        masker,
        encoder_mask=options.encoder_mask,
        decoder_mask=share,
        max_length=options.max_length,
        rarity=rarity,
    )
    if options.method == "master" and options.queries is None:
        method.decoders = tuple(name for name in method.decoders if name != "queries")
    return method


def fitting(words: Sequence[Word], length: int) -> Sequence[Word]:
    """The first words, as many as have at most `length` tokens."""
    taken = 0
    for place, word in enumerate(words):
        taken += len(word)
        if taken > length:
            return words[:place]
    return words


def window(words: Sequence[Word], length: int, rng: np.random.Generator) -> Sequence[Word]:
    """A random stretch of words of at most `length` tokens, the whole text where it is short."""
    ends = _ends(words)
    if len(words) == 0 or ends[-1] <= length:
        return words
    return _stretch(words, ends, int(rng.integers(int(ends[-1]) - length + 1)), length)


def two_spans(
    words: Sequence[Word], length: int, rng: np.random.Generator
) -> tuple[Sequence[Word], Sequence[Word]] | None:
    """Two different spans of a text, in random order; None where the text is too short.

    They are neighbours, overlap by half, or lie anywhere apart, each in a third of the draws.

    Args:
        words: of the text.
        length: tokens of a span at most.
        rng: draws.
    """
    ends = _ends(words)
    total = int(ends[-1]) if len(words) else 0
    if total < 2 * MIN_SPAN or len(words) < 2:
        return None
    kind: Callable[[int, int, np.random.Generator], tuple[int, int]] = _KINDS[rng.integers(len(_KINDS))]
    size = min(length, total // 2 if kind is not _overlap else total * 2 // 3)
    if rng.random() < _SHORT and size > MIN_SPAN:
        size = int(rng.integers(MIN_SPAN, size))
    starts = kind(total, size, rng)
    spans = [_stretch(words, ends, start, size) for start in starts]
    if not all(spans):  # words of many tokens: no boundary near enough
        middle = len(words) // 2
        spans = [fitting(words[:middle], length), fitting(words[middle:], length)]
    if rng.random() < 0.5:
        spans.reverse()
    return (spans[0], spans[1]) if all(spans) else None


def _near(total: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(total - 2 * size + 1))
    return start, start + size


def _overlap(total: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    step = -(-size // 2)
    start = int(rng.integers(total - size - step + 1)) if total > size + step else 0
    return start, min(start + step, total - size)


def _apart(total: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(total - 2 * size + 1))
    return start, int(rng.integers(start + size, total - size + 1))


_KINDS = (_near, _overlap, _apart)


def _ends(words: Sequence[Word]) -> np.ndarray:
    return np.cumsum([len(word) for word in words])


def _stretch(words: Sequence[Word], ends: np.ndarray, start: int, size: int) -> Sequence[Word]:
    """The words that lie wholly within tokens `start` to `start + size`."""
    first = int(np.searchsorted(ends, start, side="left")) + (start > 0)
    return words[first : int(np.searchsorted(ends, start + size, side="right"))]
