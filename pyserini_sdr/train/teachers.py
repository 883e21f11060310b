"""What the teachers say about a batch: scores stored with the groups, or those of frozen models asked as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import DataError, SdrError, UsageError
from ..core.progress import note, warn
from ..losses.base import IGNORE, OWN_NEG, OWN_POS, Need, Shapes
from ..model.cross_encoder import CrossEncoder
from ..model.encoder import BiEncoder
from ..model.layers import layer_states
from .batches import Source, TextBatch
from .gather import gather_rows, share
from .needs import FROM_TEACHERS, asked_about_all, check_needs, in_words, warn_of_own_copy
from .teacher_dropout import dropping_out


@dataclass
class Teachers:
    """The teachers of a run, in the order of `--teacher`.

    Args:
        names: as the user gave them.
        models: the frozen model of each, None for scores stored with the groups.
        whole_batch: names of the cross-encoders that score every query with every document of the batch, not only with
            its own.
        vectors: the losses want teacher embeddings.
        layers: the losses want layer states.
        dropout: of the bi-encoders, by (seed, step) and process.
        seed: of the dropout.
    """

    names: list[str] = field(default_factory=list)
    models: list[BiEncoder | CrossEncoder | None] = field(default_factory=list)
    whole_batch: list[str] = field(default_factory=list)
    vectors: bool = False
    layers: bool = False
    dropout: float = 0.0
    seed: int = 0

    @property
    def stored(self) -> list[str]:
        """Names of the stored scores that batches must carry."""
        return [name for name, model in zip(self.names, self.models, strict=True) if model is None]

    @property
    def embedder(self) -> BiEncoder | None:
        """The last live bi-encoder: its embeddings and layers are the features."""
        return next((model for model in reversed(self.models) if isinstance(model, BiEncoder)), None)

    def record(self) -> list[dict[str, Any]]:
        """What each teacher is, JSON-ready, for plan and manifest."""
        return [
            {"name": name, **({"scores": "stored"} if model is None else model.identity())}
            for name, model in zip(self.names, self.models, strict=True)
        ]

    def shapes(self, dimension: int) -> Shapes:
        """Sizes for the parameters of the losses."""
        embedder = self.embedder
        return Shapes(dimension, len(self.names), embedder.spec.dimension if embedder else 0)

    @torch.no_grad()
    def observe(self, batch: TextBatch, device: torch.device) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Scores (T, B, M), NaN where there is none, and features of `LossBatch`; the same on every process."""
        scores: list[Tensor] = []
        features: dict[str, Tensor] = {}
        stored = iter(batch.teacher if batch.teacher is not None else ())
        for name, model in zip(self.names, self.models, strict=True):
            if model is None:
                scores.append(next(stored).to(device))
                continue
            if isinstance(model, CrossEncoder):
                scores.append(_cross(model, batch, device, whole=name in self.whole_batch))
            else:
                shows = model is self.embedder
                wanted = shows and self.layers
                states: dict[str, Tensor] | None = {} if wanted or self.dropout else None  # the pass that can drop out
                with dropping_out(model.backbone, self.dropout, self.seed * 1_000_003 + batch.step):
                    query, document = _embeddings(model, batch, device, states)
                features |= states if states and wanted else {}
                if not (torch.isfinite(query).all() and torch.isfinite(document).all()):
                    raise _not_finite(name)
                scores.append(query @ document.T)
                if shows and self.vectors:
                    features |= {"teacher_query": query, "teacher_document": document}
        return torch.stack(scores) if scores else None, features


def _no_dropout() -> UsageError:
    return UsageError("--teacher-dropout: there is no live bi-encoder among the teachers")


def _not_finite(name: object) -> SdrError:
    return SdrError(f"teacher {name}: gives scores that are no numbers; try --precision fp32")


def _cross(model: CrossEncoder, batch: TextBatch, device: torch.device, *, whole: bool) -> Tensor:
    """(B, M) scores of each query with its own documents, or with all; NaN elsewhere."""
    relation = batch.relation
    asked = relation != IGNORE if whole else (relation == OWN_POS) | (relation == OWN_NEG)
    pairs = [(batch.queries[row], batch.documents[column]) for row, column in asked.nonzero().tolist()]
    own = torch.from_numpy(model.score(pairs[share(len(pairs))])).reshape(-1, 1).to(device)
    values = gather_rows(own, len(pairs)).squeeze(1)
    if not torch.isfinite(values).all():  # NaN would pass for "not scored"
        raise _not_finite(model.resolved)
    scores = torch.full(relation.shape, torch.nan, device=device)
    scores[asked.to(device)] = values
    return scores


def _embeddings(
    model: BiEncoder, batch: TextBatch, device: torch.device, features: dict[str, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """(B, Dt) and (M, Dt) as the teacher indexes them; the states of its layers go to `features`, if given."""
    vectors = []
    for side, texts in (("query", batch.queries), ("document", batch.documents)):
        if features is None:
            encode = model.encode_queries if side == "query" else model.encode_documents
            own = torch.from_numpy(encode(texts[share(len(texts))])).reshape(-1, model.spec.dimension)
            vectors.append(gather_rows(own.to(device), len(texts)))
        else:
            states = features[f"teacher_{side}_layers"] = _layers(model, texts, device, query=side == "query")
            last = states[:, -1, : model.spec.dimension]
            vectors.append(normalize(last, dim=1) if model.spec.normalize else last)
    return vectors[0], vectors[1]


def _layers(model: BiEncoder, texts: Sequence[str], device: torch.device, *, query: bool) -> Tensor:
    """(n, L, D) pooled states of the teacher's layers."""
    spec = model.spec
    own = [spec.query_text(t) if query else spec.document_text(t) for t in texts[share(len(texts))]]
    states = layer_states(model, own, spec.query_max_length if query else spec.document_max_length)
    flat = states.to(device).reshape(len(own), states.shape[1] * states.shape[2])
    return gather_rows(flat, len(texts)).reshape(len(texts), *states.shape[1:])


def choose_teachers(
    given: Sequence[str] | None,
    sources: Sequence[Source],
    losses: Iterable[tuple[Any, str, float]],
    load: Callable[[str], BiEncoder | CrossEncoder],
    *,
    files: Sequence[object],
    balanced: bool,
    fresh_negatives: bool,
    dropout: float = 0.0,
    seed: int = 0,
    start: str | None = None,
) -> Teachers:
    """The teachers that the losses need, checked before the first step.

    Args:
        given: `--teacher`: names of stored scores, or models; None takes the stored scores if there is no choice.
        sources: with the groups that may hold scores.
        losses: `(loss, name, weight)`.
        load: loads a model by name.
        files: where the groups of each source are from.
        balanced: negatives are drawn by the first teacher's margins.
        fresh_negatives: negatives are mined during training, and no stored score is known for them.
        dropout, seed: of bi-encoders, see `Teachers`.
        start: fingerprint of the weights that training starts from, for a loss that wants a frozen copy of them.

    Raises:
        UsageError: a need that is not met, an unknown name, a teacher that no loss reads, with the remedy.
        DataError: a document without a score.
    """
    losses = list(losses)
    needs = {need for loss, _, _ in losses for need in loss.needs} & FROM_TEACHERS
    needy = next((name for loss, name, _ in losses if loss.needs & FROM_TEACHERS), None)
    stored = _stored_names(sources)
    what = f"--loss {needy}" if needs else "--negative-sampling balanced-margins"
    if given is None:
        if not needs and not balanced:
            if dropout:
                raise _no_dropout()
            return Teachers()
        if not stored:
            raise UsageError(
                f"{what}: needs {in_words(needs) or 'teacher scores'}; give --teacher CHECKPOINT, "
                "or --groups that `pyserini_sdr.teach` has scored"
            )
        if len(stored) > 1 and Need.TEACHERS not in needs:
            raise UsageError(f"{what}: the groups hold scores of {', '.join(stored)}; choose with --teacher")
        given = stored
    if len(set(given)) != len(given):
        raise UsageError(f"--teacher {' '.join(given)}: one is given twice")
    if not needs and not balanced:
        raise UsageError(f"--teacher {' '.join(given)}: none of the losses asks a teacher; leave it out")
    models: list[BiEncoder | CrossEncoder | None] = []
    for name in given:
        models.append(None if name in stored else _live(name, stored, load))
    whole = {name for loss, loss_name, _ in losses for name in asked_about_all(loss, loss_name, given)}
    crossed = [n for n, model in zip(given, models, strict=True) if isinstance(model, CrossEncoder) and n in whole]
    teachers = Teachers(
        list(given),
        models,
        whole_batch=crossed,
        vectors=Need.TEACHER_VECTORS in needs,
        layers=Need.LAYERS in needs,
        dropout=dropout,
        seed=seed,
    )
    check_needs(teachers, losses, balanced=balanced)
    if dropout and teachers.embedder is None:
        raise _no_dropout()
    if balanced and models[0] is not None:
        raise UsageError(
            "--negative-sampling balanced-margins: needs the stored scores of the first --teacher; "
            "score the groups with `pyserini_sdr.teach`"
        )
    if fresh_negatives and teachers.stored:
        raise UsageError(
            f"--refresh-negatives: new negatives have no stored scores of {teachers.stored[0]!r}; "
            "give --teacher CHECKPOINT"
        )
    for name in teachers.stored:
        _check_scores(name, sources, files)
    warn_of_own_copy(teachers, losses, start)
    if crossed:
        warn(f"the cross-encoder {crossed[0]} scores every query with every document of a batch: that is slow")
    note(
        "teachers: "
        + ", ".join(
            f"{name} ({'stored scores' if model is None else type(model).__name__})"
            for name, model in zip(given, models, strict=True)
        )
    )
    return teachers


def _live(name: str, stored: Sequence[str], load: Callable[[str], BiEncoder | CrossEncoder]) -> Any:
    try:
        return load(name)
    except SdrError as error:
        known = f"; the groups hold scores of: {', '.join(stored)}" if stored else "; the groups hold no scores"
        raise UsageError(f"--teacher {name}: {error}{known}") from error


def _stored_names(sources: Sequence[Source]) -> list[str]:
    return list(dict.fromkeys(name for source in sources for group in source.groups for name in group.scores))


def _check_scores(name: str, sources: Sequence[Source], files: Sequence[object]) -> None:
    for source, file in zip(sources, files, strict=True):
        missing, first = 0, ("", "")
        for group in source.groups:
            table = group.scores.get(name, {})
            for candidate in (*group.positives, *group.negatives):
                if candidate.key not in table:
                    first = first if missing else (group.query_id, candidate.key)
                    missing += 1
        if missing:
            raise DataError(
                str(file),
                f"{missing} documents have no score of teacher {name!r} "
                f"(first: query {first[0]!r}, document {first[1]!r})",
                remedy="score them with pyserini_sdr.teach",
            )
        tables = [group.scores[name] for group in source.groups if len(group.positives) + len(group.negatives) > 1]
        flat = sum(len(set(table.values())) == 1 for table in tables)
        if tables and flat == len(tables):
            raise DataError(
                str(file),
                f"teacher {name!r} gives all documents of a query the same score, for all {flat} queries",
                remedy="such scores teach nothing: score them with another teacher",
            )
        if flat > len(tables) / 2:
            warn(f"{file}: teacher {name!r} gives all documents the same score for {flat} of {len(tables)} queries")
