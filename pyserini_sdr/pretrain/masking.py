"""Words of token ids, and masking them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Word = Sequence[int]
"""The token ids of a word; of one token, where the tokenizer knows of no words."""
IGNORED = -100
"""Label of a token that is not to be predicted, as torch's cross-entropy has it."""
_LONGEST = 16
"""Tokens of a word at most: longer ones are no words, and masking one would leave nothing else to mask."""


@dataclass(frozen=True)
class Masked:
    """A text as a model sees it, and what it is to predict.

    Args:
        ids: with special tokens.
        labels: as many: the token that was there, or `IGNORED`.
    """

    ids: list[int]
    labels: list[int]

    @property
    def count(self) -> int:
        """Tokens to predict."""
        return sum(label != IGNORED for label in self.labels)


class Masker:
    """Tokenizes into words, and masks some of them: 80 % by the mask token, 10 % by a random one, 10 % not at all.

    Args:
        tokenizer: fast, of transformers, with a mask token.
        prefix: text before what the encoder reads; never masked.
        whole_words: mask all tokens of a word or none, where the tokenizer tells words apart.

    Attributes:
        whole_words: whether that is done.
        before, after: special tokens (and prefix) around a text.
    """

    def __init__(self, tokenizer: Any, prefix: str = "", *, whole_words: bool = True) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        self.mask_id: int = tokenizer.mask_token_id
        special = set(tokenizer.all_special_ids)
        self._ordinary = np.array([i for i in range(len(tokenizer)) if i not in special], dtype=np.int64)
        probe = self._backend.encode("two words", add_special_tokens=False)
        self.whole_words = whole_words and len(set(probe.word_ids)) > 1
        whole = self._backend.encode("two words").ids
        place = next(i for i in range(len(whole)) if whole[i : i + len(probe.ids)] == probe.ids)
        self.before: list[int] = whole[:place]
        self.after: list[int] = whole[place + len(probe.ids) :]
        if prefix:
            self.before += self._backend.encode(prefix, add_special_tokens=False).ids

    def room(self, max_length: int) -> int:
        """Tokens of text among `max_length`."""
        return max_length - len(self.before) - len(self.after)

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        """The words of each text."""
        found = []
        for encoding in self._backend.encode_batch(list(texts), add_special_tokens=False):
            ids = encoding.ids
            if not self.whole_words:
                found.append([[token] for token in ids])
                continue
            words: list[list[int]] = []
            last = None
            for token, word in zip(ids, encoding.word_ids, strict=True):
                if word is None or word != last or len(words[-1]) == _LONGEST:
                    words.append([])
                words[-1].append(token)
                last = word
            found.append(words)
        return found

    def for_encoder(self, words: Sequence[Word], chosen: Collection[int], rng: np.random.Generator) -> Masked:
        """A text for the encoder with the chosen words masked."""
        return self._masked(words, chosen, rng, self.before)

    def for_decoder(self, words: Sequence[Word], chosen: Collection[int], rng: np.random.Generator) -> Masked:
        """A text for a decoder with the chosen words masked; the vector comes in the place of its first token."""
        return self._masked(words, chosen, rng, [self.mask_id])

    def _masked(
        self, words: Sequence[Word], chosen: Collection[int], rng: np.random.Generator, before: list[int]
    ) -> Masked:
        ids, labels = list(before), [IGNORED] * len(before)
        for place, word in enumerate(words):
            ids += word
            labels += word if place in chosen else [IGNORED] * len(word)
        ids += self.after
        labels += [IGNORED] * len(self.after)
        places = [place for place, label in enumerate(labels) if label != IGNORED]
        fates, others = rng.random(len(places)), rng.choice(self._ordinary, len(places))
        for place, fate, other in zip(places, fates, others, strict=True):
            if fate < 0.8:
                ids[place] = self.mask_id
            elif fate < 0.9:
                ids[place] = int(other)
        return Masked(ids, labels)


def choose(words: Sequence[Word], share: float, rng: np.random.Generator, rarity: np.ndarray | None = None) -> set[int]:
    """Positions of words that hold `share` of the tokens of a text, as near to it as whole words come from below.

    Words are drawn without replacement; the ones that would be too many tokens are passed over. One is drawn always.

    Args:
        words: of a text.
        share: of its tokens.
        rng: draws.
        rarity: (vocabulary,) log weights; a word has that of its rarest token. None: all are alike.
    """
    target = max(1, round(share * sum(map(len, words))))
    keys = rng.gumbel(size=len(words))  # the largest of weights with this noise are a draw without replacement
    if rarity is not None:
        keys += [float(max(rarity[token] for token in word)) for word in words]
    order = np.argsort(-keys, kind="stable").tolist()
    chosen: set[int] = set()
    taken = 0
    for place in order:
        if taken + len(words[place]) <= target:
            chosen.add(place)
            taken += len(words[place])
            if taken == target:
                break
    return chosen or set(order[:1])
