"""Plots as inline SVG: no dependency, small, and coloured by the page's style (light or dark).

Colours are the CSS variables `--series-1` ... `--series-8`, `--text`, `--grid`, `--up` and `--down`, with
fall-backs, so that a plot also stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_SERIES = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#65a30d")
_FONT = "font:12px system-ui,sans-serif;fill:var(--text,#333)"

Point = tuple[float, float]


def colour(index: int) -> str:
    """CSS colour of the n-th series."""
    return f"var(--series-{index % len(_SERIES) + 1},{_SERIES[index % len(_SERIES)]})"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def line_plot(
    series: Mapping[str, Sequence[Point]],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    width: int = 640,
    height: int = 320,
) -> str:
    """Lines with markers, axes and a legend; points that are not finite are left out.

    Args:
        series: name → points (x, y) in drawing order, e.g. training steps and dev nDCG@10.
        x_label: under the horizontal axis.
        y_label: beside the vertical axis.
        log_x: logarithmic horizontal axis (x > 0), with ticks at the points' own x.
        width, height: in pixels.

    Returns:
        An `<svg>` element; names are escaped.
    """
    finite = {
        name: [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    everything = [point for points in finite.values() for point in points]
    if not everything:
        return f'<svg role="img" viewBox="0 0 {width} 24"><text x="0" y="16" style="{_FONT}">no data</text></svg>'
    xs = sorted({x for x, _ in everything})
    y_low, y_high = min(y for _, y in everything), max(y for _, y in everything)
    margin = 0.06 * (y_high - y_low) or 0.5
    y_low, y_high = y_low - margin, y_high + margin
    left, right, top, bottom = 64, width - 14, 12, height - 44

    def place_x(x: float) -> float:
        low, high, value = (math.log(xs[0]), math.log(xs[-1]), math.log(x)) if log_x else (xs[0], xs[-1], x)
        return left + (right - left) * ((value - low) / (high - low) if high > low else 0.5)

    def place_y(y: float) -> float:
        return bottom - (bottom - top) * (y - y_low) / (y_high - y_low)

    parts = []
    for y in ticks(y_low, y_high):
        at = place_y(y)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" style="stroke:var(--grid,#ddd)"/>')
        parts.append(_text(left - 6, at + 4, f"{y:.4g}", "end"))
    for x in xs if log_x else ticks(xs[0], xs[-1], 6):
        parts.append(_text(place_x(x), bottom + 18, f"{x:.6g}", "middle"))
    for index, (name, points) in enumerate(finite.items()):
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" style="fill:none;stroke:{colour(index)};stroke-width:2"/>')
        if len(points) <= 60:
            for x, y in points:
                tip = f"<title>{escape(name)}: {x:.6g}, {y:.4g}</title>"
                circle = f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" style="fill:{colour(index)}">'
                parts.append(f"{circle}{tip}</circle>")
    parts.append(_text((left + right) / 2, height - 8, x_label, "middle"))
    middle = (top + bottom) / 2
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle" style="{_FONT}">'
        f"{escape(y_label)}</text>"
    )
    svg = _svg(width, height, f"{y_label} against {x_label}", parts)
    return svg + legend(list(finite)) if len(finite) > 1 else svg


def legend(names: Sequence[str]) -> str:
    """Names beside the colours of their series."""
    items = "".join(
        f'<span style="margin-right:1.2em"><span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;'
        f'margin-right:.4em;background:{colour(i)}"></span>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'


def difference_plot(differences: Sequence[float], *, label: str, width: int = 420, height: int = 180) -> str:
    """Per-topic differences sorted from largest gain to largest loss, as bars about zero."""
    values = sorted(differences, reverse=True)
    reach = max((abs(v) for v in values), default=0) or 1.0
    left, right, top, bottom = 44, width - 6, 8, height - 22
    zero, scale = (top + bottom) / 2, (bottom - top) / 2 / reach
    parts = []
    for y in (reach, 0.0, -reach):
        parts.append(_text(left - 6, zero - y * scale + 4, f"{y:+.2g}" if y else "0", "end"))
    step = (right - left) / max(len(values), 1)
    for sign, variable in ((1, "var(--up,#059669)"), (-1, "var(--down,#dc2626)")):
        chosen = [(i, v) for i, v in enumerate(values) if v * sign > 0]
        if not chosen:
            continue
        path = [f"M{left + chosen[0][0] * step:.2f} {zero:.1f}"]
        for i, v in chosen:  # one outline instead of a rectangle per topic keeps thousands of topics small
            path.append(f"V{zero - v * scale:.2f}H{left + (i + 1) * step:.2f}")
        parts.append(f'<path d="{"".join(path)}V{zero:.1f}Z" style="fill:{variable}"/>')
    parts.append(f'<line x1="{left}" x2="{right}" y1="{zero}" y2="{zero}" style="stroke:var(--text,#333)"/>')
    parts.append(_text((left + right) / 2, height - 6, f"{len(values)} topics, sorted", "middle"))
    return _svg(width, height, label, parts)


def interval_plot(rows: Sequence[tuple[str, float, float, float]], *, label: str, width: int = 420) -> str:
    """Means with intervals, one row each: (name, mean, low, high)."""
    left, right, top, pitch = 132, width - 56, 8, 26
    height = top + pitch * len(rows) + 28
    low, high = min(r[2] for r in rows), max(r[3] for r in rows)
    margin = 0.05 * (high - low) or 0.05
    low, high = low - margin, high + margin

    def place(x: float) -> float:
        return left + (right - left) * (x - low) / (high - low)

    parts = []
    bottom = top + pitch * len(rows)
    for x in ticks(low, high, 4):
        at = place(x)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{bottom}" style="stroke:var(--grid,#ddd)"/>')
        parts.append(_text(at, bottom + 16, f"{x:.3g}", "middle"))
    for index, (name, mean, start, end) in enumerate(rows):
        y = top + pitch * (index + 0.5)
        shown = name if len(name) <= 19 else name[:18] + "…"
        line = f'<line x1="{place(start):.1f}" x2="{place(end):.1f}" y1="{y}" y2="{y}"'
        parts.append(_text(left - 10, y + 4, shown, "end"))
        parts.append(f'{line} style="stroke:{colour(index)};stroke-width:2"/>')
        parts.append(f'<circle cx="{place(mean):.1f}" cy="{y}" r="4.5" style="fill:{colour(index)}"/>')
        parts.append(_text(right + 8, y + 4, f"{mean:.4f}", "start"))
    return _svg(width, height, label, parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{_FONT}">{escape(text)}</text>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(label, quote=True)}" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px;width:100%">{"".join(parts)}</svg>'
    )
