#!/usr/bin/env python
"""The paper's experiments on one collection, from a declared list: grids on dev, then seeds, then test once.

  python run_scripts/experiments.py run_scripts/experiments/pydocs.yaml --collection pydocs --output experiments/pydocs
  python run_scripts/experiments.py run_scripts/experiments/wiki-union.yaml --collection wiki-union --encoder raw \\
      --transfer scifact vaswani cacm --output experiments/wiki-union --jobs 2
  python run_scripts/experiments.py ... --list            (every run with its settings, and stop)
  python run_scripts/experiments.py ... --only infonce    (these arms alone; give the command again for the others)

The file lists arms: a loss with its settings and a grid. Every point of every grid is trained with the first seed and
judged on a dev pool; arms marked `headline` are trained again at their best point with the other seeds, their
checkpoints encode and search the whole collection, dev and test, and the transfer collections, test alone. Nothing is
chosen after a look at test. Each training has one thread; --jobs run at a time. Costs are CPU seconds, which other work
on the machine changes little. What is finished is skipped. OUTPUT/kept is made from what is there: it belongs in
runs/experiments/NAME, and `run_scripts/results.py` makes the tables of docs/results.md from that. BM25 needs Java.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import yaml
from experiments_plan import Arm, Plan

from pyserini_sdr.core.files import atomic_file, read_json, write_json
from pyserini_sdr.core.manifest import versions
from pyserini_sdr.core.progress import bar

HITS = 100
_COSTS = Lock()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="YAML file")
    parser.add_argument("--collection", type=Path, required=True)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="what every arm starts from")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--transfer", type=Path, nargs="*", default=[], help="collections that are only searched")
    parser.add_argument("--only", nargs="+", help="arms (default: all)")
    parser.add_argument("--skip-test", action="store_true", help="stop after the trainings")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    declared = yaml.safe_load(args.experiment.read_text("utf-8"))
    arms = [Arm(**entry) for entry in declared["arms"]]
    if unknown := set(args.only or ()) - {arm.name for arm in arms}:
        sys.exit(f"error: --only: no arm {', '.join(sorted(unknown))}; known: {', '.join(arm.name for arm in arms)}")
    chosen = [arm for arm in arms if not args.only or arm.name in args.only]
    plan = Plan(declared, arms, args.collection, args.encoder, args.output, args.transfer, args.jobs)
    if args.list:
        for arm in chosen:
            for point in arm.points():
                print(f"{arm.name:28} {point}")
        return
    args.output.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    _prepare(plan, any(arm.teacher for arm in chosen))
    _each(plan, [(arm, point, plan.seeds[0]) for arm in chosen for point in arm.points()], "grids")
    headline = [(arm, plan.best(arm) or {}) for arm in chosen if arm.headline]
    repeated = [
        (arm, point, seed) for seed in plan.seeds for arm, point in headline if seed in (arm.seeds or plan.seeds)
    ]
    _each(plan, repeated, "seeds")
    if not args.skip_test:
        _test(plan, repeated)
        _fuse(plan)
        _evaluate(plan)
    _record(plan)


def _command(log: Path, *words: object) -> float:
    """Runs a command of the package, its messages appended to a log; CPU seconds that it took."""
    line = [os.environ.get("PYTHON", sys.executable), "-m", *map(str, words)]
    with log.open("a", encoding="utf-8") as handle:
        print("$", *line[1:], file=handle, flush=True)
        process = subprocess.Popen(line, stdout=handle, stderr=handle)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: failed, see {log}: {' '.join(line[1:])}")
    return usage.ru_utime + usage.ru_stime


def _stage(plan: Plan, made: str, *words: object) -> None:
    """Runs a command unless what it makes last is there; keeps what it cost."""
    if (plan.output / made).exists():
        return
    print(f"{made}: {words[0]}", flush=True)
    seconds = _command(plan.output / "log.txt", *words)
    costs = plan.output / "costs.json"
    with _COSTS:  # several jobs at a time
        write_json(costs, (read_json(costs) if costs.exists() else {}) | {made: round(seconds, 1)})


def _prepare(plan: Plan, teacher: bool) -> None:
    """Negatives, dev runs, and the cross-encoder with its scores where an arm needs them."""
    out, collection, declared = plan.output, plan.collection, plan.declared
    _stage(plan, "bm25/sdr_bm25.json", "pyserini_sdr.index", "bm25", "--input", collection, "--index", out / "bm25")
    for split in plan.splits:
        topics = collection / f"topics.{split}.tsv"
        search = ("pyserini_sdr.search", "bm25", "--index", out / "bm25", "--topics", topics, "--hits", HITS)
        _stage(plan, f"bm25.{split}.trec", *search, "--output", out / f"bm25.{split}.trec")
    pool = out / "pool.trec"
    if not pool.exists():  # the hard documents of the dev pool: BM25's first three
        with (out / f"bm25.{declared['dev'][0]}.trec").open() as lines, atomic_file(pool) as handle:
            handle.writelines(line for line in lines if int(line.split()[3]) <= 3)
    source = ("--bm25-index", out / "bm25") if declared["negatives"] == "bm25" else ("--index", out / "untrained.index")
    if declared["negatives"] != "bm25":
        _encode(plan, plan.encoder, collection, "untrained.index")
    mine = ("pyserini_sdr.mine", "--collection", collection, *source, "--max-queries", declared["queries"])
    _stage(plan, "groups.jsonl.json", *mine, "--negatives", 3, "--output", out / "groups.jsonl")
    if teacher:
        settings = declared["teacher"]
        learn = ("pyserini_sdr.teach", "--train", "--collection", collection, "--groups", out / "groups.jsonl")
        flags = [word for key, value in settings["train"].items() for word in (f"--{key}", value)]
        _stage(plan, "cross/sdr_teach.json", *learn, *flags, "--dev-split", declared["dev"][0],
               "--dev-run", out / f"bm25.{declared['dev'][0]}.trec", "--output", out / "cross")  # fmt: skip
        score = ("pyserini_sdr.teach", "--collection", collection, "--groups", out / "groups.jsonl")
        length = ("--max-length", settings["train"]["max-length"])
        _stage(plan, "scored.jsonl.json", *score, "--teacher", out / "cross", *length, "--output", out / "scored.jsonl")


def _each(plan: Plan, runs: list[tuple[Arm, dict[str, Any], int]], what: str) -> None:
    with ThreadPoolExecutor(plan.jobs) as pool:
        list(bar(pool.map(lambda run: _train(plan, *run), runs), total=len(runs), unit="run", desc=what))


def _train(plan: Plan, arm: Arm, point: dict[str, Any], seed: int) -> None:
    folder = plan.output / "trainings" / arm.training(point, seed)
    if (folder / "run.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    flags = dict(plan.declared["train"]) | arm.flags
    flags = {key: plan.encoder if value == "{encoder}" else value for key, value in flags.items()}
    options = list(arm.options)
    for key, value in point.items():
        if key.startswith("--"):
            flags[key[2:]] = value
        else:
            options.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    words = ["pyserini_sdr.train", "--collection", plan.collection, "--encoder", plan.encoder, "--seed", seed]
    words += ["--groups", plan.output / ("scored.jsonl" if arm.teacher else "groups.jsonl"), "--loss", *arm.loss]
    words += ["--loss-option", *options] if options else []
    dev = plan.declared["dev"][0]
    words += ["--dev-split", dev, "--dev-run", plan.output / "pool.trec"]
    words += [word for key, value in flags.items() for word in (f"--{key}", value)]
    seconds = _command(folder / "log.txt", *words, "--overwrite", "--output", folder / "checkpoint")
    manifest = read_json(folder / "checkpoint" / "sdr_train.json")
    log = read_json(folder / "checkpoint" / "train_log.json")
    if not arm.headline:
        for path in (folder / "checkpoint").glob("*.safetensors"):
            path.unlink()  # dozens of runs; the figures are what is kept
    facts = {key: manifest["selection"][key] for key in ("dev", "untrained", "best", "best_step")}
    facts |= {"steps": manifest["steps"], "triples": manifest["triples"], "cpu_seconds": round(seconds, 1)}
    facts |= {"train_seconds": manifest["train_seconds"], "curve": log["dev"]}
    write_json(folder / "run.json", {"arm": arm.name, "point": point, "seed": seed} | facts)


def _encode(plan: Plan, encoder: object, corpus: Path, index: str) -> None:
    lengths = plan.declared["train"]
    _stage(plan, f"{index}/sdr_index.json", "pyserini_sdr.encode", "input", "--corpus", corpus,
           "output", "--embeddings", plan.output / index, "--to-faiss",
           "encoder", "--encoder", encoder, "--max-length", lengths["max-length"])  # fmt: skip


def _test(plan: Plan, runs: list[tuple[Arm, dict[str, Any], int]]) -> None:
    """Runs of every checkpoint, and of the encoder as it was, over dev, test and the transfer collections."""
    systems: list[tuple[str, object, bool]] = [("untrained", plan.encoder, True)]
    for arm, point, seed in runs:
        checkpoint = plan.output / "trainings" / arm.training(point, seed) / "checkpoint"
        systems.append((f"{arm.name}.{seed}", checkpoint, seed == plan.seeds[0]))
    with ThreadPoolExecutor(plan.jobs) as pool:
        done = pool.map(lambda system: _search(plan, *system), systems)
        list(bar(done, total=len(systems), unit="system", desc="test"))
    for place in plan.transfer:
        index = plan.output / f"bm25.{place.name}"
        _stage(plan, f"{index.name}/sdr_bm25.json", "pyserini_sdr.index", "bm25", "--input", place, "--index", index)
        run = plan.output / "runs" / f"bm25.{place.name}.test.trec"
        _stage(plan, f"runs/{run.name}.json", "pyserini_sdr.search", "bm25", "--index", index, "--topics",
               place / "topics.test.tsv", "--hits", HITS, "--output", run)  # fmt: skip


def _search(plan: Plan, name: str, encoder: object, transfers: bool) -> None:
    runs = plan.output / "runs"
    runs.mkdir(exist_ok=True)
    _forget_another(plan, name, Path(str(encoder)).parent.name)
    places = [(plan.collection, plan.splits, "")]
    places += [(place, ["test"], f"{place.name}.") for place in plan.transfer if transfers]
    for place, splits, prefix in places:
        wanted = [(split, runs / f"{name}.{prefix}{split}.trec") for split in splits]
        if all(run.exists() for _, run in wanted):
            continue
        mined = name == "untrained" and not prefix and plan.declared["negatives"] != "bm25"
        index = "untrained.index" if mined else f"indexes/{name}.{prefix}index"
        _encode(plan, encoder, place, index)
        for split, run in wanted:
            _stage(plan, f"runs/{run.name}", "pyserini_sdr.search", "dense", "--index", plan.output / index,
                   "--topics", place / f"topics.{split}.tsv", "--hits", HITS, "--output", run)  # fmt: skip
        if not mined:
            shutil.rmtree(plan.output / index)


def _forget_another(plan: Plan, name: str, training: str) -> None:
    """Removes the runs of a system that are of another training: a longer grid may have another best point."""
    of = plan.output / "runs" / f"{name}.training"
    if of.exists() and of.read_text("utf-8") != training:
        arm = name.partition(".")[0]
        for pattern in (f"runs/{name}.*", f"runs/{arm}+bm25.*", f"tuned/{arm}.json", f"kept/{name}.*.gz",
                        f"kept/{arm}+bm25.*.gz", "evaluation/*.runs"):  # fmt: skip
            for path in plan.output.glob(pattern):
                path.unlink()
    of.write_text(training, "utf-8")


def _fuse(plan: Plan) -> None:
    """BM25 with the first seed of the arms that the file names; the weight is tuned on the first dev split."""
    out, runs, dev = plan.output, plan.output / "runs", plan.declared["dev"][0]
    for name in plan.declared["fused"]:
        system = name if name == "untrained" else f"{name}.{plan.seeds[0]}"
        pair = [(runs / f"{system}.{split}.trec", out / f"bm25.{split}.trec") for split in plan.splits]
        tuned = out / "tuned" / f"{name}.json"
        tuned.parent.mkdir(exist_ok=True)
        _stage(plan, f"tuned/{name}.json", "pyserini_sdr.search", "tune", "--runs", *pair[0], "--normalization",
               "min-max", "z-score", "--qrels", plan.collection / f"qrels.{dev}.txt", "--output", tuned)  # fmt: skip
        for split, both in zip(plan.splits, pair, strict=True):
            made = f"runs/{name}+bm25.{split}.trec"
            fuse = ("pyserini_sdr.run", "fuse", "--tuned", tuned, "--runs", *both, "--hits", HITS)
            _stage(plan, made, *fuse, "--output", out / made)


def _evaluate(plan: Plan) -> None:
    """Tables, tests and reports of every split, of all arms that have runs: seeds averaged topic by topic."""
    out, declared = plan.output, plan.declared
    places = [(split, plan.collection / f"qrels.{split}.txt", f"{split}.trec") for split in plan.splits]
    places += [(place.name, place / "qrels.test.txt", f"{place.name}.test.trec") for place in plan.transfer]
    for name, qrels, ending in places:
        single = [out / f"bm25.{ending}"] if (out / f"bm25.{ending}").exists() else [out / "runs" / f"bm25.{ending}"]
        single += [out / "runs" / f"untrained.{ending}"]
        fused = [] if name in (place.name for place in plan.transfer) else declared["fused"]
        single += [out / "runs" / f"{arm}+bm25.{ending}" for arm in fused]
        names = ["bm25", "untrained", *(f"{arm}+bm25" for arm in fused)]
        seeds = []
        for arm in (arm for arm in plan.arms if arm.headline):
            found = [out / "runs" / f"{arm.name}.{seed}.{ending}" for seed in arm.seeds or plan.seeds]
            found = [str(run) for run in found if run.exists()]  # transfer is of the first seed
            if len(found) > 1:
                seeds.append(f"{arm.name}={','.join(found)}")
            elif found:
                names.append(arm.name)
                single += found
        there = {*names, *(entry.partition("=")[0] for entry in seeds)}
        against = [arm for arm in declared["baselines"] if arm in there]
        compared, of = " ".join([*map(str, single), *seeds]), out / "evaluation" / f"{name}.runs"
        if not of.exists() or of.read_text("utf-8") != compared:
            shutil.rmtree(out / "evaluation" / name, ignore_errors=True)
            of.parent.mkdir(exist_ok=True)
            of.write_text(compared, "utf-8")
        _stage(plan, f"evaluation/{name}/results.json", "pyserini_sdr.evaluate", "--qrels", qrels, "--runs", *single,
               "--names", *names, *(["--seeds", *seeds] if seeds else []), "--baseline", *against, "--metrics",
               "nDCG@10", "RR@10", "R@100", "--equivalence-margin", declared["equivalent"],
               "--output", out / "evaluation" / name)  # fmt: skip


def _record(plan: Plan) -> None:
    """OUTPUT/kept, which is what `runs/experiments/` has: figures of trainings and evaluations, and zipped runs."""
    kept = plan.output / "kept"
    kept.mkdir(exist_ok=True)
    splits = [*plan.declared["keep"], *(f"{place.name}.test" for place in plan.transfer)]
    later = tuple(f".{seed}" for seed in plan.seeds[1:])  # their figures are kept, their runs would be most of the size
    for split in splits:
        places = (plan.output.glob(f"bm25.{split}.trec"), (plan.output / "runs").glob(f"*.{split}.trec"))
        runs = sorted(run for place in places for run in place)
        runs = [run for run in runs if not run.name.removesuffix(f".{split}.trec").endswith(later)]
        for run in runs:
            packed = kept / f"{run.name}.gz"
            if not packed.exists():
                with atomic_file(packed, "wb") as handle:  # zips by the name
                    handle.write(run.read_bytes())
    costs, pretraining = plan.output / "costs.json", Path(plan.encoder) / "sdr_pretrain.json"
    write_json(
        kept / "results.json",
        {
            "experiment": plan.declared,
            "collection": plan.collection.name,
            "encoder": Path(plan.encoder).name,
            "pretraining": _facts(read_json(pretraining)) if pretraining.exists() else None,
            "machine": {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))},
            "versions": versions(),
            "costs": read_json(costs) if costs.exists() else {},
            "best": {a.name: best for a in plan.arms if a.headline and (best := plan.best(a)) is not None},
            "runs": plan.finished(),
            "evaluations": {
                path.parent.name: _evaluation(read_json(path)["results"])
                for path in sorted((plan.output / "evaluation").glob("*/results.json"))
            },
            "tuned": {path.stem: _tuned(read_json(path)) for path in sorted((plan.output / "tuned").glob("*.json"))},
        },
    )


def _facts(pretraining: dict[str, Any]) -> dict[str, Any]:
    return {key: pretraining[key] for key in ("spec", "steps", "documents", "held_out", "train_seconds")}


def _evaluation(found: dict[str, Any]) -> dict[str, Any]:
    """Without the paths of the machine that it was made on."""
    keys = ("name", "means", "intervals", "spread", "counts")
    return {
        "measures": found["measures"],
        "baselines": found["baselines"],
        "correction": found["correction"],
        "runs": [{key: run[key] for key in keys} | {"seeds": len(run["seeds"])} for run in found["runs"]],
        "comparisons": found["comparisons"],
    }


def _tuned(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("rule", "options")}


if __name__ == "__main__":
    main()
