"""What a pre-training tells afterwards: a JSON log and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

from ..core.files import atomic_file, write_json

LOG, PLOT = "pretrain_log.json", "pretrain_log.png"
_HIDDEN = {"epoch", "step", "total_flos", "train_runtime", "train_samples_per_second", "train_steps_per_second"}


def perplexities(losses: Mapping[str, float], terms: Sequence[str]) -> dict[str, float]:
    """exp of the mean cross-entropy (natural logarithm) of every term."""
    return {f"{term}_perplexity": round(exp(min(losses[term], 100.0)), 2) for term in terms if term in losses}


def write_log(directory: Path, history: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> dict[str, Any]:
    """Writes log and plot and returns the log: `held_out` and `steps` entries.

    Args:
        directory: where.
        history: the Trainer's `log_history`.
        terms: names of the losses.
    """
    held_out = []
    for entry in history:
        if "eval_loss" in entry:
            values = {key.removeprefix("eval_"): value for key, value in entry.items() if key.startswith("eval_")}
            held_out.append({"step": entry["step"], **values, **perplexities(values, terms)})
    steps = [
        {"step": entry["step"], **{k: v for k, v in entry.items() if k not in _HIDDEN}}
        for entry in history
        if "loss" in entry
    ]
    log = {"held_out": held_out, "steps": steps}
    write_json(directory / LOG, log)
    with atomic_file(directory / PLOT, "wb") as handle:
        plot(log, terms, handle)
    return log


def plot(log: Mapping[str, Any], terms: Sequence[str], handle: Any) -> None:
    """Draws losses (lines: training, dots: held out), what the vector is worth, and the spread of vectors as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    panels = [("loss per masked token", list(terms)), ("spread of vectors", ["spread"])]
    if any("vector_gain" in entry for entry in log["held_out"]):
        panels.append(("gain by the right vector", ["vector_gain"]))
    figure = Figure(figsize=(3.6 * len(panels), 3), layout="constrained")
    for axis, (title, keys) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, key in enumerate(keys):
            for part, style in (("steps", "-"), ("held_out", "o")):
                points = [(entry["step"], entry[key]) for entry in log[part] if key in entry]
                if points:
                    label = key if style == "-" or len(keys) == 1 else None
                    axis.plot(*zip(*points, strict=True), style, color=f"C{number}", markersize=3, label=label)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    figure.savefig(handle, format="png", dpi=110)
