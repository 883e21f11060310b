from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.trec.qrels import read_qrels, write_qrels

ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(lambda s: s == s.strip())
judged = st.dictionaries(ids, st.integers(-2, 4), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, judged, min_size=1, max_size=5))
def test_round_trip(tmp_path_factory, qrels):
    path = tmp_path_factory.mktemp("q") / "qrels.txt"
    write_qrels(path, qrels)
    assert read_qrels(path) == qrels


def test_trec_with_any_white_space(tmp_path):
    path = tmp_path / "qrels.txt"
    path.write_text("007 0 01 1\n\n007\tQ0\td\u00a02  -1\n8   0 01\t2\r\n", encoding="utf-8")
    assert read_qrels(path) == {"007": {"01": 1, "d\u00a02": -1}, "8": {"01": 2}}


def test_beir_with_header(tmp_path):
    path = tmp_path / "test.tsv"
    path.write_text("query-id\tcorpus-id\tscore\n007\t01\t1\n8\t01\t0\n")
    assert read_qrels(path) == {"007": {"01": 1}, "8": {"01": 0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 a 1\n1 0 a 0\n", "qrels.txt:2: document 'a' is judged twice for query '1' (grades 1 and 0)"),
        ("1 0 a 1.0\n", "qrels.txt:1: grade '1.0'"),
        ("1 0 a 1_0\n", "qrels.txt:1: grade '1_0'"),
        ("1 0 a 1000000000\n", "qrels.txt:1: grade"),
        ("1 0 a 1\n1 a 1\n", "qrels.txt:2: 3 columns"),
        ("query-id corpus-id score\n1 0 a 1\n", "qrels.txt:2: 4 columns in '1 0 a 1'; expected query-id"),
        ("\n", "holds no judgements"),
    ],
)
def test_faults_name_place_and_value(tmp_path, text, message):
    path = tmp_path / "qrels.txt"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_qrels(path)
    assert message in str(error.value)


def test_writer_refuses_white_space(tmp_path):
    with pytest.raises(DataError, match="white space"):
        write_qrels(tmp_path / "q", {"1": {"a b": 1}})
    assert list(tmp_path.iterdir()) == []
