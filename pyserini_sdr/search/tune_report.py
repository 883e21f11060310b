"""What `search tune` shows: a table, a plot, and the commands that use the best setting."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..anserini.stock import StockCommand
from ..core.tables import markdown_table
from .tune_curve import Curve, Point

_ROWS = 45
"""Settings up to which a table shows all of them."""
_FLAGS = {"k": "--rrf-k", "alpha": "--alpha", "weights": "--weights"}


def table(curve: Curve) -> str:
    """Markdown: the runs alone, then the settings (if they are many, the best), the chosen one in bold."""
    positions = list(range(len(curve.settings)))
    left_out = ""
    if len(positions) > _ROWS:
        ordered = sorted(positions, key=lambda i: (i != curve.best, -curve.points[i].mean, i))
        positions = sorted(ordered[:_ROWS])
        left_out = f"\n\nthe {_ROWS} best of {len(curve.settings)} settings; the file has all"
    rows = [(f"{Path(path).name} alone", _texts(point)) for path, point in curve.runs.items()]
    for position in positions:
        name, (mean, interval) = describe(curve.settings[position]), _texts(curve.points[position])
        chosen = position == curve.best
        rows.append((f"**{name}**", (f"**{mean}**", interval)) if chosen else (name, (mean, interval)))
    text = (
        markdown_table([curve.rule, curve.metric, "95 % interval"], [[name, *texts] for name, texts in rows]) + left_out
    )
    text += f"\n\n{curve.topics} judged topics; best: {describe(curve.settings[curve.best])}"
    if len(curve.tied) > 1:
        text += f", of {len(curve.tied)} equally good ones the nearest to the rule's default"
    return text


def _texts(point: Point) -> tuple[str, str]:
    return f"{point.mean:.4f}", f"[{point.low:.4f}, {point.high:.4f}]"


def describe(options: Mapping[str, Any]) -> str:
    """A setting in words: `weights 0.35 0.65, normalization min-max`."""

    def text(value: Any) -> str:
        numbers = value if isinstance(value, list) else [value]
        return " ".join(_normalisation(v) if isinstance(v, bool | str) else f"{v:g}" for v in numbers)

    stated = {name.replace("_", " "): text(value) for name, value in options.items() if name != "weight_on_dense"}
    return ", ".join([*map(" ".join, stated.items()), *(["on the dense side"] if "weight_on_dense" in options else [])])


def _normalisation(value: bool | str) -> str:
    """As the flag calls it; stock-hybrid's is there or not."""
    return value if isinstance(value, str) else "min-max" if value else "none"


def commands(curve: Curve, tuned: Path, depth: int | None) -> str:
    """The commands that fuse with the best setting, by flags and by the tuned file, and stock's where there is one."""
    options = curve.settings[curve.best]
    runs = list(curve.runs)
    words = _flags(options)
    cut = [] if depth is None else ["--depth", str(depth)]
    fuse = ["python", "-m", "pyserini_sdr.run", "fuse", "--runs", *runs]
    lines = [
        "of the runs of other topics, in the same order:",
        "  " + shlex.join([*fuse, "--method", curve.rule, *words, *cut, "--output", "fused.trec"]),
        "  " + shlex.join([*fuse, "--tuned", str(tuned), "--output", "fused.trec"]),
    ]
    if len(runs) == 2:
        hybrid = ["python", "-m", "pyserini_sdr.search", "hybrid", "--index", "INDEX", "--bm25-index", "BM25_INDEX"]
        hybrid += ["--topics", "TOPICS", "--output", "hybrid.trec"]
        lines.append("searching both at once (dense first):")
        if depth is None:
            lines.append("  " + shlex.join([*hybrid, "--rule", curve.rule, *words]))
        lines.append("  " + shlex.join([*hybrid, "--tuned", str(tuned)]))
    if curve.rule in ("interpolation", "rrf"):
        value = ("--alpha", f"{options['alpha']:.10g}") if "alpha" in options else ("--rrf.k", f"{options['k']:.0f}")
        if curve.rule == "interpolation" or float(options["k"]).is_integer():
            more = ("--method", curve.rule, *value, "--depth", str(depth or 1000), "--output", "fused.stock.trec")
            lines += ["with stock Pyserini:", f"  {StockCommand('pyserini.fusion', ('--runs', *runs, *more))}"]
    return "\n".join(lines)


def _flags(options: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        if name in _FLAGS:
            numbers = value if isinstance(value, list) else [value]
            words += [_FLAGS[name], *(f"{number:.10g}" for number in numbers)]
        elif name == "normalization":
            words += ["--normalization", _normalisation(value)]
        elif name == "weight_on_dense" and value:
            words.append("--weight-on-dense")
    return words


def plot(curve: Curve, handle: IO[bytes]) -> None:
    """Draws the curve as PNG.

    With one parameter, a line with its 95 % band for each normalisation. With several weights, for each run the best
    mean that any setting with that weight of it has.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    several = len(curve.runs) > 2 and curve.rule == "linear"
    for name, places in _by_normalisation(curve.settings).items():
        if several:
            for number, path in enumerate(curve.runs):
                xs, best = _marginal(curve, places, number)
                label = ", ".join(filter(None, [Path(path).name, name]))
                axis.plot(xs, best, marker="o", markersize=3, label=label)
            continue
        xs = [_x(curve.settings[place]) for place in places]
        points = [curve.points[place] for place in places]
        (line,) = axis.plot(xs, [p.mean for p in points], marker="o", markersize=3, label=name or curve.rule)
        axis.fill_between(xs, [p.low for p in points], [p.high for p in points], color=line.get_color(), alpha=0.15)
    for (path, point), style in zip(curve.runs.items(), _styles(len(curve.runs)), strict=True):
        axis.axhline(point.mean, color="0.4", linewidth=1, linestyle=style, label=f"{Path(path).name} alone")
    if not several:
        best = curve.settings[curve.best]
        axis.plot([_x(best)], [curve.points[curve.best].mean], marker="*", markersize=12, color="black", linestyle="")
    if curve.rule in ("rrf", "stock-hybrid"):
        least = min((x for x in map(_x, curve.settings) if x > 0), default=1.0)
        axis.set_xscale("symlog", linthresh=least)
    axis.set_xlabel(_label(curve, several), fontsize=9)
    axis.set_ylabel(f"{curve.metric}, {curve.topics} topics", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(handle, format="png", dpi=110)


def _by_normalisation(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for place, options in enumerate(settings):
        groups.setdefault(_normalisation(options.get("normalization", "")), []).append(place)
    return groups


def _x(options: Mapping[str, Any]) -> float:
    return options["weights"][0] if "weights" in options else options.get("alpha", options.get("k"))


def _marginal(curve: Curve, places: Sequence[int], run: int) -> tuple[list[float], list[float]]:
    best: dict[float, float] = {}
    for place in places:
        weight = curve.settings[place]["weights"][run]
        best[weight] = max(curve.points[place].mean, best.get(weight, -1.0))
    xs = sorted(best)
    return xs, [best[x] for x in xs]


def _styles(count: int) -> list[Any]:
    return [("--", ":", "-.", (0, (1, 3)))[n % 4] for n in range(count)]


def _label(curve: Curve, several: bool) -> str:
    if several:
        return "weight of a run, the others as is best"
    first = Path(next(iter(curve.runs))).name
    names = {"linear": f"weight of {first}", "rrf": "k", "interpolation": f"α, the weight of {first}"}
    return names.get(curve.rule, "α")
