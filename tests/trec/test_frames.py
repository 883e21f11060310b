from __future__ import annotations

from pyserini_sdr.trec.frames import trectools_qrels, trectools_run
from pyserini_sdr.trec.qrels import write_qrels
from pyserini_sdr.trec.run import RunWriter


def test_trectools_sees_string_ids_in_trec_evals_order(tmp_path):
    with RunWriter(tmp_path / "run.txt") as writer:
        writer.write("007", ["01", "2", "3"], [1.0, 2.0, 2.0])
    write_qrels(tmp_path / "qrels.txt", {"007": {"01": 2, "3": 0}})
    run = trectools_run(tmp_path / "run.txt", "mine")
    assert run.run_data.values.tolist() == [
        ["007", "Q0", "3", 1, 2.0, "mine"],
        ["007", "Q0", "2", 2, 2.0, "mine"],
        ["007", "Q0", "01", 3, 1.0, "mine"],
    ]
    qrels = trectools_qrels(tmp_path / "qrels.txt")
    assert qrels.qrels_data.values.tolist() == [["007", "0", "01", 2], ["007", "0", "3", 0]]
    import trectools

    assert trectools.TrecEval(run, qrels).get_reciprocal_rank() == 1 / 3
