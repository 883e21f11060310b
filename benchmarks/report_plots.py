"""The figures of the report: small SVG files, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from material import in_words
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from pyserini_sdr.core.files import atomic_file

Point = tuple[float, float]

_STYLE = {
    "svg.hashsalt": "pyserini_sdr",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
_OTHERS, _OURS = "#9ca3af", "#2563eb"


def _save(figure: Any, path: Path) -> None:
    with atomic_file(path) as handle:
        figure.savefig(handle, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def bars(path: Path, panels: Mapping[str, Mapping[str, Mapping[str, Any]]], label: str) -> None:
    """Horizontal bars with ranges, a panel per group; arms whose name begins with `ours` stand out.

    Args:
        path: file to write.
        panels: title → arm → spread.
        label: of the axis.
    """
    most = max(map(len, panels.values()))
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(7.5, 0.6 + 0.3 * most), squeeze=False)
        for axis, (title, arms) in zip(axes[0], panels.items(), strict=True):
            names = list(arms)[::-1]
            middle = [arms[name]["median"] for name in names]
            below = [arms[name]["median"] - arms[name]["min"] for name in names]
            above = [arms[name]["max"] - arms[name]["median"] for name in names]
            colours = [_OURS if name.startswith("ours") else _OTHERS for name in names]
            axis.barh(names, middle, xerr=[below, above], color=colours, error_kw={"lw": 0.8})
            axis.set_title(title, fontsize=9)
            axis.set_xlabel(label)
            axis.set_xlim(left=0)
        _save(figure, path)


def lines(path: Path, panels: Sequence[tuple[Mapping[str, Sequence[Point]], str, str]]) -> None:
    """Lines with markers over sizes.

    Args:
        path: file to write.
        panels: (name → points, label of x, label of y) each.
    """
    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(7.5, 2.6), squeeze=False)
        for axis, (series, x_label, y_label) in zip(axes[0], panels, strict=True):
            for name, points in series.items():
                colour = _OURS if name.startswith("ours") else _OTHERS
                axis.plot(*zip(*sorted(points), strict=True), marker="o", ms=3, color=colour, label=name)
            _scales(axis, [point for points in series.values() for point in points], x_label, y_label)
            if len(series) > 1:
                axis.legend(frameon=False, fontsize=8)
        _save(figure, path)


def scatter(path: Path, points: Mapping[str, Point], x_label: str, y_label: str) -> None:
    """Named points; y is logarithmic."""
    with pyplot.rc_context(_STYLE):
        figure, axis = pyplot.subplots(figsize=(5.5, 3))
        for name, (x, y) in points.items():
            axis.plot([x], [y], "o", ms=4, color=_OURS)
            axis.annotate(name, (x, y), textcoords="offset points", xytext=(4, 3), fontsize=8)
        axis.set_yscale("log")
        axis.margins(x=0.12, y=0.15)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        _save(figure, path)


def _scales(axis: Axes, points: Sequence[Point], x_label: str, y_label: str) -> None:
    """A logarithmic x with the points' own values, and a y that is logarithmic where it spans much."""
    sizes, values = sorted({x for x, _ in points}), [y for _, y in points]
    axis.set_xscale("log")
    axis.set_xticks(sizes, [in_words(int(size)) for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())
    if max(values) > 8 * min(values) > 0:
        axis.set_yscale("log")
    else:
        axis.set_ylim(0, 1.1 * max(values))
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.grid(True, which="major", lw=0.3)
