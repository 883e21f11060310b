"""Batches with little or nothing to learn from, and extreme numbers: finite values and gradients, or a clear error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, LossBatch

from .cases import CASES, IDS, NAMES, leaves, make_loss, random_arrays, shapes, to_batch
from .reference import Arrays


def constant(a: Arrays) -> Arrays:
    """All queries alike, all documents alike, all scores alike."""
    features = {key: np.ones_like(x) for key, x in a.features.items()}
    relation = np.where(a.relation == IGNORE, OTHER_NEG, a.relation)
    return replace(
        a,
        query=np.ones_like(a.query),
        document=np.ones_like(a.document),
        teacher=np.ones_like(a.teacher),
        features=features,
        relation=relation,
    )


def one_document_each(a: Arrays) -> Arrays:
    relation = np.full_like(a.relation, IGNORE)
    relation[:, : len(a.query)] = OTHER_POS
    np.fill_diagonal(relation, OWN_POS)
    return replace(a, relation=relation)


def one_query(a: Arrays) -> Arrays:
    relation = np.full_like(a.relation[:1], IGNORE)
    relation[0, 0] = OWN_POS
    features = {key: x[:1] if "query" in key else x for key, x in a.features.items()}
    return replace(a, query=a.query[:1], relation=relation, teacher=a.teacher[:, :1], features=features)


def no_positive(a: Arrays) -> Arrays:
    return replace(
        a, relation=np.where(a.relation == OWN_POS, OWN_NEG, np.where(a.relation == OTHER_POS, OTHER_NEG, a.relation))
    )


def only_positives(a: Arrays) -> Arrays:
    return replace(a, relation=np.where(a.relation == OWN_NEG, OWN_POS, IGNORE))


def all_ignored(a: Arrays) -> Arrays:
    return replace(a, relation=np.full_like(a.relation, IGNORE))


def one_query_ignored(a: Arrays) -> Arrays:
    relation = a.relation.copy()
    relation[1] = IGNORE
    return replace(a, relation=relation)


def nothing_scored(a: Arrays) -> Arrays:
    return replace(a, teacher=np.full_like(a.teacher, np.nan))


def one_query_not_scored(a: Arrays) -> Arrays:
    teacher = a.teacher.copy()
    teacher[:, 0] = np.nan
    return replace(a, teacher=teacher)


def one_cell_scored(a: Arrays) -> Arrays:
    teacher = np.full_like(a.teacher, np.nan)
    teacher[:, 0, np.flatnonzero(a.relation[0] == OWN_POS)[0]] = 1.0
    return replace(a, teacher=teacher)


def zero_vectors(a: Arrays) -> Arrays:
    return replace(a, query=np.zeros_like(a.query), document=np.zeros_like(a.document))


def huge_teacher(a: Arrays) -> Arrays:
    return replace(a, teacher=np.where(a.teacher > 0, 1e4, -1e4) + a.teacher)


def huge_vectors(a: Arrays) -> Arrays:
    """Dot products of 10⁴ and more: a softmax with one document."""
    return replace(a, query=a.query * 100, document=a.document * 100)


def finite_or_error(loss, batch: LossBatch) -> bool:
    """False for a clear error; fails if anything is not finite."""
    try:
        value, log = loss(batch)
    except (DataError, UsageError) as error:
        assert "batch" in str(error)
        return False
    assert torch.isfinite(value), value
    assert all(np.isfinite(float(x)) for x in log.values()), log
    if value.requires_grad:
        inputs = [*leaves(batch).values(), *(p for p in loss.parameters() if p.requires_grad)]
        for gradient in torch.autograd.grad(value, inputs, allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()
    return True


MAY_FAIL = (one_document_each, one_query, no_positive, only_positives, all_ignored, nothing_scored, one_cell_scored)
MUST_WORK = (constant, one_query_ignored, one_query_not_scored, zero_vectors, huge_teacher, huge_vectors)


@pytest.mark.parametrize("change", MAY_FAIL + MUST_WORK, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_batch_is_finite_or_an_error(name, change):
    similarity = "dot" if change is huge_vectors else "cosine"
    a = change(random_arrays(8, similarity, unscored=0.0))
    for dtype in (torch.float32, torch.float64):
        done = finite_or_error(make_loss(name, {}, a).to(dtype), to_batch(a, dtype))
        assert done or change in MAY_FAIL


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kl", nothing_scored),
        ("margin-mse", no_positive),
        ("ca-mkd", no_positive),
        ("tf-nkd", no_positive),
        ("infonce", all_ignored),
        ("lead", all_ignored),
        ("embed-distill", all_ignored),
    ],
)
def test_nothing_that_counts_is_an_error_with_a_remedy(name, change):
    a = change(random_arrays(8))
    with pytest.raises(DataError, match="holds no"):
        make_loss(name, {}, a)(to_batch(a))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_finite_in_bf16(name, options, similarity):
    """As in training: embeddings in bf16, the teacher's scores and the loss's parameters in float32."""
    a = random_arrays(9, similarity)
    for change in (lambda x: x, constant, huge_teacher):
        changed = change(a)
        loss = losses.build(name, **options)
        loss.build(shapes(changed))
        done = finite_or_error(loss, to_batch(changed, torch.bfloat16, torch.float32))
        assert done or change is constant
