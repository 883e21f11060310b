"""Margin losses against the authors' values, against NumPy loops, and their gradients by finite differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, LossBatch, Need

# The authors' released loss run on this example, and the row layout by hand; see docs/losses.md.
GOLDEN = json.loads((Path(__file__).parent / "arm_golden.json").read_text())

CASES = [
    ("static-0.5", "static-margin", {"margin": 0.5}),
    ("static-0.5-in-batch", "static-margin", {"margin": 0.5, "in_batch": True}),
    ("adaptive", "adaptive-margin", {}),
    ("adaptive-in-batch", "adaptive-margin", {"in_batch": True}),
    ("distributed", "distributed-margin", {}),
]


def triples_batch(query, positive, negative) -> LossBatch:
    """One positive and one negative per query, in this column order: all positives, then all negatives."""
    size = len(query)
    relation = torch.full((size, 2 * size), OTHER_POS, dtype=torch.int8)
    relation[:, size:] = OTHER_NEG
    for i in range(size):
        relation[i, i], relation[i, size + i] = OWN_POS, OWN_NEG
    return LossBatch(query, torch.cat([positive, negative]), relation, "cosine")


def golden_batch() -> LossBatch:
    return triples_batch(*(torch.tensor(GOLDEN[key], dtype=torch.float64) for key in ("query", "positive", "negative")))


@pytest.mark.parametrize("error", ["l1", "l2", "soft"])
@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize(("case", "name", "options"), CASES, ids=[case[0] for case in CASES])
def test_golden(case, name, options, layout, error):
    # single pairs are the same in both layouts and stand in the column table
    table = GOLDEN["column_layout"] if case in ("static-0.5", "adaptive") else GOLDEN[f"{layout}_layout"]
    loss, _ = losses.build(name, layout=layout, error=error, **options)(golden_batch())
    assert float(loss) == pytest.approx(table[case][error], abs=1e-6)


def random_batch(seed: int) -> LossBatch:
    """Ragged: several positives, no to three negatives, shared documents, ignored cells."""
    rng = np.random.default_rng(seed)
    relation = torch.tensor(
        [
            [OWN_POS, OWN_POS, OWN_NEG, OTHER_NEG, OTHER_NEG, OTHER_POS, OTHER_NEG],
            [IGNORE, OTHER_POS, OTHER_NEG, OWN_NEG, OWN_NEG, OWN_POS, OTHER_NEG],
            [OTHER_POS, OTHER_POS, OTHER_NEG, IGNORE, OTHER_NEG, OWN_POS, OWN_NEG],
            [OWN_POS, OTHER_POS, OTHER_NEG, OTHER_NEG, OTHER_NEG, OTHER_POS, OTHER_NEG],  # no negative of its own
        ],
        dtype=torch.int8,
    )
    query = torch.tensor(rng.normal(size=(4, 5)), requires_grad=True)
    document = torch.tensor(rng.normal(size=(7, 5)), requires_grad=True)
    return LossBatch(query, document, relation, "cosine")


def by_hand(
    batch: LossBatch, kind: str, layout: str, error: str, in_batch: bool, margin: float = 0.3, scale: str = "unit"
) -> float:
    """The definitions as loops over cells."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    q, d = unit(batch.query.detach().numpy()), unit(batch.document.detach().numpy())
    relation = batch.relation.numpy()
    errors = {"l1": abs, "l2": lambda x: x * x, "soft": lambda x: np.log1p(np.exp(-x))}
    pairs = [(i, p) for i in range(len(q)) for p in range(len(d)) if relation[i, p] == OWN_POS]
    triples = [(i, p, n) for i, p in pairs for n in range(len(d)) if relation[i, n] == OWN_NEG]
    negatives = sorted({n for _, _, n in triples})
    usable = lambda i, n: relation[i, n] in (OWN_NEG, OTHER_NEG)  # noqa: E731
    offset, slope = (0.5, 0.5) if scale == "unit" else line_by_hand(q, d, relation)
    t = lambda p, n: margin if kind == "static" else offset + slope * (d[p] @ d[n])  # noqa: E731
    cells = []
    if kind == "distributed":
        for i, p, n in triples:
            own = q[i] @ d[p] - q[i] @ d[n]
            if layout == "row":
                cells += [own - t(p, other) for other in negatives if usable(i, other)]
            else:
                cells += [own - t(other, n) for j, other in pairs if usable(j, n)]
    elif not in_batch:
        cells = [q[i] @ d[p] - q[i] @ d[n] - t(p, n) for i, p, n in triples]
    elif layout == "row":
        cells = [q[i] @ d[p] - q[i] @ d[n] - t(p, n) for i, p in pairs for n in negatives if usable(i, n)]
    else:
        cells = [q[j] @ d[p2] - q[i] @ d[n] - t(p, n) for i, p in pairs for j, p2, n in triples if usable(i, n)]
    return float(np.mean([errors[error](cell) for cell in cells]))


def line_by_hand(q: np.ndarray, d: np.ndarray, relation: np.ndarray) -> tuple[float, float]:
    """Offset and slope of t under `scale=spread`, for unit vectors: σ (√(2 ln n) + (x − μ) / ς)."""
    variances, logs = [], []
    for i in range(len(q)):
        against = [q[i] @ d[n] for n in range(len(d)) if relation[i, n] not in (OWN_POS, IGNORE)]
        variances.append(np.var(against, ddof=1))
        logs.append(np.log(len(against)))
    negatives = [n for n in range(len(d)) if OWN_NEG in relation[:, n]]
    pairs = [(i, p) for i in range(len(q)) for p in range(len(d)) if relation[i, p] == OWN_POS]
    alike = [d[p] @ d[n] for i, p in pairs for n in negatives if relation[i, n] in (OWN_NEG, OTHER_NEG)]
    sigma = np.sqrt(np.mean(variances))
    slope = sigma / np.std(alike)
    return sigma * np.sqrt(2 * np.mean(logs)) - slope * np.mean(alike), slope


@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize(("kind", "in_batch"), [("adaptive", False), ("adaptive", True), ("distributed", False)])
def test_targets_in_units_of_the_spread_equal_loops(kind, in_batch, layout):
    batch = random_batch(seed=3)
    options = {} if kind == "distributed" else {"in_batch": in_batch}
    loss, _ = losses.build(f"{kind}-margin", layout=layout, scale="spread", **options)(batch)
    expected = by_hand(batch, kind, layout, "l2", in_batch, scale="spread")
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)  # the line is kept in single precision


def test_targets_in_units_of_the_spread_are_those_of_the_first_batch():
    first, second = random_batch(seed=3), random_batch(seed=4)
    loss = losses.build("adaptive-margin", scale="spread")
    loss(first)
    line = loss.state_dict()["line"].clone()
    value, _ = loss(second)
    assert torch.equal(loss.state_dict()["line"], line)
    resumed = losses.build("adaptive-margin", scale="spread")
    resumed.load_state_dict({"line": line})
    assert torch.equal(resumed(second)[0], value)
    fresh, _ = losses.build("adaptive-margin", scale="spread")(second)
    assert float(fresh.detach()) != pytest.approx(float(value.detach()), rel=1e-3)
    assert not losses.build("adaptive-margin").state_dict()


def test_targets_in_units_of_the_spread_follow_it():
    """Vectors that crowd around one direction have small margins, and small ones are asked for."""
    batch = random_batch(seed=6)
    crowd = torch.zeros(5, dtype=torch.float64)
    crowd[0] = 40.0
    narrow = LossBatch(batch.query + crowd, batch.document + crowd, batch.relation, "cosine")
    target = {
        scale: [float(losses.build("adaptive-margin", scale=scale)(each)[1]["target"]) for each in (batch, narrow)]
        for scale in ("unit", "spread")
    }
    assert target["unit"][1] > 0.95
    assert target["spread"][0] > 60 * target["spread"][1]


def test_documents_that_are_all_alike_have_the_middle_as_target():
    batch = random_batch(seed=3)
    same = LossBatch(batch.query, batch.document[:1].repeat(7, 1), batch.relation, "cosine")
    value, log = losses.build("distributed-margin", scale="spread")(same)
    assert float(value.detach()) == pytest.approx(0, abs=1e-9) and float(log["target"]) == pytest.approx(0, abs=1e-6)


def test_a_spread_needs_several_documents():
    query, document = torch.eye(3, dtype=torch.float64)[:1], torch.eye(3, dtype=torch.float64)[:2]
    batch = LossBatch(query, document, torch.tensor([[OWN_POS, OWN_NEG]], dtype=torch.int8), "cosine")
    with pytest.raises(DataError, match="batch-size"):
        losses.build("adaptive-margin", scale="spread")(batch)


@pytest.mark.parametrize("error", ["l1", "l2", "soft"])
@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize(
    ("kind", "in_batch"),
    [("static", False), ("static", True), ("adaptive", False), ("adaptive", True), ("distributed", False)],
)
def test_ragged_batch_equals_loops(kind, in_batch, layout, error):
    batch = random_batch(seed=3)
    options = {} if kind == "distributed" else {"in_batch": in_batch}
    if kind == "static":
        options["margin"] = 0.3
    loss, log = losses.build(f"{kind}-margin", layout=layout, error=error, **options)(batch)
    assert float(loss.detach()) == pytest.approx(by_hand(batch, kind, layout, error, in_batch), abs=1e-12)
    assert set(log) == {"margin", "margin_positive", "target"}


@pytest.mark.parametrize("detach_target", [False, True])
@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("static-margin", {"in_batch": True}),
        ("adaptive-margin", {}),
        ("adaptive-margin", {"in_batch": True}),
        ("adaptive-margin", {"in_batch": True, "scale": "spread"}),
        ("distributed-margin", {}),
        ("distributed-margin", {"scale": "spread"}),
    ],
)
@pytest.mark.parametrize("error", ["l2", "soft"])
def test_gradients(name, options, layout, error, detach_target):
    batch = random_batch(seed=5)
    loss = losses.build(name, layout=layout, error=error, detach_target=detach_target, **options)

    def value(query, document):
        return loss(LossBatch(query, document, batch.relation, "cosine"))[0]

    if not detach_target:
        assert torch.autograd.gradcheck(value, (batch.query, batch.document))
        return
    # Detached: the finite difference with targets held where they are.
    gradient = torch.autograd.grad(value(batch.query, batch.document), batch.query)[0]
    frozen = loss._target

    fixed = frozen(batch, torch.arange(7), torch.arange(7)).detach()
    loss._target = lambda _, positive, negative: fixed[positive][:, negative]
    if name == "adaptive-margin" and not options:
        return  # its single-pair target does not depend on the query
    numeric = torch.zeros_like(gradient)
    with torch.no_grad():
        for index in np.ndindex(*gradient.shape):
            step = torch.zeros_like(batch.query)
            step[index] = 1e-6
            numeric[index] = (
                value(batch.query + step, batch.document) - value(batch.query - step, batch.document)
            ) / 2e-6
    assert torch.allclose(gradient, numeric, atol=1e-8)


@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize("kind", ["static", "adaptive"])
def test_as_many_pairs_as_queries_need_not_be_one_each(kind, layout):
    """Two positives, none, one: three pairs of three queries."""
    rng = np.random.default_rng(8)
    relation = torch.tensor(
        [
            [OWN_POS, OWN_POS, OTHER_POS, OWN_NEG, OTHER_NEG],
            [OTHER_POS, OTHER_POS, OTHER_POS, OTHER_NEG, OWN_NEG],
            [OTHER_POS, OTHER_POS, OWN_POS, OTHER_NEG, OWN_NEG],
        ],
        dtype=torch.int8,
    )
    batch = LossBatch(torch.tensor(rng.normal(size=(3, 4))), torch.tensor(rng.normal(size=(5, 4))), relation, "cosine")
    loss, _ = losses.build(f"{kind}-margin", layout=layout, in_batch=True)(batch)
    assert float(loss) == pytest.approx(by_hand(batch, kind, layout, "l2", True), abs=1e-12)


def test_detached_targets_stop_document_gradients_through_the_target():
    batch = random_batch(seed=7)
    free, _ = losses.build("distributed-margin")(batch)
    held, _ = losses.build("distributed-margin", detach_target=True)(random_batch(seed=7))
    assert float(free.detach()) == pytest.approx(float(held.detach()), abs=1e-12)
    gradient = torch.autograd.grad(free, batch.document)[0]
    other = random_batch(seed=7)
    held, _ = losses.build("distributed-margin", detach_target=True)(other)
    assert not torch.allclose(gradient, torch.autograd.grad(held, other.document)[0])


@pytest.mark.parametrize("layout", ["row", "column"])
@pytest.mark.parametrize(
    ("kind", "in_batch"), [("adaptive", False), ("adaptive", True), ("distributed", False)], ids=str
)
def test_targets_of_a_teacher_are_its_document_similarities(kind, in_batch, layout):
    """As if the documents in the targets, and only there, were the teacher's."""
    batch, rng = random_batch(seed=9), np.random.default_rng(2)
    options = {} if kind == "distributed" else {"in_batch": in_batch}
    loss = losses.build(f"{kind}-margin", layout=layout, targets="teacher", **options)
    assert Need.TEACHER_VECTORS in loss.needs
    its_own = {"teacher_query": batch.query.detach(), "teacher_document": batch.document.detach()}
    same = LossBatch(batch.query, batch.document, batch.relation, "cosine", None, its_own)
    assert float(loss(same)[0].detach()) == pytest.approx(by_hand(batch, kind, layout, "l2", in_batch), abs=1e-12)
    others = {"teacher_query": torch.zeros(4, 3), "teacher_document": torch.tensor(rng.normal(size=(7, 3)))}
    another = LossBatch(batch.query, batch.document, batch.relation, "cosine", None, others)
    assert not np.isclose(float(loss(another)[0].detach()), float(loss(same)[0].detach()))
    taught = losses.build(f"{kind}-margin", layout=layout, detach_target=True, **options)
    held = torch.autograd.grad(taught(batch)[0], batch.document)[0]  # nothing is learned through the teacher
    assert torch.allclose(torch.autograd.grad(loss(same)[0], batch.document)[0], held, atol=1e-12)
    with pytest.raises(DataError, match=r"holds no teacher_query; .* a live bi-encoder"):
        loss(batch)


def test_known_positives_never_serve_as_negatives():
    batch = random_batch(seed=1)
    losses.build("distributed-margin")(batch)[0].backward()
    with torch.no_grad():  # document 3 is ignored for query 2 and a negative elsewhere
        relation = batch.relation.clone()
    relation[:, 2] = IGNORE  # the only negative of query 0: now it has none
    reduced = LossBatch(batch.query, batch.document, relation, "cosine")
    loss, _ = losses.build("adaptive-margin", in_batch=True)(reduced)
    gradient = torch.autograd.grad(loss, batch.document)[0]
    assert torch.equal(gradient[2], torch.zeros_like(gradient[2]))


def test_large_batch_stays_within_a_few_score_matrices():
    size, dim = 1024, 16
    rng = torch.Generator().manual_seed(0)
    query, positive, negative = (torch.randn(size, dim, generator=rng, requires_grad=True) for _ in range(3))
    matrix = size * 2 * size * 4
    for name, options in (
        ("distributed-margin", {}),
        ("adaptive-margin", {"in_batch": True}),
        ("static-margin", {"in_batch": True}),
    ):
        for layout in ("row", "column"):
            loss = losses.build(name, layout=layout, **options)
            peak = _peak_bytes(lambda loss=loss: loss(triples_batch(query, positive, negative))[0].backward())
            assert peak < 8 * matrix, (name, layout, peak / matrix)


def _peak_bytes(work) -> int:
    """Largest sum of live tensor bytes allocated while `work` runs, from the profiler's allocation record."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    live = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    assert peak > 0
    return peak


def test_no_negatives_is_an_error():
    relation = torch.tensor([[OWN_POS, OTHER_POS], [OTHER_POS, OWN_POS]], dtype=torch.int8)
    with pytest.raises(DataError, match="mine negatives"):
        losses.build("distributed-margin")(LossBatch(torch.randn(2, 3), torch.randn(2, 3), relation, "cosine"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("distributed", {}, "unknown loss 'distributed'; did you mean 'distributed-margin'"),
        ("distributed-margin", {"in_batch": True}, "unknown option of distributed-margin 'in_batch'"),
        ("static-margin", {"margin": 3}, "between -2 and 2"),
        ("static-margin", {"margin": "much"}, "expected a float"),
        ("adaptive-margin", {"error": "l3"}, "one of l1, l2, soft"),
        ("adaptive-margin", {"in_batch": "perhaps"}, "true or false"),
        ("infonce", {"temperature": 0}, "must be positive"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(UsageError, match=message):
        losses.build(name, **options)


def test_parse_losses():
    parsed = losses.parse_losses(
        ["distributed-margin", "infonce:0.25"], ["infonce.temperature=0.02", "distributed-margin.layout=column"]
    )
    assert [(name, weight) for _, name, weight in parsed] == [("distributed-margin", 1.0), ("infonce", 0.25)]
    assert parsed[0][0].layout == "column" and parsed[1][0].temperature == 0.02
    for specs, options, message in (
        (["infonce:x"], [], "must be a number"),
        (["infonce:-1"], [], "must be positive"),
        (["infonce:nan"], [], "must be positive"),
        (["infonce"], ["infonce.temperature=nan"], "expected a finite number"),
        (["infonce"], ["infonce.temperature=1", "infonce.temperature=2"], "given twice"),
        (["infonce", "infonce"], [], "given twice"),
        (["infonce"], ["temperature=1"], "expected LOSS.option=value"),
        (["infonce"], ["static-margin.margin=1"], "not among the losses"),
    ):
        with pytest.raises(UsageError, match=message):
            losses.parse_losses(specs, options)
