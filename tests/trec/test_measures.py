from __future__ import annotations

import math
import random

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.trec.measures import evaluate_run, evaluate_topic, score_run
from pyserini_sdr.trec.names import CUT, LEVEL, PLAIN, Measure
from pyserini_sdr.trec.run import RunWriter


def test_numbers_by_hand():
    """Ranking x, b, a, y for grades a = 2, b = 1, c = 1 (not retrieved)."""
    values = evaluate_topic(
        {"a": 2, "b": 1, "c": 1, "x": 0},
        {"a": 1.0, "b": 2.0, "x": 3.0, "y": 0.0},
        ["map", "recip_rank", "ndcg_cut_10", "P_10", "recall_100", "recip_rank_cut_1", "recip_rank_cut_2", "success_1"],
    )
    dcg = 1 / math.log2(3) + 2 / math.log2(4)
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == {
        "map": pytest.approx((1 / 2 + 2 / 3) / 3),
        "recip_rank": 0.5,
        "ndcg_cut_10": pytest.approx(dcg / ideal),
        "P_10": pytest.approx(0.2),
        "recall_100": pytest.approx(2 / 3),
        "recip_rank_cut_1": 0.0,
        "recip_rank_cut_2": 0.5,
        "success_1": 0.0,
    }


def test_ties_are_decided_on_float32_and_by_descending_id():
    # as doubles a is first; as C floats they tie and z goes first
    ranking = {"a": 1.00000002, "z": 1.00000001}
    assert evaluate_topic({"a": 1}, ranking, ["recip_rank", "RR@1"]) == {"recip_rank": 0.5, "recip_rank_cut_1": 0.0}


def test_relevance_level():
    judged, ranking = {"a": 1, "b": 2}, {"a": 2.0, "b": 1.0}
    assert evaluate_topic(judged, ranking, ["recip_rank", "RR@10"], 2) == {"recip_rank": 0.5, "recip_rank_cut_10": 0.5}


def test_a_measure_has_its_own_level():
    judged, ranking = {"a": 1, "b": 2, "c": 3}, {"a": 4.0, "x": 3.0, "b": 2.0, "c": 1.0}
    names = ["RR", "RR(rel=2)", "RR(rel=3)@3", "RR(rel=3)@4", "AP(rel=3)", "AP", "R(rel=2)@3", "nDCG@10"]
    values = evaluate_topic(judged, ranking, names)
    assert values == {
        "recip_rank": 1.0,
        "recip_rank(rel=2)": pytest.approx(1 / 3),
        "recip_rank_cut_3(rel=3)": 0.0,
        "recip_rank_cut_4(rel=3)": 0.25,
        "map(rel=3)": 0.25,
        "map": pytest.approx((1 + 2 / 3 + 3 / 4) / 3),
        "recall_3(rel=2)": 0.5,
        "ndcg_cut_10": evaluate_topic(judged, ranking, ["nDCG@10"], 3)["ndcg_cut_10"],
    }
    raised = evaluate_topic(judged, ranking, names, 2)
    assert raised["map"] == evaluate_topic(judged, ranking, ["AP(rel=2)"])["map(rel=2)"] != values["map"]
    assert {name: value for name, value in raised.items() if "rel" in name} == {
        name: value for name, value in values.items() if "rel" in name
    }


def test_only_relevance_levels_change_what_has_one():
    rng = random.Random(3)
    qrels = {str(q): {f"d{i}": rng.randint(0, 3) for i in range(30)} for q in range(20)}
    run = {qid: {f"d{rng.randrange(60)}": rng.random() for _ in range(40)} for qid in qrels}
    measures = [*map(Measure, PLAIN), *(Measure(base, "5") for base in CUT), *(Measure(b, "0.30") for b in LEVEL)]
    low, high = (evaluate_run(qrels, run, list(map(str, measures)), level) for level in (1, 2))
    assert [m for m in measures if m.graded] == [m for m in measures if low[str(m)] == high[str(m)]]


def test_judged_and_holes():
    qrels = {"1": {"a": 0, "b": 2}, "2": {"c": 1}, "3": {"d": 1}}
    run = {"1": {"a": 5.0, "c": 4.0, "b": 3.0}, "2": {f"x{i}": -float(i) for i in range(12)} | {"c": 1.0}}
    scored = score_run(qrels, run, ["Judged@2", "judged_10"])
    assert scored.values == {
        "judged_2": {"1": 0.5, "2": 0.5, "3": 0.0},
        "judged_10": {"1": pytest.approx(2 / 3), "2": 0.1, "3": 0.0},
    }
    found = [(h.k, h.documents, h.unjudged) for h in scored.counts.holes]
    assert found == [(5, 8, 5), (10, 13, 10), (20, 16, 13), (100, 16, 13)]
    assert scored.counts.holes[0].share == 5 / 8


def test_all_judged_topics_count_and_counts_are_told():
    qrels = {"1": {"a": 1}, "2": {"b": 1}, "3": {"c": 0}, "4": {"d": 1}}
    run = {"9": {"a": 1.0}, "1": {"a": 1.0, "b": 0.5}, "2": {"b": 1.0}, "4": {}}
    scored = score_run(qrels, run, ["RR"])
    assert scored.values == {"recip_rank": {"1": 1.0, "2": 1.0, "3": 0.0, "4": 0.0}}
    assert scored.mean("RR") == 0.5
    counts = scored.counts
    assert (counts.judged, counts.retrieved, counts.missing, counts.unjudged_topics) == (4, 2, 2, 1)
    assert (counts.documents, counts.depth) == (3, 2)


def test_nothing_in_common_is_an_error(tmp_path):
    path = tmp_path / "run.txt"
    with RunWriter(path) as writer:
        writer.write("7", ["a"], [1.0])
    with pytest.raises(DataError, match=r"run\.txt: no topic in common .*run: '7', qrels: '007'"):
        evaluate_run({"007": {"a": 1}}, path)
    with pytest.raises(DataError, match="hold no judgements"):
        evaluate_run({}, path)
    with pytest.raises(DataError, match="none of its 1 documents"):
        evaluate_run({"7": {"D-a": 1}}, path)


def test_all_measures_exist_in_trec_eval():
    names = [*PLAIN, *(f"{base}_7" for base in CUT), *(f"{base}_0.30" for base in LEVEL)]
    values = evaluate_topic({"a": 1, "b": 0}, {"a": 2.0, "b": 1.0}, names)
    assert list(values) == names
    assert all(isinstance(value, float) for value in values.values())


documents = st.sampled_from([f"d{i}" for i in range(12)])
score = st.sampled_from([0.0, 1.0, 1.00000001, -3.5, 0.1, 7.25])
random_run = st.dictionaries(st.sampled_from("123456"), st.dictionaries(documents, score, min_size=1), min_size=1)
random_qrels = st.dictionaries(
    st.sampled_from("12345"), st.dictionaries(documents, st.integers(-1, 3), min_size=1), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(random_qrels, random_run)
def test_equals_pytrec_eval_over_all_judged_topics(qrels, run):
    qrels = {**qrels, "6": {f"d{i}": 1 for i in range(12)}}  # so that something is in common
    run = {**run, "6": {"d1": 1.0}}
    measures = ["map", "ndcg_cut_5", "recip_rank", "P_3", "recall_5", "bpref", "success_1", "Rprec"]
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(measures)).evaluate(run)
    ours = evaluate_run(qrels, run, [*measures, "recip_rank_cut_2"])
    for measure in measures:
        assert ours[measure] == {qid: theirs.get(qid, {}).get(measure, 0.0) for qid in qrels}
    for qid in qrels:
        ordered = sorted(run.get(qid, {}).items(), key=lambda p: (np.float32(p[1]), p[0]), reverse=True)[:2]
        ranks = [i for i, (docid, _) in enumerate(ordered, start=1) if qrels[qid].get(docid, 0) > 0]
        assert ours["recip_rank_cut_2"][qid] == (1 / ranks[0] if ranks else 0.0)


def test_file_and_mapping_agree_and_repeated_calls_too(tmp_path):
    generator = random.Random(0)
    qrels = {str(q): {f"d{generator.randrange(50)}": generator.randrange(3) for _ in range(8)} for q in range(20)}
    run = {str(q): {f"d{i}": generator.random() for i in range(30)} for q in range(3, 25)}
    path = tmp_path / "run.txt.gz"
    with RunWriter(path) as writer:
        for qid, ranking in run.items():
            writer.write(qid, list(ranking), list(ranking.values()))
    first = evaluate_run(qrels, path, ["map", "nDCG@10", "RR@10"])
    assert first == evaluate_run(qrels, run, ["map", "nDCG@10", "RR@10"])
    assert first == evaluate_run(qrels, path, ["map", "nDCG@10", "RR@10"])
