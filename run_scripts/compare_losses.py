#!/usr/bin/env python
"""Every loss of `train --list-losses` on one collection: same steps, batch, negatives and grid; a table of dev results.

  python run_scripts/compare_losses.py --collection pydocs --groups scored.jsonl --cross cross --second bm25 \\
      --bi checkpoint --dev-run bm25.dev.trec --output losses/pydocs --jobs 2
  python run_scripts/compare_losses.py ... --losses infonce kl --seeds 1 2 --best-only
  python run_scripts/compare_losses.py ... --timing        (seconds per step, one run at a time with all cores)

For each loss the grid is learning rate × temperature (a loss with a scale takes 1/temperature; one with neither has the
learning rates alone). Selection and report are both on dev: the table compares objectives under one small budget, it is
no test result. Runs that are finished are not run again; OUTPUT/results.json and OUTPUT/table.md are made from them.

Needs: groups from `mine`, with scores (`teach`) of a cross-encoder and of a second teacher, for the losses that want
two, under the names given; and a bi-encoder checkpoint for the losses that ask a live one.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from pyserini_sdr.core.files import atomic_file, write_json
from pyserini_sdr.core.progress import bar
from pyserini_sdr.losses import LOSSES, option_types
from pyserini_sdr.train.__main__ import COMMAND as TRAIN

TEACHER_OPTIONS = {"tct": ["teacher_temperature=0.05"]}
"""The teacher of tct is a bi-encoder here, whose cosines need a lower temperature than the MaxSim sums of the paper."""

WITH_CONTRASTIVE = {"embed-distill", "comparative", "lelp", "lead"}
"""Terms that say nothing about ranking alone: their papers add a contrastive one, so does this (`lce`)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--groups", required=True)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--cross", required=True, metavar="NAME", help="name of the cross-encoder's scores")
    parser.add_argument("--second", required=True, metavar="NAME", help="name of the second teacher's scores")
    parser.add_argument("--bi", required=True, help="checkpoint of a bi-encoder teacher")
    parser.add_argument("--dev-run", required=True, help="run over the dev topics, for the dev pool")
    parser.add_argument("--dev-split", default="dev")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--losses", nargs="+", default=list(LOSSES))
    parser.add_argument("--learning-rates", nargs="+", default=["2e-5", "1e-4"])
    parser.add_argument("--temperatures", nargs="+", type=float, default=[0.02, 0.05])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--best-only", action="store_true", help="run other seeds at the best setting of seed 0 only")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--negatives", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=48, help="tokens of a document")
    parser.add_argument("--dev-pool", type=int, default=300)
    parser.add_argument("--dev-queries", type=int, default=150)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each with its share of the cores")
    parser.add_argument("--timing", action="store_true", help="instead: eight steps of each loss, nothing else running")
    args = parser.parse_args()
    if args.timing:
        args.jobs = 1
    args.output.mkdir(parents=True, exist_ok=True)
    runs = [run for name in args.losses for run in _runs(args, name)]
    cores = len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores // args.jobs))  # the workers import torch after this
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        done = pool.map(partial(_train, args), runs)
        list(bar(done, total=len(runs), unit="run", desc="losses"))
    _write(args)


def _runs(args: argparse.Namespace, name: str) -> list[dict]:
    """The settings of a loss: grid × seeds, or other seeds at the best of the grid; of a timing, none."""
    if args.timing:
        return [{"loss": name, "learning_rate": args.learning_rates[0], "options": [], "seed": 0}]
    known = option_types(LOSSES.load(name))
    options = [f"{name}.{text}" for text in TEACHER_OPTIONS.get(name, [])]
    grid: list[str | None] = [None]
    if "temperature" in known:
        grid = [f"{name}.temperature={t}" for t in args.temperatures]
    elif "scale" in known:
        grid = [f"{name}.scale={1 / t:g}" for t in args.temperatures]
    settings = [
        {"loss": name, "learning_rate": rate, "options": [*options, *([chosen] if chosen else [])]}
        for rate, chosen in itertools.product(args.learning_rates, grid)
    ]
    if args.best_only:
        done = [r for r in _finished(args.output) if r["loss"] == name and r["seed"] == 0]
        if not done:
            sys.exit(f"--best-only: {args.output} has no finished run of {name} with seed 0")
        best = max(done, key=lambda r: r["best"])
        settings = [s for s in settings if all(s[key] == best[key] for key in ("learning_rate", "options"))]
    return [setting | {"seed": seed} for setting in settings for seed in args.seeds]


def _folder(args: argparse.Namespace, run: dict) -> Path:
    name = "_".join([run["loss"], run["learning_rate"], *(o.partition(".")[2] for o in run["options"])])
    return args.output / ("timing" if args.timing else "runs") / f"{name}_seed={run['seed']}"


def _train(args: argparse.Namespace, run: dict) -> None:
    folder = _folder(args, run)
    if (folder / "run.json").exists():
        return
    name = run["loss"]
    losses = [name, "lce"] if name in WITH_CONTRASTIVE else [name]
    command = [
        *("--collection", args.collection, "--groups", args.groups),
        *("--encoder", args.encoder, "--output", str(folder / "checkpoint"), "--overwrite", "--seed", str(run["seed"])),
        *("--loss", *losses, "--learning-rate", run["learning_rate"], "--batch-size", str(args.batch_size)),
        *("--negatives", str(args.negatives), "--max-steps", str(args.steps), "--eval-steps", str(args.steps)),
        *("--dropout", "0", "--query-max-length", "32", "--max-length", str(args.max_length)),
        *("--dev-split", args.dev_split, "--dev-run", args.dev_run, "--dev-pool", str(args.dev_pool)),
        *("--dev-queries", str(args.dev_queries), "--positives", "1", "--patience", "0"),
    ]
    if args.timing:
        command += ["--dev-split", "none", "--max-steps", "8"]
    if run["options"]:
        command += ["--loss-option", *run["options"]]
    if teachers := _teachers(args, name):
        command += ["--teacher", *teachers]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w") as log, contextlib.redirect_stderr(log):
        TRAIN.execute("train", command)
    manifest = json.loads((folder / "checkpoint" / "sdr_train.json").read_text())
    facts = {key: manifest["selection"].get(key) for key in ("best", "untrained", "dev")}
    facts["seconds_per_step"] = manifest["train_seconds"] / manifest["steps"]
    for path in (folder / "checkpoint").glob("*.safetensors"):
        path.unlink()  # hundreds of runs; the figures are what is kept
    write_json(folder / "run.json", run | facts)


def _teachers(args: argparse.Namespace, name: str) -> list[str]:
    needs = {need.name for need in LOSSES.load(name).needs}
    if "BATCH_TEACHER" in needs or needs & {"TEACHER_VECTORS", "LAYERS"}:
        return [args.bi]
    if "LAST_BATCH_TEACHER" in needs:
        return [args.cross, args.bi]
    if "TEACHERS" in needs:
        return [args.cross, args.second]
    return [args.cross] if "TEACHER" in needs else []


def _finished(output: Path, kind: str = "runs") -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((output / kind).glob("*/run.json"))]


def _write(args: argparse.Namespace) -> None:
    results = _finished(args.output)
    timing = {r["loss"]: r["seconds_per_step"] for r in _finished(args.output, "timing")}
    write_json(args.output / "results.json", {"runs": results, "seconds_per_step": timing})
    untrained = next(r["untrained"] for r in results if r["seed"] == 0)
    dev = next(r["dev"] for r in results if r["seed"] == 0)
    lines = [
        f"{dev}; untrained {untrained:.4f}. Seeds draw other dev queries too: compare gains.",
        "",
        "| loss | settings | best learning rate, option | dev | gain | gain over seeds, mean ± sd (n) | s/step |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for name in LOSSES:
        runs = [r for r in results if r["loss"] == name]
        first = [r for r in runs if r["seed"] == 0]
        if not first:
            continue
        best = max(first, key=lambda r: r["best"])
        same = [r["best"] - r["untrained"] for r in runs if all(r[k] == best[k] for k in ("learning_rate", "options"))]
        spread = f"{statistics.mean(same):+.4f} ± {statistics.stdev(same):.4f} ({len(same)})" if len(same) > 1 else ""
        chosen = ", ".join([best["learning_rate"], *(o.partition(".")[2] for o in best["options"])])
        gain = best["best"] - best["untrained"]
        seconds = f"{timing[name]:.2f}" if name in timing else ""
        lines.append(
            f"| `{name}` | {len(first)} | {chosen} | {best['best']:.4f} | {gain:+.4f} | {spread} | {seconds} |"
        )
    with atomic_file(args.output / "table.md") as handle:
        handle.write("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
