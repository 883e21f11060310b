"""Dark examples: texts of moderate relevance, made of a query's positives and negatives (ADAM, arXiv 2212.10192)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ..data.group import Candidate, Group
from ..data.pseudo_text import WORD, pieces
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from .options import MineOptions

_PIECE = 32
"""Words of a sentence at most; longer ones, and texts without full stops, are divided."""


@dataclass
class Darkener:
    """Adds dark examples to groups, as texts without an id after the negatives.

    Args:
        negatives: strengthened negatives per query: a negative in which sentences are replaced by the positive's.
        positives: noisy positives per query: the positive with words masked.
        mix_share: share of a negative's sentences that is replaced.
        mask_share: share of the positive's words that is masked.
        mask_token: what stands for a masked word; nothing leaves it out.
        seed: of the draws, which depend on it and the query's id alone.

    Attributes:
        written: kind → texts written.
        short: queries that have fewer of them, their documents being too short to give different ones.
    """

    negatives: int
    positives: int
    mix_share: float = 0.5
    mask_share: float = 0.3
    mask_token: str = ""
    seed: int = 0
    written: dict[str, int] = field(default_factory=lambda: {"negatives": 0, "positives": 0})
    short: int = 0

    @classmethod
    def of(cls, options: MineOptions) -> Darkener | None:
        """What the options ask for; None if that is nothing."""
        if not options.dark_negatives and not options.dark_positives:
            return None
        given = {name: getattr(options, name) for name in ("mix_share", "mask_share", "mask_token")}
        chosen = {name: value for name, value in given.items() if value is not None}
        return cls(options.dark_negatives, options.dark_positives, seed=options.seed, **chosen)

    def apply(self, groups: Iterable[Group], texts: DocumentStore) -> Iterator[Group]:
        """Yields the groups with dark examples; `texts` has those of candidates that carry an id only."""
        for group in groups:
            yield self.add(group, texts)

    def add(self, group: Group, texts: DocumentStore) -> Group:
        """One group with its dark examples: strengthened negatives first, then noisy positives."""
        positives = [_text(candidate, texts) for candidate in group.positives]
        negatives = [_text(candidate, texts) for candidate in group.negatives]
        rng = np.random.default_rng([self.seed, zlib.crc32(group.query_id.encode()), zlib.crc32(b"dark")])
        taken = {*positives, *negatives}
        mixed = [
            mix(negatives[number % len(negatives)], positives[number % len(positives)], self.mix_share, rng)
            for number in range(self.negatives if negatives else 0)
        ]
        masked = [
            mask(positives[number % len(positives)], self.mask_share, self.mask_token, rng)
            for number in range(self.positives)
        ]
        added: list[Candidate] = []
        for kind, made in (("negatives", mixed), ("positives", masked)):
            for text in made:
                if text.strip() and text not in taken:
                    taken.add(text)
                    added.append(Candidate(text=text))
                    self.written[kind] += 1
        self.short += len(added) < self.negatives + self.positives
        return replace(group, negatives=[*group.negatives, *added])

    def facts(self) -> dict[str, object]:
        """For the manifest."""
        return {
            "mix_share": self.mix_share,
            "mask_share": self.mask_share,
            "mask_token": self.mask_token,
            **self.written,
            "short_queries": self.short,
        }

    def summary(self) -> str:
        """One line."""
        short = f"; {self.short:,} queries have fewer than asked for" if self.short else ""
        return (
            f"dark examples: {self.written['negatives']:,} strengthened negatives, "
            f"{self.written['positives']:,} noisy positives{short}"
        )


def mix(negative: str, positive: str, share: float, rng: np.random.Generator) -> str:
    """The negative with a share of its sentences, at random places, replaced by random ones of the positive.

    At least one is replaced and, where it has two, one stays; the positive's keep their order. A positive of fewer
    sentences gives all it has.
    """
    own, other = (_sentences(text) for text in (negative, positive))
    number = min(max(1, round(share * len(own))), max(1, len(own) - 1), len(other))
    places = sample_positions(len(own), number, rng)
    given = sample_positions(len(other), number, rng)
    for place, one in zip(places, given, strict=True):
        own[place] = other[one]
    return " ".join(own)


def mask(text: str, share: float, token: str, rng: np.random.Generator) -> str:
    """The text with a share of its words, at least one, replaced by `token`; a text of one word stays as it is."""
    words = [found.span() for found in WORD.finditer(text)]
    number = min(max(1, round(share * len(words))), len(words) - 1)
    parts, end = [], 0
    for position in sample_positions(len(words), max(0, number), rng):
        parts += [text[end : words[position][0]], token]
        end = words[position][1]
    return " ".join("".join([*parts, text[end:]]).split())


def _sentences(text: str) -> list[str]:
    spans = pieces(text, _PIECE)
    return [text[start:end] for start, end in spans] or [text]


def _text(candidate: Candidate, texts: DocumentStore) -> str:
    if candidate.text is not None:
        return candidate.text
    assert candidate.id is not None
    return texts[candidate.id]
