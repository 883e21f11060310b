"""The matrix as text: what was measured, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..evaluate.tables import markdown_table
from .definition import Matrix
from .resolve import Cell
from .scores import Score, out_of_tolerance


def table(cells: Sequence[Cell], scores: Mapping[str, Sequence[Score]], said: Sequence[str]) -> str:
    """A row per condition and a column per measure of the topics, with what is said of them.

    Args:
        cells: conditions on topics.
        scores: cell → its scores.
        said: statements, as `notes` makes them.
    """
    columns = list(dict.fromkeys(cell.topics.name for cell in cells))
    measures = {cell.topics.name: list(cell.topics.measures) for cell in cells}
    header = ["condition", *(f"{name} {label}" for name in columns for label in measures[name])]
    rows: dict[str, list[str]] = {}
    for cell in cells:
        rows.setdefault(cell.condition.name, []).extend(map(str, scores[cell.name]))
    lines = [markdown_table(header, [[name, *values] for name, values in rows.items()]).rstrip(), ""]
    return "\n".join([*lines, *(f"- {text}" for text in said)])


def notes(matrix: Matrix, cells: Sequence[Cell], scores: Mapping[str, Sequence[Score]]) -> list[str]:
    """How to read the scores, one statement each."""
    every = [score for cell in cells for score in scores[cell.name]]
    measured, wrong = sum(score.measured is not None for score in every), len(out_of_tolerance(every))
    found = [f"{measured} of {len(every)} scores measured, {wrong} out of tolerance."]
    if matrix.source:
        found.append(f"Expected: {matrix.source}")
    if any(score.good is not None for score in every):
        found.append("✓: within tolerance of what is expected; else the difference from it.")
    others = sorted({cell.topics.name for cell in cells for score in scores[cell.name] if not score.same_corpus})
    if others:
        found.append(
            f"~: {', '.join(others)}: the corpus is another than the one that the expected scores are of (its SHA-256 "
            "differs); differences are shown, and are no verdict."
        )
    return found
