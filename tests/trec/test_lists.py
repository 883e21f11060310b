from __future__ import annotations

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.trec.lists import AlignedRuns, Lists, best_first


def test_a_topic_as_a_matrix():
    lists = Lists([{"a": 1.0, "c": 2.0}, {"b": 5.0}, {}])
    assert lists.docids == ["c", "b", "a"]
    assert lists.held.tolist() == [[True, False, True], [False, True, False], [False] * 3]
    assert lists.scores[lists.held].tolist() == [2.0, 1.0, 5.0] and np.isnan(lists.scores[~lists.held]).all()
    assert lists.ranks.tolist() == [[1, np.inf, 2], [np.inf, 1, np.inf], [np.inf] * 3]
    assert lists.bounds == [(1.0, 2.0), (5.0, 5.0), (0.0, 1.0)]
    assert lists.normalised("min-max").tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert lists.normalised("z-score").tolist() == [[1, 0, -1], [0, 0, 0], [0, 0, 0]]
    assert lists.normalised("none").tolist() == [[2, 0, 1], [0, 5, 0], [0, 0, 0]]
    with pytest.raises(UsageError, match="did you mean 'z-score'"):
        lists.normalised("zscore")


def test_ties_fall_as_trec_eval_breaks_them():
    """What is one float32 number is a tie, and the later id comes first."""
    lists = Lists([{"a": 1.00000001, "b": 1.0, "c": 0.5}])
    assert [lists.docids[place] for place in best_first(lists.scores[0])] == ["b", "a", "c"]


def test_scores_that_are_equal_but_for_rounding_of_their_mean():
    flat = Lists([dict.fromkeys("abc", 0.1)])
    assert flat.normalised("z-score").tolist() == [[0, 0, 0]]
    assert flat.normalised("min-max").tolist() == [[1, 1, 1]]


def test_topics_in_step(tmp_path):
    (tmp_path / "a").write_text("2 Q0 x 1 0.1 t\n007 Q0 x 1 2 t\n007 Q0 y 2 2 t\n007 Q0 z 3 1 t\n")
    (tmp_path / "b").write_text("007 Q0 x 1 5 t\n3 Q0 x 1 4 t\n2 Q0 y 1 3 t\n")
    aligned = AlignedRuns([tmp_path / "a", tmp_path / "b"], 1)
    assert len(aligned) == 3 and aligned.topics == ["2", "007", "3"]
    topics = dict(aligned)
    assert topics == {"2": [{"x": 0.1}, {"y": 3.0}], "007": [{"y": 2.0}, {"x": 5.0}], "3": [{}, {"x": 4.0}]}
    assert dict(aligned) == topics  # a second pass reads the files again
    with pytest.raises(DataError, match="no such run file"):
        AlignedRuns([tmp_path / "none"])
