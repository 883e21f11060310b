"""Columns, ids and numbers as trec_eval reads them (C's idea of white space and of numbers, not Python's)."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Sequence

import numpy as np

from ..core.errors import DataError, shorten

_FIELD = re.compile(r"[^ \t\n\v\f\r]+")
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_FLOAT32_OVERFLOW = (2 - 2**-24) * 2.0**127  # from here on a double rounds to infinity as float32


def split_columns(line: str) -> list[str]:
    """Fields of a line separated by ASCII white space; a no-break space is part of an id, as it is for trec_eval."""
    return line.split() if line.isascii() else _FIELD.findall(line)


def parse_integer(text: str) -> int | None:
    """The integer that `text` is (ASCII digits, optional sign; not more than Python converts), else None."""
    try:
        return int(text) if _INTEGER.match(text) else None
    except ValueError:  # thousands of digits
        return None


def parse_score(text: str) -> float | None:
    """The score that `text` is: finite and within the range of float32 (trec_eval keeps scores so), else None."""
    if "_" in text or not text.isascii():  # Python would read 1_000 and other scripts' digits
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if held_by_float32(value) else None


def parse_scores(texts: Collection[str]) -> list[float] | None:
    """`parse_score` of many, at a third of its time; None if one of them is no score."""
    joined = "".join(texts)
    if "_" in joined or not joined.isascii():
        return None
    try:
        values = list(map(float, texts))
    except ValueError:
        return None
    return values if bool((np.abs(values) < _FLOAT32_OVERFLOW).all()) else None  # of NaN, too, that is not true


def held_by_float32(value: float) -> bool:
    """Whether a number is finite, and still is as float32."""
    return math.isfinite(value) and abs(value) < _FLOAT32_OVERFLOW


def id_problem(identifier: object) -> str | None:
    """What keeps `identifier` from standing in a column of a TREC file, or None."""
    if not isinstance(identifier, str):
        return f"id {shorten(identifier)} is not a string"
    if not identifier:
        return "empty id"
    if len(identifier.split()) != 1 or identifier.split()[0] != identifier:
        return f"id {shorten(identifier)} contains white space"
    if not encodable(identifier):
        return f"id {shorten(identifier)} is not valid Unicode"
    return None


def encodable(text: str) -> bool:
    """Whether `text` can be written as UTF-8 (JSON escapes can smuggle in halves of surrogate pairs)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_ids(path: str | os.PathLike[str], identifiers: Sequence[object]) -> None:
    """Raises a `DataError` about `path` for the first id that cannot be written to a TREC file."""
    try:
        # One split of the joined text finds any fault at the speed of C; the search below only names it.
        joined = "\n".join(identifiers)  # type: ignore[arg-type]
        if joined.split() == list(identifiers) and encodable(joined):
            return
    except TypeError:
        pass
    for identifier in identifiers:
        if problem := id_problem(identifier):
            raise DataError(path, problem, remedy="ids in TREC files are non-empty and free of white space")


def format_score(score: float | np.floating) -> str:
    """The float32 value of `score` with nine significant digits, which read back to the same float32."""
    return f"{float(np.float32(score)):.9g}"
