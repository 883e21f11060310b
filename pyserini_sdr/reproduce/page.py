"""The matrix as one self-contained HTML page, with the commands of every condition."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..anserini.stock import trec_eval_commands
from ..core.files import atomic_file
from ..core.manifest import command_line, versions
from ..core.pages import template
from ..recipe.resolve import Plan
from .definition import Condition, Matrix
from .listing import sized, tolerance_text
from .resolve import Cell
from .scores import Score


def write_page(
    path: str | os.PathLike[str],
    matrix: Matrix,
    plan: Plan,
    cells: Sequence[Cell],
    scores: Mapping[str, Sequence[Score]],
    said: Sequence[str],
) -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        matrix: as declared.
        plan: all steps.
        cells: conditions on topics.
        scores: cell → its scores.
        said: how to read them, a statement each.
    """
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.condition.name, []).append(cell)
    page = template(Path(__file__).with_name("page.html")).render(
        matrix=matrix,
        columns=list({cell.topics.name: cell.topics for cell in cells}.values()),
        rows=[_row(matrix, plan, of, scores) for of in rows.values()],
        notes=said,
        command=command_line(),
        versions=versions(("pyserini_sdr", "pyserini", "torch", "transformers", "faiss-cpu")),
    )
    with atomic_file(path) as handle:
        handle.write(page)


def _row(matrix: Matrix, plan: Plan, cells: Sequence[Cell], scores: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    condition = cells[0].condition
    return {
        "condition": condition,
        "facts": _facts(matrix, condition),
        "scores": [score for cell in cells for score in scores[cell.name]],
        "commands": [(cell.topics.name, _commands(plan, cell)) for cell in cells],
    }


def _facts(matrix: Matrix, condition: Condition) -> list[str]:
    facts = [f"downloads {download}" for download in sized(matrix, condition)]
    if condition.expected:
        facts.append(f"expected {tolerance_text(condition)}")
    return [*facts, *(f"needs {need}" for need in condition.needs), *filter(None, [condition.note])]


def _commands(plan: Plan, cell: Cell) -> str:
    """All commands of a cell, in the order in which they are given, and trec_eval's on its run."""
    lines = [plan.steps[number - 1].text for number in cell.steps]
    for level in sorted({measure.level for measure in cell.topics.measures.values()}):
        names = list(dict.fromkeys(one.name for one in cell.topics.measures.values() if one.level == level))
        for command in trec_eval_commands(cell.qrels, cell.run.made, names):
            words = str(command).removeprefix("python -m ")
            flag = f" -l {level}" if level != 1 else ""
            module, _, rest = words.partition(" ")
            lines.append(f"python -m pyserini_sdr.anserini {module}{flag} {rest}")
    return "\n".join(lines)
