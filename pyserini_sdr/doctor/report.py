"""Prints the outcome of the checks: lines for people as the checks finish, or one JSON object."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TextIO

from .command import DoctorOptions
from .finding import Check
from .groups import CHECKS
from .probes import run_checks

_MARKS = {"ok": ("✓", "+", "32"), "warning": ("!", "!", "33"), "failure": ("✗", "x", "31")}
_WIDTH = max(map(len, CHECKS)) + 1


def run(options: DoctorOptions) -> int:
    """Makes all checks and prints them; 0 if nothing necessary is broken, else 1."""
    checks: list[Check] = []
    for check in run_checks(options.limit, options.paths):
        checks.append(check)
        if not options.json:
            print(describe(check, sys.stdout, colour=options.color), flush=True)
    failures = [check.name for check in checks if check.status == "failure"]
    warnings = [check.name for check in checks if check.status == "warning"]
    if options.json:
        shown = [{key: value for key, value in asdict(check).items() if key != "notes"} for check in checks]
        print(json.dumps({"ok": not failures, "checks": shown}, indent=2, ensure_ascii=not _unicode(sys.stdout)))
    elif failures:
        print(f"not everything works: {', '.join(failures)}")
    else:
        print("everything necessary works" + (f"; warnings: {', '.join(warnings)}" if warnings else ""))
    return 1 if failures else 0


def describe(check: Check, stream: TextIO, *, colour: bool = True) -> str:
    """A check as lines of text, coloured only if `stream` is a terminal (and NO_COLOR is not set)."""
    mark, plain, code = _MARKS[check.status]
    if not _unicode(stream):
        mark = plain
    if colour and stream.isatty() and not os.environ.get("NO_COLOR"):
        mark = f"\033[{code}m{mark}\033[0m"
    margin = " " * (_WIDTH + 2)
    lines = [f"{mark} {check.name:<{_WIDTH}}{check.summary}"]
    if len(check.name) >= _WIDTH:  # a path
        lines = [f"{mark} {check.name}", f"{margin}{check.summary}"]
    lines += [f"{margin}{note}" for note in check.notes]
    if check.remedy:
        lines.append(f"{margin}-> {check.remedy}")
    return "\n".join(lines) if _unicode(stream) else "\n".join(lines).encode("ascii", "backslashreplace").decode()


def _unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "ascii").lower().startswith("utf")
