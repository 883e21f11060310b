from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.trec.topics import read_topics, write_topics

ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(lambda s: s == s.strip())
queries = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda s: s.split())


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, queries, min_size=1, max_size=8))
def test_round_trip_up_to_white_space(tmp_path_factory, topics):
    path = tmp_path_factory.mktemp("t") / "topics.tsv"
    write_topics(path, topics)
    expected = {qid: " ".join(query.split()) for qid, query in topics.items()}
    assert read_topics(path) == expected
    assert list(read_topics(path)) == list(topics)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "007\tfirst query\n\n8\tsecond\t query \r\n"),
        ("t.txt", "\ufeff007\tfirst query\n8\tsecond\t query\n"),
        ("t.json", json.dumps({"007": {"title": "first query"}, "8": "second\t query"})),
        ("t.jsonl", '{"_id": "007", "text": "first query"}\n{"qid": 8, "title": "second\\t query"}\n'),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_formats_agree_and_ids_stay_strings(tmp_path, name, text, compressed):
    path = tmp_path / (name + ".gz" * compressed)
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    assert read_topics(path) == {"007": "first query", "8": "second\t query"}


TREC = """
<top>
<num> Number: 301
<title> International
Organized Crime
<desc> Description:
Identify organizations.
</top>

<top>
<num>302</num>
<title>Topic: poliomyelitis</title>
</top>
"""


@pytest.mark.parametrize("name", ["topics.trec", "topics.301-302.txt"])
def test_trec_topics(tmp_path, name):
    path = tmp_path / name
    path.write_text(TREC)
    assert read_topics(path) == {"301": "International Organized Crime", "302": "poliomyelitis"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "1\tok\n2 no tab\n", "t.tsv:2: no tab in '2 no tab'"),
        ("t.tsv", "1\tok\n2\t \n", "t.tsv:2: query '2' is empty"),
        ("t.tsv", "1\tok\n1\tagain\n", "t.tsv:2: duplicate query id '1' (first on line 1)"),
        ("t.tsv", "1 2\tok\n", "t.tsv:1: id '1 2' contains white space"),
        ("t.tsv", "\tok\n", "t.tsv:1: empty id"),
        ("t.tsv", "\n", "holds no topics"),
        ("t.json", '{"1": {"description": "x"}}', "topic '1' has no text"),
        ("t.json", '{"1": "a",\n"1": "b"}', "duplicate key '1'"),
        ("t.json", '{"1": "a",\n"2": }', "t.json:2: invalid JSON"),
        ("t.json", "[1]", "expected an object"),
        ("t.jsonl", '{"id": "1"}', "t.jsonl:1: topic without text"),
        ("t.jsonl", '{"title": "x"}', "t.jsonl:1: topic without id"),
        ("t.jsonl", '{"id": true, "title": "x"}', "t.jsonl:1: id and title must be strings"),
        ("t.trec", "<top>\n<num> 1\n</top>\n", "t.trec:1: topic without <title>"),
        ("t.trec", "<top>\n<num> 1\n<top>\n", "t.trec:3: <top> before the </top>"),
        ("t.trec", "<top>\n<num> 1\n<title> a\n", "t.trec:1: <top> without </top>"),
        ("t.xml", "<topics/>", "unknown topics format '.xml'"),
    ],
)
def test_faults_name_place_and_value(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_topics(path)
    assert message in str(error.value)


@pytest.mark.parametrize("topics", [{"a b": "x"}, {"1": " "}, {"1": "\ud800"}])
def test_writer_refuses_and_leaves_nothing(tmp_path, topics):
    with pytest.raises(DataError):
        write_topics(tmp_path / "t.tsv", {"0": "fine", **topics})
    assert list(tmp_path.iterdir()) == []
