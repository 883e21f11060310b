#!/usr/bin/env python
"""Every recipe of `recipe --list` on one collection under one small budget: a table of dev results and cost.

  python -m pyserini_sdr.collection build pydocs collections/pydocs-2000 --max-documents 2000
  python run_scripts/compare_recipes.py --collection collections/pydocs-2000 --output recipes --jobs 2
  python run_scripts/compare_recipes.py ... --recipes led prod    (these alone; the table has all that are finished)

A cross-encoder is trained once and given to every recipe that takes one (`ranker`); its cost is told apart. Every
checkpoint is used as a user would: the corpus is encoded with it, dev topics are searched, runs are evaluated. Nothing
is tuned, one seed; checkpoints are selected on a pool of the same dev queries. What is finished is skipped.
OUTPUT/evaluation has trec_eval's measures with intervals and tests; OUTPUT/table.md and results.json are made from it.
Needs Java (BM25).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyserini_sdr.core.files import atomic_file, write_json
from pyserini_sdr.recipe.definition import catalogued, load_recipe
from pyserini_sdr.recipe.resolve import mentioned

TEXT = ("query_max_length=32", "max_length=96", "train.dropout=0")
PAIR_LENGTH = 96
EXTRA = {
    "arm-paper": (
        "batch_size=128",
        "steps=10",
        "eval_steps=10",
        "negatives=16",
        "query_max_length=20",
        "max_length=200",
    ),
    "cl-drd": ("negatives=14", "batch_size=8", "second=8", "third=15"),
    "tas-b": ("negatives=7",),
    "prod": ("negatives=7", "descend=3", "student_ranks=2-8"),
    "adam": ("list=7",),
    "e5": ("train.patience=0",),
}
"""What differs from the common settings: lists and batches that are the system's own."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", default=catalogued(), choices=catalogued(), metavar="NAME")
    parser.add_argument("--steps", type=int, default=40, help="of every training of a retriever")
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--negatives", type=int, default=3)
    parser.add_argument("--ranker-steps", type=int, default=80)
    parser.add_argument("--dev-split", default="dev")
    parser.add_argument("--jobs", type=int, default=1, help="recipes at a time, each with its share of the cores")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    budget = {key: value for key, value in vars(args).items() if key not in ("output", "recipes", "jobs")}
    record = args.output / "arguments.json"
    if record.exists() and json.loads(record.read_text("utf-8")) != budget:
        sys.exit(f"error: {args.output} was made with other arguments; give another --output")
    write_json(record, budget)
    _baselines(args)
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // args.jobs))
    with ThreadPoolExecutor(args.jobs) as pool:
        statuses = list(pool.map(lambda name: _one(args, name), args.recipes))
    _table(args)
    if failed := [name for name, status in zip(args.recipes, statuses, strict=True) if status]:
        sys.exit(f"failed, see their log.txt: {', '.join(failed)}")


def _run(log: Path, *words: object) -> None:
    """A command of the package, its messages appended to a log."""
    command = [sys.executable, "-m", *map(str, words)]
    with log.open("a", encoding="utf-8") as handle:
        subprocess.run(command, check=True, stdout=handle, stderr=handle)


def _unless(made: Path, log: Path, *words: object) -> None:
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        print(f"{made.parent.name}: {words[0]}", flush=True)
        _run(log, *words)


def _baselines(args: argparse.Namespace) -> None:
    """BM25, the encoder as it is, and the ranker that all share."""
    out, log = args.output, args.output / "log.txt"
    topics = f"{args.collection}/topics.{args.dev_split}.tsv"
    bm25, groups = out / "bm25", out / "groups.jsonl"
    _unless(bm25 / "sdr_bm25.json", log, "pyserini_sdr.index", "bm25", "--input", args.collection, "--index", bm25)
    search = ("pyserini_sdr.search", "bm25", "--index", bm25, "--topics", topics, "--hits", 100)
    _unless(out / "runs/bm25.trec", log, *search, "--output", out / "runs/bm25.trec")
    _search(args, "untrained", args.encoder, log)
    mine = ("pyserini_sdr.mine", "--collection", args.collection, "--bm25-index", bm25, "--negatives", 7)
    _unless(groups, log, *mine, "--output", groups)
    rank = (
        "pyserini_sdr.teach",
        "--train",
        "--collection",
        args.collection,
        "--groups",
        groups,
        "--encoder",
        args.encoder,
    )
    budget = ("--max-steps", args.ranker_steps, "--batch-size", args.batch_size, "--negatives", args.negatives)
    more = ("--learning-rate", "1e-4", "--max-length", PAIR_LENGTH, "--dropout", 0, "--output", out / "ranker")
    _unless(out / "ranker/sdr_teach.json", log, *rank, *budget, *more)
    rerank = ("pyserini_sdr.search", "rerank", "--run", out / "runs/bm25.trec", "--cross-encoder", out / "ranker")
    what = ("--collection", args.collection, "--topics", topics, "--hits", 20, "--max-length", PAIR_LENGTH)
    _unless(out / "runs/bm25-by-R.trec", log, *rerank, *what, "--output", out / "runs/bm25-by-R.trec")


def _search(args: argparse.Namespace, name: str, encoder: object, log: Path, index: Path | None = None) -> None:
    """A run over dev with an encoder, on its own index of the corpus unless one is given."""
    run = args.output / "runs" / f"{name}.trec"
    given = index is not None
    if index is None:
        index = args.output / "indexes" / name
        words = ("pyserini_sdr.encode", "input", "--corpus", f"{args.collection}/corpus")
        _unless(index / "sdr_index.json", log, *words, "output", "--embeddings", index, "--to-faiss", "encoder",
                "--encoder", encoder)  # fmt: skip
    topics = f"{args.collection}/topics.{args.dev_split}.tsv"
    search = ("pyserini_sdr.search", "dense", "--index", index, "--encoder", encoder, "--topics", topics)
    views = ("--max-passage", "--max-passage-hits", 100, "--hits", 1000) if given else ("--hits", 100)
    _unless(run, log, *search, *views, "--output", run)


def _settings(args: argparse.Namespace, name: str) -> list[str]:
    recipe = load_recipe(name)
    known = recipe.settings
    own = [key for key in known if key.endswith("_steps") and key not in ("eval_steps", "ranker_steps")]
    common = {
        **dict.fromkeys(("steps", *own), args.steps),
        "eval_steps": args.steps // 2,
        "batch_size": args.batch_size,
        "negatives": args.negatives,
        "dev_split": args.dev_split,
        "ranker": args.output / "ranker",
        "ranker_steps": args.ranker_steps // 2,
        "pair_max_length": PAIR_LENGTH,
        "ranker_batch_size": args.batch_size,
        "ranker_learning_rate": "1e-4",
    }
    if name == "arm-paper":
        common["eval_steps"] = args.steps
    stages = [stage for entry in recipe.stages for stage in getattr(entry, "stages", [entry])]
    rankers = ["teach --train.dropout=0"] if any(stage.command == "teach --train" for stage in stages) else []
    used = mentioned(recipe)
    return [*(f"{key}={value}" for key, value in common.items() if key in used), *TEXT, *rankers, *EXTRA.get(name, ())]


def _one(args: argparse.Namespace, name: str) -> int:
    folder = args.output / name
    folder.mkdir(exist_ok=True)
    log = folder / "log.txt"
    done = folder / "recipe/sdr_recipe.json"
    words = ("--collection", args.collection, "--encoder", args.encoder, "--output", folder / "recipe")
    try:
        _unless(done, log, "pyserini_sdr.recipe", name, *words, "--set", *_settings(args, name))
        index = next((folder / "recipe").glob("[0-9][0-9]-index/index"), None)
        _search(args, name, folder / "recipe/checkpoint", log, index)
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def _table(args: argparse.Namespace) -> None:
    names = [name for name in catalogued() if (args.output / f"runs/{name}.trec").exists()]
    runs = [args.output / f"runs/{name}.trec" for name in ("bm25", "bm25-by-R", "untrained", *names)]
    qrels = f"{args.collection}/qrels.{args.dev_split}.txt"
    evaluation = args.output / "evaluation"
    _run(args.output / "log.txt", "pyserini_sdr.evaluate", "--qrels", qrels, "--runs", *runs, "--baseline", "untrained",
         "--metrics", "nDCG@10", "RR@10", "R@100", "--output", evaluation, "--overwrite")  # fmt: skip
    results = json.loads((evaluation / "results.json").read_text("utf-8"))["results"]
    cost = {name: _cost(args.output, name) for name in names}
    ranker = json.loads((args.output / "ranker/sdr_teach.json").read_text("utf-8"))["cost"]["seconds"]
    write_json(args.output / "results.json", {"ranker_seconds": ranker, "recipes": cost, "evaluation": results})
    tests = {test["run"]: test for test in results["comparisons"] if test["measure"] == "ndcg_cut_10"}
    lines = [
        "| recipe | nDCG@10 | RR@10 | R@100 | nDCG@10 − untrained [95 % CI] | p (Holm) | seconds | GiB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in results["runs"]:
        name, means = run["name"], run["means"]
        shown = [f"{means[measure]:.4f}" for measure in ("ndcg_cut_10", "recip_rank_cut_10", "recall_100")]
        test, paid = tests.get(name), cost.get(name)
        against = ["", ""]
        if test:
            low, high = test["interval"]
            against = [f"{test['difference']:+.4f} [{low:+.3f}, {high:+.3f}]", _p(test["p_corrected"])]
        spent = ["", ""]
        if paid:
            shared = " + R" if paid["given_ranker"] else ""
            spent = [f"{paid['seconds']:.0f}{shared}", f"{paid['peak_memory_bytes'] / 2**30:.1f}"]
        lines.append(f"| {' | '.join([f'`{name}`' if paid else name, *shown, *against, *spent])} |")
    lines.append(
        f"\nR: the cross-encoder that these share, {ranker:.0f} seconds; bm25-by-R: BM25's first 20, reranked by it."
    )
    with atomic_file(args.output / "table.md") as handle:
        handle.write("\n".join(lines) + "\n")
    print("\n".join(lines))


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "<.001"


def _cost(output: Path, name: str) -> dict:
    found = json.loads((output / name / "recipe/sdr_recipe.json").read_text("utf-8"))
    takes_ranker = any(getattr(stage, "unless", None) == "ranker" for stage in load_recipe(name).stages)
    return {
        "settings": found["settings"],
        "seconds": found["seconds"],
        "peak_memory_bytes": found["stage_peak_memory_bytes"],
        "stages": [
            {key: stage.get(key) for key in ("name", "seconds", "untrained", "best")} for stage in found["stages"]
        ],
        "given_ranker": takes_ranker and found["settings"]["ranker"] is not None,
    }


if __name__ == "__main__":
    main()
