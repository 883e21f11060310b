"""The step: pieces and recomputation change nothing but memory; two processes compute what one does."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.losses.base import OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, Loss, LossBatch, Shapes
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.batches import TextBatch
from pyserini_sdr.train.step import Step
from pyserini_sdr.train.teachers import Teachers


def text_batch(size: int = 6) -> TextBatch:
    relation = torch.full((size, 2 * size), OTHER_POS, dtype=torch.int8)
    relation[:, size:] = OTHER_NEG
    relation[torch.arange(size), torch.arange(size)] = OWN_POS
    relation[torch.arange(size), torch.arange(size) + size] = OWN_NEG
    words = ["river", "music", "engine", "garden", "what", "is"]
    texts = [" ".join(words[(i + k) % 6] for k in range(1 + i % 5)) for i in range(3 * size)]
    return TextBatch(texts[:size], texts[size:], relation, size)


class Fixed(Teachers):
    """Two teachers with scores of everything, embeddings and layers, the same each time."""

    def observe(self, batch: TextBatch, device: torch.device):
        draw = torch.Generator().manual_seed(7)
        features = {
            f"teacher_{side}{what}": torch.randn(rows, *shape, generator=draw)
            for side, rows in (("query", len(batch.queries)), ("document", len(batch.documents)))
            for what, shape in (("", (5,)), ("_layers", (3, 5)))
        }
        return torch.randn(2, *batch.relation.shape, generator=draw), features


def make_step(encoder: BiEncoder, name: str = "distributed-margin", **options) -> Step:
    loss = losses.build(name)
    torch.manual_seed(3)
    loss.build(Shapes(encoder.spec.dimension, teachers=2, teacher_dimension=5))
    return Step(encoder, [(loss, name, 1.0)], bf16=False, **{"teachers": Fixed(), **options})


def test_the_packed_pass_is_that_of_the_model(encoder, monkeypatch):
    encoder.backbone.eval()
    loss, packed = gradients(encoder, make_step(encoder))
    called = []
    monkeypatch.setattr("pyserini_sdr.train.step.PackedTraining.of", lambda model: called.append(model))
    other, plain = gradients(encoder, make_step(encoder))
    assert called and other == pytest.approx(loss, abs=1e-6) and plain.keys() == packed.keys()
    for key, gradient in plain.items():
        assert torch.allclose(packed[key], gradient, rtol=1e-4, atol=1e-6), key


def gradients(encoder: BiEncoder, step: Step, *, seed: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    encoder.backbone.zero_grad()
    torch.manual_seed(seed)
    loss, _ = step(encoder.backbone, text_batch(), 0.0)
    loss.backward()
    return float(loss.detach()), {
        n: p.grad.clone() for n, p in encoder.backbone.named_parameters() if p.grad is not None
    }


@pytest.fixture
def encoder(tiny_encoder) -> BiEncoder:
    return BiEncoder.load(tiny_encoder, raw_backbone=True, precision="fp32")


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_pieces_and_recomputation_give_the_same_gradients(encoder, name):
    encoder.backbone.eval()  # no dropout: pieces of another size would draw other masks
    loss, plain = gradients(encoder, make_step(encoder, name))
    for options in ({"token_budget": 16}, {"micro_batch_size": 2}, {"micro_batch_size": 1, "token_budget": 8}):
        other, pieced = gradients(encoder, make_step(encoder, name, **options))
        assert other == pytest.approx(loss, abs=1e-6, rel=1e-6)
        assert plain.keys() == pieced.keys()
        for key, gradient in plain.items():
            allowed = 1e-6 + 1e-6 * float(gradient.abs().max())
            assert torch.allclose(gradient, pieced[key], atol=allowed, rtol=1e-5), (options, key)


@pytest.mark.parametrize("packed", [True, False])
def test_recomputation_repeats_the_dropout_of_the_first_pass(encoder, monkeypatch, packed):
    """The same pieces with and without recomputation, dropout on: equal only if masks are drawn again alike."""
    encoder.backbone.train()
    if not packed:  # as for kinds of encoder that have no packed pass
        monkeypatch.setattr("pyserini_sdr.train.step.PackedTraining.of", lambda _: None)
    assert encoder.backbone.config.hidden_dropout_prob > 0
    recomputed = gradients(encoder, make_step(encoder, micro_batch_size=2))
    monkeypatch.setattr("pyserini_sdr.train.step.checkpoint", lambda run, *args, **_: run(*args))
    monkeypatch.setattr("pyserini_sdr.model.packed_training._Plan.keeps", True)
    kept = gradients(encoder, make_step(encoder, micro_batch_size=2))
    assert recomputed[0] == kept[0]
    for key, gradient in kept[1].items():
        assert torch.allclose(gradient, recomputed[1][key], atol=1e-7), key
    assert gradients(encoder, make_step(encoder, micro_batch_size=2), seed=1)[0] != kept[0]  # dropout does something


def test_embeddings_come_back_in_the_order_of_the_texts(encoder):
    encoder.backbone.eval()
    seen = {}

    class Spy(Loss):
        def forward(self, batch: LossBatch):
            seen["document"] = batch.unit_document.detach()
            return batch.scores.sum(), {}

    step = Step(encoder, [(Spy(), "spy", 1.0)], bf16=False, token_budget=12)
    batch = text_batch()
    step(encoder.backbone, batch, 0.0)
    assert torch.allclose(seen["document"], torch.from_numpy(encoder.encode_documents(batch.documents)), atol=1e-6)


def test_weighted_losses_add_up_and_are_logged(encoder):
    encoder.backbone.eval()
    pair = [(losses.build(name), name, weight) for name, weight in (("distributed-margin", 2.0), ("infonce", 0.5))]
    step = Step(encoder, pair, bf16=False)
    total, logs = step(encoder.backbone, text_batch(), 0.0)
    assert float(total.detach()) == pytest.approx(2 * logs["distributed-margin"] + 0.5 * logs["infonce"], rel=1e-6)
    assert 0 <= logs["document_spread"] <= 1


def test_matryoshka_averages_the_loss_over_first_dimensions(encoder):
    encoder.backbone.eval()
    step = Step(encoder, [(losses.build("infonce"), "infonce", 1.0)], bf16=False, dimensions=[16, 4])
    total, _ = step(encoder.backbone, text_batch(), 0.0)
    batch = text_batch()
    query, document = (
        torch.from_numpy(encode(texts))
        for encode, texts in ((encoder.encode_queries, batch.queries), (encoder.encode_documents, batch.documents))
    )
    parts = [
        losses.build("infonce")(LossBatch(query[:, :k], document[:, :k], batch.relation, "cosine"))[0] for k in (16, 4)
    ]
    assert float(total.detach()) == pytest.approx(float(sum(parts) / 2), rel=1e-5)
    assert float(parts[0]) != pytest.approx(float(parts[1]), rel=1e-3)


@pytest.mark.parametrize("dimensions", [[16, 4], [4, 16]])
def test_sizes_are_taken_from_the_largest_on_in_whatever_order_they_are_given(encoder, dimensions):
    """A loss that measures something in its first batch measures the largest, and what is logged is of it."""
    encoder.backbone.eval()
    loss = losses.build("self-scaled")
    _, logs = Step(encoder, [(loss, "self-scaled", 1.0)], bf16=False, dimensions=dimensions)(
        encoder.backbone, text_batch(), 0.0
    )
    alone = losses.build("self-scaled")
    Step(encoder, [(alone, "self-scaled", 1.0)], bf16=False, dimensions=[16])(encoder.backbone, text_batch(), 0.0)
    assert logs["temperature"] == float(loss.temperature) == pytest.approx(float(alone.temperature), rel=1e-6)


def test_losses_that_sample_are_given_the_numbers_of_their_step(encoder):
    seen = []

    class Spy(Loss):
        def forward(self, batch: LossBatch):
            seen.append(float(torch.rand((), generator=batch.generator)))
            return batch.scores.sum(), {}

    for seed, number in ((0, 3), (0, 4), (0, 3), (1, 3)):
        batch = text_batch()
        batch.step = number
        Step(encoder, [(Spy(), "spy", 1.0)], bf16=False, seed=seed)(encoder.backbone, batch, 0.0)
    assert seen[0] == seen[2] and len(set(seen)) == 3


def test_a_document_tower_learns_queries_only(encoder):
    encoder.backbone.eval()
    tower = BiEncoder(copy.deepcopy(encoder.backbone), encoder.tokenizer, encoder.spec, precision="fp32")
    _, plain = gradients(encoder, make_step(encoder, "infonce"))
    loss, towered = gradients(encoder, make_step(encoder, "infonce", document_tower=tower))
    assert loss > 0 and any(not torch.equal(plain[key], towered[key]) for key in plain)
    assert all(p.grad is None for p in tower.backbone.parameters())


def test_a_loss_that_is_nan_stops_training(encoder):
    class Broken(Loss):
        def forward(self, batch: LossBatch):
            return batch.scores.sum() * float("nan"), {}

    step = Step(encoder, [(Broken(), "broken", 1.0)], bf16=False)
    with pytest.raises(SdrError, match="NaN"):
        step(encoder.backbone, text_batch(), 0.0)


_TWO = """
import sys, torch, torch.distributed as dist
from pathlib import Path
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.gather import sum_gradients
from tests.train.test_step import gradients, make_step
dist.init_process_group("gloo")
found = {}
for name in sys.argv[3:]:
    encoder = BiEncoder.load(sys.argv[1], raw_backbone=True, precision="fp32")
    loss, _, most = name.partition("/")
    gradients(encoder, make_step(encoder, loss, micro_batch_size=int(most) if most else None))
    sum_gradients(encoder.backbone)
    found |= {f"{name} {key}": p.grad for key, p in encoder.backbone.named_parameters() if p.grad is not None}
if dist.get_rank() == 0:
    torch.save(found, sys.argv[2])
dist.destroy_process_group()
"""


def test_two_processes_have_the_gradients_of_one(encoder, tiny_encoder, tmp_path):
    """Gloo, the same batch, fp32, no dropout: equal to 1e-6 of the gradient's norm; all losses, and in pieces."""
    names = [*losses.LOSSES, *(f"{name}/2" for name in ("static-margin", "distributed-margin", "infonce", "lelp"))]
    script, result = tmp_path / "two.py", tmp_path / "gradients.pt"
    script.write_text(_TWO)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [*command, str(tiny_encoder), str(result), *names], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.returncode == 0, done.stderr[-3000:]
    both = torch.load(result, weights_only=True)
    for name in names:
        encoder.backbone.eval()
        _, one = gradients(encoder, make_step(encoder, name.partition("/")[0]))
        norm = torch.cat([g.flatten() for g in one.values()]).norm()
        difference = torch.cat([(both[f"{name} {key}"] - g).flatten() for key, g in one.items()]).norm()
        assert float(difference) <= 1e-6 * float(norm), name
