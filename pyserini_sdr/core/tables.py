"""Tables as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def without_html(text: str) -> str:
    """Text in which markdown sees no HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's markdown, columns aligned."""

    def escape(row: Sequence[str]) -> list[str]:
        return [without_html(cell).replace("|", "\\|") for cell in row]

    table = [escape(header), *map(escape, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in table]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
