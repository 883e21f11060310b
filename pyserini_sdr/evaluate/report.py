"""An evaluation as one self-contained HTML page: sortable tables, plots, per-topic values, sections of the caller's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..core.files import atomic_file
from ..core.manifest import command_line, versions
from . import plots, tables
from .engine import Comparison, Evaluation

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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=title,
        evaluation=evaluation,
        means=_means(evaluation),
        legend=tables.legend(evaluation),
        correction_label=tables.correction_label(evaluation),
        p_text=tables.p_text,
        intervals=_intervals(evaluation),
        differences=_differences(evaluation),
        recall=_recall(evaluation),
        sections=[_section(heading, content) for heading, content in sections],
        topics=_topics(evaluation, queries or {}),
        command=command_line(),
        versions=versions(("pyserini_sdr", "pytrec-eval-terrier", "numpy", "scipy")),
    )
    with atomic_file(path) as handle:
        handle.write(page)


def _section(heading: str, content: str | Sequence[Sequence[Any]]) -> dict[str, Any]:
    if isinstance(content, str):
        return {"heading": heading, "markup": Markup(content), "header": None, "rows": []}
    header, *rows = content
    return {"heading": heading, "markup": None, "header": header, "rows": rows}


def _means(evaluation: Evaluation) -> list[dict[str, Any]]:
    best = {m: max(run.means[m] for run in evaluation.runs) for m in evaluation.measures}
    return [
        {
            "run": run,
            "cells": [
                {
                    "value": run.means[m],
                    "interval": run.intervals[m],
                    "marks": tables.marks(evaluation, run.name, m),
                    "best": run.means[m] == best[m] and len(evaluation.runs) > 1,
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
    return Markup(plots.line_plot(series, x_label="documents", y_label="recall", log_x=True))


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
