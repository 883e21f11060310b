"""Every loss against the NumPy loops of `reference*.py`, value by value in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.losses.base import Loss

from . import reference, reference_features, reference_listwise
from .cases import CASES, IDS, MARGINS, make_loss, random_arrays, small_arrays, to_batch
from .reference import Arrays, lists, log_softmax, score_matrix, teacher_mean

REFERENCE: dict[str, Callable[..., float | None]] = {
    "infonce": reference.infonce,
    "lce": reference.lce,
    "full-contrastive": reference.full_contrastive,
    "self-scaled": reference.self_scaled,
    "bixse": reference.bixse,
    "margin-mse": reference.margin_mse,
    "tas-b": reference.tas_b,
    "ranknet": reference.ranknet,
    "hinge-order": reference.hinge_order,
    "lambda-mrr": reference.lambda_mrr,
    "kl": reference_listwise.kl,
    "listnet": reference_listwise.listnet,
    "tct": reference_listwise.tct,
    "lwf": reference_listwise.lwf,
    "ckl": reference_listwise.ckl,
    "rankdistil": reference_listwise.rankdistil,
    "nkd": reference_listwise.nkd,
    "tf-nkd": reference_listwise.tf_nkd,
    "osakd": reference_listwise.osakd,
    "document-targets": reference_listwise.document_targets,
    "adaptive-softmax": reference_listwise.adaptive_softmax,
    "ar2": reference_listwise.ar2,
    "ctkd": reference_features.ctkd,
    "ca-mkd": reference_features.ca_mkd,
    "mtd": reference_features.mtd,
    "cerberus": reference_features.cerberus,
    "embed-distill": reference_features.embed_distill,
    "comparative": reference_features.comparative,
    "lelp": reference_features.lelp,
    "lead": reference_features.lead,
}

SEEDS = range(4)


# What the reference takes over from the module after its forward pass: parameters, and random numbers drawn again from
# a generator in the same state. Only this follows how the module draws.


def drawn_rankings(a: Arrays, options: dict[str, Any]) -> dict[int, list[list[int]]]:
    """Rankings by t + Gumbel noise: −log of exponential variates of shape (samples, queries, longest list)."""
    t = teacher_mean(a)
    counted = lists(a, "own", t)
    shape = (options.get("samples", 8), len(counted), max(len(columns) for _, columns in counted))
    exponential = torch.empty(shape, dtype=torch.float64).exponential_(generator=to_batch(a).generator).numpy()
    rankings = {}
    for row, (i, columns) in enumerate(counted):
        rankings[i] = []
        for noise in -np.log(exponential[:, row]):
            noisy = {d: t[i, d] / options.get("teacher_temperature", 1.0) + noise[k] for k, d in enumerate(columns)}
            rankings[i].append(sorted(columns, key=lambda d, noisy=noisy: -noisy[d]))
    return rankings


def drawn_layers(a: Arrays, options: dict[str, Any]) -> dict[str, list[int]]:
    """The teacher's layers are drawn first."""
    generator, sizes = to_batch(a).generator, (4, 3)
    count = min(options.get("layers", 3), *sizes)
    theirs, mine = (sorted(torch.randperm(size, generator=generator)[:count].tolist()) for size in sizes)
    return {"student_layers": mine, "teacher_layers": theirs}


def inner(name: str, loss: Loss, a: Arrays, options: dict[str, Any]) -> dict[str, Any]:
    matrices = [p.detach().numpy() for p in loss.parameters() if p.dim() >= 2]
    if name == "cerberus":
        return {"heads": matrices[0] if matrices[0].ndim == 3 else matrices}
    if name in ("embed-distill", "comparative"):
        return {"w": matrices[0] if matrices else None}
    if name == "rankdistil":
        return {"orders": drawn_rankings(a, options)}
    if name == "lead":
        return drawn_layers(a, options)
    if name == "lelp":  # that the axes are the right ones: test_axes_of_lelp
        projections = [
            reference_features.lelp_projections(a, reference_features.lelp_statistics(a, kind == 0), axes)
            for kind, axes in enumerate(loss.axes.numpy())
        ]
        head_bias = loss.head.bias.detach().numpy()
        return {"head": matrices[0], "head_bias": head_bias, "projections": projections}
    return {}


def test_no_loss_is_without_a_reference():
    assert set(REFERENCE) | set(MARGINS) == set(losses.LOSSES)
    assert {name for name, _ in CASES} == set(REFERENCE)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_value(name, options, similarity):
    for seed in SEEDS:
        a = random_arrays(seed, similarity, teachers=3 if seed == 1 else 2, teacher_dimension=5 if seed == 2 else 7)
        loss = make_loss(name, options, a, seed)
        value, log = loss(to_batch(a))
        expected = REFERENCE[name](a, **options, **inner(name, loss, a, options))
        assert expected is not None and np.isfinite(expected)
        assert value.shape == torch.Size([])
        assert float(value.detach()) == pytest.approx(expected, rel=1e-9)
        assert all(np.isfinite(float(x)) and not getattr(x, "requires_grad", False) for x in log.values())


@pytest.mark.parametrize(("name", "matrix"), [("embed-distill", True), ("comparative", True), ("embed-distill", False)])
def test_a_matrix_only_where_dimensions_differ(name, matrix):
    a = random_arrays(0, teacher_dimension=7 if matrix else 5)
    assert [p.shape for p in make_loss(name, {}, a).parameters()] == ([torch.Size([7, 5])] if matrix else [])


def test_heads_start_as_the_encoder():
    a = random_arrays(1, teachers=3)
    expected = [reference_listwise.kl(replace(a, teacher=a.teacher[k : k + 1])) for k in range(3)]
    value = float(make_loss("cerberus", {}, a)(to_batch(a))[0].detach())
    assert value == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize("progress", [0.0, 0.01, 0.5, 0.999, 1.0])
def test_annealing_follows_progress(progress):
    a = random_arrays(2, progress=progress)
    value = float(make_loss("kl", {"anneal": 7}, a)(to_batch(a))[0].detach())
    assert value == pytest.approx(reference_listwise.kl(a, anneal=7), rel=1e-9)
    steps = {0.0: 7, 0.01: 7, 0.5: 4, 0.999: 1, 1.0: 1}
    scaled = replace(a, teacher=a.teacher * (1 - (steps[progress] - 1) / 7))
    assert value == pytest.approx(reference_listwise.kl(scaled), rel=1e-9)


@pytest.mark.parametrize("progress", [0.0, 0.05, 0.1, 1.0])
def test_gradient_of_the_temperature_is_reversed(progress):
    options = {"strength": 0.7, "ramp": 0.1, "temperature": 0.3}
    a = replace(small_arrays(1), progress=progress)
    loss = make_loss("ctkd", options, a)
    value, log = loss(to_batch(a))
    (theta,) = loss.parameters()
    (found,) = torch.autograd.grad(value, theta)
    ends = [reference_features.ctkd(a, theta=1 + step, **options) for step in (1e-5, -1e-5)]
    factor = reference_features.reversal(progress, strength=0.7, ramp=0.1)
    assert factor == pytest.approx({0.0: 0.0, 0.05: 0.35, 0.1: 0.7, 1.0: 0.7}[progress], abs=1e-12)
    assert float(found) == pytest.approx(-factor * (ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-12)
    assert float(log["temperature"]) == pytest.approx(1 + 20 / (1 + math.exp(-1)))


def test_margin_mse_logs_both_margins():
    a = random_arrays(3)
    _, log = make_loss("margin-mse", {}, a)(to_batch(a))
    t, s = teacher_mean(a), reference.scores(a)
    pairs = []
    for i in range(len(a.query)):
        columns = reference.the_list(a, i, "own", t)
        pairs += [(i, p, n) for p in reference.positives(a, i, columns) for n in reference.others(a, i, columns)]
    assert float(log["margin"]) == pytest.approx(np.mean([s[i, p] - s[i, n] for i, p, n in pairs]))
    assert float(log["teacher_margin"]) == pytest.approx(np.mean([t[i, p] - t[i, n] for i, p, n in pairs]))


@pytest.mark.parametrize("top", [0, 2])
def test_rankdistil_in_expectation(top):
    """Against the sum over all rankings of their probability under the teacher."""
    options = {"temperature": 0.5, "teacher_temperature": 2.0, "top": top}
    a = random_arrays(4, unscored=0.0)
    t, s = teacher_mean(a), reference.scores(a)
    expected = []
    for i, columns in lists(a, "own", t):
        student = {d: s[i, d] / 0.5 for d in columns}
        teacher = {d: t[i, d] / 2.0 for d in columns}
        terms = [
            -math.exp(reference_listwise.prefix_likelihood(teacher, order, 0))
            * reference_listwise.prefix_likelihood(student, order, top)
            for order in itertools.permutations(columns)
        ]
        expected.append(sum(terms))
    value = float(make_loss("rankdistil", {**options, "samples": 50_000}, a)(to_batch(a))[0].detach())
    assert value == pytest.approx(np.mean(expected), rel=3e-3)


def test_rankdistil_example_of_tensorflow_ranking():
    """Two lists of three: the mean over rankings is that of the two lists, whatever is sampled."""
    scores = np.log([[1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])
    likelihoods = [log_softmax(row) for row in scores]
    # the teacher is so sure that only one ranking is drawn: best first 1, 2, 0 and 0, 2, 1
    teacher = np.array([[[0.0, 2000.0, 1000.0], [2000.0, 0.0, 1000.0]]])
    a = Arrays(np.eye(2), scores.T.copy(), np.array([[0, 1, 1], [0, 1, 1]], dtype=np.int8), "dot", teacher)
    value = float(make_loss("rankdistil", {"top": 2, "temperature": 1.0}, a)(to_batch(a))[0].detach())
    by_hand = -(likelihoods[0][1] + math.log(2 / 3) + likelihoods[1][0] + math.log(3 / 5)) / 2
    assert value == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("subclasses", [1, 2, 3])
def test_axes_of_lelp(subclasses):
    """First batch: leading eigenvectors, of either sign, times the rotation. Then their space, turned least."""
    a, b = random_arrays(5), random_arrays(7)
    loss = make_loss("lelp", {"subclasses": subclasses, "momentum": 0.6}, a)
    rotation = loss.rotation.numpy().copy()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(subclasses), atol=1e-12)
    loss(to_batch(a))
    first = loss.axes.numpy().copy()
    loss(to_batch(b))
    for kind in (0, 1):
        statistics = reference_features.lelp_statistics(a, kind == 0)
        leading = reference_features.leading_eigenvectors(statistics[1], subclasses)
        signs = itertools.product((1.0, -1.0), repeat=subclasses)
        assert min(np.abs(leading * sign @ rotation - first[kind]).max() for sign in signs) < 1e-9

        statistics = reference_features.lelp_statistics(b, kind == 0, statistics, momentum=0.6)
        np.testing.assert_allclose(loss.mean[kind].numpy(), statistics[0], atol=1e-12)
        np.testing.assert_allclose(loss.covariance[kind].numpy(), statistics[1], atol=1e-12)
        leading = reference_features.leading_eigenvectors(statistics[1], subclasses)
        now = loss.axes[kind].numpy()
        np.testing.assert_allclose(now @ now.T, leading @ leading.T, atol=1e-9)
        overlap = now.T @ first[kind]
        np.testing.assert_allclose(overlap, overlap.T, atol=1e-9)  # symmetric and positive: no nearer rotation
        assert np.linalg.eigvalsh(overlap).min() > 0


def test_statistics_of_lelp_stand_still_in_evaluation():
    a = random_arrays(5)
    loss = make_loss("lelp", {"subclasses": 2}, a)
    loss(to_batch(a))
    before = {key: x.clone() for key, x in loss.state_dict().items()}
    loss.eval()(to_batch(random_arrays(6)))
    assert all(torch.equal(x, before[key]) for key, x in loss.state_dict().items())


def test_scores_of_layers_are_score_matrices():
    """One layer on each side: the KL of the two score matrices, whatever the weights."""
    a = random_arrays(6, "dot")
    features = {key: x[:, :1] if "layers" in key else x for key, x in a.features.items()}
    value = float(make_loss("lead", {}, a)(to_batch(replace(a, features=features)))[0].detach())
    teacher = score_matrix(features["teacher_query_layers"][:, 0], features["teacher_document_layers"][:, 0], "dot")
    student = replace(
        a,
        query=features["query_layers"][:, 0],
        document=features["document_layers"][:, 0],
        teacher=teacher[None],
    )
    expected = reference_listwise.kl(student, documents="batch", teacher_temperature=0.05)
    assert value == pytest.approx(expected, rel=1e-9)


def test_comparative_in_chunks(monkeypatch):
    a = random_arrays(3)
    monkeypatch.setattr(losses.LOSSES.load("comparative").__module__ + "._CELLS", 2 * 7 * len(a.query))
    loss = make_loss("comparative", {"form": "kl"}, a, seed=1)
    value = float(loss(to_batch(a))[0].detach())
    expected = reference_features.comparative(a, form="kl", **inner("comparative", loss, a, {}))
    assert value == pytest.approx(expected, rel=1e-9)
