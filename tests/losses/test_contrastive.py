"""InfoNCE against NumPy loops and its gradient by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.losses.base import IGNORE, OWN_NEG, OWN_POS, LossBatch

from .test_margins import random_batch


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("in_batch", [True, False])
def test_infonce_equals_loops(similarity, in_batch):
    batch = random_batch(seed=2)
    batch.similarity = similarity
    loss, log = losses.build("infonce", temperature=0.1, in_batch=in_batch)(batch)
    q, d = batch.query.detach().numpy(), batch.document.detach().numpy()
    if similarity == "cosine":
        q, d = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, d))
    scores, relation = q @ d.T / 0.1, batch.relation.numpy()
    terms, right = [], []
    for i, p in zip(*np.nonzero(relation == OWN_POS), strict=True):
        rivals = [
            n
            for n in range(len(d))
            if relation[i, n] == OWN_NEG or (in_batch and relation[i, n] not in (OWN_POS, IGNORE))
        ]
        if not rivals:
            continue  # teaches nothing and does not count
        weights = np.exp(scores[i, rivals] - scores[i, p])
        terms.append(np.log1p(weights.sum()))
        right.append(all(scores[i, p] > scores[i, n] for n in rivals))
    assert float(loss.detach()) == pytest.approx(np.mean(terms), rel=1e-10)
    assert float(log["accuracy"]) == pytest.approx(np.mean(right))


def test_infonce_gradient():
    batch = random_batch(seed=4)
    loss = losses.build("infonce", temperature=0.5)
    assert torch.autograd.gradcheck(
        lambda q, d: loss(LossBatch(q, d, batch.relation, "cosine"))[0], (batch.query, batch.document)
    )
