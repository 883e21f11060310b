"""The list of matrices, and one of them in detail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

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
    """The conditions that need downloads."""
    needing = [name for name, row in matrix.conditions.items() if row.downloads]
    if len(needing) == len(matrix.conditions):
        return "all conditions"
    return ", ".join(needing) or "none"


def _one(matrix: Matrix) -> str:
    lines = [f"{matrix.name}: {matrix.summary}"]
    lines += _wrapped([("expected", matrix.source)])
    settings = " ".join(f"{name}={'' if value is None else value}" for name, value in matrix.settings.items())
    lines += _wrapped([("settings", settings)])
    lines += ["topics"]
    lines += _wrapped((name, f"{one.topics}: {', '.join(one.measures)}") for name, one in matrix.topics.items())
    lines += ["conditions"]
    for row in matrix.conditions.values():
        lines += _wrapped([(row.name, _told(matrix, row))])
    return "\n".join(lines)


def _told(matrix: Matrix, row: Condition) -> str:
    parts = [row.display]
    if row.downloads:
        sized = [
            f"{name} ({size_text(matrix.sizes[name])})" if name in matrix.sizes else name for name in row.downloads
        ]
        parts.append(f"downloads {', '.join(sized)}")
    if row.needs:
        parts.append(f"needs {', '.join(row.needs)}")
    parts.append(f"expected within {row.tolerance:g}" if row.expected else "no score expected")
    return "; ".join(parts) + (f". {row.note}" if row.note else "")


def _wrapped(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for key, text in rows:
        if text:
            first = f"  {key:<11} "
            lines += textwrap.wrap(text, 118, initial_indent=first, subsequent_indent=" " * 14, break_on_hyphens=False)
    return lines
