#!/usr/bin/env python
"""Writes the tables and figures of docs/results.md from runs/experiments/*/results.json, which `experiments.py` made.

  python run_scripts/results.py            (--check: exit status 1 if the page is not what the files say)

The page's prose is by hand; each table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyserini_sdr.core.tables import markdown_table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
FIGURES = ROOT / "docs" / "figures"
METRIC = "ndcg_cut_10"
SELF = ("static-margin", "adaptive-margin", "distributed-margin", "infonce", "self-scaled")
TAUGHT = ("margin-mse", "kl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    args = parser.parse_args()
    before = PAGE.read_text("utf-8")
    after = page(before)
    if args.check:
        sys.exit(f"{PAGE.name} is not what runs/experiments say" if before != after else 0)
    PAGE.write_text(after, "utf-8")
    experiments = _experiments()
    for name in re.findall(r"\(figures/results\.(.+?)\.svg\)", after):
        curves(experiments[name], FIGURES / f"results.{name}.svg")


def _experiments() -> dict[str, dict[str, Any]]:
    return {
        path.parent.name: json.loads(path.read_text("utf-8"))
        for path in sorted((ROOT / "runs" / "experiments").glob("*/results.json"))
    }


def page(text: str) -> str:
    """The page with every table made anew."""
    experiments = _experiments()

    def fill(match: re.Match[str]) -> str:
        kind, _, rest = match[1].partition(" ")
        name, _, argument = rest.partition(" ")
        lines = TABLES[kind](experiments[name], *([argument] if argument else []))
        return f"<!-- begin {match[1]} -->\n{lines}\n<!-- end -->"

    return re.sub(r"<!-- begin ([^>]*?) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def runs_of(experiment: dict[str, Any], arm: str, *, all_seeds: bool = False) -> list[dict[str, Any]]:
    """The trainings of an arm, with the seed that its grid was tuned with or with all."""
    first = experiment["experiment"]["seeds"][0]
    return [run for run in experiment["runs"] if run["arm"] == arm and (all_seeds or run["seed"] == first)]


def budget(experiment: dict[str, Any]) -> str:
    """The settings that all arms share."""
    declared = experiment["experiment"]
    flags = ", ".join(f"`{key}` {value}" for key, value in declared["train"].items())
    dev = next(run["dev"] for run in experiment["runs"] if run["seed"] == declared["seeds"][0])
    return f"{declared['queries']:,} training queries, negatives by {declared['negatives']}; {flags}. Dev: {dev}."


def static(experiment: dict[str, Any]) -> str:
    """The sweep of static margins: best on dev, and after the last step."""
    arms = ("static-margin", "static-own", "static-batch")
    found = {tuple(run["point"].values()): run for arm in arms for run in runs_of(experiment, arm)}
    margins = sorted({margin for margin, *_ in found})
    rows = []
    for in_batch in sorted({in_batch for _, *rest in found for in_batch in rest}):
        runs = [found[margin, in_batch] for margin in margins]
        name = "in-batch negatives" if in_batch else "own negatives"
        rows.append([name, *(f"{run['best']:.3f}" for run in runs)])
    return markdown_table(["margin", *(f"{margin:g}" for margin in margins)], rows)


def grids(experiment: dict[str, Any], names: str) -> str:
    """Every point of some arms: best on dev with its step, and after the last step."""
    rows = []
    for arm in names.split():
        for run in runs_of(experiment, arm):
            point = ", ".join(f"{key.lstrip('-').rpartition('.')[2]} {value}" for key, value in run["point"].items())
            curve = [entry[METRIC] for entry in run["curve"]]
            rows.append([f"`{arm}`" + (f" {point}" if point else ""), f"{run['best']:.3f}", str(run["best_step"]),
                         f"{curve[-1]:.3f}", f"{run['best'] - run['untrained']:+.3f}"])  # fmt: skip
    return markdown_table(["arm", "best on dev", "at step", "after the last", "best − untrained"], rows)


def systems(experiment: dict[str, Any], split: str) -> str:
    """The headline table of a split, with tests against the experiment's baselines."""
    found = experiment["evaluations"][split]
    measures = found["measures"]
    against = found["baselines"]
    rows = []
    for run in found["runs"]:
        cells = [f"`{run['name']}`" if run["name"] in (*SELF, *TAUGHT) else run["name"]]
        for measure in measures:
            text = f"{run['means'][measure]:.4f}"
            if measure == METRIC:
                low, high = run["intervals"][measure]
                text += f" [{low:.3f}, {high:.3f}]"
                if run["spread"]:
                    text += f" ± {run['spread'][measure]['sd']:.4f} ({run['seeds']})"
            cells.append(text)
        cells += [_difference(found, run["name"], base) for base in against]
        rows.append(cells)
    names = ["nDCG@10 [95 %] ± sd of seeds (seeds)", *measures[1:], *(f"− {base} (p)" for base in against)]
    return markdown_table(["system", *names], rows)


def _difference(found: dict[str, Any], run: str, base: str) -> str:
    for comparison in found["comparisons"]:
        if (comparison["run"], comparison["baseline"], comparison["measure"]) == (run, base, METRIC):
            p = comparison["p_corrected"]
            text = f"{comparison['difference']:+.4f} ({'<.001' if p < 0.001 else f'{p:.3f}'})"
            equivalent = comparison.get("equivalence_p_corrected")
            return text + (" ≈" if equivalent is not None and equivalent < 0.05 else "")
    return ""


def cost(experiment: dict[str, Any]) -> str:
    """What a training at the best point of each arm costs, alone and with its teacher."""
    rows = []
    for arm in (*SELF, *TAUGHT):
        if not (runs := _repeated(experiment, arm)):
            continue
        curve = _mean_curve(experiment, arm)
        seconds = _seconds_until(experiment, arm, max(curve))
        total = seconds + _teacher_seconds(experiment, arm)
        rows.append([f"`{arm}`", str(len(runs)), f"{max(curve.values()):+.3f}", f"{seconds:.0f}", f"{total:.0f}"])
    names = ["seeds", "best mean gain on dev", "CPU s of a training", "with its teacher"]
    return markdown_table(["arm", *names], rows)


def reach(experiment: dict[str, Any], student: str) -> str:
    """When each arm without a teacher passes the best that a teacher's student reaches.

    Shares are of the triples, and ratios of the CPU seconds, that the student has had at its best; its seconds include
    the teacher's, and those of all arms their looks at dev.
    """
    of_student = _mean_curve(experiment, student)
    goal = max(of_student.values())
    needed = min(triples for triples, gain in of_student.items() if gain == goal)
    seconds = _teacher_seconds(experiment, student) + _seconds_until(experiment, student, needed)
    rows = [[f"`{student}`", f"{goal:+.3f}", f"{needed:,}", "", f"{seconds:.0f}", ""]]
    for arm in SELF:
        if not (curve := _mean_curve(experiment, arm)):
            continue
        cells = ["not reached", "", "", ""]
        passed = next((triples for triples in sorted(curve) if curve[triples] >= goal), None)
        if passed is not None:
            spent = _seconds_until(experiment, arm, passed)
            cells = [f"{passed:,}", f"{100 * passed / needed:.0f} %", f"{spent:.0f}", f"{seconds / spent:.0f} ×"]
        rows.append([f"`{arm}`", f"{max(curve.values()):+.3f}", *cells])
    names = ["best mean gain on dev", "triples until the student's", "share", "CPU s until then", "faster"]
    return markdown_table(["arm", *names], rows)


def _seconds_until(experiment: dict[str, Any], arm: str, triples: int) -> float:
    """CPU seconds of a training until so many triples, mean over its seeds."""
    runs = _repeated(experiment, arm)
    return statistics.mean(run["cpu_seconds"] for run in runs) * triples / max(_mean_curve(experiment, arm))


def _teacher_seconds(experiment: dict[str, Any], arm: str) -> float:
    """CPU seconds of training the cross-encoder and of scoring the groups; 0 for an arm that has no teacher."""
    if arm not in TAUGHT:
        return 0.0
    return sum(experiment["costs"].get(name, 0.0) for name in ("cross/sdr_teach.json", "scored.jsonl.json"))


def _repeated(experiment: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    """The trainings of an arm's best point, all seeds."""
    best = experiment["best"].get(arm)
    return [run for run in runs_of(experiment, arm, all_seeds=True) if run["point"] == best]


def _mean_curve(experiment: dict[str, Any], arm: str) -> dict[int, float]:
    """Triples → dev metric minus that of the untrained encoder, mean over the seeds of the arm's best point.

    Seeds draw other dev queries, so that only gains can be compared between arms with more and fewer seeds.
    """
    runs = _repeated(experiment, arm)
    curves: dict[int, list[float]] = {}
    for run in runs:
        for entry in run["curve"]:
            triples = entry["step"] * run["triples"] // run["steps"]
            curves.setdefault(triples, []).append(entry[METRIC] - run["untrained"])
    return {triples: statistics.mean(values) for triples, values in curves.items() if len(values) == len(runs)}


def curves(experiment: dict[str, Any], path: Path) -> None:
    """Mean gains on dev of the best points against triples, and against CPU seconds with what the teacher cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = {"svg.hashsalt": "pyserini_sdr", "svg.fonttype": "none", "font.size": 9,
             "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(1, 2, figsize=(8.5, 3.2), sharey=True, constrained_layout=True)
        for arm in (*SELF, *TAUGHT):
            if not (curve := _mean_curve(experiment, arm)):
                continue
            start = _teacher_seconds(experiment, arm)
            times = [start + _seconds_until(experiment, arm, triples) for triples in curve]
            line = "--" if arm in TAUGHT else "-"
            axes[0].plot(list(curve), list(curve.values()), line, marker="o", ms=3, label=arm)
            axes[1].plot(times, list(curve.values()), line, marker="o", ms=3, label=arm)
        axes[0].set(xlabel="training triples", ylabel="gain in nDCG@10 on the dev pool")
        axes[1].set(xlabel="CPU seconds, the teacher's included")
        axes[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        figure.savefig(path, format="svg", metadata={"Date": None})
        pyplot.close(figure)


TABLES: dict[str, Callable[..., str]] = {
    "budget": budget, "static": static, "grids": grids, "systems": systems, "cost": cost, "reach": reach,
}  # fmt: skip


if __name__ == "__main__":
    main()
