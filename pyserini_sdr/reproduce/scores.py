"""Scores of cells: measured once per run, and compared with what is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..anserini.topics import qrels_path
from ..core.files import file_sha256, read_object
from ..core.manifest import write_manifest
from ..data.corpus import scan_corpus
from ..trec.measures import score_run
from ..trec.qrels import read_qrels
from .resolve import Cell

FOLDER = "scores"
"""In the output: a file per cell with what was measured."""
DIGITS = 4
"""Of scores that are compared, as trec_eval prints them."""


@dataclass(frozen=True)
class Score:
    """One measure of one cell.

    Args:
        label: of the measure.
        measured: None if the run is not there.
        expected: None if nothing is expected.
        tolerance: how far `measured` may lie from `expected`.
        same_corpus: whether it was measured on the corpus that `expected` is of.
    """

    label: str
    measured: float | None
    expected: float | None
    tolerance: float
    same_corpus: bool = True

    @property
    def difference(self) -> float | None:
        """Measured minus expected, both as printed."""
        if self.measured is None or self.expected is None:
            return None
        return round(round(self.measured, DIGITS) - self.expected, DIGITS)

    @property
    def good(self) -> bool | None:
        """Whether it is within tolerance; None without a verdict."""
        if self.difference is None or not self.same_corpus:
            return None
        return abs(self.difference) <= self.tolerance + 1e-9

    def __str__(self) -> str:
        if self.measured is None:
            return ""
        text = f"{self.measured:.{DIGITS}f}"
        if self.difference is None:
            return text
        return f"{text} ✓" if self.good else f"{text} {'' if self.same_corpus else '~ '}{self.difference:+.{DIGITS}f}"


def scores_of(cell: Cell, output: Path) -> list[Score]:
    """The scores of a cell, in the order of its measures; measured now if its run is there and they are not."""
    found: Mapping[str, Any] = {"scores": {}, "corpus": None}
    if cell.run.finished:
        file = output / FOLDER / f"{cell.name}.json"
        found = _kept(cell, file) or _measure(cell, file)
    measured, same = found["scores"], found["corpus"] is None or is_hash(found["corpus"], cell.corpus[1])
    expected = cell.condition.expected.get(cell.topics.name, {})
    tolerance = cell.condition.tolerance
    return [Score(label, measured.get(label), expected.get(label), tolerance, same) for label in cell.topics.measures]


def _definitions(cell: Cell) -> dict[str, Any]:
    """What the scores of a cell are of, beside its run and qrels."""
    measures = {label: [measure.name, measure.level] for label, measure in cell.topics.measures.items()}
    return {
        "condition": cell.condition.name,
        "topics": cell.topics.name,
        "measures": measures,
        "bound": bool(cell.corpus),
    }


def _kept(cell: Cell, file: Path) -> dict[str, Any] | None:
    """What was measured before, if it was of this run, these qrels and these measures."""
    if not file.exists():
        return None
    found = read_object(file, remedy="delete it, and it is measured again")
    hashes = [file_sha256(cell.run.made), file_sha256(qrels_path(cell.qrels))]
    same = [entry["sha256"] for entry in found.get("inputs", [])] == hashes and found.get("config") == _definitions(
        cell
    )
    return found if same else None


def _measure(cell: Cell, file: Path) -> dict[str, Any]:
    qrels = qrels_path(cell.qrels)
    judged = read_qrels(qrels)
    scores: dict[str, float] = {}
    for level in sorted({measure.level for measure in cell.topics.measures.values()}):
        wanted = {label: measure.name for label, measure in cell.topics.measures.items() if measure.level == level}
        found = score_run(judged, cell.run.made, list(wanted.values()), level)
        scores |= {label: found.mean(name) for label, name in wanted.items()}
    corpus = _corpus_hash(Path(cell.corpus[0])) if cell.corpus else None
    inputs = [cell.run.made, qrels]
    return write_manifest(file, "scores", config=_definitions(cell), inputs=inputs, scores=scores, corpus=corpus)


def _corpus_hash(path: Path) -> str:
    """SHA-256 over the ids and texts of a corpus or collection, as manifests of collections tell it."""
    manifest = path / "collection.json"
    known = (read_object(manifest).get("corpus") or {}).get("sha256") if manifest.exists() else None
    return known or scan_corpus(path, progress=False).sha256


def is_hash(found: str, wanted: str) -> bool:
    """Whether a hash is the wanted one, which may be shortened: `c012aeae…9adb3`."""
    start, _, end = wanted.partition("…")
    return found.startswith(start) and found.endswith(end)


def out_of_tolerance(scores: Sequence[Score]) -> list[Score]:
    """The scores that should be others."""
    return [score for score in scores if score.good is False]
