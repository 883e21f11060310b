"""Fused runs equal those of stock `pyserini.fusion`, where it has the rule."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyserini_sdr.anserini.stock import StockCommand
from pyserini_sdr.trec.fuse import fuse_files
from pyserini_sdr.trec.run import RunWriter, read_run

from .together import run_together


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs that overlap in part, with ties, constant lists, and topics that only some of them have.

    No topic's id is a number, as stock would read 007 as 7.
    """
    rng = random.Random(11)
    folder = tmp_path_factory.mktemp("fusion")
    paths = []
    for number in range(3):
        paths.append(folder / f"{number}.txt")
        with RunWriter(paths[-1], f"run{number}") as writer:
            for topic in rng.sample(range(20), 15 + number):
                found = rng.sample(range(80), rng.randint(1, 40))
                scores = [rng.choice((rng.uniform(-2, 30), 7.0, 7.0)) if topic % 5 else 3.5 for _ in found]
                writer.write(f"q{topic}", [f"{docid:03d}" for docid in found], scores)
    return paths


CASES = [
    ("rrf", (), 3, "rrf", {}, 1000),
    ("rrf", ("--rrf.k", "7"), 2, "rrf", {"k": 7}, 10),
    ("interpolation", ("--alpha", "0.3"), 2, "stock-fusion", {"alpha": 0.3}, 1000),
    ("interpolation", (), 2, "interpolation", {}, 10),
    ("average", (), 3, "average", {}, 1000),
    ("average", (), 2, "average", {}, 10),
    ("normalize", (), 3, "combsum", {"normalization": "min-max"}, 1000),
    ("normalize", (), 2, "linear", {}, 1000),
]
"""Stock's method and flags, how many runs, our rule and its options, the depth. (With `normalize` and a depth, stock's
minimum is that of the documents it then drops.)"""


@pytest.fixture(scope="module")
def stock_runs(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What stock makes of each case."""
    folder = tmp_path_factory.mktemp("stock")
    outputs = [folder / f"{number}.txt" for number in range(len(CASES))]
    commands = []
    for output, (method, flags, count, _, _, depth) in zip(outputs, CASES, strict=True):
        words = ["--runs", *runs[:count], "--output", output, "--method", method, "--depth", depth, *flags]
        commands.append(StockCommand("pyserini.fusion", tuple(map(str, words))))
    run_together(commands)
    return outputs


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: f"{case}-{CASES[case][3]}")
def test_stock_fusion_gives_our_run(case: int, runs: list[Path], stock_runs: list[Path], tmp_path: Path):
    """Documents and scores."""
    _, _, count, rule, options, depth = CASES[case]
    fuse_files(runs[:count], tmp_path / "ours.txt", rule, depth=depth, **options)
    ours, theirs = read_run(tmp_path / "ours.txt"), read_run(stock_runs[case])
    assert set(ours) == set(theirs)
    for qid, scores in ours.items():
        assert scores == pytest.approx(theirs[qid], rel=1e-6, abs=1e-6), qid


def test_stock_loses_the_zeros_of_a_topic_that_we_keep(tmp_path):
    """Why a fused run of stock's may match no judgement: its topics are numbers."""
    for name in "ab":
        with RunWriter(tmp_path / f"{name}.txt") as writer:
            writer.write("007", ["d1", "d2"], [2.0, 1.0])
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    args = ("--runs", *map(str, paths), "--output", str(tmp_path / "stock.txt"))
    StockCommand("pyserini.fusion", args).run(output=tmp_path / "stock.txt")
    fuse_files(paths, tmp_path / "ours.txt", "rrf")
    assert list(read_run(tmp_path / "stock.txt")) == ["7"]
    assert list(read_run(tmp_path / "ours.txt")) == ["007"]
