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
