"""What was injected and what came out, as tables."""

from __future__ import annotations

from collections.abc import Iterable

from .points import Outcome
from .scenarios import FAULTS, SCENARIOS


def table(outcomes: Iterable[Outcome]) -> str:
    """Points of each command and fault, what came of each fault, and what was wrong."""
    found = list(outcomes)
    struck = [outcome for outcome in found if outcome.struck]
    wrong = [outcome for outcome in found if outcome.wrong]
    lines = [_row("command", FAULTS), _row("---", ["---"] * len(FAULTS))]
    lines += [_row(name, [_cell(found, name, fault) for fault in FAULTS]) for name in SCENARIOS]
    columns = ("struck", "ended with a line", "without words", "traceback", "killed", "result there already")
    columns = (*columns, "given again: same bytes", "close", "something wrong")
    lines += ["", _row("fault", columns), _row("---", ["---"] * len(columns))]
    lines += [_row(fault, _came_out([o for o in struck if o.fault == fault])) for fault in FAULTS]
    draws = len(found) - len(struck)
    lines += ["", f"{len(struck)} points struck, {draws} further draws disturbed nothing, {len(wrong)} wrong."]
    lines += [f"* {o.command}, {o.fault}, {o.where}: {what}" for o in wrong for what in o.wrong]
    return "\n".join(lines) + "\n"


def _row(name: str, cells: Iterable[object]) -> str:
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _cell(found: list[Outcome], name: str, fault: str) -> str:
    own = [outcome for outcome in found if (outcome.command, outcome.fault) == (name, fault)]
    hit = sum(outcome.struck for outcome in own)
    return f"{hit} (+{len(own) - hit})" if len(own) > hit else str(hit)


def _came_out(struck: list[Outcome]) -> list[int]:
    endings = [outcome.ended for outcome in struck]
    kinds = ("line", "nothing", "traceback")
    same = [outcome.same for outcome in struck]
    wrong = sum(bool(outcome.wrong) for outcome in struck)
    counts = [len(struck), *(endings.count(kind) for kind in kinds), sum(e.startswith("signal") for e in endings)]
    return [*counts, sum(o.finished for o in struck), same.count("bytes"), same.count("close"), wrong]
