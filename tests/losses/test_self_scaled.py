"""`self-scaled`: the temperature that it measures, and what it does not depend on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError
from pyserini_sdr.losses.base import OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, LossBatch
from pyserini_sdr.losses.contrastive import _own_temperature

from .cases import make_loss, random_arrays, to_batch

RIVALS = ("auto", "all", "documents")


def test_temperature_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.2, 0.3], [0.0, 0.8, 0.4, 0.2]], dtype=torch.float64)
    others = torch.tensor([[False, True, True, True], [True, False, True, True]])
    first = ((0.1 - 0.2) ** 2 + 0 + (0.3 - 0.2) ** 2) / 2
    second = ((0.0 - 0.2) ** 2 + (0.4 - 0.2) ** 2 + 0) / 2
    expected = math.sqrt((first + second) / 2 / (2 * math.log(3)))
    assert float(_own_temperature(scores, others)) == pytest.approx(expected, rel=1e-12)


def test_where_the_softmax_freezes():
    """What the rule is made from: ln Σ e^{x/τ} is ln n + σ²/(2τ²) above that temperature, the nearest one's below."""
    n, rng = 200_000, np.random.default_rng(0)
    scores = torch.from_numpy(0.9 + 0.01 * rng.standard_normal((1, n)))
    temperature = float(_own_temperature(scores, torch.ones(1, n, dtype=torch.bool)))

    def free_energy(tau: float) -> float:
        return float(torch.logsumexp((scores - 0.9) / tau, dim=1))

    for tau in (2 * temperature, 1.5 * temperature):
        assert free_energy(tau) == pytest.approx(math.log(n) + 0.01**2 / (2 * tau**2), rel=0.01)
    nearest = float((scores - 0.9).max())
    for tau in (temperature / 2, temperature / 4):
        assert free_energy(tau) == pytest.approx(nearest / tau, rel=0.04)
    assert nearest == pytest.approx(temperature * 2 * math.log(n), rel=0.15)  # √(2 ln n) σ: an equation of large n


@pytest.mark.parametrize("rivals", RIVALS)
def test_the_scale_of_similarities_does_not_matter(rivals):
    a = random_arrays(5, "dot")
    value, log = make_loss("self-scaled", {"rivals": rivals}, a)(to_batch(a))
    threefold = replace(a, query=3 * a.query, document=3 * a.document)
    larger, its_log = make_loss("self-scaled", {"rivals": rivals}, a)(to_batch(threefold))
    assert float(larger.detach()) == pytest.approx(float(value.detach()), rel=1e-9)
    assert float(its_log["temperature"]) == pytest.approx(9 * float(log["temperature"]), rel=1e-9)


def test_documents_are_infonce_at_the_temperature_that_is_logged():
    batch = to_batch(random_arrays(6, "cosine"))
    value, log = losses.build("self-scaled", rivals="documents")(batch)
    same, _ = losses.build("infonce", temperature=float(log["temperature"]))(batch)
    assert float(value.detach()) == pytest.approx(float(same.detach()), rel=1e-6)


def test_the_first_batch_decides_and_is_saved():
    first, second = random_arrays(7, "cosine"), random_arrays(8, "cosine")
    loss = make_loss("self-scaled", {}, first)
    _, log = loss(to_batch(first))
    value, later = loss(to_batch(second))
    assert float(later["temperature"]) == float(log["temperature"])
    resumed = make_loss("self-scaled", {}, first)
    resumed.load_state_dict(loss.state_dict())
    assert float(resumed(to_batch(second))[0].detach()) == float(value.detach())
    fresh, _ = make_loss("self-scaled", {}, first)(to_batch(second))
    assert float(fresh.detach()) != float(value.detach())


@pytest.mark.parametrize(("closeness", "against_all"), [(0.2, True), (3.0, False)])
def test_auto_asks_whether_pairs_are_closest(closeness, against_all):
    """Queries and documents that share a direction of their own kind are closer to each other than pairs are."""
    generator = torch.Generator().manual_seed(0)
    topic = torch.randn(6, 16, generator=generator)
    kinds = torch.nn.functional.normalize(torch.randn(2, 16, generator=generator), dim=1) * closeness * 4
    relation = torch.full((6, 6), OTHER_POS, dtype=torch.int8).fill_diagonal_(OWN_POS)
    loss = losses.build("self-scaled")
    loss(LossBatch(topic + kinds[0], topic + kinds[1], relation, "cosine"))
    assert bool(loss.against_all) is against_all


def batch_of(query: torch.Tensor, document: torch.Tensor, relation: list[list[int]]) -> LossBatch:
    return LossBatch(query, document, torch.tensor(relation, dtype=torch.int8), "cosine")


@pytest.mark.parametrize("rivals", RIVALS)
def test_equal_similarities_give_a_finite_loss_and_gradient(rivals):
    query = torch.ones(2, 3, requires_grad=True)
    batch = batch_of(
        query, torch.ones(4, 3), [[OWN_POS, OTHER_POS, OWN_NEG, OTHER_NEG], [OTHER_POS, OWN_POS, OTHER_NEG, OWN_NEG]]
    )
    value, _ = losses.build("self-scaled", rivals=rivals)(batch)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(query.grad).all()


def test_a_batch_too_small_for_a_spread_is_refused():
    batch = batch_of(torch.eye(2), torch.eye(2), [[OWN_POS, OTHER_POS], [OTHER_POS, OWN_POS]])
    with pytest.raises(DataError, match=r"two documents to be held against; .*--batch-size"):
        losses.build("self-scaled")(batch)
