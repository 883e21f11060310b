"""What an encoder gets to see of texts: a tokenizer that cuts or does not know them is found out by its tokens.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.errors import SdrError
from ..core.progress import warn

_FEW = 8
"""Texts from which on it is no chance that all have the same tokens."""
_REFUSED, _WARNED = 0.5, 0.1
"""Shares of unknown tokens."""


class Seen:
    """Counts what the encoder sees of one kind of texts, and refuses what must be a mistake.

    Args:
        what: the texts, for messages: `documents` or `queries`.
        backend: the tokenizer, of the library `tokenizers`; None counts no unknown tokens.
        max_length: tokens kept of a text.
    """

    def __init__(self, what: str, backend: Any, max_length: int) -> None:
        self.what, self.max_length = what, max_length
        self._unknown = unknown_token(backend)
        self.texts = self.tokens = self.unknown = self.cut = 0

    def add(self, ids: Sequence[Sequence[int]]) -> None:
        """Counts the token ids of some texts.

        Raises:
            SdrError: at least half of all tokens so far are unknown ones, or many texts have the same tokens.
        """
        self.texts += len(ids)
        self.tokens += sum(map(len, ids))
        self.cut += sum(len(one) >= self.max_length for one in ids)
        if self._unknown is not None:
            self.unknown += sum(one.count(self._unknown) for one in ids)
        if len(ids) >= _FEW and all(one == ids[0] for one in ids):
            raise SdrError(
                f"all {len(ids)} {self.what} have the same tokens ({len(ids[0])} each, {self.max_length} at most): "
                "nothing of their words is left; give a greater maximum length, or see to the tokenizer"
            )
        if self.texts >= _FEW and self.unknown > _REFUSED * self.tokens:
            raise SdrError(
                f"{self.unknown / self.tokens:.0%} of the tokens of the {self.what} are unknown to the tokenizer; "
                "is it that of another language or another model?"
            )

    def report(self) -> None:
        """Warns of many unknown tokens, and of texts of which most are cut."""
        if self.tokens and self.unknown > _WARNED * self.tokens:
            warn(f"{self.unknown / self.tokens:.0%} of the tokens of the {self.what} are unknown to the tokenizer")
        if self.texts and self.cut > _REFUSED * self.texts:
            warn(f"{self.cut / self.texts:.0%} of the {self.what} are cut at {self.max_length} tokens")


def unknown_token(backend: Any) -> int | None:
    """Number of the token that stands for what a tokenizer does not know, None if it has none."""
    name = getattr(getattr(backend, "model", None), "unk_token", None)
    return backend.token_to_id(name) if isinstance(name, str) else None
