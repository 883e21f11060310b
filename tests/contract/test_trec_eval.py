"""Our measures equal those of the trec_eval binary that Pyserini runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyserini_sdr.anserini.stock import StockCommand, trec_eval_commands
from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.evaluate.presets import PRESETS
from pyserini_sdr.trec.names import CUT, PLAIN, Measure, canonical_all

from .together import run_together

MEASURES = canonical_all(
    [
        *PLAIN,
        *(f"{base}_{cut}" for base in CUT if base != "judged" for cut in (1, 10)),
        *("IPrec@0.1", "Rprec_mult_0.4", "R@1000"),
        *("AP(rel=2)", "RR(rel=2)", "RR(rel=2)@10", "R(rel=2)@1000", "P(rel=2)@10", "Bpref(rel=2)", "Rprec(rel=2)"),
        *("AP(rel=3)@20", "Success(rel=3)@5"),
    ]
)
TOPICS, MISSING = 25, 3
SEEDS = (7, 8, 9)


def make(folder: Path, *seeds: int) -> tuple[Path, Path]:
    """Graded qrels and a run full of ties, written in disorder, that lacks topics and has some that nobody judged.

    Some scores differ only beyond a C float's precision: for trec_eval they are ties. Most documents of the run are
    unjudged; some topics have no document of grade 2, one of each seed no relevant one at all.
    """
    qrels, lines = [], []
    for seed in seeds:
        rng = random.Random(seed)
        documents = [f"d{number:03}" for number in range(200)]
        judged = [f"s{seed}q{number:02}" for number in range(TOPICS)]
        for number, qid in enumerate(judged):
            grades = [(0,), (0, 1), (0, 0, 1, 2), (-1, 0, 1, 2, 3)][min(number, rng.randint(1, 3))]
            qrels += [f"{qid} 0 {docid} {rng.choice(grades)}\n" for docid in rng.sample(documents, 40)]
        for qid in [*rng.sample(judged, TOPICS - MISSING), f"s{seed}unjudged"]:
            ranked = rng.sample(documents, rng.randint(1, 150))
            scores = [rng.choice((1.0, 1.00000001, 1.00000002, 2.0, 2.5, -0.5, 17.123456)) for _ in ranked]
            lines += [f"{qid} Q0 {d} {i} {s!r} tag\n" for i, (d, s) in enumerate(zip(ranked, scores, strict=True), 1)]
    (folder / "run.txt").write_text("".join(lines))
    (folder / "qrels.txt").write_text("".join(qrels))
    return folder / "qrels.txt", folder / "run.txt"


def flag(command: StockCommand, name: str) -> str | None:
    return command.args[command.args.index(name) + 1] if name in command.args else None


def binary_values(commands: list[StockCommand], outputs: list[str]) -> dict[str, dict[str, float]]:
    """Measure → topic (or `all`) → value as trec_eval prints it, under our names."""
    values: dict[str, dict[str, float]] = {}
    for command, output in zip(commands, outputs, strict=True):
        level, depth = flag(command, "-l"), flag(command, "-M")
        for line in output.splitlines():
            if line.count("\t") == 2:
                printed, qid, value = (part.strip() for part in line.split("\t"))
                base = f"recip_rank_cut_{depth}" if depth else printed
                name = str(Measure(base, level=int(level) if level else None))
                values.setdefault(name, {})[qid] = float(value)
    return values


def test_measures_equal_the_binary(tmp_path):
    qrels, run = make(tmp_path, *SEEDS)
    result = evaluate_runs(qrels, {"run": run}, metrics=MEASURES).runs[0]
    commands = trec_eval_commands(qrels, run, MEASURES, per_query=True)
    binary = binary_values(commands, run_together(commands))
    assert set(result.values) == set(binary) == set(MEASURES)
    for measure in MEASURES:
        assert result.means[measure] == pytest.approx(binary[measure].pop("all"), abs=5.1e-5), measure
        assert len(result.values[measure]) == TOPICS * len(SEEDS)
        # trec_eval prints no line for topics without results
        assert len(binary[measure]) == (TOPICS - MISSING) * len(SEEDS)
        for qid, value in result.values[measure].items():
            assert value == pytest.approx(binary[measure].get(qid, 0.0), abs=5.1e-5), (measure, qid)


def test_presets_equal_the_commands_they_print(tmp_path):
    qrels, run = make(tmp_path, 1)
    results = {preset: evaluate_runs(qrels, {"run": run}, preset=preset) for preset in PRESETS}
    commands = [
        (preset, StockCommand(module, (*words[:-1], str(run))))
        for preset, result in results.items()
        for module, *words in (line.split()[2:] for line in result.trec_eval())
    ]
    outputs = run_together([command for _, command in commands])
    for preset, result in results.items():
        own = [(command, output) for (name, command), output in zip(commands, outputs, strict=True) if name == preset]
        binary = binary_values(*map(list, zip(*own, strict=True)))
        means = {name: pytest.approx(values["all"], abs=5.1e-5) for name, values in binary.items()}
        assert means == result.runs[0].means, preset


def test_a_level_for_all_equals_the_binary(tmp_path):
    qrels, run = make(tmp_path, 2)
    measures = ["map", "ndcg_cut_10", "recip_rank_cut_10", "recall_20"]
    result = evaluate_runs(qrels, {"run": run}, metrics=measures, relevance_level=2).runs[0]
    words = ["-m", "map", "-m", "ndcg_cut.10", "-m", "recall.20"]
    commands = [
        StockCommand("pyserini.eval.trec_eval", ("-c", "-l", "2", *more, str(qrels), str(run)))
        for more in (words, ["-M", "10", "-m", "recip_rank"])
    ]
    values = binary_values(commands, [command.run().stdout for command in commands])  # the commands as they are
    binary = {name.removesuffix("(rel=2)"): by_topic["all"] for name, by_topic in values.items()}
    assert binary == pytest.approx(result.means, abs=5.1e-5)


def test_all_judged_topics_count(tmp_path):
    """Without -c the binary leaves the topics without results out, and its means are higher."""
    qrels, run = make(tmp_path, 7)
    commands = [trec_eval_commands(qrels, run, ["map"], complete=complete)[0] for complete in (True, False)]
    complete, partial = (
        binary_values([command], [output])["map"]["all"]
        for command, output in zip(commands, run_together(commands), strict=True)
    )
    assert complete == pytest.approx(partial * (TOPICS - MISSING) / TOPICS, abs=1e-4)
    assert complete < partial
