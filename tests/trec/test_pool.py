from __future__ import annotations

import random

from pyserini_sdr.trec.pool import Share, make_pool, run_names
from pyserini_sdr.trec.run import RunWriter, rank, read_run


def write(path, run):
    with RunWriter(path) as writer:
        for qid, documents in run.items():
            writer.write(qid, list(documents), list(documents.values()))
    return path


def test_a_pool_by_hand(tmp_path):
    """Ids stay strings (007 and 7 are two topics), and ties at the cut fall as trec_eval breaks them."""
    first = write(tmp_path / "a", {"007": {"01": 3.0, "1": 2.0, "2": 2.0}, "7": {"1": 1.0}})
    second = write(tmp_path / "b", {"007": {"01": 9.0, "5": 1.0}, "x": {"1": 1.0}})
    qrels = {"007": {"01": 2, "2": 0, "9": 1}, "7": {"1": 1}, "y": {"1": 1}}
    pool = make_pool({"a": first, "b": second}, 2, qrels)
    assert pool.documents == {"007": ["01", "2", "5"], "7": ["1"], "x": ["1"]}
    assert pool.shares == {
        "a": Share(3, alone=2, judged=3, relevant=2, relevant_alone=1),
        "b": Share(3, alone=2, judged=1, relevant=1, relevant_alone=0),
    }
    assert pool.total == Share(5, alone=4, judged=3, relevant=2, relevant_alone=1)
    assert pool.qrels(qrels) == {"007": {"01": 2, "2": 0, "5": -1}, "7": {"1": 1}, "x": {"1": -1}}
    assert pool.qrels(qrels, holes_only=True) == {"007": {"5": -1}, "x": {"1": -1}}
    assert make_pool({"a": first, "b": second}, 2, qrels, 2).total.relevant == 1
    bare = make_pool({"a": first, "b": second}, 1)
    assert bare.total == Share(3, alone=2)
    assert bare.qrels() == {"007": {"01": -1}, "7": {"1": -1}, "x": {"1": -1}}


def test_a_pool_is_the_union_of_the_tops(tmp_path):
    rng = random.Random(5)
    documents = [f"{n:03d}" for n in range(50)]
    paths = {}
    for name in "abcd":
        topics = rng.sample([f"{n:02d}" for n in range(15)], 12)
        run = {qid: {d: rng.randint(0, 9) for d in rng.sample(documents, rng.randint(1, 30))} for qid in topics}
        paths[name] = write(tmp_path / name, run)
    pool = make_pool(paths, 7)
    tops = {}
    for name, path in paths.items():
        for qid, found in read_run(path).items():
            for docid, _ in rank(list(found), list(found.values()), 7):
                tops.setdefault((qid, docid), set()).add(name)
    assert {(qid, docid) for qid, docids in pool.documents.items() for docid in docids} == set(tops)
    for name, share in pool.shares.items():
        assert share.documents == sum(name in holders for holders in tops.values())
        assert share.alone == sum(holders == {name} for holders in tops.values())


def test_names():
    assert run_names(["x/a.txt", "x/b.txt"]) == ["a.txt", "b.txt"]
    assert run_names(["x/a.txt", "y/a.txt", "b"]) == ["x/a.txt", "y/a.txt", "b"]
