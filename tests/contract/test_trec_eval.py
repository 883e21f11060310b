"""Our measures equal those of the trec_eval binary that Pyserini runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyserini_sdr.anserini.stock import trec_eval_commands
from pyserini_sdr.trec.measures import evaluate_run

MEASURES = ["map", "ndcg_cut_10", "recip_rank", "recall_20", "P_10", "recip_rank_cut_10"]


@pytest.fixture(scope="module")
def judged_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, int]], Path, Path]:
    """Graded qrels and a run full of ties, written in disorder, that lacks topics and has one nobody judged.

    Some scores differ only beyond a C float's precision: for trec_eval they are ties.
    """
    rng = random.Random(7)
    folder = tmp_path_factory.mktemp("trec_eval")
    documents = [f"d{number:03}" for number in range(200)]
    qrels = {f"q{n:02}": {d: rng.choice((0, 0, 1, 2)) for d in rng.sample(documents, 40)} for n in range(25)}
    lines = []
    for qid in [*list(qrels)[:22], "unjudged"]:
        ranked = rng.sample(documents, rng.randint(1, 60))
        scores = [rng.choice((1.0, 1.00000001, 1.00000002, 2.0, 2.5, -0.5, 17.123456)) for _ in ranked]
        lines += [f"{qid} Q0 {d} {i} {s!r} tag\n" for i, (d, s) in enumerate(zip(ranked, scores, strict=True), start=1)]
    (folder / "run.txt").write_text("".join(lines))
    (folder / "qrels.txt").write_text("".join(f"{q} 0 {d} {g}\n" for q, docs in qrels.items() for d, g in docs.items()))
    return qrels, folder / "qrels.txt", folder / "run.txt"


def binary_values(qrels: Path, run: Path, *, complete: bool = True) -> dict[str, dict[str, float]]:
    """Measure → topic (or `all`) → value as trec_eval prints it, under our names."""
    values: dict[str, dict[str, float]] = {}
    for command in trec_eval_commands(qrels, run, MEASURES, complete=complete, per_query=True):
        cut = "recip_rank_cut_10" if "-M" in command.args else None
        for line in command.run().stdout.splitlines():
            if line.count("\t") == 2:
                measure, qid, value = (part.strip() for part in line.split("\t"))
                values.setdefault(cut or measure, {})[qid] = float(value)
    return values


def test_measures_equal_the_binary(judged_run):
    qrels, qrels_path, run_path = judged_run
    ours = evaluate_run(qrels, run_path, MEASURES)
    binary = binary_values(qrels_path, run_path)
    assert set(ours) == set(binary) == set(MEASURES)
    for measure in MEASURES:
        assert set(ours[measure]) == set(qrels)
        mean = sum(ours[measure].values()) / len(qrels)
        assert mean == pytest.approx(binary[measure].pop("all"), abs=5.1e-5), measure
        assert len(binary[measure]) == 22  # trec_eval prints no line for topics without results
        for qid, value in ours[measure].items():
            assert value == pytest.approx(binary[measure].get(qid, 0.0), abs=5.1e-5), (measure, qid)


def test_all_judged_topics_count(judged_run):
    """Without -c the binary leaves the three topics without results out, and its means are higher."""
    _, qrels_path, run_path = judged_run
    complete, partial = binary_values(qrels_path, run_path), binary_values(qrels_path, run_path, complete=False)
    assert complete["map"]["all"] == pytest.approx(partial["map"]["all"] * 22 / 25, abs=1e-4)
