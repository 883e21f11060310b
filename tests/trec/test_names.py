from __future__ import annotations

import pytest

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.trec.names import CUT, LEVEL, PLAIN, Measure, canonical, canonical_all, parse


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
        ("AP(rel=2)", "map(rel=2)"),
        ("AP(rel=2)@100", "map_cut_100(rel=2)"),
        ("map(rel=2)", "map(rel=2)"),
        ("RR(rel=2)@10", "recip_rank_cut_10(rel=2)"),
        ("RR(rel=2)", "recip_rank(rel=2)"),
        ("R( rel = 2 )@1000", "recall_1000(rel=2)"),
        ("recall.1000(rel=2)", "recall_1000(rel=2)"),
        ("P@10", "P_10"),
        ("Judged@10", "judged_10"),
        ("judged.10", "judged_10"),
        ("Bpref", "bpref"),
        ("Success@5", "success_5"),
        ("nDCG", "ndcg"),
        ("IPrec@0.1", "iprec_at_recall_0.10"),
        ("SetF", "set_F"),
        ("SetAP(rel=2)", "set_map(rel=2)"),
        ("infAP", "infAP"),
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
        ("NDGC@20", "did you mean 'nDCG@20'"),
        ("ndgc_cut_20", "did you mean 'ndcg_cut_20'"),
        ("Judge@5", "did you mean 'Judged@5'"),
        ("AP(rel=0)", "only a relevance level from 1"),
        ("nDCG(dcg='exp')@10", "only a relevance level from 1"),
        ("AP(rel=2", "unknown measure 'AP(rel=2'"),
        ("nDCG(rel=2)@10", "nDCG@10 has no relevance level"),
        ("Judged(rel=2)@10", "has no relevance level"),
        ("Bpref@10", "bpref has no cut-off"),
        ("IPrec@1", "needs a cut-off with a decimal point, as in IPrec@0.1"),
        ("", "unknown measure ''"),
        ("gm_map", "'gm_map': totals and geometric means are no means over topics"),
        ("num_rel_ret", "'num_rel_ret': totals and geometric means"),
        ("NumRet", "'NumRet': totals and geometric means"),
        ("ERR@20", "'ERR@20': trec_eval, whose measures these are, has none of that name"),
        ("alpha_nDCG@10", "'alpha_nDCG@10': trec_eval, whose measures these are"),
        ("RBP", "'RBP': trec_eval, whose measures these are"),
        ("map_", "unknown measure 'map_'"),
    ],
)
def test_unknown_measures_are_usage_errors(name, message):
    with pytest.raises(UsageError) as error:
        canonical(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_several_cuts_in_one_name_and_no_repetitions():
    assert canonical_all(["P.5,10", "P@5", "R@1,2(rel=2)"]) == ["P_5", "P_10", "recall_1(rel=2)", "recall_2(rel=2)"]
    with pytest.raises(UsageError, match="cut-off must be at least 1"):
        canonical_all(["P.5,0"])


@pytest.mark.parametrize("level", [None, 2])
def test_every_name_and_label_is_read_back(level):
    every = [*map(Measure, PLAIN), *(Measure(base, "7") for base in CUT), *(Measure(base, "0.30") for base in LEVEL)]
    for measure in every:
        measure = measure if measure.graded else Measure(measure.base, measure.cut, level)
        assert parse(str(measure)) == measure
        assert parse(measure.label) == measure


def test_labels_are_ir_measures():
    names = ["nDCG@10", "AP(rel=2)", "RR(rel=2)@10", "R@1000", "Judged@10", "Rprec", "Bpref(rel=2)", "IPrec@0.1"]
    assert [parse(name).label for name in names] == names
    assert parse("11pt_avg(rel=2)").label == "11pt_avg(rel=2)"
