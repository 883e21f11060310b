"""What an experiment file declares, and what is known of its trainings. `experiments.py` carries it out."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyserini_sdr.core.files import read_json


@dataclass
class Arm:
    """A loss, the settings it is trained with, and the grid it is tuned over.

    Attributes:
        name: of the arm.
        loss: words of `--loss`.
        options: of `--loss-option`, the same at every point.
        flags: of `train`, over the common ones; `{encoder}` is the encoder that training starts from.
        grid: `loss option or --flag` → values; every combination is a point.
        teacher: its scores are needed.
        headline: trained with all seeds and tested.
        seeds: of a headline arm, if not all.
    """

    name: str
    loss: list[str]
    options: list[str] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    teacher: bool = False
    headline: bool = False
    seeds: list[int] | None = None

    def training(self, point: dict[str, Any], seed: int) -> str:
        """The name of a training."""
        settings = (f"{key.lstrip('-')}={value}" for key, value in point.items())
        return "_".join([self.name, *settings, f"seed={seed}"])

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the grid, as key → value."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


@dataclass
class Plan:
    """An experiment file with the places of this call."""

    declared: dict[str, Any]
    arms: list[Arm]
    collection: Path
    encoder: str
    output: Path
    transfer: list[Path]
    jobs: int

    @property
    def seeds(self) -> list[int]:
        return self.declared["seeds"]

    @property
    def splits(self) -> list[str]:
        """What checkpoints are searched with: dev splits, then test splits."""
        return [*self.declared["dev"], *self.declared["test"]]

    def finished(self) -> list[dict[str, Any]]:
        """The figures of all trainings that have ended."""
        return [read_json(path) for path in sorted((self.output / "trainings").glob("*/run.json"))]

    def best(self, arm: Arm) -> dict[str, Any] | None:
        """The point of an arm's grid that did best on the dev pool with the first seed; the first of equals.

        None if not all points are trained.
        """
        runs = [run for run in self.finished() if (run["arm"], run["seed"]) == (arm.name, self.seeds[0])]
        found = {json.dumps(run["point"]): run["best"] for run in runs}
        if any(json.dumps(point) not in found for point in arm.points()):
            return None
        return max(arm.points(), key=lambda point: found[json.dumps(point)])
