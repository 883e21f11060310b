"""What must hold of every loss: gradients, what a perfect student sees, symmetries, sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.losses.base import LossBatch, Shapes

from .cases import (
    CASES,
    IDS,
    NAMES,
    float64_parameters,
    leaves,
    make_loss,
    random_arrays,
    shapes,
    small_arrays,
    to_batch,
)
from .reference import Arrays
from .test_against_reference import REFERENCE, inner


def gradients(loss, batch: LossBatch) -> dict[str, torch.Tensor]:
    """Of embeddings and encoder layers; zero where the loss does not depend on them."""
    value, _ = loss(batch)
    inputs = leaves(batch)
    found = torch.autograd.grad(value, list(inputs.values()), allow_unused=True)
    return {key: torch.zeros_like(x) if g is None else g for (key, x), g in zip(inputs.items(), found, strict=True)}


# ---- gradients


def numeric_gradient(value, a: Arrays, key: str) -> np.ndarray:
    """Central differences of `value(arrays)` over the embeddings or layers called `key`."""
    start = a.features[key] if key in a.features else getattr(a, key)
    gradient = np.zeros_like(start)
    for index in np.ndindex(*start.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[index] += step
            changed = {"features": {**a.features, key: moved}} if key in a.features else {key: moved}
            ends.append(value(replace(a, **changed)))
        gradient[index] = (ends[0] - ends[1]) / 2e-6
    return gradient


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_gradient_equals_finite_differences_of_the_reference(name, options, similarity):
    """With what is detached (weights, ranks, neighbours) held where it is."""
    a = small_arrays(3, similarity)
    loss = make_loss(name, options, a, seed=1)
    found = gradients(loss, to_batch(a))
    extra = inner(name, loss, a, options)
    largest = 0.0
    for key in ("query_layers", "document_layers") if name == "lead" else ("query", "document"):
        numeric = numeric_gradient(lambda x: REFERENCE[name](x, **options, **extra, held=a), a, key)
        scale = max(1.0, np.abs(numeric).max())
        np.testing.assert_allclose(found[key].numpy(), numeric, atol=2e-7 * scale, rtol=0)
        largest = max(largest, np.abs(numeric).max())
    assert largest > 1e-3  # the case says something


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bixse", {"scale": 2.0, "bias": -1.0}),
        ("cerberus", {"temperature": 0.5}),
        ("embed-distill", {}),
        ("embed-distill", {"metric": "mse"}),
        ("comparative", {"form": "kl"}),
        ("lelp", {"subclasses": 2, "temperature": 0.5}),
    ],
)
def test_gradient_of_parameters(name, options):
    a = small_arrays(4)
    loss = make_loss(name, options, a, seed=2)
    names, start = zip(*[(key, p.detach().clone().requires_grad_()) for key, p in loss.named_parameters()], strict=True)

    def value(*parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(loss, dict(zip(names, parameters, strict=True)), (to_batch(a),))[0]

    assert torch.autograd.gradcheck(value, start)


# ---- a student that equals its teacher

SOFT = {"temperature": 0.5, "teacher_temperature": 2.0}

PERFECT: list[tuple[str, dict[str, Any]]] = [
    ("margin-mse", {"scale": 4.0}),
    ("margin-mse", {"scale": 4.0, "pairs": "all"}),
    ("tas-b", {"scale": 4.0}),
    ("ranknet", {**SOFT, "target": "probability"}),
    ("hinge-order", {}),  # no margin asked for: the same order is enough
    ("kl", SOFT),
    ("kl", {**SOFT, "documents": "batch", "weighting": "difficulty"}),
    ("kl", {**SOFT, "weighting": "confidence"}),
    ("kl", {**SOFT, "teacher": -1, "tau": 4.0, "pace": 0.4}),
    ("lwf", {}),  # the frozen copy
    ("listnet", SOFT),
    ("tct", SOFT),
    ("ckl", {**SOFT, "gamma": 0.0}),
    ("ctkd", SOFT),
    ("ca-mkd", SOFT),
    ("mtd", SOFT),
    ("mtd", {**SOFT, "favour": "disagreement", "tau": 3.0}),
    ("cerberus", SOFT),
    ("embed-distill", {"metric": "l2"}),
    ("embed-distill", {"metric": "mse"}),
    ("embed-distill", {"metric": "cosine"}),
    ("comparative", {"form": "mse"}),
    ("comparative", {"form": "kl"}),
    ("lead", {"temperature": 0.5, "teacher_temperature": 0.5}),
]

IMPERFECT: list[tuple[str, dict[str, Any], str]] = [
    ("ckl", {**SOFT, "gamma": 1.0}, "unequal weights of the terms leave −Σ w P ∂log Q, which P = Q does not cancel"),
    ("ranknet", {**SOFT, "target": "order"}, "an order has no optimum: a wider margin is always better"),
    ("lambda-mrr", {"temperature": 0.5}, "likewise"),
    ("hinge-order", {"margin": 0.5}, "asks for a margin that the teacher need not have"),
    ("ar2", SOFT, "moves probability to the negatives that its ranker is least sure about"),
    ("nkd", SOFT, "−T+ log S+ alone has its optimum at S+ = 1; only the other term has it at the teacher"),
    ("bixse", {"grades": "teacher"}, "documents of other queries have the target 0, not the teacher's score"),
    ("rankdistil", SOFT, "a sample of rankings is not the distribution: zero only in expectation"),
    ("lelp", {"subclasses": 2}, "its student is a head of its own on products of embeddings, not the score"),
]


def perfect_batch(similarity: str, options: dict[str, Any]) -> LossBatch:
    """Teachers with the student's scores in the loss's units, its embeddings and its layers."""
    a = small_arrays(5, similarity)
    batch = to_batch(a)
    if "temperature" in options:
        factor = options.get("teacher_temperature", 1.0) / options["temperature"]
    else:
        factor = options.get("scale", 1.0)
    batch.teacher = (batch.scores.detach() * factor).expand(2, -1, -1).clone()
    cosine = similarity == "cosine"
    batch.features = {
        "teacher_query": (batch.unit_query if cosine else batch.query).detach().clone(),
        "teacher_document": (batch.unit_document if cosine else batch.document).detach().clone(),
        "query_layers": batch.features["query_layers"],
        "document_layers": batch.features["document_layers"],
        "teacher_query_layers": batch.features["query_layers"].detach().clone(),
        "teacher_document_layers": batch.features["document_layers"].detach().clone(),
    }
    return batch


def built_for(name: str, options: dict[str, Any], batch: LossBatch):
    with float64_parameters():
        loss = losses.build(name, **options)
        loss.build(Shapes(batch.query.shape[1], len(batch.teacher), batch.features["teacher_query"].shape[1]))
    return loss


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(
    ("name", "options"), PERFECT, ids=[f"{name}-{len(o)}-{i}" for i, (name, o) in enumerate(PERFECT)]
)
def test_a_perfect_student_learns_nothing(name, options, similarity):
    batch = perfect_batch(similarity, options)
    loss = built_for(name, options, batch)
    value, _ = loss(batch)
    inputs = [*leaves(batch).values(), *loss.parameters()]
    for gradient in torch.autograd.grad(value, inputs, allow_unused=True):
        assert gradient is None or gradient.abs().max() < 1e-10
    if name not in ("listnet", "ranknet"):  # their value is the teacher's entropy
        assert abs(float(value.detach())) < 1e-10


@pytest.mark.parametrize(("name", "options", "reason"), IMPERFECT, ids=[case[0] for case in IMPERFECT])
def test_losses_that_still_teach_a_perfect_student(name, options, reason):
    batch = perfect_batch("dot", options)
    found = gradients(built_for(name, options, batch), batch)
    assert max(g.abs().max() for g in found.values()) > 1e-4, reason


def test_rankdistil_teaches_a_perfect_student_nothing_in_expectation():
    options = {**SOFT, "samples": 40_000}
    batch = perfect_batch("cosine", options)
    sampled = gradients(built_for("rankdistil", options, batch), batch)
    batch = perfect_batch("cosine", options)
    batch.teacher = -batch.teacher
    opposite = gradients(built_for("rankdistil", options, batch), batch)
    assert sampled["query"].abs().max() < 0.03 < 0.3 < opposite["query"].abs().max()


# ---- losses that are the same


@pytest.mark.parametrize(
    ("one", "other", "options"),
    [
        (("ckl", {"gamma": 0.0}), ("kl", {}), {}),
        (("ckl", {"gamma": 0.0}), ("kl", {}), {"documents": "batch", "weighting": "difficulty", "anneal": 4}),
        (("ckl", {"gamma": 0.0}), ("kl", {}), {"weighting": "confidence", "temperature": 0.3}),
        (("lce", {"in_batch": True}), ("infonce", {}), {"temperature": 0.2}),
        (("lce", {}), ("infonce", {"in_batch": False}), {}),
        (("lwf", {}), ("kl", {"teacher": -1, "tau": 4.0, "teacher_temperature": 0.05}), {}),
        (("tct", {}), ("kl", {"temperature": 1.0, "teacher_temperature": 0.25, "documents": "batch"}), {}),
    ],
)
def test_same_loss(one, other, options):
    a = random_arrays(6)
    values, found = [], []
    for name, settings in (one, other):
        loss = make_loss(name, {**settings, **options}, a)
        values.append(float(loss(to_batch(a))[0].detach()))
        found.append(gradients(loss, to_batch(a)))
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    for key in ("query", "document"):
        torch.testing.assert_close(found[0][key], found[1][key], rtol=1e-10, atol=1e-12)


# ---- symmetry


def permuted(a: Arrays, rows: np.ndarray, columns: np.ndarray) -> Arrays:
    features = {key: x[rows if "query" in key else columns] for key, x in a.features.items()}
    return replace(
        a,
        query=a.query[rows],
        document=a.document[columns],
        relation=a.relation[rows][:, columns],
        teacher=a.teacher[:, rows][:, :, columns],
        features=features,
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rankdistil"])  # its random numbers go by position
def test_order_of_queries_and_documents_does_not_matter(name):
    a = random_arrays(7, "dot")
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(len(a.query)), rng.permutation(len(a.document))
    batch, other = to_batch(a), to_batch(permuted(a, rows, columns))
    options = {"subclasses": 2} if name == "lelp" else {}
    loss, same = (make_loss(name, options, a, seed=3) for _ in range(2))
    same.load_state_dict(loss.state_dict())
    assert float(same(other)[0].detach()) == pytest.approx(float(loss(batch)[0].detach()), rel=1e-8)
    found, again = gradients(loss, batch), gradients(same, other)
    torch.testing.assert_close(again["query"], found["query"][rows], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(again["document"], found["document"][columns], rtol=1e-6, atol=1e-9)


# ---- sums


def test_losses_add_up_with_their_weights():
    """All at once on one batch, whose scores they share, against each on a batch of its own."""
    a = random_arrays(10)
    with float64_parameters():
        chosen = losses.parse_losses([f"{name}:{0.1 * (k + 1)}" for k, name in enumerate(NAMES)])
        for loss, _, _ in chosen:
            loss.build(shapes(a))
    together = to_batch(a)
    total, expected = 0.0, {key: torch.zeros_like(x) for key, x in leaves(together).items()}
    for loss, _, weight in chosen:
        for key, gradient in gradients(loss, to_batch(a)).items():
            expected[key] += weight * gradient
        together.generator.manual_seed(to_batch(a).generator.initial_seed())
        total = total + weight * loss(together)[0]
    total.backward()
    for key, leaf in leaves(together).items():
        torch.testing.assert_close(leaf.grad, expected[key], rtol=1e-9, atol=1e-9)
