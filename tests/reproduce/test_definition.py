"""Matrices as data: what a file may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.reproduce.definition import Measure, load_matrix, read_matrix
from pyserini_sdr.reproduce.listing import listing

from .conftest import MATRIX


def test_a_users_file_is_a_matrix(matrix_file: Path) -> None:
    matrix = read_matrix(matrix_file)
    assert matrix.name == "own" and list(matrix.conditions) == ["start", "trained", "fused"]
    assert matrix.topics["dev"].measures == {"nDCG@10": Measure("ndcg_cut_10"), "MAP": Measure("map", 1)}
    assert matrix.conditions["fused"].display == "fused" and matrix.conditions["start"].tolerance == 0.001


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("summary:", "sumary:", "unknown key 'sumary'; did you mean 'summary'"),
        ("MAP: {measure: map, level: 1}", "MAP: mapp", "topics: test: measure MAP: unknown measure 'mapp'"),
        ("MAP: {measure: map, level: 1}", "MAP: {measure: map, level: two}", "topics: test: measure MAP: invalid lit"),
        ("collection: tiny\n", "collection: tny\n", "topics: test: unknown collection 'tny'; did you mean 'tiny'?"),
        ("display: as it comes", "diplay: as it comes", "unknown key of condition start 'diplay'"),
        ("tolerance: 0.001", "tolerance: wide", "conditions: start: tolerance 'wide': expected a number from 0"),
        ("tolerance: 0.001", "expected: {tst: {}}", "conditions: start: expected: unknown topics 'tst'; did you mean"),
        (
            "tolerance: 0.001",
            "expected: {test: {ndcg: 1}}",
            "expected: unknown measure of topics test 'ndcg'; known: MAP, nDCG@10",
        ),
        ("tolerance: 0.001", "expected: {test: {MAP: high}}", "expected: MAP on test: no number: 'high'"),
        (
            "tolerance: 0.001",
            "downloads: [x]",
            "conditions: start: download 'x': expected KIND:NAME, KIND one of index",
        ),
        ("  start: encode", "  made: encode", "steps: 'made' cannot be the name of a step"),
        ("--method rrf", "--method 'rrf", "conditions: fused: search: expected a command, as after"),
        ("    search: run fuse", "    serch: run fuse", "unknown key of condition fused 'serch'"),
        ("tiny: {path:", "tiny: {corpus: ab, pth:", "collections: tiny: corpus is the hash of what lies at path"),
        ("  start:\n    display", "  a/b:\n    display", "conditions: name 'a/b': expected letters and digits"),
        ("  dev: {<<", "  2019: {<<", "topics: name 2019: expected letters and digits"),
        (
            "with: {loss: distributed-margin}",
            "with: {loss: [a]}",
            "conditions: trained: with: loss: expected text or a",
        ),
        ("conditions:\n", "sizes: {x: 3 GB}\nconditions:\n", "sizes: x: expected bytes, found '3 GB'"),
    ],
)
def test_what_is_wrong_is_said(old: str, new: str, message: str, matrix_file: Path) -> None:
    assert old in MATRIX
    matrix_file.write_text(MATRIX.replace(old, new, 1), "utf-8")
    with pytest.raises(DataError) as caught:
        read_matrix(matrix_file)
    assert str(matrix_file) in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("text", ["[1]", "summary: x\n", "summary: [", "topics: 3\nconditions: {}\n"])
def test_what_is_no_matrix_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=r"own\.yaml"):
        read_matrix(path)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown matrix 'pydoc'; did you mean 'pydocs'\? \(--file gives"):
        load_matrix("pydoc")


def test_the_list_tells_matrices_downloads_and_needs() -> None:
    text = listing()
    assert [line.partition(":")[0] for line in text.splitlines() if not line.startswith(" ") and line] == [
        *("beir", "local", "msmarco-v1-passage", "pydocs")
    ]
    assert "all conditions; 178.2 GB in all" in text and "scifact=… vaswani=… cacm=… wiki_union=…" in text
    one = listing(load_matrix("msmarco-v1-passage"))
    assert "index:msmarco-v1-passage.ance (25.1 GB)" in one and "model:microsoft/mpnet-base" in one
    assert "a GPU: 20,000 steps" in one and "could not be had" in one
