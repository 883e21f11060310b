from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.trec.run import RunWriter, iter_run, rank, read_run, run_topics

ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=6).filter(lambda s: s == s.strip())
scores32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
topics = st.dictionaries(ids, st.dictionaries(ids, scores32, min_size=1, max_size=8), min_size=1, max_size=5)


def as_text(run, **options):
    return [(d, np.float32(s)) for d, s in rank(list(run), list(run.values()), **options)]


def test_order_is_trec_evals():
    # 1.00000002 and 1.00000001 are one float32 number, so the ids decide: descending
    docids = ["a", "c", "b", "z"]
    assert [d for d, _ in rank(docids, [1.00000002, 1.00000001, 1.0, 0.5])] == ["c", "b", "a", "z"]
    assert [d for d, _ in rank(docids, [1.00000002, 1.00000001, 1.0, 0.5], 2)] == ["c", "b"]
    assert [d for d, _ in rank(["10", "9", "Z", "a", "é"], [0.0, -0.0, 0.0, 0.0, 0.0])] == ["é", "a", "Z", "9", "10"]
    assert rank([], []) == []
    assert rank(["a"], [1], 0) == []


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, st.sampled_from([0.0, -1.0, 1.0, 2.5, 1e-30]), max_size=30), st.integers(0, 30))
def test_cut_is_the_head_of_the_full_order(run, k):
    full = sorted(run.items(), key=lambda pair: (np.float32(pair[1]), pair[0].encode()), reverse=True)
    assert [d for d, _ in rank(list(run), list(run.values()))] == [d for d, _ in full]
    assert [d for d, _ in rank(list(run), list(run.values()), k)] == [d for d, _ in full[:k]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e39])
def test_rank_refuses_scores_that_are_not_float32(bad):
    with pytest.raises(ValueError, match="finite"):
        rank(["a"], [bad])


@settings(max_examples=40, deadline=None)
@given(topics)
def test_round_trip_keeps_float32_and_order(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("r") / "run.txt"
    with RunWriter(path, tag="t") as writer:
        for qid, documents in run.items():
            writer.write(qid, list(documents), list(documents.values()))
    back = list(iter_run(path))
    assert [qid for qid, _ in back] == list(run)
    for qid, ranking in back:
        assert [(d, np.float32(s)) for d, s in ranking] == as_text(run[qid])


def test_lines_as_written(tmp_path):
    path = tmp_path / "run.txt.gz"
    with RunWriter(path, tag="tag") as writer:
        writer.write("007", ["a", "b", "c"], np.array([0.1, 0.1, 12.5], dtype=np.float32), 2)
        writer.write("9", [], [])
    assert gzip.decompress(path.read_bytes()).decode() == "007 Q0 c 1 12.5 tag\n007 Q0 b 2 0.100000001 tag\n"
    with RunWriter(tmp_path / "m.tsv", format="msmarco") as writer:
        writer.write("007", ["a", "b"], [1, 2])
    assert (tmp_path / "m.tsv").read_text() == "007\tb\t1\n007\ta\t2\n"
    assert read_run(tmp_path / "m.tsv") == {"007": {"b": 1.0, "a": 0.5}}


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([("1", ["a", "b"], [1.0, float("nan")])], "document 'b' of topic '1' has the score nan"),
        ([("1", ["a"], [float("inf")])], "has the score inf"),
        ([("1", ["a", "b", "a"], [1, 2, 3])], "document 'a' twice in topic '1'"),
        ([("1", ["a b"], [1])], "id 'a b' contains white space"),
        ([("1", ["a\u00a0b"], [1])], "contains white space"),
        ([("1", [7], [1])], "id 7 is not a string"),
        ([("", ["a"], [1])], "empty id"),
        ([("1", ["a"], [1]), ("1", ["b"], [1])], "topic '1' is written twice"),
    ],
)
def test_writer_refuses_and_leaves_nothing(tmp_path, calls, message):
    with pytest.raises(DataError) as error, RunWriter(tmp_path / "run.txt") as writer:
        writer.write("0", ["fine"], [1.0])
        for call in calls:
            writer.write(*call)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_writer_refuses_a_tag_of_two_words(tmp_path):
    with pytest.raises(DataError, match="white space"):
        RunWriter(tmp_path / "run.txt", tag="my run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 Q0 a 1 2 t\n2 Q0 a 1 2 t\n1 Q0 b 2 1 t\n",
            "run.txt:3: topic '1' continues here after other topics; `python",
        ),
        ("1 Q0 a 1 2 t\n1 Q0 a 2 1 t\n", "run.txt:2: document 'a' twice in topic '1'"),
        ("1 Q0 a 1 nan t\n", "run.txt:1: score 'nan'"),
        ("1 Q0 a 1 -inf t\n", "run.txt:1: score '-inf'"),
        ("1 Q0 a 1 1e39 t\n", "run.txt:1: score '1e39'"),
        ("1 Q0 a 1 1_0 t\n", "run.txt:1: score '1_0'"),
        ("1 Q0 a 1 x t\n", "run.txt:1: score 'x'"),
        ("1 Q0 a 1 2 t\n1 Q0 b 2 1\n", "run.txt:2: 5 columns in '1 Q0 b 2 1'"),
        ("1 a 1\n1 Q0 b 2 1 t\n", "run.txt:2: 6 columns"),
        ("1 a 0\n", "run.txt:1: rank '0'"),
        ("1 a x\n", "run.txt:1: rank 'x'"),
        ("just one line of prose here\n", "run.txt:1: score 'prose'"),
        ("\n", "holds no results"),
    ],
)
def test_reader_names_place_and_value(tmp_path, text, message):
    path = tmp_path / "run.txt"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        list(iter_run(path))
    assert message in str(error.value)


def test_reader_streams(tmp_path):
    """The first topic comes out before a fault further down is met."""
    path = tmp_path / "run.txt"
    path.write_text("1 Q0 a 1 2 t\n2 Q0 a 1 2 t\nbroken\n")
    stream = iter_run(path)
    assert next(stream) == ("1", [("a", 2.0)])
    with pytest.raises(DataError, match=r"run\.txt:3"):
        list(stream)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="no such run file"):
        list(iter_run(tmp_path / "none.txt"))


def test_run_topics_counts_places(tmp_path):
    path = tmp_path / "run.txt"
    path.write_text("2 Q0 a 1 2 t\n1 Q0 a 1 2 t\n2 Q0 b 2 1 t\n")
    assert run_topics(path) == {"2": 2, "1": 1}


def test_run_topics_sees_every_way_to_write_an_id(tmp_path):
    """Ids that begin alike, other white space, blank lines, ids that are not ASCII; lines that are none of a run."""
    path = tmp_path / "run.txt"
    lines = [
        "1 Q0 a 1 2 t",
        "11 Q0 a 1 2 t",
        "1\tQ0\tb 1 2 t",
        "",
        " 1 Q0 c 1 2 t",
        "1",
        "é Q0 é 1 2 t",
        "é\u00a0 Q0 a 1 2 t",
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "1 Q0 d 1 1 t"]).encode())
    assert run_topics(path) == {"1": 3, "11": 1, "é": 1, "é\u00a0": 1}


@pytest.mark.parametrize("bad", ["nan", "1_0", "-inf", "1e39", "x", "٣"])
def test_a_bad_score_is_told_with_its_own_line(tmp_path, bad):
    path = tmp_path / "run.txt"
    path.write_text(f"1 Q0 a_b 1 3 t\n\n1 Q0 c 2 {bad} t\n1 Q0 d 3 1 t\n2 Q0 a 1 3 t\n", "utf-8")
    with pytest.raises(DataError, match=f"run.txt:3: score '{bad}'"):
        list(iter_run(path))
