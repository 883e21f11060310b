"""An evaluation as one self-contained HTML page: sortable tables, plots, per-topic values, sections of the caller's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..core.files import atomic_file
from ..core.manifest import command_line, versions
from ..core.pages import template
from ..trec.measures import HOLE_DEPTHS
from . import plots, tables
from .results import Comparison, Evaluation

MAX_TOPICS = 1000
"""Topics listed with their values; of more, those with the greatest spread between runs."""

Section = tuple[str, str | Sequence[Sequence[Any]]]
"""Heading, and either markup that is safe to insert as it is, or the rows of a table, headings first."""


def write_report(
    path: str | os.PathLike[str],
    evaluation: Evaluation,
    *,
    title: str,
    sections: Sequence[Section] = (),
    queries: Mapping[str, str] | None = None,
) -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        evaluation: what `evaluate_runs` returned.
        title: heading of the page.
        sections: more sections, put after the tables; `plots.line_plot` makes markup for curves. Cells of tables are
            escaped, markup is not.
        queries: query id → text, shown beside per-topic values.
    """
    page = template(Path(__file__).with_name("report.html")).render(
        title=title,
        evaluation=evaluation,
        means=_means(evaluation),
        legend=tables.legend(evaluation),
        correction_label=tables.correction_label(evaluation),
        p_text=tables.p_text,
        intervals=_intervals(evaluation),
        differences=_differences(evaluation),
        recall=_recall(evaluation),
        sections=_sections(sections),
        seeds=_cells(*tables.seeds_table(evaluation)),
        equivalence=_cells(*tables.equivalence_table(evaluation)),
        judged=_cells(*_judged(evaluation)),
        topics=_topics(evaluation, queries or {}),
        command=command_line(),
        versions=versions(("pyserini_sdr", "pytrec-eval-terrier", "numpy", "scipy")),
    )
    with atomic_file(path) as handle:
        handle.write(page)


def _sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """Tables with their headings, and plots, those that follow each other side by side."""
    found: list[dict[str, Any]] = []
    for heading, content in sections:
        if not isinstance(content, str):
            header, *rows = content
            found.append({"heading": heading, "table": _cells(header, rows)})
        elif found and "plots" in found[-1]:
            found[-1]["plots"].append((heading, Markup(content)))
        else:
            found.append({"plots": [(heading, Markup(content))]})
    return found


_NUMBER = re.compile(r"<?([-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?)(?:\s*[\[(].*|(?:\s+[+-]\w+)+)?")


def _cells(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table for the page: a column of numbers, as `1,024`, `0.68 (16)` or `0.68 +a`, is set and sorted as numbers.

    The first column is taken for names.
    """
    texts = [[str(cell).strip() for cell in row] for row in rows]
    columns = [[row[i] for row in texts if i < len(row) and row[i]] for i in range(len(header))]
    numeric = [i > 0 and bool(column) and all(map(_NUMBER.fullmatch, column)) for i, column in enumerate(columns)]
    found = [
        [
            {
                "text": text,
                "key": float(m[1].replace(",", "")) if numeric[i] and (m := _NUMBER.fullmatch(text)) else None,
            }
            for i, text in enumerate(row)
        ]
        for row in texts
    ]
    return {"header": list(zip(header, numeric, strict=True)), "numeric": numeric, "rows": found}


def _judged(evaluation: Evaluation) -> tables.Table:
    """Judged share of the first documents, and how many are not judged."""
    header = ["run", *(f"judged@{k} (holes)" for k in HOLE_DEPTHS)]
    return header, [
        [run.name, *(f"{1 - h.share:.4f} ({h.unjudged:,} of {h.documents:,})" for h in run.counts.holes)]
        for run in evaluation.runs
    ]


def _means(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "run": run,
            "cells": [
                {
                    "value": run.means[m],
                    "interval": run.intervals[m],
                    "spread": run.spread.get(m),
                    "marks": tables.marks(evaluation, run.name, m),
                    "best": f"{run.means[m]:.4f}" == evaluation.best(m),
                }
                for m in evaluation.measures
            ],
        }
        for run in evaluation.runs
    ]


def _intervals(evaluation: Evaluation) -> list[tuple[str, Markup]]:
    return [
        (m, Markup(plots.interval_plot([(r.name, r.means[m], *r.intervals[m]) for r in evaluation.runs], label=m)))
        for m in evaluation.measures
    ]


def _differences(evaluation: Evaluation) -> list[tuple[Comparison, Markup]]:
    """A plot per comparison on the first measure."""
    measure = evaluation.measures[0]
    found = []
    for comparison in evaluation.comparisons:
        if comparison.measure == measure:
            values, base = (evaluation.run(n).values[measure] for n in (comparison.run, comparison.baseline))
            label = f"{measure}: {comparison.run} minus {comparison.baseline}"
            plot = plots.difference_plot([values[qid] - base[qid] for qid in values], label=label)
            found.append((comparison, Markup(plot)))
    return found


def _recall(evaluation: Evaluation) -> Markup:
    series = {run.name: run.recall_curve for run in evaluation.runs}
    label = f"recall (rel={evaluation.recall_level})" if evaluation.recall_level > 1 else "recall"
    return Markup(plots.line_plot(series, x_label="documents", y_label=label, log_x=True))


def _topics(evaluation: Evaluation, queries: Mapping[str, str]) -> dict[str, Any]:
    measure = evaluation.measures[0]
    columns = [run.values[measure] for run in evaluation.runs]
    rows = [
        {"qid": qid, "query": queries.get(qid, ""), "values": (values := [column[qid] for column in columns]),
         "spread": max(values) - min(values)}
        for qid in columns[0]
    ]  # fmt: skip
    rows.sort(key=lambda row: -row["spread"])
    return {"rows": rows[:MAX_TOPICS], "total": len(rows), "with_queries": any(row["query"] for row in rows)}
