"""Teachers: which ones a run has, what is refused before the first step, what they say of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.losses.base import OWN_NEG, OWN_POS
from pyserini_sdr.model.cross_encoder import CrossEncoder
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.batches import Source
from pyserini_sdr.train.teachers import Teachers, choose_teachers

from ..teach.make import make_cross_encoder
from .test_step import text_batch


def sources(*names: str, lacking: str | None = None) -> list[Source]:
    """Two groups with scores of the named teachers; `lacking` is a document without a score of the last one."""
    groups = []
    for qid in ("a", "b"):
        group = Group(qid, f"query {qid}", [Candidate(id=f"{qid}1")], [Candidate(id=f"{qid}2"), Candidate(text="x")])
        documents = [*group.positives, *group.negatives]
        group.scores = {name: {c.key: float(k) for k, c in enumerate(documents)} for name in names}
        if names and lacking is not None:
            group.scores[names[-1]].pop(lacking, None)
        groups.append(group)
    return [Source(groups, {}, {})]


def choose(given, data, *names: str, encoder=None, **more) -> Teachers:
    def load(name: str):
        if encoder is None:
            raise UsageError(f"{name}: no such model")
        return encoder

    chosen = losses.parse_losses(names)
    return choose_teachers(
        given, data, chosen, load, **{"balanced": False, "fresh_negatives": False, "files": ["g.jsonl"], **more}
    )


@pytest.fixture
def encoder(tiny_encoder) -> BiEncoder:
    return BiEncoder.load(tiny_encoder, raw_backbone=True, precision="fp32")


@pytest.fixture
def cross_encoder(tiny_encoder, tmp_path) -> CrossEncoder:
    return CrossEncoder.load(make_cross_encoder(tmp_path / "cross", tiny_encoder), precision="fp32")


def test_stored_scores_are_taken_where_there_is_no_choice():
    assert choose(None, sources("t"), "kl").stored == ["t"]
    assert choose(["u"], sources("t", "u"), "kl").stored == ["u"]
    assert choose(None, sources("t", "u"), "ca-mkd").stored == ["t", "u"]
    assert choose(None, sources("t"), "infonce").names == []


@pytest.mark.parametrize(
    ("given", "data", "names", "message"),
    [
        (None, sources(), ["kl"], r"--loss kl: needs teacher scores; give --teacher CHECKPOINT, or --groups"),
        (None, sources("t", "u"), ["infonce", "kl"], "--loss kl: the groups hold scores of t, u; choose"),
        (["t", "t"], sources("t"), ["kl"], "given twice"),
        (["v"], sources("t"), ["kl"], "--teacher v: v: no such model; the groups hold scores of: t"),
        (["t"], sources("t"), ["ca-mkd"], "needs two teachers or more"),
        (["t"], sources("t"), ["tct"], "needs live teachers.*'t'.*give --teacher CHECKPOINT"),
        (["t"], sources("t"), ["tas-b"], "needs a live last teacher"),
        (["t"], sources("t"), ["embed-distill"], "needs teacher embeddings; give a bi-encoder's checkpoint"),
        (["t"], sources("t"), ["lead"], "needs states of all layers"),
        (["t"], sources("t"), ["infonce"], "none of the losses asks a teacher"),
        (["t"], sources("t"), ["lwf"], r"--loss lwf: needs the frozen copy of the encoder.*--teacher t is not"),
    ],
)
def test_unmet_needs(given, data, names, message):
    with pytest.raises(UsageError, match=message):
        choose(given, data, *names)


def test_a_loss_may_ask_one_teacher_of_several(encoder, cross_encoder):
    """What the others can do does not matter to it."""
    models = {"bi": encoder, "cross": cross_encoder}

    def pick(given: list[str], *options: str) -> Teachers:
        chosen = losses.parse_losses(["kl", "tct"], options)
        return choose_teachers(
            given, sources("t"), chosen, models.__getitem__, files=["g"], balanced=False, fresh_negatives=False
        )

    assert pick(["t", "bi"], "kl.teacher=1", "tct.teacher=-1").stored == ["t"]
    assert pick(["cross", "bi"], "kl.teacher=1", "tct.teacher=2").whole_batch == []
    assert pick(["cross", "bi"], "kl.teacher=2", "tct.teacher=1").whole_batch == ["cross"]
    assert pick(["cross", "bi"]).whole_batch == ["cross"]
    with pytest.raises(UsageError, match=r"--loss tct: needs live teachers.*'t'"):
        pick(["t", "bi"], "tct.teacher=1")
    with pytest.raises(UsageError, match=r"--loss-option kl\.teacher=3: --teacher has 2"):
        pick(["cross", "bi"], "kl.teacher=3")


def test_a_teacher_that_no_loss_reads_is_refused(encoder, cross_encoder):
    models = {"bi": encoder, "other": encoder, "cross": cross_encoder}

    def pick(given: list[str], *names: str, options: tuple[str, ...] = (), balanced: bool = False) -> Teachers:
        return choose_teachers(
            given, sources("t", "u"), losses.parse_losses(names, options), models.__getitem__, files=["g"],
            balanced=balanced, fresh_negatives=False,
        )  # fmt: skip

    for given, names, options, unread in (
        (["t", "bi"], ["kl"], ("kl.teacher=1",), "bi"),
        (["t", "u", "bi"], ["tas-b"], (), "u"),  # it reads the first and the last
        (["cross", "bi"], ["embed-distill"], (), "cross"),
        (["t", "cross", "u"], ["kl", "listnet"], ("kl.teacher=1", "listnet.teacher=-1"), "cross"),
    ):
        with pytest.raises(UsageError, match=f"--teacher {unread}: none of the losses reads it; leave it out"):
            pick(given, *names, options=options)
    assert pick(["t", "bi"], "kl", "embed-distill", options=("kl.teacher=1",)).stored == ["t"]
    assert pick(["t", "cross"], "kl", options=("kl.teacher=2",), balanced=True).stored == ["t"]


def test_lwf_reads_the_encoder_that_training_starts_from(encoder, cross_encoder, capsys):
    models = {"bi": encoder, "cross": cross_encoder}

    def pick(given: list[str], *names: str, option: str = "kl.teacher=1", start: str = encoder.fingerprint) -> str:
        chosen = losses.parse_losses(names, [option] if option else [])
        choose_teachers(given, sources("t"), chosen, models.__getitem__, files=["g"], balanced=False,
                        fresh_negatives=False, start=start)  # fmt: skip
        return capsys.readouterr().err

    for given in (["bi", "t"], ["bi", "cross"]):
        with pytest.raises(UsageError, match=f"--loss lwf: needs the frozen copy .* --teacher {given[1]} is not"):
            pick(given, "lwf", "kl")
    assert "warning" not in pick(["t", "bi"], "lwf", "kl")
    assert "--loss lwf: --teacher bi is no copy of --encoder" in pick(["t", "bi"], "lwf", "kl", start="other weights")
    mixed = pick(["t", "bi"], "lwf", "kl", option="")
    assert "--loss kl: takes the mean of the scores of all teachers, the frozen copy" in mixed
    assert "give --loss-option kl.teacher=K" in mixed and "no copy" not in mixed
    assert "warning" not in pick(["bi"], "lwf", "kl", option="")


def test_missing_scores_are_counted_and_the_first_is_named():
    with pytest.raises(
        DataError, match=r"1 documents have no score of teacher 't' \(first: query 'a', document 'a2'\)"
    ):
        choose(None, sources("t", lacking="a2"), "kl")


def test_balanced_margins_and_fresh_negatives_need_the_right_kind_of_scores(encoder):
    assert choose(None, sources("t"), "infonce", balanced=True).stored == ["t"]
    with pytest.raises(UsageError, match="--negative-sampling balanced-margins: needs teacher scores"):
        choose(None, sources(), "infonce", balanced=True)
    with pytest.raises(UsageError, match="needs the stored scores of the first --teacher"):
        choose(["model"], sources(), "kl", balanced=True, encoder=encoder)
    with pytest.raises(UsageError, match="--refresh-negatives: new negatives have no stored scores of 't'"):
        choose(["t"], sources("t"), "kl", fresh_negatives=True)


def test_a_live_bi_encoder_scores_the_whole_batch_and_shows_its_vectors_and_layers(encoder):
    teachers = choose(["model"], sources(), "tct", "embed-distill", "lead", encoder=encoder)
    batch = text_batch()
    scores, features = teachers.observe(batch, torch.device("cpu"))
    queries, documents = encoder.encode_queries(batch.queries), encoder.encode_documents(batch.documents)
    assert np.allclose(scores[0], queries @ documents.T, atol=1e-6)
    assert np.allclose(features["teacher_query"], queries, atol=1e-6)
    layers = features["teacher_document_layers"]
    assert layers.shape == (len(batch.documents), encoder.backbone.config.num_hidden_layers, encoder.spec.dimension)
    last = torch.nn.functional.normalize(layers[:, -1], dim=1)
    assert np.allclose(last, documents, atol=1e-5)
    assert not any(value.requires_grad for value in (scores, *features.values()))


def test_layers_and_scores_come_from_one_pass(encoder, monkeypatch):
    teachers = choose(["model"], sources(), "tct", "lead", encoder=encoder)
    batch = text_batch()
    expected = encoder.encode_queries(batch.queries) @ encoder.encode_documents(batch.documents).T
    monkeypatch.setattr(encoder, "encode_documents", None)
    scores, _ = teachers.observe(batch, torch.device("cpu"))
    assert np.allclose(scores[0], expected, atol=1e-5)


def test_only_the_last_cross_encoder_is_asked_about_the_whole_batch(cross_encoder):
    """tas-b: the first teacher scores pairs, however many documents the batch has."""
    teachers = choose(["one", "two"], sources(), "tas-b", encoder=cross_encoder)
    batch = text_batch()
    scores, _ = teachers.observe(batch, torch.device("cpu"))
    own = (batch.relation == OWN_POS) | (batch.relation == OWN_NEG)
    assert torch.equal(~torch.isnan(scores[0]), own) and not torch.isnan(scores[1]).any()
    row, column = 1, int(own[1].nonzero()[0])
    alone = cross_encoder.score([(batch.queries[row], batch.documents[column])])[0]
    assert float(scores[0, row, column]) == pytest.approx(float(alone), abs=1e-5)
    assert float(scores[1, row, column]) == pytest.approx(float(alone), abs=1e-5)


def test_a_teacher_that_breaks_down_is_no_silent_gap(cross_encoder, monkeypatch):
    teachers = choose(["one"], sources(), "kl", encoder=cross_encoder)
    monkeypatch.setattr(cross_encoder, "score", lambda pairs: np.full(len(pairs), np.nan, dtype=np.float32))
    with pytest.raises(SdrError, match="gives scores that are no numbers"):
        teachers.observe(text_batch(), torch.device("cpu"))


def test_stored_and_live_teachers_keep_the_order_given(encoder):
    teachers = choose(["model", "t"], sources("t"), "margin-mse", encoder=encoder)
    batch = text_batch()
    batch.teacher = torch.full((1, *batch.relation.shape), 3.0)
    scores, features = teachers.observe(batch, torch.device("cpu"))
    assert scores.shape[0] == 2 and bool((scores[1] == 3).all()) and not bool((scores[0] == 3).any())
    assert features == {}
