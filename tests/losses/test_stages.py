"""What recipes ask of losses: one teacher of several, a frozen copy, a ranker to play against, growing batches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError
from pyserini_sdr.losses.base import IGNORE, OWN_NEG, OWN_POS, LossBatch

from .cases import random_arrays, to_batch
from .reference import kl_divergence, lists, log_softmax, others, positives, scores, softmax, the_list
from .reference_listwise import gap


def test_prod_between_encoder_and_cross_encoder():
    """0.1·CE + 0.9·τ²·KL(cross-encoder) + τ²·KL(frozen copy), of the query's own list, in the trainer's grammar."""
    a = random_arrays(3, unscored=0.0, groups=((1, 3), (1, 4), (1, 2)))
    chosen = losses.parse_losses(["lce:0.1", "kl:0.9", "lwf:1"], ["kl.teacher=1", "kl.tau=4"])
    found = sum(weight * float(loss(to_batch(a))[0].detach()) for loss, _, weight in chosen)
    s, (ranker, frozen) = scores(a) / 0.05, a.teacher
    expected = []
    for i in range(3):
        own = the_list(a, i, "own")
        student = [s[i, d] / 4 for d in own]
        contrastive = -log_softmax([s[i, d] for d in own])[own.index(positives(a, i, own)[0])]
        learned = 16 * kl_divergence([ranker[i, d] / 4 for d in own], student)
        kept = 16 * kl_divergence([frozen[i, d] / 0.05 / 4 for d in own], student)
        expected.append(0.1 * contrastive + 0.9 * learned + kept)
    assert found == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize("name", ["kl", "ar2"])
def test_only_the_teacher_that_is_named_matters(name):
    a = random_arrays(4, teachers=3)
    noise = a.teacher.copy()
    noise[[0, 2]] = np.random.default_rng(0).normal(size=noise[[0, 2]].shape)
    loss = losses.build(name, teacher=2)
    before, after = (float(loss(to_batch(x))[0].detach()) for x in (a, replace(a, teacher=noise)))
    assert before == after
    with pytest.raises(DataError, match="holds the scores of 3 teachers, not 4"):
        losses.build(name, teacher=4)(to_batch(a))


@pytest.mark.parametrize(("progress", "share"), [(0.0, 1 / 3), (0.5, 2 / 3), (1.0, 1.0)])
def test_pace_begins_with_what_the_teacher_is_sure_of(progress, share):
    a = replace(random_arrays(5, unscored=0.0, groups=((1, 3),) * 6, documents=20), progress=progress)
    value, log = losses.build("kl", pace=1 / 3)(to_batch(a))
    t = a.teacher.mean(axis=0)
    sure = sorted(lists(a, "own"), key=lambda entry: -gap(a, *entry, t[entry[0]]))[: round(6 * share)]
    counted = replace(a, relation=np.where(np.isin(np.arange(6), [i for i, _ in sure])[:, None], a.relation, IGNORE))
    assert float(value.detach()) == pytest.approx(float(losses.build("kl")(to_batch(counted))[0].detach()), rel=1e-9)
    assert float(log["paced"]) == pytest.approx(share)


def one_query(student: list[float], teacher: list[float]) -> LossBatch:
    """A query with a positive, the first document, and negatives; the scores are the documents' coordinates."""
    relation = torch.tensor([[OWN_POS] + [OWN_NEG] * (len(student) - 1)], dtype=torch.int8)
    document = torch.tensor(student, dtype=torch.float64)[:, None].requires_grad_()
    query = torch.ones(1, 1, dtype=torch.float64)
    return LossBatch(query, document, relation, "dot", torch.tensor([[teacher]], dtype=torch.float64))


def test_ar2_by_hand():
    student, teacher = [3.0, 1.0, 2.0], [1.0, 0.0, 2.0]
    ranker = [
        math.log(x / (x + y)) for x, y in ((math.e, 1), (math.e, math.e**2))
    ]  # of each negative: the positive wins
    first = math.e / (math.e + math.e**2)
    paper = first * ranker[0] + (1 - first) * ranker[1]
    log_q = log_softmax(student)
    code = math.log(0.5) * log_q[0] + ranker[0] * log_q[1] + ranker[1] * log_q[2]
    distillation = -sum(p * q for p, q in zip(softmax(teacher), log_q, strict=True))
    for form, game in (("paper", paper), ("code", code)):
        value, log = losses.build("ar2", temperature=1.0, weight=0.3, form=form)(one_query(student, teacher))
        assert float(value.detach()) == pytest.approx(0.3 * game + 0.7 * distillation)
        assert (float(log["adversarial"]), float(log["distillation"])) == pytest.approx((game, distillation))


@pytest.mark.parametrize("form", ["paper", "code"])
def test_ar2_brings_forward_the_negative_that_fools_the_ranker(form):
    batch = one_query([1.0, 1.0, 1.0], [1.0, -3.0, 3.0])
    losses.build("ar2", temperature=1.0, weight=1.0, form=form)(batch)[0].backward()
    easy, hard = batch.document.grad[1:, 0].tolist()
    assert hard < 0 < easy  # a step goes against the gradient


def test_the_tail_of_lambda_mrr_is_ordered_in_halves():
    """Of five documents two are relevant; of the rest the teacher's better one shall stand before the last two."""
    teacher = [5.0, 4.0, 3.0, 2.0, 1.0]
    found = {}
    for tail in ("zero", "halves"):
        batch = one_query([0.0, 0.1, 0.2, 0.3, 0.4], teacher)
        losses.build("lambda-mrr", temperature=1.0, relevant=2, tail=tail)(batch)[0].backward()
        found[tail] = batch.document.grad[:, 0]
    assert (found["zero"][2:] > 0).all()  # all the rest goes down
    assert found["halves"][2] / found["halves"][3:].abs().max() < found["zero"][2] / found["zero"][3:].abs().max()


def test_ar2_leaves_queries_without_a_positive_or_negatives_out():
    a = random_arrays(8, unscored=0.0)
    counted = [i for i, columns in lists(a, "own") if positives(a, i, columns) and others(a, i, columns)]
    assert 0 < len(counted) < len(a.query)
    relation = np.where(np.isin(np.arange(len(a.query)), counted)[:, None], a.relation, IGNORE)
    one, other = (float(losses.build("ar2")(to_batch(x))[0].detach()) for x in (a, replace(a, relation=relation)))
    assert one == pytest.approx(other, rel=1e-12)
