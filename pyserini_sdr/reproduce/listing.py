"""The list of matrices, and one of them in detail."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .definition import Condition, Matrix, catalogued, load_matrix
from .downloads import size_text


def listing(matrix: Matrix | None = None) -> str:
    """All matrices of the package as text, or one with what is known of each condition."""
    if matrix is not None:
        return _one(matrix)
    return "\n\n".join(_short(load_matrix(name)) for name in catalogued())


def _short(matrix: Matrix) -> str:
    rows = {
        "conditions": ", ".join(matrix.conditions),
        "topics": ", ".join(matrix.topics),
        "downloads": _downloads(matrix),
        "needs": ", ".join(sorted({need for row in matrix.conditions.values() for need in row.needs})),
        "give": " ".join(f"{name}=…" for name, value in matrix.settings.items() if value is None),
    }
    return "\n".join([f"{matrix.name}: {matrix.summary}", *_wrapped(rows.items())])


def _downloads(matrix: Matrix) -> str:
    """The conditions that need downloads, and how much that is."""
    needing = [name for name, row in matrix.conditions.items() if row.downloads]
    if not needing:
        return "none"
    total = size_text(sum(matrix.sizes.values()))
    names = "all conditions" if len(needing) == len(matrix.conditions) else ", ".join(needing)
    return f"{names}; {total} in all, models not counted"


def _one(matrix: Matrix) -> str:
    lines = [f"{matrix.name}: {matrix.summary}"]
    lines += _wrapped([("expected", matrix.source)])
    settings = " ".join(f"{name}={'' if value is None else value}" for name, value in matrix.settings.items())
    lines += _wrapped([("settings", settings)])
    lines += ["topics"]
    lines += _wrapped((name, f"{one.topics}: {', '.join(one.measures)}") for name, one in matrix.topics.items())
    lines += ["conditions"]
    lines += _wrapped((row.name, _told(matrix, row)) for row in matrix.conditions.values())
    lines += _shared("needs", {row.name: row.needs for row in matrix.conditions.values()})
    lines += _shared("notes", {row.name: [row.note] for row in matrix.conditions.values() if row.note})
    return "\n".join(lines)


def _told(matrix: Matrix, row: Condition) -> str:
    parts = [row.display]
    if row.downloads:
        parts.append(f"downloads {', '.join(sized(matrix, row))}")
    if row.expected:
        parts.append(f"expected {tolerance_text(row)}")
    return "; ".join(parts)


def tolerance_text(row: Condition) -> str:
    """How far a score may lie from what is expected."""
    return f"within {row.tolerance:g}" if row.tolerance else "to four digits"


def _shared(heading: str, texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Each text once, with the conditions that it is of."""
    of: dict[str, list[str]] = {}
    for name, every in texts.items():
        for text in every:
            of.setdefault(text, []).append(name)
    rows = ((text, "all" if len(names) == len(texts) > 1 else ", ".join(names)) for text, names in of.items())
    lines = [line for text, names in rows for line in _lines("  - ", f"{text} ({names})", 4)]
    return [heading, *lines] if lines else []


def sized(matrix: Matrix, row: Condition) -> list[str]:
    """The downloads of a condition; with their sizes if known, of all collections together if names depend on them."""
    values = {**matrix.settings, **row.values}
    found = []
    for download in (_filled(text, values) for text in row.downloads):
        collections = [matrix.collections[one.collection] for one in matrix.topics.values() if one.collection]
        names = {_filled(download, of) for of in collections or [{}]}
        known = [matrix.sizes[name] for name in names if name in matrix.sizes]
        found.append(f"{download} ({size_text(sum(known))})" if len(known) == len(names) else download)
    return found


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)


def _wrapped(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for key, text in rows if text for line in _lines(f"  {key:<11} ", text, 14)]


def _lines(start: str, text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=start, subsequent_indent=" " * indent, break_on_hyphens=False)
