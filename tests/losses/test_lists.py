"""Candidate lists and masked arithmetic, with numbers written by hand."""

from __future__ import annotations

import pytest
import torch

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, LossBatch
from pyserini_sdr.losses.checks import require_not_negative, require_positive
from pyserini_sdr.losses.lists import (
    Lists,
    masked_exp,
    masked_log_softmax,
    masked_logsumexp,
    masked_mean,
    ranks,
    teacher_mean,
)
from pyserini_sdr.losses.listwise import sampled_rankings

NAN = float("nan")
RELATION = [
    [OTHER_POS, OWN_NEG, OWN_POS, IGNORE, OWN_NEG],
    [OWN_POS, OTHER_NEG, OTHER_POS, OTHER_NEG, OTHER_NEG],  # one document of its own
    [IGNORE, OTHER_NEG, OWN_POS, OWN_POS, OTHER_NEG],  # no negative of its own
    [IGNORE, IGNORE, IGNORE, IGNORE, IGNORE],
]
SCORES = torch.arange(20.0).reshape(4, 5)


def make_batch(relation=None, teacher=None) -> LossBatch:
    code = torch.tensor(RELATION if relation is None else relation, dtype=torch.int8)
    rows, columns = code.shape
    return LossBatch(torch.ones(rows, 2), torch.ones(columns, 2), code, "dot", teacher=teacher)


def contents(lists: Lists) -> dict[int, list[float]]:
    """Row of the batch → its documents, as their scores say which they are."""
    cells = lists.take(SCORES)
    return {int(q): cells[r][lists.mask[r]].tolist() for r, q in enumerate(lists.query)}


def test_own_lists_are_packed():
    lists = Lists.of(make_batch())
    assert contents(lists) == {0: [1, 2, 4], 2: [12, 13]}
    assert lists.mask.tolist() == [[True, True, True], [True, True, False]]
    assert lists.positive.tolist() == [[False, True, False], [True, True, False]]
    assert lists.other.tolist() == [[True, False, True], [False, False, False]]
    assert lists.take(SCORES)[1, 2] == 0
    row, cell = lists.pairs()
    assert (row.tolist(), cell.tolist()) == ([0, 1, 1], [1, 0, 1])


def test_batch_lists_leave_ignored_documents_out():
    lists = Lists.of(make_batch(), "batch")
    assert contents(lists) == {0: [0, 1, 2, 4], 1: [5, 6, 7, 8, 9], 2: [11, 12, 13, 14]}
    assert lists.take(SCORES)[0, 3] == 0 and lists.column is None


def test_pairs_need_a_positive_and_another_document():
    assert contents(Lists.of(make_batch(), pairs=True)) == {0: [1, 2, 4]}
    assert list(contents(Lists.of(make_batch(), "batch", pairs=True))) == [0, 1, 2]


def test_only_others():
    assert contents(Lists.of(make_batch(), only_others=True)) == {0: [1, 4]}


def test_unscored_documents_are_in_no_list():
    teacher = torch.zeros(2, 4, 5)
    teacher[0, 0, 4] = teacher[1, 2, 3] = NAN
    mean = teacher_mean(make_batch(teacher=teacher))
    assert mean[0, 4].isnan() and mean[2, 3].isnan() and int(mean.isnan().sum()) == 2
    assert contents(Lists.of(make_batch(), "own", mean)) == {0: [1, 2]}
    assert Lists.of(make_batch(), "batch", mean).take(mean).isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "holds no query with two documents of its own; mine negatives first"),
        ({"documents": "batch"}, "holds no query with two documents; mine negatives first"),
        ({"pairs": True}, "holds no query with a positive and another document of its own; mine"),
        ({"only_others": True}, "holds no query with two negatives of its own; mine"),
        (
            {"teacher": torch.zeros(1, 2)},
            "two documents of its own that the teacher scored; mine negatives, then score",
        ),
    ],
)
def test_no_list_is_an_error(options, words):
    with pytest.raises(DataError, match=words):
        Lists.of(make_batch([[OWN_POS, IGNORE]]), **options)


def test_no_teacher_is_an_error():
    with pytest.raises(DataError, match="holds no teacher scores; score the groups"):
        teacher_mean(make_batch())


def test_half_precision_is_widened_and_double_kept():
    lists = Lists.of(make_batch())
    assert lists.take(SCORES.bfloat16()).dtype == torch.float32
    assert lists.take(SCORES.double()).dtype == torch.float64
    assert teacher_mean(make_batch(teacher=torch.zeros(1, 4, 5, dtype=torch.bfloat16))).dtype == torch.float32


@pytest.mark.parametrize("documents", ["own", "batch"])
def test_gradient_of_take_reaches_the_listed_cells_only(documents):
    scores = SCORES.clone().requires_grad_()
    lists = Lists.of(make_batch(), documents)
    lists.take(scores).sum().backward()
    code = torch.tensor(RELATION)
    listed = (code == OWN_POS) | (code == OWN_NEG) if documents == "own" else code != IGNORE
    listed[1] &= documents == "batch"
    assert scores.grad.tolist() == listed.float().tolist()


def test_positive_against_the_others_of_its_list():
    """Two positives: each without the other in its denominator."""
    lists = Lists.of(make_batch([[OWN_POS, OWN_NEG, OWN_POS, OWN_NEG]]), pairs=True)
    weights = torch.tensor([[3.0, 1.0, 4.0, 2.0]], dtype=torch.float64)
    assert lists.log_positive(weights.log()).exp().tolist() == pytest.approx([3 / 6, 4 / 7])


def test_masked_softmax():
    mask = torch.tensor([[True, False, True], [False, False, False]])
    logits = torch.tensor([[1.0, 9.0, 3.0], [1.0, 2.0, 3.0]]).log().requires_grad_()
    log_probability = masked_log_softmax(logits, mask)
    assert masked_exp(log_probability, mask).tolist() == [pytest.approx([0.25, 0, 0.75]), [0, 0, 0]]
    assert log_probability[~mask].tolist() == [0, 0, 0, 0]
    total = masked_logsumexp(logits, mask)
    assert total.exp().tolist() == pytest.approx([4, 0])
    (log_probability[0, 0] + total[0]).backward()
    assert logits.grad[0].tolist() == pytest.approx([0.75 + 0.25, 0, -0.75 + 0.75])
    assert logits.grad[1].tolist() == [0, 0, 0]  # and not NaN


def test_masked_mean_of_nothing_is_zero_with_a_gradient():
    values = torch.tensor([[2.0, NAN], [4.0, 1.0]], requires_grad=True)
    mean = masked_mean(values, torch.tensor([[True, False], [True, False]]))
    mean.backward()
    assert mean.item() == 3 and values.grad.tolist() == [[0.5, 0], [0.5, 0]]
    nothing = masked_mean(values, torch.zeros(2, 2, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0 and values.grad.isfinite().all()


def test_ranks_break_ties_by_column_and_put_masked_values_last():
    values = torch.tensor([[1.0, 5.0, 5.0, 9.0, 0.0]])
    assert ranks(values, torch.ones(1, 5, dtype=torch.bool)).tolist() == [[4, 2, 3, 1, 5]]
    rank = ranks(values, torch.tensor([[True, True, True, False, True]]))[0].tolist()
    assert rank == [3, 1, 2, 5, 4]


def test_sampled_rankings_follow_the_scores():
    """Worst first, padding last; the best is first as often as its probability says."""
    scores = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]]).log1p()  # weights 1, 4, 2 and 3, 1
    mask = torch.tensor([[True, True, True], [True, True, False]])
    order = sampled_rankings(scores, mask, 20_000, torch.Generator().manual_seed(0))
    assert order.shape == (20_000, 2, 3) and (order[:, 1, 2] == 2).all()
    best = [(order[:, 0, 2] == cell).float().mean().item() for cell in range(3)]
    assert best == pytest.approx([1 / 7, 4 / 7, 2 / 7], abs=0.01)
    assert (order[:, 1, 1] == 0).float().mean().item() == pytest.approx(3 / 4, abs=0.01)
    again = sampled_rankings(scores, mask, 20_000, torch.Generator().manual_seed(0))
    assert torch.equal(order, again)


@pytest.mark.parametrize(
    ("check", "bad"), [(require_positive, (0, -1, NAN, float("inf"))), (require_not_negative, (-1, NAN))]
)
def test_checks_name_the_option_and_its_value(check, bad):
    check(beta=0.5)
    for value in bad:
        with pytest.raises(UsageError, match=f"gamma {value}: must"):
            check(beta=1, gamma=value)
