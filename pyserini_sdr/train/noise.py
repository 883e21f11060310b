"""Noise on the texts of the encoder that learns (noisy self-distillation, Liu et al., NAACL 2021)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..data.pseudo_text import WORD, sentences


@dataclass(frozen=True)
class Noise:
    """Shuffles the sentences of a text and drops words of it, by (seed, step, text).

    Args:
        word_drop: probability of a word to be left out; punctuation stays.
        sentence_shuffle: k: no sentence moves by more than k places; the order is that of i + (k + 1)·u_i, u uniform.
        seed: of the draws.
    """

    word_drop: float = 0.0
    sentence_shuffle: int = 0
    seed: int = 0

    def __call__(self, text: str, step: int) -> str:
        """The text as it is seen at a step; a text that would lose all its words keeps them."""
        rng = np.random.default_rng([self.seed, step, zlib.crc32(text.encode())])
        if self.sentence_shuffle:
            spans = sentences(text)
            place = np.arange(len(spans)) + (self.sentence_shuffle + 1) * rng.random(len(spans))
            text = " ".join(text[slice(*spans[i])] for i in place.argsort(kind="stable"))
        if self.word_drop:
            kept = iter((rng.random(sum(1 for _ in WORD.finditer(text))) >= self.word_drop).tolist())
            thinned = WORD.sub(lambda word: word.group() if next(kept) else "", text)
            text = " ".join(thinned.split()) if WORD.search(thinned) else text
        return text
