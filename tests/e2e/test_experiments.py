"""The paper's experiments at tiny size: grid, seeds, test, transfer, fusion and figures; and the tables of the page."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from ..conftest import ROOT
from ..tiny import make_tiny_collection
from .preloaded import preloaded
from .test_adapt import ENVIRONMENT

TINY: dict[str, Any] = {
    "dev": ["dev"],
    "test": ["test"],
    "keep": ["test"],
    "fused": ["untrained"],
    "baselines": ["untrained", "infonce"],
    "equivalent": 0.05,
    "negatives": "bm25",
    "queries": 16,
    "seeds": [0, 1],
    "train": {
        "query-max-length": 16,
        "max-length": 32,
        "batch-size": 4,
        "max-steps": 2,
        "eval-steps": 1,
        "learning-rate": 1e-3,
        "patience": 0,
    },
    "arms": [
        {"name": "infonce", "loss": ["infonce"], "headline": True, "grid": {"infonce.temperature": [0.05, 0.1]}},
        {"name": "distributed-margin", "loss": ["distributed-margin"], "headline": True, "seeds": [0]},
        {"name": "rate", "loss": ["infonce"], "grid": {"--learning-rate": [1e-4]}},
    ],
}


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "run_scripts" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    if str(ROOT / "run_scripts") not in sys.path:  # as where it is run: scripts import their neighbours
        sys.path.append(str(ROOT / "run_scripts"))
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def run(*words: object, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT | ({"PYTHON": str(python / "python")} if python else {})
    command = [sys.executable, str(ROOT / "run_scripts" / "experiments.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_collection, tiny_encoder, found_java) -> Path:
    """The output of one call."""
    from pyserini_sdr.model.checkpoint import save_checkpoint
    from pyserini_sdr.model.encoder import BiEncoder

    folder = tmp_path_factory.mktemp("experiments")
    make_tiny_collection(folder / "other", documents=30, seed=1)
    encoder = BiEncoder.load(tiny_encoder, device="cpu", raw_backbone=True)
    save_checkpoint(folder / "encoder", encoder.backbone, encoder.tokenizer, encoder.spec)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    with preloaded(ENVIRONMENT) as python:
        done = run(*words(folder, tiny_collection), python=python)
    assert done.returncode == 0, done.stderr[-2000:] + (folder / "out/log.txt").read_text()[-3000:]
    return folder


def words(folder: Path, collection: Path) -> list[object]:
    places = ("--collection", collection, "--encoder", folder / "encoder", "--transfer", folder / "other")
    return [folder / "tiny.yaml", *places, "--output", folder / "out"]


def kept(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out/kept/results.json").read_text())


def test_all_points_once_and_the_best_with_all_seeds(folder: Path) -> None:
    found = [(r["arm"], r["seed"], *r["point"].values()) for r in kept(folder)["runs"]]
    best = kept(folder)["best"]["infonce"]["infonce.temperature"]
    expected = [("infonce", 0, 0.05), ("infonce", 0, 0.1), ("infonce", 1, best), ("distributed-margin", 0)]
    assert sorted(found) == sorted([*expected, ("rate", 0, 1e-4)])
    points = {r["point"].get("infonce.temperature"): r["best"] for r in kept(folder)["runs"] if r["seed"] == 0}
    assert points[best] == max(points[0.05], points[0.1])
    assert all(r["cpu_seconds"] >= 0 and [e["step"] for e in r["curve"]] == [0, 1, 2] for r in kept(folder)["runs"])


def test_evaluations_average_the_seeds_and_hold_no_path(folder: Path) -> None:
    evaluations = kept(folder)["evaluations"]
    assert set(evaluations) == {"dev", "test", "other"}
    seeds = {run["name"]: run["seeds"] for run in evaluations["test"]["runs"]}
    assert seeds == {"bm25": 0, "untrained": 0, "untrained+bm25": 0, "distributed-margin": 0, "infonce": 2}
    assert {run["name"] for run in evaluations["other"]["runs"]} == {
        *("bm25", "untrained", "infonce", "distributed-margin"),
    }
    assert str(folder) not in (folder / "out/kept/results.json").read_text()


def test_runs_are_kept_zipped(folder: Path) -> None:
    names = {path.name for path in (folder / "out/kept").glob("*.gz")}
    systems = ("bm25", "untrained", "infonce.0", "distributed-margin.0")
    expected = {f"{system}.{split}.trec.gz" for system in systems for split in ("test", "other.test")}
    assert names == expected | {"untrained+bm25.test.trec.gz"}  # of the first seed, and no dev
    run = folder / "out/runs/infonce.0.test.trec"
    assert gzip.decompress((folder / "out/kept/infonce.0.test.trec.gz").read_bytes()) == run.read_bytes()


def test_a_second_call_does_nothing_again(folder: Path, tiny_collection: Path) -> None:
    log, before = folder / "out/log.txt", kept(folder)
    written = log.read_text()
    done = run(*words(folder, tiny_collection))
    assert done.returncode == 0, done.stderr[-2000:]
    assert log.read_text() == written
    assert kept(folder) == before


def test_an_arm_that_is_not_there(folder: Path, tiny_collection: Path) -> None:
    done = run(*words(folder, tiny_collection), "--only", "infonse")
    assert done.returncode == 1 and "no arm infonse; known: infonce, distributed-margin, rate" in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "run_scripts/experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_declared_experiments_are_commands_that_parse(path: Path) -> None:
    from pyserini_sdr.core import options as opt
    from pyserini_sdr.losses import parse_losses
    from pyserini_sdr.train.options import TrainOptions

    declared = yaml.safe_load(path.read_text())
    arms = [script("experiments").Arm(**entry) for entry in declared["arms"]]
    assert set(declared["baselines"]) - {"untrained"} <= {arm.name for arm in arms if arm.headline}
    assert set(declared["fused"]) - {"untrained"} <= {arm.name for arm in arms if arm.headline}
    for arm in arms:
        for point in arm.points():
            flags = declared["train"] | arm.flags | {k[2:]: v for k, v in point.items() if k.startswith("--")}
            words = [str(word) for key, value in flags.items() for word in (f"--{key}", value)]
            given = ("--collection", "c", "--encoder", "e", "--output", "o", *words, "--loss", *arm.loss)
            opt.parse(opt.Parser(prog="train"), TrainOptions, given)
            own = [f"{k}={str(v).lower()}" for k, v in point.items() if not k.startswith("--")]
            parse_losses(arm.loss, [*arm.options, *own])


def test_tables_of_the_page(folder: Path) -> None:
    results = script("results")
    found = kept(folder)
    systems = results.systems(found, "test").splitlines()
    assert systems[0].split("|")[2].strip().startswith("nDCG@10 [95") and len(systems) == 2 + 5
    infonce = next(line for line in systems if line.startswith("| `infonce`"))
    assert "(2)" in infonce and infonce.count("|") == systems[0].count("|")
    cost = results.cost(found).splitlines()
    assert [line.split("|")[1].strip() for line in cost[2:]] == ["`distributed-margin`", "`infonce`"]
    grids = results.grids(found, "infonce rate").splitlines()
    assert len(grids) == 2 + 3 and grids[-1].split("|")[1].strip() == "`rate` learning-rate 0.0001"


def test_when_a_curve_passes_a_goal() -> None:
    def run(arm: str, seed: int, gains: list[float], seconds: float) -> dict[str, object]:
        curve = [{"step": 10 * (i + 1), "ndcg_cut_10": 0.1 + gain} for i, gain in enumerate(gains)]
        facts = {"untrained": 0.1, "triples": 320, "steps": 10 * len(gains), "cpu_seconds": seconds}
        return {"arm": arm, "seed": seed, "point": {}, "curve": curve} | facts

    experiment = {
        "experiment": {"seeds": [0, 1]},
        "best": {"kl": {}, "infonce": {}, "static-margin": {}},
        "costs": {"cross/sdr_teach.json": 30.0, "scored.jsonl.json": 10.0, "groups.jsonl.json": 5.0},
        "runs": [
            run("kl", 0, [0.1, 0.2, 0.1, 0.1], 40.0),
            run("infonce", 0, [0.0, 0.1, 0.2, 0.5], 20.0),
            run("infonce", 1, [0.1, 0.4, 0.1, 0.3], 30.0),
            run("static-margin", 0, [0.1, 0.1, 0.1, 0.19], 40.0),
        ],
    }
    student, static, infonce = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in script("results").reach(experiment, "kl").splitlines()[2:]
    )
    assert student == ["`kl`", "+0.200", "160", "", "60", ""]  # half of 40 s, and the teacher
    assert static == ["`static-margin`", "+0.190", "not reached", "", "", ""]
    assert infonce == ["`infonce`", "+0.400", "160", "100 %", "12", "5 ×"]  # mean gains .05, .25, .15, .4; half of 25 s


def test_the_page_is_what_the_results_say() -> None:
    results = script("results")
    text = results.PAGE.read_text("utf-8")
    assert text.count("<!-- begin ") > 3
    assert results.page(text) == text
