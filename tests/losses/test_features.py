"""What the losses with parameters, buffers or drawn layers keep and make: their values are tested elsewhere."""

from __future__ import annotations

import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.losses.base import LossBatch, Shapes

from .cases import make_loss, random_arrays, small_arrays, to_batch

MATCHING = ("embed-distill", "comparative")
RICH = ((2, 4), (3, 3), (2, 5), (2, 4))
"""Groups with more documents of each class than sub-classes."""


def batches(count: int) -> list[LossBatch]:
    return [to_batch(random_arrays(seed, groups=RICH, documents=16)) for seed in range(count)]


def lelp(**options):
    return make_loss("lelp", options, random_arrays(0, groups=RICH, documents=16))


def target_of(loss, batch: LossBatch) -> torch.Tensor:
    """The gradient of the head's bias: minus the mean target plus the mean prediction, divided by the temperature."""
    return torch.autograd.grad(loss(batch)[0], loss.head.bias, retain_graph=True)[0]


@pytest.mark.parametrize("name", MATCHING)
def test_projection_only_if_dimensions_differ(name):
    same, other = losses.build(name), losses.build(name)
    same.build(Shapes(dimension=5, teacher_dimension=5))
    other.build(Shapes(dimension=5, teacher_dimension=7))
    assert list(same.parameters()) == []
    assert {key: tuple(x.shape) for key, x in other.named_parameters()} == {"projection.weight": (7, 5)}


@pytest.mark.parametrize("name", MATCHING)
def test_one_projection_for_both_sides_learns(name):
    a = random_arrays(0)
    loss = make_loss(name, {}, a)
    loss(to_batch(a))[0].backward()
    assert loss.projection.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [*MATCHING, "lelp", "lead"])
def test_teacher_features_get_no_gradient(name):
    a = random_arrays(0)
    batch = to_batch(a)
    teacher = [x.requires_grad_() for key, x in batch.features.items() if key.startswith("teacher")]
    make_loss(name, {}, a)(batch)[0].backward()
    assert [x.grad for x in teacher] == [None] * 4


@pytest.mark.parametrize("name", [*MATCHING, "lelp", "lead"])
def test_missing_features_are_an_error(name):
    a = random_arrays(0)
    batch = to_batch(a)
    batch.features = {}
    with pytest.raises(DataError, match=r"holds no (teacher_query|query_layers)"):
        make_loss(name, {}, a)(batch)


def test_comparative_in_blocks_is_the_same(monkeypatch):
    a = small_arrays(1)
    loss = make_loss("comparative", {"form": "kl"}, a)
    whole = loss(to_batch(a))[0]
    monkeypatch.setattr("pyserini_sdr.losses.embeddings._CELLS", 60)  # two rows at a time
    batch = to_batch(a)
    parts = loss(batch)[0]
    parts.backward()
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)
    assert batch.query.grad.abs().sum() > 0


def test_embed_distill_with_nothing_to_match():
    with pytest.raises(UsageError, match="queries False, documents False"):
        losses.build("embed-distill", queries=False, documents=False)


def test_heads_of_cerberus_start_as_the_encoder():
    a = random_arrays(0, teachers=3)
    loss = make_loss("cerberus", {}, a)
    assert [tuple(p.shape) for p in loss.parameters()] == [(5, 5)] * 3
    batch = to_batch(a)
    alone = [
        losses.build("kl")(LossBatch(batch.query, batch.document, batch.relation, "cosine", scores[None]))[0]
        for scores in batch.teacher
    ]
    value = loss(batch)[0]
    torch.testing.assert_close(value, torch.stack(alone).mean(), rtol=1e-12, atol=0)
    value.backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in loss.heads)


@pytest.mark.parametrize("name", ["ca-mkd", "mtd"])
def test_one_teacher_is_not_several(name):
    a = random_arrays(0, teachers=1)
    with pytest.raises(DataError, match="scores of one teacher"):
        make_loss(name, {}, a)(to_batch(a))


def test_lelp_shapes():
    loss = losses.build("lelp", subclasses=3)
    loss.build(Shapes(dimension=5, teachers=1, teacher_dimension=7))
    assert {key: tuple(x.shape) for key, x in loss.state_dict().items()} == {
        "head.weight": (6, 5),
        "head.bias": (6,),
        "seen": (2,),
        "mean": (2, 7),
        "covariance": (2, 7, 7),
        "axes": (2, 7, 3),
    }
    torch.testing.assert_close(loss.rotation @ loss.rotation.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(losses.build("lelp", subclasses=3).rotation, loss.rotation, rtol=0, atol=0)


def test_lelp_wants_fewer_subclasses_than_dimensions():
    with pytest.raises(UsageError, match=r"subclasses 4.*embeddings, 4"):
        losses.build("lelp").build(Shapes(dimension=5, teachers=1, teacher_dimension=4))


def test_lelp_resumes_with_the_same_numbers():
    first, second, third = batches(3)
    straight = lelp()
    straight(first), straight(second)
    saved = {key: x.clone() for key, x in straight.state_dict().items()}
    resumed = lelp()
    resumed.load_state_dict(saved)
    value = straight(third)[0]
    assert resumed(third)[0] == value
    fresh = lelp()
    fresh.head.load_state_dict(straight.head.state_dict())
    assert fresh(third)[0] != value
    for key, x in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], x)


def test_lelp_statistics_are_those_of_the_pairs():
    batch = batches(1)[0]
    loss = lelp(momentum=0.5)
    loss(batch)
    first = loss.mean.clone(), loss.covariance.clone()
    ones = torch.ones(7, dtype=torch.float64)
    assert (loss.axes.transpose(1, 2) @ ones).abs().max() < 1e-12  # in the null space of the teacher's output weights
    assert loss.seen.all() and first[1].diagonal(dim1=1, dim2=2).sum(dim=1).min() > 0
    loss(batch)  # the same batch again changes nothing
    torch.testing.assert_close((loss.mean, loss.covariance), first)
    other = batches(2)[1]
    loss(other)
    alone = lelp()
    alone(other)
    torch.testing.assert_close(loss.mean, (first[0] + alone.mean) / 2)
    kept = loss.mean.clone()
    loss.eval()
    loss(batch)
    assert torch.equal(loss.mean, kept)


def test_subclasses_of_lelp_keep_their_meaning(monkeypatch):
    """The order and signs of eigenvectors may change between steps; sub-classes must not."""
    batch = batches(1)[0]
    loss = lelp()
    target, axes = target_of(loss, batch), loss.axes.clone()
    solve = torch.linalg.eigh

    def another_order(matrix):
        solved = solve(matrix)
        order = [*range(len(matrix) - 4), -3, -4, -1, -2]
        return solved.eigenvalues[order], -solved.eigenvectors[:, order]

    monkeypatch.setattr(torch.linalg, "eigh", another_order)
    torch.testing.assert_close(target_of(loss, batch), target)
    torch.testing.assert_close(loss.axes, axes)


def test_lelp_with_one_document_of_a_class_has_uniform_subclasses():
    a = random_arrays(0, groups=((1, 5),), documents=8, unscored=0.0)
    loss = make_loss("lelp", {}, a)
    with torch.no_grad():
        loss.head.weight.zero_(), loss.head.bias.zero_()
    gradient = target_of(loss, to_batch(a))
    relevant, rest = gradient[:4], gradient[4:]
    torch.testing.assert_close(relevant, relevant[:1].expand(4))
    assert rest.std() > 1e-3


def test_lead_draws_by_the_generator():
    loss = losses.build("lead", layers=3)
    draws = [loss._draw(12, 6, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2, 3, 4)]
    assert draws[0] == draws[1] and len({tuple(draw) for draw in draws}) > 2
    for draw in draws:
        for side, size in zip(zip(*draw, strict=True), (12, 6), strict=True):
            assert list(side) == sorted(set(side)) and side[0] >= 0 and side[-1] < size and len(side) == 3
    assert loss._draw(2, 6, None)[0][0] == 0 and len(loss._draw(2, 6, None)) == 2
    generator = torch.Generator().manual_seed(1)
    assert [loss._draw(12, 6, generator) for _ in range(3)] != [draws[0]] * 3  # anew at each step


def test_lead_value_is_reproducible_by_the_generator():
    a = random_arrays(0)
    loss = make_loss("lead", {"layers": 1}, a)
    values = set()
    for seed in (1, 1, 2, 3, 4, 5):
        batch = to_batch(a)
        batch.generator.manual_seed(seed)
        values.add(float(loss(batch)[0].detach()))
    assert 1 < len(values) < 6


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ca-mkd.tau=0", "tau 0"),
        ("ca-mkd.weights=equal", "one of confidence, uniform"),
        ("mtd.favour=both", "one of consensus, disagreement"),
        ("cerberus.temperature=-1", "temperature -1"),
        ("embed-distill.metric=l1", "one of l2, mse, cosine"),
        ("comparative.form=js", "one of mse, kl"),
        ("lelp.momentum=1", "momentum 1.0: must be 0 or more and less than 1"),
        ("lelp.subclasses=0", "subclasses 0"),
        ("lead.layers=0", "layers 0"),
        ("lead.layer_temperature=0", "layer_temperature 0"),
    ],
)
def test_bad_option_values(spec, message):
    with pytest.raises(UsageError, match=message):
        losses.parse_losses([spec.partition(".")[0]], [spec])
