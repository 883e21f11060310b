"""What tests of reproductions share: a matrix on the tiny collection, with the tiny encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.reproduce.engine import reproduce
from pyserini_sdr.reproduce.options import ReproduceOptions

from ..recipe.conftest import in_this_process

MATRIX = """
summary: an encoder as it comes and trained, on <b>tiny</b>
source: measured & kept
settings: {data: null, encoder: null, steps: 2, hits: 10}
collections:
  tiny: {path: "{data}"}
topics:
  test: &topics
    collection: tiny
    topics: "{path}/topics.test.tsv"
    qrels: "{path}/qrels.test.txt"
    measures: {nDCG@10: ndcg_cut_10, MAP: {measure: map, level: 1}}
  dev: {<<: *topics, topics: "{path}/topics.dev.tsv", qrels: "{path}/qrels.dev.txt"}
steps:
  start: encode input --corpus {path} output --embeddings {made} --to-faiss encoder --encoder {encoder} --pooling mean
    --l2-norm --max-length 32 --device cpu
  groups: mine --collection {path} --index {start} --negatives 2 --output {made}
  checkpoint: train --collection {path} --encoder {encoder} --groups {groups} --loss {loss} --pooling mean
    --max-length 32 --query-max-length 16 --max-steps {steps} --batch-size 4 --device cpu --output {made}
  index: encode input --corpus {path} output --embeddings {made} --to-faiss encoder --encoder {checkpoint} --device cpu
conditions:
  start:
    display: as it comes
    search: search dense --index {start} --topics {topics} --output {made} --hits {hits} --device cpu
    tolerance: 0.001
  trained:
    display: trained, <i>two</i> steps
    with: {loss: distributed-margin}
    search: search dense --index {index} --topics {topics} --output {made} --hits {hits} --device cpu
  fused:
    search: run fuse --runs {runs/start} {runs/trained} --method rrf --output {made}
"""


@pytest.fixture
def matrix_file(tmp_path: Path) -> Path:
    """The matrix, as a file of the user's."""
    path = tmp_path / "own.yaml"
    path.write_text(MATRIX, "utf-8")
    return path


class Runner:
    """Runs commands in this process, and counts them.

    Attributes:
        ran: the words of each command so far.
        status: of all commands from now on, in place of running them, if not None.
    """

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.status: int | None = None

    def __call__(self, words) -> int:
        self.ran.append(list(words))
        return in_this_process(words) if self.status is None else self.status


@pytest.fixture
def runner() -> Runner:
    return Runner()


@pytest.fixture
def go(tmp_path: Path, matrix_file: Path, tiny_collection: Path, tiny_encoder: Path, runner: Runner):
    """Reproduces the matrix; returns the exit status."""

    def run(*settings: str, **options) -> int:
        given = [f"data={tiny_collection}", f"encoder={tiny_encoder}", *settings]
        chosen = {"file": matrix_file, "output": tmp_path / "out", "set": given, **options}
        return reproduce(ReproduceOptions(**chosen), runner)

    return run
