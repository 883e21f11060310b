"""An evaluation as LaTeX tables (package booktabs): means with the best in bold, seeds, comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..trec.names import parse
from . import tables
from .results import SIGNIFICANT, Comparison, Evaluation

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "−": "$-$",
} | {character: f"\\{character}" for character in "&%$#_"}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))


def latex(evaluation: Evaluation) -> str:
    """Tables to put into a paper; the comments before them tell how the numbers came about."""
    comments = evaluation.notes()
    if commands := evaluation.trec_eval():
        comments += ["The same means by trec_eval, for each RUN:", *commands]
    found = "".join(f"% {' '.join(line.split())}\n" for line in [*comments, r"Needs \usepackage{booktabs}."])
    labels = [escape(parse(measure).label) for measure in evaluation.measures]
    found += _table(["Run", *labels], _means(evaluation), 1, _caption(evaluation), "means")
    header, rows = tables.seeds_table(evaluation)
    if rows:
        caption = "Means of the single seeds: their number, mean, standard deviation, least and greatest."
        found += _table(map(_heading, header), _plain(rows, 1), 2, caption, "seeds")
    if evaluation.comparisons:
        header = [
            "Run",
            "Baseline",
            "Metric",
            r"Difference [95\,\% CI]",
            "$p$",
            escape(tables.correction_label(evaluation)),
        ]
        rows = [_comparison(c) for c in evaluation.comparisons]
        caption = escape(" ".join(evaluation.statistics()))
        found += _table([*header, "$d_z$", "Win/tie/loss"], rows, 3, caption, "comparisons")
    header, rows = tables.equivalence_table(evaluation)
    if rows:
        caption = "Tests of equivalence (two one-sided paired $t$-tests)."
        found += _table(map(_heading, header), _plain(rows, 2), 3, caption, "equivalence")
    return found


def _table(header: Iterable[str], rows: Sequence[Sequence[str]], left: int, caption: str, label: str) -> str:
    """A table whose first `left` columns are text."""
    header = list(header)
    lines = [
        *(r"\begin{table}", r"\centering\small", f"\\caption{{{caption}}}", f"\\label{{tab:{label}}}"),
        f"\\begin{{tabular}}{{{'l' * left}{'r' * (len(header) - left)}}}",
        *(r"\toprule", " & ".join(header) + r" \\", r"\midrule"),
        *(" & ".join(row) + r" \\" for row in rows),
        *(r"\bottomrule", r"\end{tabular}", r"\end{table}"),
    ]
    return "\n".join(["", *lines, ""])


def _heading(text: str) -> str:
    return _signed(escape(text[:1].upper() + text[1:] if not text.startswith("p") else text))


def _plain(rows: Sequence[Sequence[str]], metric: int) -> list[list[str]]:
    """Cells escaped, the metric's under its label, numbers after it with their signs."""
    return [
        [
            *map(escape, [*row[:metric], parse(row[metric]).label]),
            *(_signed(escape(cell)) for cell in row[metric + 1 :]),
        ]
        for row in rows
    ]


def _signed(text: str) -> str:
    """Text whose signed numbers have a minus, which text mode would print as a hyphen."""
    return re.sub(r"[-+]\d[\d.]*", lambda number: f"${number[0]}$", text)


def _means(evaluation: Evaluation) -> list[list[str]]:
    rows = []
    for run in evaluation.runs:
        cells = [escape(run.name)]
        for measure in evaluation.measures:
            value = f"{run.means[measure]:.4f}"
            shown = rf"\textbf{{{value}}}" if value == evaluation.best(measure) else value
            spread = run.spread.get(measure)
            cells.append(
                shown + _superscript(evaluation, run.name, measure) + (f" $\\pm$ {spread.sd:.4f}" if spread else "")
            )
        rows.append(cells)
    return rows


def _superscript(evaluation: Evaluation, run: str, measure: str) -> str:
    """`ab` for significantly above a and b, an arrow before the baselines it is below."""
    marks = tables.marks(evaluation, run, measure).split()
    above = "".join(mark[1:] for mark in marks if mark[0] == "+")
    below = "".join(mark[1:] for mark in marks if mark[0] == "-")
    text = above + (rf"$\downarrow$\,{below}" if below else "")
    return rf"\textsuperscript{{{text}}}" if text else ""


def _caption(evaluation: Evaluation) -> str:
    judged = evaluation.runs[0].counts.judged
    text = f"Means over {judged} judged topics; the best in bold."
    if any(run.spread for run in evaluation.runs):
        text += r" $\pm$: standard deviation of the seeds' means."
    if evaluation.comparisons:
        letters = ", ".join(f"{letter}: {escape(name)}" for name, letter in tables.letters(evaluation).items())
        p = "$p$" if evaluation.correction == "none" else "corrected $p$"
        text += f" Superscripts: significantly above ($\\downarrow$: below) {letters} ({p} $<$ {SIGNIFICANT})."
    return text


def _comparison(c: Comparison) -> list[str]:
    low, high = (f"{end:+.3f}" for end in c.interval)
    return [
        *(escape(c.run), escape(c.baseline), escape(parse(c.measure).label)),
        f"${c.difference:+.4f}$ [${low}$, ${high}$]",
        *(escape(tables.p_text(p)) for p in (c.p, c.p_corrected)),
        f"${c.effect_size:+.2f}$",
        f"{c.wins}/{c.ties}/{c.losses}",
    ]
