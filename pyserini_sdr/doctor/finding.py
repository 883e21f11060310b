"""What a check finds, and how a process that makes checks tells them: a JSON object a line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Literal

GIB = 1 << 30
_OURS = ('{"check": ', '{"doing": ')


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: what was checked.
        status: `failure` where something necessary does not work, `warning` where something optional does not.
        summary: what was found, in one line.
        remedy: what to do about it; there is one unless the status is `ok`.
        details: facts for `--json`.
        notes: further lines for the terminal.
    """

    name: str
    status: Literal["ok", "warning", "failure"]
    summary: str
    remedy: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Teller:
    """Writes checks, and what is being done before it is done: of that which hangs nothing else is heard."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def tell(self, check: Check) -> None:
        self._line({"check": asdict(check)})

    def doing(self, what: str) -> None:
        """Says what is going on, as "looking at /opt/jdk"."""
        self._line({"doing": what})

    def _line(self, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps(value) + "\n")
        self._stream.flush()


def read_told(text: str) -> tuple[list[Check], str]:
    """The checks in what a `Teller` has written, and what was being done at the end; a cut last line is left out.

    So is what anything has printed that ran in that process before, as a `sitecustomize`.
    """
    checks: list[Check] = []
    doing = ""
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        if not line.startswith(_OURS):
            continue
        value = json.loads(line)
        if "check" in value:
            checks.append(Check(**{**value["check"], "notes": tuple(value["check"]["notes"])}))
            doing = ""
        else:
            doing = value["doing"]
    return checks, doing
