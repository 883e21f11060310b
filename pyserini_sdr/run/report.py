"""What `run check` finds: kinds of faults with their first places, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..core.errors import shorten

Severity = Literal["error", "warning", "note"]


@dataclass
class Finding:
    """One kind of fault: its first instances (line, message) and how many there are."""

    severity: Severity
    repaired: bool
    places: list[tuple[int | None, str]] = field(default_factory=list)
    count: int = 0


@dataclass
class Report:
    """What `check` found in a run.

    Attributes:
        path: the run.
        shown: instances of each kind whose place and message are kept.
        strict: warnings are errors.
        findings: per kind of fault, in order of first appearance.
        topics, lines, depth: counts; `depth` is the length of the longest topic.
        ties: documents whose score is that of the one above them.
        format: `trec` or `msmarco`.
        tags: tags of the run with their number of lines.
    """

    path: Path
    shown: int = 3
    strict: bool = False
    findings: dict[str, Finding] = field(default_factory=dict)
    topics: int = 0
    lines: int = 0
    depth: int = 0
    ties: int = 0
    format: Literal["trec", "msmarco"] = "trec"
    tags: Counter[str] = field(default_factory=Counter)

    def add(
        self, kind: str, severity: Severity, message: str, *, line: int | None = None, repaired: bool = False
    ) -> None:
        """Counts a fault; the first of its kind keep their messages.

        Args:
            kind: faults of one kind are counted together.
            severity: of the kind.
            message: what is wrong, with the value.
            line: 1-based line, if the fault lies in one.
            repaired: whether `repair` mends it.
        """
        if self.strict and severity == "warning":
            severity = "error"
        finding = self.findings.setdefault(kind, Finding(severity, repaired))
        finding.count += 1
        if len(finding.places) < self.shown:
            finding.places.append((line, message))

    def errors(self, *, after_repair: bool) -> int:
        """Number of faults that are errors, all or only those that a repair leaves."""
        found = self.findings.values()
        return sum(f.count for f in found if f.severity == "error" and not (after_repair and f.repaired))

    def render(self) -> str:
        """A line of counts, then the first faults of each kind, a line each, with the number of the others."""
        tags = ", ".join(self.tags) or "none"
        lines = [
            f"{self.path}: {self.topics} topics, {self.lines} lines, at most {self.depth} documents per topic, "
            f"{self.ties} ties, {self.format} format, tag {shorten(tags, 60)[1:-1]}"
        ]
        for finding in self.findings.values():
            for number, message in finding.places:
                place = self.path if number is None else f"{self.path}:{number}"
                lines.append(f"{place}: {finding.severity}: {message}")
            if finding.count > len(finding.places):
                lines[-1] += f" (and {finding.count - len(finding.places):,} more)"
        return "\n".join(lines)
