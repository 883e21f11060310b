"""Numbers and tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float) -> str:
    """Three significant digits: `0.0123`, `1.23`, `123`, `12,300`; more just below 1, as `0.99994`."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        digits = len(str(int(size))) - 3
        return f"{round(value, -digits):,.0f}"
    if 0.99 <= size < 1:  # cosines
        return f"{value:.5f}"
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def ranged(value: Mapping[str, Any], scale: float = 1.0) -> str:
    """Median with least and greatest: `12.3 [11, 13.4]`."""
    return f"{number(value['median'] * scale)} [{number(value['min'] * scale)}, {number(value['max'] * scale)}]"


def percent(value: Mapping[str, Any]) -> str:
    """A share's median as `61 %`."""
    return f"{100 * value['median']:.0f} %"


def megabytes(bytes_: float) -> str:
    """Bytes as `450 MB` or `1.23 GB`."""
    return f"{bytes_ / 1e9:.2f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"


def seconds(value: float) -> str:
    """`3.1 ms`, `2.4 s`."""
    return f"{number(value * 1000)} ms" if value < 1 else f"{number(value)} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """What was claimed, what was measured."""
    rows = []
    for claim in claims:
        unit = f" {claim['unit']}" if claim["unit"] else ""
        aim = "" if claim["aim"] is None else f"{'≤' if claim['at_most'] else '≥'} {claim['aim']:g}{unit}"
        verdict = "" if claim["reached"] is None else ("yes" if claim["reached"] else "**no**")
        rows.append([claim["what"], f"{ranged(claim['value'])}{unit}", aim, verdict])
    return table(["", "median [least, greatest]", "aim", "reached"], rows)


def circumstances(result: Mapping[str, Any]) -> str:
    """One paragraph on how a result came about."""
    machine = result["machine"]
    memory = f", {megabytes(machine['memory_bytes'])}" if machine.get("memory_bytes") else ""
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    set_ = "".join(f", {name}={value}" for name, value in machine["settings"].items())
    load = machine["load_average"][0]
    end = machine["load_average_at_end"][0]
    return (
        f"`{result['command']}`\n\n{result['created'][:10]}, revision {result['revision']}, rounds: "
        f"{result['rounds']}. {machine['cpu']}{flags}, {machine['cores']} cores{memory}, {machine['platform']}{set_}; "
        f"load average {load:g} at the start, {end:g} at the end. {versions}.\n"
    )
