from __future__ import annotations

import math
import random

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.trec.measures import canonical, evaluate_run, evaluate_topic, score_run
from pyserini_sdr.trec.run import RunWriter


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("ndcg_cut_10", "ndcg_cut_10"),
        ("ndcg_cut.10", "ndcg_cut_10"),
        ("nDCG@10", "ndcg_cut_10"),
        ("NDCG@010", "ndcg_cut_10"),
        ("ndcg", "ndcg"),
        ("RR@10", "recip_rank_cut_10"),
        ("mrr_10", "recip_rank_cut_10"),
        ("MRR@100", "recip_rank_cut_100"),
        ("recip_rank", "recip_rank"),
        ("recip_rank_10", "recip_rank_cut_10"),
        ("R@100", "recall_100"),
        ("recall_100", "recall_100"),
        ("AP", "map"),
        ("AP@100", "map_cut_100"),
        ("P@5", "P_5"),
        ("Rprec", "Rprec"),
        ("iprec_at_recall_0.1", "iprec_at_recall_0.10"),
        ("11pt_avg", "11pt_avg"),
    ],
)
def test_spellings(given_name, expected):
    assert canonical(given_name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc_cut_10", "did you mean 'ndcg_cut_10'"),
        ("recall", "needs a cut-off, as in recall_10"),
        ("P", "needs a cut-off"),
        ("P_0", "the cut-off must be at least 1"),
        ("recall@0", "the cut-off must be at least 1"),
        ("bleu", "unknown measure 'bleu'"),
        ("gm_map", "unknown measure 'gm_map'"),
        ("map_", "unknown measure 'map_'"),
    ],
)
def test_unknown_measures_are_usage_errors(name, message):
    with pytest.raises(UsageError) as error:
        canonical(name)
    assert message in str(error.value)


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
    from pyserini_sdr.trec.measures import _CUT, _LEVEL, _PLAIN

    names = [*_PLAIN, *(f"{base}_7" for base in _CUT), *(f"{base}_0.30" for base in _LEVEL)]
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
