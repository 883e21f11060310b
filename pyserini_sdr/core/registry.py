"""Registries: names that users type → what they stand for, without importing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .command import load
from .errors import UsageError, unknown


@dataclass(frozen=True)
class Entry:
    """A registered name.

    Args:
        target: `"module:attribute"`, imported on first use.
        summary: one line for lists.
        source: where it is from: a paper, or empty.
    """

    target: str
    summary: str
    source: str = ""


class Registry:
    """A table of named things of one kind.

    Args:
        kind: what the things are, for messages ("loss").
        entries: name → entry.
    """

    def __init__(self, kind: str, entries: dict[str, Entry]) -> None:
        self.kind, self.entries = kind, entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> Entry:
        """The entry of `name`, or a `UsageError` that names the nearest ones."""
        if name not in self.entries:
            raise UsageError(unknown(self.kind, name, self.entries))
        return self.entries[name]

    def load(self, name: str) -> Any:
        """The object behind `name`."""
        return load(self[name].target)
