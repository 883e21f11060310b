"""What a training run tells afterwards: a JSON log and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.files import atomic_file, write_json

LOG, PLOT = "train_log.json", "train_log.png"


def write_log(directory: Path, history: list[dict[str, Any]], metric: str, description: str) -> dict[str, Any]:
    """Writes `train_log.json` and `train_log.png` and returns the log: `steps` and `dev` entries.

    Args:
        directory: where.
        history: the Trainer's `log_history`.
        metric: the dev metric's name.
        description: of the dev evaluation.
    """
    hidden = {"epoch", "step", "total_flos", "train_runtime", "train_samples_per_second", "train_steps_per_second"}
    steps = [
        {"step": entry["step"], **{k: v for k, v in entry.items() if k not in hidden}}
        for entry in history
        if "loss" in entry
    ]
    key = f"eval_{metric}"
    dev = [{"step": e["step"], metric: e[key], "seconds": e["eval_seconds"]} for e in history if key in e]
    log = {"dev_evaluation": description, "dev": dev, "steps": steps}
    write_json(directory / LOG, log)
    if steps:
        with atomic_file(directory / PLOT, "wb") as handle:
            plot(log, metric, handle)
    return log


def plot(log: dict[str, Any], metric: str, handle: Any) -> None:
    """Draws loss, margins with their targets, spread of embeddings and the dev curve as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[str]]] = [("loss", ["loss"])]
    if any("margin" in entry for entry in log["steps"]):
        panels.append(("margins", ["margin", "target"]))
    panels.append(("spread of embeddings", ["query_spread", "document_spread"]))
    if log["dev"]:
        panels.append((f"dev {metric}", [metric]))
    figure = Figure(figsize=(3.6 * len(panels), 3), layout="constrained")
    for axis, (title, keys) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        entries = log["dev"] if keys == [metric] else log["steps"]
        for key in keys:
            points = [(e["step"], e[key]) for e in entries if key in e]
            axis.plot(*zip(*points, strict=True), marker="o" if keys == [metric] else None, markersize=3, label=key)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if len(keys) > 1:
            axis.legend(fontsize=8)
    figure.savefig(handle, format="png", dpi=110)
