"""What the trained encoders behind runs cost and how their training went, for tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError
from ..core.files import read_json, require_directory
from . import plots
from .report import Section

HEADER = ["checkpoint", "loss", "steps", "batch", "triples", "seconds", "dev metric", "untrained", "best (step)"]


@dataclass(frozen=True)
class Training:
    """One checkpoint's record.

    Args:
        name: as the caller calls it.
        manifest: its `sdr_train.json`.
        log: its `train_log.json`.
    """

    name: str
    manifest: dict[str, Any]
    log: dict[str, Any]

    @property
    def metric(self) -> str:
        """The dev metric that selected the checkpoint, empty if there was none."""
        return next((key for entry in self.log["dev"] for key in entry if key not in ("step", "seconds")), "")

    def row(self) -> list[str]:
        """Cells under `HEADER`."""
        config, selection = self.manifest["config"], self.manifest["selection"]
        dev = [self.metric, f"{selection['untrained']:.4f}", f"{selection['best']:.4f} ({selection['best_step']})"]
        return [
            self.name,
            " + ".join(config["loss"]),
            str(self.manifest["steps"]),
            str(config["batch_size"]),
            f"{self.manifest['triples']:,}",
            f"{self.manifest['train_seconds']:.0f}",
            *(dev if self.metric else ["", "", ""]),
        ]


def read_trainings(specs: Sequence[str]) -> list[Training]:
    """Records of checkpoints given as `NAME=DIR` or `DIR`.

    Raises:
        DataError: a directory that `train` did not make, or did not finish.
    """
    trainings = []
    for spec in specs:
        name, equals, path = spec.partition("=")
        directory = require_directory(Path(path if equals else spec), "checkpoint directory")
        if not (directory / "sdr_train.json").exists():
            raise DataError(directory, "has no sdr_train.json: not a checkpoint that `train` has finished")
        manifest, log = (read_json(directory / file) for file in ("sdr_train.json", "train_log.json"))
        trainings.append(Training(name if equals else directory.name, manifest, log))
    names = [training.name for training in trainings]
    if len(set(names)) < len(names):
        raise UsageError(f"--training: the names {', '.join(names)} are not different; give NAME=DIR")
    return trainings


def sections(trainings: Sequence[Training]) -> list[Section]:
    """Table of costs, dev curves and loss curves, for the report."""
    if not trainings:
        return []
    found: list[Section] = [("Training", [HEADER, *(training.row() for training in trainings)])]
    curves = {t.name: [(entry["step"], entry[t.metric]) for entry in t.log["dev"]] for t in trainings if t.metric}
    if curves:
        what = next(t for t in trainings if t.metric)
        markup = plots.line_plot(curves, x_label="step", y_label=f"dev {what.metric}")
        found.append(("Dev effectiveness while training", markup))
    for key, title in (("loss", "Loss"), ("document_spread", "Spread of document embeddings")):
        lines = {t.name: [(e["step"], e[key]) for e in t.log["steps"] if key in e] for t in trainings}
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            found.append((title, plots.line_plot(lines, x_label="step", y_label=key.replace("_", " "))))
    return found
