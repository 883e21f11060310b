from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.trec.fuse import RULES, fuse, fuse_files
from pyserini_sdr.trec.run import RunWriter, iter_run, rank, read_run

A = {"x": 3.0, "y": 2.0, "z": 1.0}
B = {"y": 0.9, "w": 0.5}


def test_rrf_by_hand():
    fused = fuse([A, B], "rrf")
    assert fused == pytest.approx({"x": 1 / 61, "y": 1 / 62 + 1 / 61, "z": 1 / 63, "w": 1 / 62})
    assert fuse([A, B], "rrf", k=0)["x"] == 1.0
    # ties have trec_eval's ranks: b before a
    assert fuse([{"a": 1.0, "b": 1.0}], "rrf", k=0) == {"b": 1.0, "a": 0.5}


def test_stock_hybrid_by_hand():
    dense, sparse = B, A
    assert fuse([dense, sparse], "stock-hybrid", alpha=0.1) == pytest.approx(
        {"y": 0.9 + 0.2, "w": 0.5 + 0.1 * 1.0, "x": 0.5 + 0.3, "z": 0.5 + 0.1}
    )
    assert fuse([dense, sparse], "stock-hybrid", alpha=0.1, weight_on_dense=True) == pytest.approx(
        {"y": 0.09 + 2, "w": 0.05 + 1, "x": 0.05 + 3, "z": 0.05 + 1}
    )
    normalised = fuse([dense, sparse], "stock-hybrid", alpha=1.0, normalization=True)
    assert normalised == pytest.approx({"y": 0.5 + 0.0, "w": -0.5 - 0.5, "x": -0.5 + 0.5, "z": -0.5 - 0.5})


def test_stock_hybrid_equals_stocks_function():
    """Stock's own function, taken from its source without importing pyserini (which starts a JVM)."""
    import ast
    import importlib.util
    import random
    from pathlib import Path
    from types import SimpleNamespace

    spec = importlib.util.find_spec("pyserini")
    if spec is None:
        pytest.skip("pyserini is not installed")
    source = Path(spec.submodule_search_locations[0], "search", "hybrid", "_searcher.py").read_text()
    function = next(n for n in ast.walk(ast.parse(source)) if getattr(n, "name", "") == "_hybrid_results")
    function.decorator_list = []
    scope = {"DenseSearchResult": lambda docid, score: SimpleNamespace(docid=docid, score=score)}
    exec(compile(ast.Module([function], []), "stock", "exec"), scope)
    generator = random.Random(0)
    for normalization in (False, True):
        for on_dense in (False, True):
            dense = {f"d{generator.randrange(30)}": generator.random() for _ in range(15)}
            sparse = {f"d{generator.randrange(30)}": 20 * generator.random() for _ in range(15)}
            hits = [[SimpleNamespace(docid=d, score=s) for d, s in run.items()] for run in (dense, sparse)]
            stock = scope["_hybrid_results"](*hits, 0.3, 100, normalization, on_dense)
            ours = fuse(
                [dense, sparse], "stock-hybrid", alpha=0.3, normalization=normalization, weight_on_dense=on_dense
            )
            assert ours == pytest.approx({hit.docid: hit.score for hit in stock})


def test_equal_scores_and_empty_runs_are_safe():
    flat = {"a": 2.0, "b": 2.0}
    assert fuse([flat, {}], "stock-hybrid", normalization=True, alpha=1.0) == {
        "a": -0.5,
        "b": -0.5,
    }  # stock: nothing = 0 on [0, 1]
    assert fuse([flat, {}], "linear") == {"a": 1.0, "b": 1.0}
    assert fuse([flat, {}], "linear", normalization="z-score") == {"a": 0.0, "b": 0.0}
    assert fuse([{}, {}], "rrf") == {}


def test_linear_interpolation_and_average_by_hand():
    assert fuse([A, B], "linear", weights=[1.0, 2.0]) == pytest.approx({"x": 1.0, "y": 0.5 + 2.0, "z": 0.0, "w": 0.0})
    assert fuse([A, B], "linear", normalization="none") == pytest.approx({"x": 3.0, "y": 2.9, "z": 1.0, "w": 0.5})
    z = fuse([A, B], "linear", normalization="z-score")
    assert z == pytest.approx({"x": 1.5**0.5, "y": 1.0, "z": -(1.5**0.5), "w": -1.0})
    for rule in ("stock-fusion", "interpolation"):
        assert fuse([A, B], rule, alpha=0.25) == pytest.approx({"x": 0.75, "y": 0.5 + 0.675, "z": 0.25, "w": 0.375})
    assert fuse([A, B, {}], "average") == pytest.approx({"x": 1.0, "y": 2.9 / 3, "z": 1 / 3, "w": 0.5 / 3})


def test_combsum_and_combmnz_by_hand():
    assert fuse([A, B], "combsum") == fuse([A, B], "linear") == pytest.approx({"x": 1.0, "y": 1.5, "z": 0.0, "w": 0.0})
    assert fuse([A, B], "combmnz") == pytest.approx({"x": 1.0, "y": 3.0, "z": 0.0, "w": 0.0})
    assert fuse([A, B, B], "combmnz", normalization="none") == pytest.approx({"x": 3.0, "y": 11.4, "z": 1.0, "w": 2.0})
    z = fuse([A, B], "combmnz", normalization="z-score")
    assert z == pytest.approx({"x": 1.5**0.5, "y": 2.0, "z": -(1.5**0.5), "w": -1.0})
    assert fuse([A, {}], "combmnz") == fuse([A], "combsum")


@pytest.mark.parametrize(
    ("runs", "rule", "options", "message"),
    [
        ([A, B], "borda", {}, "unknown fusion rule 'borda'"),
        ([A, B], "rrf", {"alpha": 0.1}, "'rrf' takes no option 'alpha' (it takes k)"),
        ([A, B, A], "stock-hybrid", {}, "takes two runs (the dense run, then the sparse one), got 3"),
        ([A], "interpolation", {}, "takes two runs"),
        ([A, B], "linear", {"weights": [1.0]}, "1 weights for 2 runs"),
        ([A, B], "linear", {"normalization": "minmax"}, "did you mean 'min-max'"),
        ([], "rrf", {}, "no runs"),
    ],
)
def test_misuse(runs, rule, options, message):
    with pytest.raises(UsageError) as error:
        fuse(runs, rule, **options)
    assert message in str(error.value)


def write(path, run):
    with RunWriter(path, "t") as writer:
        for qid, documents in run.items():
            writer.write(qid, list(documents), list(documents.values()))
    return path


def test_files_with_different_topics_and_orders(tmp_path):
    first = write(tmp_path / "a.txt", {"007": A, "2": B, "3": A})
    second = write(tmp_path / "b.txt", {"3": B, "4": B, "007": B})
    assert fuse_files([first, second], tmp_path / "f.txt", "average", hits=2) == 4
    fused = read_run(tmp_path / "f.txt")
    assert list(fused) == ["007", "2", "3", "4"]
    assert fused["2"] == pytest.approx({"y": 0.45, "w": 0.25})
    assert fused["3"] == fused["007"] == pytest.approx({"x": 1.5, "y": 1.45})
    fuse_files([first, second], tmp_path / "d.txt", "average", depth=1)
    assert read_run(tmp_path / "d.txt")["3"] == pytest.approx({"x": 1.5, "y": 0.45})


def test_a_fault_anywhere_leaves_no_output(tmp_path):
    first = write(tmp_path / "a.txt", {"1": A})
    second = write(tmp_path / "b.txt", {"1": B, "2": B})
    with second.open("a") as handle:
        handle.write("2 Q0 q 3 nan t\n")
    with pytest.raises(DataError, match=r"b\.txt:5"):
        fuse_files([first, second], tmp_path / "f.txt", "rrf")
    with pytest.raises(UsageError, match="weights"):
        fuse_files([first, second], tmp_path / "f.txt", "linear", weights=[1.0])
    with pytest.raises(DataError, match="no such run file"):
        fuse_files([first, tmp_path / "none"], tmp_path / "f.txt", "rrf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_same_bytes_under_every_hash_seed(tmp_path):
    """Of every rule, over lists full of ties."""
    first = write(tmp_path / "a.txt", {"1": {f"d{i}": float(i % 3) for i in range(20)}})
    second = write(tmp_path / "b.txt", {"1": {f"d{i}": float(i % 2) for i in range(10, 30)}})
    program = (
        "import sys; from pyserini_sdr.trec.fuse import RULES, fuse_files\n"
        "for rule in RULES: fuse_files(sys.argv[1:3], f'{sys.argv[3]}.{rule}', rule)"
    )
    for seed in ("0", "1"):
        command = [sys.executable, "-c", program, str(first), str(second), str(tmp_path / seed)]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed}, capture_output=True)
    for rule in RULES:
        assert (tmp_path / f"0.{rule}").read_bytes() == (tmp_path / f"1.{rule}").read_bytes()
        assert len(next(iter_run(tmp_path / f"0.{rule}"))[1]) == 30


scores = st.sampled_from([0.0, 1.0, 2.5, -3.0, 0.1, 0.2, 0.3, 1e-7, 1e6])
one_run = st.dictionaries(st.sampled_from(["7", "07", "007", "a", "b", "1e3", "é"]), scores, max_size=7)
SYMMETRIC = [
    ("rrf", {}),
    ("rrf", {"k": 0}),
    *(("linear", {"normalization": n}) for n in ("none", "min-max", "z-score")),
    *(("combmnz", {"normalization": n}) for n in ("none", "min-max", "z-score")),
    ("combsum", {}),
    ("average", {}),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(one_run, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_neither_the_order_of_runs_nor_of_documents_changes_a_bit(runs, random):
    """Of the rules that treat runs alike; of linear with weights, if they move with their runs."""
    shuffled = []
    order = random.sample(range(len(runs)), len(runs))
    for place in order:
        documents = list(runs[place].items())
        random.shuffle(documents)
        shuffled.append(dict(documents))
    for rule, options in SYMMETRIC:
        assert fuse(shuffled, rule, **options) == fuse(runs, rule, **options)
    weights = [0.1 * (n + 1) for n in range(len(runs))]
    moved = [weights[place] for place in order]
    assert fuse(shuffled, "linear", weights=moved) == fuse(runs, "linear", weights=weights)


@settings(max_examples=60, deadline=None)
@given(st.lists(one_run, min_size=2, max_size=2))
def test_every_rule_ranks_exactly_the_documents_found(runs):
    """Ids stay the strings they are: 7, 07 and 007 are three documents."""
    for rule in RULES:
        assert fuse(runs, rule).keys() == runs[0].keys() | runs[1].keys()


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["7", "007", "q", "1e3"]), st.lists(one_run, min_size=2, max_size=2), min_size=1, max_size=4
    ).filter(lambda topics: all(any(runs[side] for runs in topics.values()) for side in (0, 1))),
    st.randoms(use_true_random=False),
)
def test_topics_in_any_order_give_the_same_lists(tmp_path_factory, topics, random):
    folder = tmp_path_factory.mktemp("t")
    fused = []
    for attempt in range(2):
        paths = []
        for side in range(2):
            order = [qid for qid in random.sample(list(topics), len(topics)) if topics[qid][side]]
            paths.append(write(folder / f"{side}.txt", {qid: topics[qid][side] for qid in order}))
        fuse_files(paths, folder / f"f{attempt}.txt", "combmnz")
        fused.append({qid: list(found.items()) for qid, found in read_run(folder / f"f{attempt}.txt").items()})
    assert fused[0] == fused[1]
    for qid, found in fused[0].items():
        expected = fuse(topics[qid], "combmnz")
        assert [docid for docid, _ in found] == [docid for docid, _ in rank(list(expected), list(expected.values()))]
