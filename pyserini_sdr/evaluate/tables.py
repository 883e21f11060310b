"""An evaluation as text: markdown for readers, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from string import ascii_lowercase
from typing import IO, Any

from ..core.tables import markdown_table, without_html
from .results import SIGNIFICANT, Comparison, Evaluation


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
    """Tables of means, of seeds, of comparisons and, on request, of every topic, with notes on how they came about."""
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
    for header, rows in (seeds_table(evaluation), _comparisons(evaluation), equivalence_table(evaluation)):
        if rows:
            parts.append(markdown_table(header, rows))
    notes = [legend(evaluation), *evaluation.notes()]
    parts.append("\n".join(f"- {without_html(note)}" for note in notes if note))
    if commands := evaluation.trec_eval():
        parts.append("\n".join(["The same means by trec_eval, for each RUN:", "", "```", *commands, "```"]))
    if per_query:
        parts.extend(_per_query_table(evaluation, measure) for measure in evaluation.measures)
    return "\n\n".join(parts) + "\n"


Table = tuple[list[str], list[list[str]]]
"""Headings and rows; no rows where there is nothing to tell."""


def _comparisons(evaluation: Evaluation) -> Table:
    header = ["run", "baseline", "metric", "difference [95 % CI]", "p (raw)", correction_label(evaluation), "d"]
    return [*header, "win/tie/loss"], [_comparison_cells(comparison) for comparison in evaluation.comparisons]


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


def seeds_table(evaluation: Evaluation) -> Table:
    """Spread of the means of a system's seeds."""
    header = ["run", "metric", "seeds", "mean", "sd", "min", "max"]
    return header, [
        [
            *(run.name, measure, str(len(run.seeds))),
            *(f"{value:.4f}" for value in (run.means[measure], spread.sd, spread.min, spread.max)),
        ]
        for run in evaluation.runs
        for measure, spread in run.spread.items()
    ]


def equivalence_table(evaluation: Evaluation) -> Table:
    """The tests of equivalence."""
    margin = f"{evaluation.equivalence_margin or 0:g}"
    header = ["run", "baseline", "metric", "difference [90 % CI]", f"p (> -{margin})", f"p (< +{margin})"]
    found = [(c, c.equivalence) for c in evaluation.comparisons if c.equivalence is not None]
    return [*header, correction_label(evaluation), f"within ±{margin}"], [
        [
            *(c.run, c.baseline, c.measure),
            f"{c.difference:+.4f} [{test.interval[0]:+.4f}, {test.interval[1]:+.4f}]",
            *map(p_text, (test.p_lower, test.p_upper, c.equivalence_p_corrected)),
            c.verdict,
        ]
        for c, test in found
    ]


def _per_query_table(evaluation: Evaluation, measure: str) -> str:
    topics = evaluation.runs[0].values[measure]
    rows = [[qid, *(f"{run.values[measure][qid]:.4f}" for run in evaluation.runs)] for qid in topics]
    return markdown_table([f"topic ({measure})", *(run.name for run in evaluation.runs)], rows)


CSV_HEADER = (
    "run", "metric", "topic", "value", "ci_low", "ci_high", "baseline", "difference", "difference_low",
    "difference_high", "p", "p_corrected", "effect_size", "wins", "ties", "losses", "judged", "missing",
    "seeds", "seeds_sd", "seeds_min", "seeds_max", "equivalence_margin", "equivalence_low", "equivalence_high",
    "equivalence_p_lower", "equivalence_p_upper", "equivalence_p_corrected", "equivalence",
)  # fmt: skip


def csv_text(evaluation: Evaluation, *, per_query: bool = False) -> str:
    """One row per run, metric and baseline (topic `all`), then, on request, one per run, metric, baseline and topic."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    for run in evaluation.runs:
        for measure in evaluation.measures:
            compared = [c for c in evaluation.comparisons if (c.run, c.measure) == (run.name, measure)]
            low, high = run.intervals[measure]
            row: dict[str, Any] = {"run": run.name, "metric": measure}
            whole = {"topic": "all", "value": run.means[measure], "ci_low": low, "ci_high": high}
            whole |= {"judged": run.counts.judged, "missing": run.counts.missing, "seeds": len(run.paths)}
            if spread := run.spread.get(measure):
                whole |= {"seeds_sd": spread.sd, "seeds_min": spread.min, "seeds_max": spread.max}
            for statistics in [_csv_statistics(c) for c in compared] or [{}]:
                writer.writerow(row | whole | statistics)
            for qid, value in run.values[measure].items() if per_query else ():
                row |= {"topic": qid, "value": value}
                for baseline in [c.baseline for c in compared]:
                    difference = value - evaluation.run(baseline).values[measure][qid]
                    writer.writerow(row | {"baseline": baseline, "difference": difference})
                if not compared:
                    writer.writerow(row)
    return buffer.getvalue()


def _csv_statistics(c: Comparison) -> dict[str, Any]:
    names = ("baseline", "difference", "p", "p_corrected", "effect_size", "wins", "ties", "losses")
    row = {name: getattr(c, name) for name in names}
    row |= {"difference_low": c.interval[0], "difference_high": c.interval[1]}
    if c.equivalence is not None:
        row |= {
            "equivalence_margin": c.equivalence.margin,
            "equivalence_low": c.equivalence.interval[0],
            "equivalence_high": c.equivalence.interval[1],
            "equivalence_p_lower": c.equivalence.p_lower,
            "equivalence_p_upper": c.equivalence.p_upper,
            "equivalence_p_corrected": c.equivalence_p_corrected,
            "equivalence": c.verdict,
        }
    return row


def write_per_query(handle: IO[str], evaluation: Evaluation) -> None:
    """One row per run, metric and topic; of several seeds, their mean (seed empty), then each (seed 1, 2, ...)."""
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(["run", "seed", "metric", "topic", "value"])
    for run in evaluation.runs:
        for seed, values in [("", run.values), *((n, one.values) for n, one in enumerate(run.seeds, start=1))]:
            for measure, topics in values.items():
                writer.writerows([run.name, seed, measure, qid, value] for qid, value in topics.items())
