"""Plans: what a long run works on, written down when it starts, so that only the same run is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import read_object, write_json

_NAMED = 5
"""Settings named that differ, at most."""


def hold_to_plan(path: Path, plan: Mapping[str, Any], *, output: Path, what: str) -> None:
    """Writes the plan of a new run, or compares it with that of the run to be resumed.

    Args:
        path: the plan's file.
        plan: JSON-ready settings and hashes.
        output: what the user calls the run by, for the message.
        what: an interrupted run in words, as "an unfinished encoding".

    Raises:
        DataError: the run that was interrupted had another plan; says what differs.
    """
    if not path.exists():
        write_json(path, plan)
        return
    before = read_object(path, remedy="--overwrite to start anew")
    different = [key for key in {**before, **plan} if before.get(key) != plan.get(key)]
    if different:
        key, names = different[0], ", ".join(different[:_NAMED]) + (", …" if len(different) > _NAMED else "")
        raise DataError(
            output,
            f"holds {what} with another {names} ({before.get(key)!r} before, {plan.get(key)!r} now)",
            remedy="give the same settings to resume, --overwrite to start anew, or another directory",
        )
