"""Prints the outcome of the checks: lines for people as the checks finish, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TextIO

from .checks import Check, run_checks
from .command import DoctorOptions

_MARKS = {"ok": ("✓", "+", "32"), "warning": ("!", "!", "33"), "failure": ("✗", "x", "31")}


def run(options: DoctorOptions) -> int:
    """Runs all checks and prints them; 0 if nothing necessary is broken, else 1."""
    checks: list[Check] = []
    for check in run_checks():
        checks.append(check)
        if not options.json:
            print(describe(check, sys.stdout), flush=True)
    ok = all(check.status != "failure" for check in checks)
    if options.json:
        shown = [{key: value for key, value in asdict(check).items() if key != "notes"} for check in checks]
        print(json.dumps({"ok": ok, "checks": shown}, indent=2, ensure_ascii=False))
    elif ok:
        print("everything necessary works")
    else:
        print("not everything necessary works: see ✗ above" if _unicode(sys.stdout) else "see x above")
    return 0 if ok else 1


def describe(check: Check, stream: TextIO) -> str:
    """A check as lines of text, coloured only if `stream` is a terminal (and NO_COLOR is not set)."""
    mark, plain, colour = _MARKS[check.status]
    if not _unicode(stream):
        mark = plain
    if stream.isatty() and not os.environ.get("NO_COLOR"):
        mark = f"\033[{colour}m{mark}\033[0m"
    lines = [f"{mark} {check.name:<13}{check.summary}"]
    lines += [f"{'':15}{note}" for note in check.notes]
    if check.remedy:
        lines.append(f"{'':15}-> {check.remedy}")
    return "\n".join(lines)


def _unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "ascii").lower().startswith("utf")
