"""Checks of the numbers that losses take as options."""

from __future__ import annotations

import math

from ..core.errors import UsageError


def require_positive(**options: float) -> None:
    """`UsageError` naming the first option that is not a finite number above 0."""
    for name, value in options.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{name} {value}: must be positive")


def require_not_negative(**options: float) -> None:
    """`UsageError` naming the first option that is not a finite number of 0 or more."""
    for name, value in options.items():
        if not 0 <= value < math.inf:
            raise UsageError(f"{name} {value}: must not be negative")


def require_teacher(teacher: int) -> None:
    """`UsageError` unless it says which teacher is meant: 0, -1, or a place in `--teacher` from 1."""
    if teacher < -1:
        raise UsageError(f"teacher {teacher}: must be 0 (mean of all), -1 (the last), or the place of one, from 1")


def require_share(**options: float) -> None:
    """`UsageError` naming the first option that is not a number from 0 to 1."""
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise UsageError(f"{name} {value}: must lie between 0 and 1")
