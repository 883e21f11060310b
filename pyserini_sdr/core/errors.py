"""Errors that a user can act on: one line with the place, the value and the remedy, and an exit status.

Everything a command refuses on purpose is an `SdrError`; any other exception that reaches the top is a defect of ours
and keeps its traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches


class SdrError(Exception):
    """A failure explained in one line (exit status 1)."""

    exit_status = 1


class UsageError(SdrError):
    """A flag, option or combination of them that cannot be used (exit status 2)."""

    exit_status = 2


class DataError(SdrError):
    """Input that cannot be read as what it should be: `file:line: problem; remedy`.

    Args:
        path: the file (or directory) at fault.
        problem: what is wrong, with the offending value in it.
        line: 1-based line number, if the fault lies in one line.
        remedy: what the user can do about it.
    """

    def __init__(
        self, path: str | os.PathLike[str], problem: str, *, line: int | None = None, remedy: str | None = None
    ) -> None:
        self.path, self.problem, self.line, self.remedy = os.fspath(path), problem, line, remedy
        place = self.path if line is None else f"{self.path}:{line}"
        super().__init__(f"{place}: {problem}" + (f"; {remedy}" if remedy else ""))

    def __reduce__(self):  # keyword-only arguments need help to cross process boundaries
        return _rebuild_data_error, (type(self), self.path, self.problem, self.line, self.remedy)


def _rebuild_data_error(cls, path, problem, line, remedy):
    return cls(path, problem, line=line, remedy=remedy)


def shorten(value: object, width: int = 80) -> str:
    """`repr(value)` cut to `width` characters, for quoting user input in a message."""
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that is not among the known ones, with the closest ones first."""
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"unknown {kind} {name!r}; did you mean {' or '.join(map(repr, close))}?"
    return f"unknown {kind} {name!r}; known: {', '.join(known)}"
