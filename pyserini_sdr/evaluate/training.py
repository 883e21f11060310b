"""What the trained encoders behind runs cost and how their training went, for tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError
from ..core.files import read_json, require_directory
from ..trec.names import parse
from . import plots
from .report import Section
from .results import Evaluation

HEADER = ["checkpoint", "loss", "steps", "batch", "triples", "seconds", "dev metric", "untrained", "best (step)"]

_COSTS = (("triples", "training triples", "triples"), ("train_seconds", "training time", "seconds of training"))
"""Keys of `sdr_train.json`, in words, and as labels of axes."""


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

    def curve(self, total: float) -> list[tuple[float, float]]:
        """The dev metric against the share of `total` (triples, seconds) that the steps until then took.

        The log has steps only; steps of a training are alike, so a step's share of its cost is its share of the steps.
        """
        return [(total * entry["step"] / self.manifest["steps"], entry[self.metric]) for entry in self.log["dev"]]

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


def sections(trainings: Sequence[Training], evaluation: Evaluation | None = None) -> list[Section]:
    """Table of costs, effectiveness against triples and time, loss and spread against steps, for the report.

    Args:
        trainings: what `read_trainings` gave.
        evaluation: for the means of the runs that are called as their trainings are.
    """
    if not trainings:
        return []
    found: list[Section] = [("Training", [HEADER, *(training.row() for training in trainings)])]
    for metric in dict.fromkeys(t.metric for t in trainings if t.metric):
        own = [t for t in trainings if t.metric == metric and t.manifest["steps"]]
        for key, title, label in _COSTS:
            curves = {t.name: t.curve(t.manifest[key]) for t in own}
            if curves:
                markup = plots.line_plot(curves, x_label=label, y_label=f"dev {parse(metric).label}")
                found.append((f"Dev {parse(metric).label} against {title}", markup))
    if evaluation is not None:
        found += _outcomes(trainings, evaluation)
    for key, title in (("loss", "Loss"), ("document_spread", "Spread of document embeddings")):
        lines = {t.name: [(e["step"], e[key]) for e in t.log["steps"] if key in e] for t in trainings}
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            found.append((title, plots.line_plot(lines, x_label="step", y_label=key.replace("_", " "))))
    return found


def _outcomes(trainings: Sequence[Training], evaluation: Evaluation) -> list[Section]:
    """A run's mean on the first measure against what its whole training cost; nothing below two such runs."""
    measure = evaluation.measures[0]
    means = {run.name: run.means[measure] for run in evaluation.runs}
    own = [t for t in trainings if t.name in means]
    found: list[Section] = []
    for key, title, label in _COSTS if len(own) > 1 else ():
        points = {t.name: [(t.manifest[key], means[t.name])] for t in own}
        markup = plots.line_plot(points, x_label=label, y_label=parse(measure).label)
        found.append((f"{parse(measure).label} of the runs against {title} of their encoders", markup))
    return found
