"""An evaluation as text: markdown for readers, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from string import ascii_lowercase

from .engine import SIGNIFICANT, Comparison, Evaluation


def p_text(p: float) -> str:
    """A p-value as it is printed."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def letters(evaluation: Evaluation) -> dict[str, str]:
    """The mark of each baseline: a, b, c ... (1, 2, 3 ... past z)."""
    names = evaluation.baselines
    marks = ascii_lowercase if len(names) <= len(ascii_lowercase) else [str(i) for i in range(1, len(names) + 1)]
    return dict(zip(names, marks, strict=False))


def marks(evaluation: Evaluation, run: str, measure: str) -> str:
    """`+a -b`: significantly above baseline a, below baseline b."""
    found = []
    for baseline, letter in letters(evaluation).items():
        comparison = evaluation.comparison(run, baseline, measure)
        if comparison and comparison.significant:
            found.append(("+" if comparison.difference > 0 else "-") + letter)
    return " ".join(found)


def correction_label(evaluation: Evaluation) -> str:
    """Heading of the corrected p."""
    return {"holm": "p (Holm)", "bonferroni": "p (Bonferroni)", "none": "p"}[evaluation.correction]


def legend(evaluation: Evaluation) -> str:
    """What the marks mean; empty without comparisons."""
    if not evaluation.comparisons:
        return ""
    baselines = ", ".join(f"{letter} = {name}" for name, letter in letters(evaluation).items())
    p = "p" if evaluation.correction == "none" else "corrected p"
    return f"Baselines: {baselines}; +a: above a, -a: below a, with {p} < {SIGNIFICANT}."


def markdown(evaluation: Evaluation, *, per_query: bool = False) -> str:
    """Tables of means, of comparisons and, on request, of every topic, with notes on how they came about."""
    counts = ["topics", "missing"]
    rows = []
    for run in evaluation.runs:
        cells = [run.name]
        for measure in evaluation.measures:
            low, high = run.intervals[measure]
            mark = marks(evaluation, run.name, measure)
            cells.append(f"{run.means[measure]:.4f} [{low:.3f}, {high:.3f}]{' ' * bool(mark)}{mark}")
        rows.append([*cells, str(run.counts.judged), str(run.counts.missing)])
    parts = [markdown_table(["run", *evaluation.measures, *counts], rows)]
    if evaluation.comparisons:
        header = ["run", "baseline", "metric", "difference [95 % CI]", "p (raw)", correction_label(evaluation), "d"]
        compared = [_comparison_cells(comparison) for comparison in evaluation.comparisons]
        parts.append(markdown_table([*header, "win/tie/loss"], compared))
    notes = [legend(evaluation), *evaluation.notes()]
    parts.append("\n".join(f"- {note}" for note in notes if note))
    if per_query:
        parts.extend(_per_query_table(evaluation, measure) for measure in evaluation.measures)
    return "\n\n".join(parts) + "\n"


def _comparison_cells(c: Comparison) -> list[str]:
    return [
        c.run,
        c.baseline,
        c.measure,
        f"{c.difference:+.4f} [{c.interval[0]:+.3f}, {c.interval[1]:+.3f}]",
        p_text(c.p),
        p_text(c.p_corrected),
        f"{c.effect_size:+.2f}",
        f"{c.wins}/{c.ties}/{c.losses}",
    ]


def _per_query_table(evaluation: Evaluation, measure: str) -> str:
    topics = evaluation.runs[0].values[measure]
    rows = [[qid, *(f"{run.values[measure][qid]:.4f}" for run in evaluation.runs)] for qid in topics]
    return markdown_table([f"topic ({measure})", *(run.name for run in evaluation.runs)], rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's markdown, columns aligned."""

    def escape(row: Sequence[str]) -> list[str]:
        return [cell.replace("|", "\\|") for cell in row]

    table = [escape(header), *map(escape, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in table]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


CSV_HEADER = (
    "run", "metric", "topic", "value", "ci_low", "ci_high", "baseline", "difference", "difference_low",
    "difference_high", "p", "p_corrected", "effect_size", "wins", "ties", "losses", "judged", "missing",
)  # fmt: skip


def csv_text(evaluation: Evaluation, *, per_query: bool = False) -> str:
    """One row per run, metric and baseline (topic `all`), then, on request, one per run, metric, baseline and topic."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for run in evaluation.runs:
        for measure in evaluation.measures:
            compared = [c for c in evaluation.comparisons if (c.run, c.measure) == (run.name, measure)]
            head = [run.name, measure, "all", run.means[measure], *run.intervals[measure]]
            tail = [run.counts.judged, run.counts.missing]
            for c in compared:
                statistics = [c.p, c.p_corrected, c.effect_size, c.wins, c.ties, c.losses]
                writer.writerow([*head, c.baseline, c.difference, *c.interval, *statistics, *tail])
            if not compared:
                writer.writerow([*head, *[""] * 10, *tail])
            if per_query:
                for qid, value in run.values[measure].items():
                    for baseline in [c.baseline for c in compared] or [""]:
                        other = evaluation.run(baseline).values[measure][qid] if baseline else None
                        difference = "" if other is None else value - other
                        writer.writerow([run.name, measure, qid, value, "", "", baseline, difference, *[""] * 10])
    return buffer.getvalue()
