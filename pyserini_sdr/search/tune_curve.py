"""What tuning found: a value for every setting of a fusion rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """A mean over the judged topics with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What tuning found.

    Attributes:
        rule: a fusion rule.
        metric: canonical name.
        runs: run file → its own value, without fusion.
        settings: options of the rule that were tried.
        points: a value per setting.
        best: position of the setting chosen.
        tied: positions of all settings as good as it.
        topics: judged topics.
    """

    rule: str
    metric: str
    runs: dict[str, Point]
    settings: list[dict[str, Any]]
    points: list[Point]
    best: int
    tied: list[int]
    topics: int
