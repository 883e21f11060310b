"""What the losses of a run need of its teachers, and which teachers they read: checked before the first step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import UsageError
from ..core.progress import warn
from ..losses import option_types
from ..losses.base import Need
from ..model.encoder import BiEncoder

if TYPE_CHECKING:
    from .teachers import Teachers

FROM_TEACHERS = frozenset(set(Need) - {Need.NEGATIVES})
"""What a loss can need of a teacher."""

_FEATURES = frozenset({Need.TEACHER_VECTORS, Need.LAYERS})


def scores_read(loss: Any, name: str, given: Sequence[str]) -> list[str]:
    """Names of the teachers whose scores a loss reads."""
    if loss.teacher > len(given):
        raise UsageError(f"--loss-option {name}.teacher={loss.teacher}: --teacher has {len(given)}")
    if not loss.needs & (FROM_TEACHERS - _FEATURES):
        return []
    if Need.LAST_BATCH_TEACHER in loss.needs:
        return [given[0], given[-1]]
    return list(given) if loss.teacher == 0 else [given[loss.teacher - (loss.teacher > 0)]]


def asked_about_all(loss: Any, name: str, given: Sequence[str]) -> list[str]:
    """Names of the teachers of which a loss wants scores of every document of the batch."""
    if Need.BATCH_TEACHER in loss.needs:
        return scores_read(loss, name, given)
    return [given[-1]] if Need.LAST_BATCH_TEACHER in loss.needs else []


def in_words(needs: Iterable[Need]) -> str:
    """Needs for a message."""
    return ", ".join(sorted(need.value for need in needs))


def check_needs(teachers: Teachers, losses: Sequence[tuple[Any, str, float]], *, balanced: bool) -> None:
    """`UsageError` for a need that the teachers do not meet, and for a teacher that is asked for nothing.

    Args:
        teachers: with their models.
        losses: `(loss, name, weight)`.
        balanced: negatives are drawn by the first teacher's margins.
    """
    used = {teachers.names[0]} if balanced else set()
    for loss, name, _ in losses:
        read = scores_read(loss, name, teachers.names)
        used.update(read)
        if Need.TEACHERS in loss.needs and len(teachers.names) < 2:
            raise UsageError(f"--loss {name}: needs two teachers or more; give --teacher A B")
        stored = [teacher for teacher in read if teacher in teachers.stored]
        if Need.BATCH_TEACHER in loss.needs and stored:
            raise UsageError(
                f"--loss {name}: needs {Need.BATCH_TEACHER.value}; the stored scores {stored[0]!r} are of "
                "each query's own: give --teacher CHECKPOINT"
            )
        if Need.LAST_BATCH_TEACHER in loss.needs and teachers.models[-1] is None:
            raise UsageError(f"--loss {name}: needs {Need.LAST_BATCH_TEACHER.value}; give --teacher … CHECKPOINT")
        if loss.needs & _FEATURES:
            if teachers.embedder is None:
                raise UsageError(
                    f"--loss {name}: needs {in_words(loss.needs & _FEATURES)}; "
                    "give a bi-encoder's checkpoint as --teacher"
                )
            used.add(_name_of(teachers, teachers.embedder))
        if loss.own_copy:
            for teacher in read:
                if not isinstance(_model_of(teachers, teacher), BiEncoder):
                    raise UsageError(
                        f"--loss {name}: needs the frozen copy of the encoder, a live bi-encoder, which --teacher "
                        f"{teacher} is not; give --teacher … CHECKPOINT, that of --encoder"
                    )
    for name in teachers.names:
        if name not in used:
            raise UsageError(f"--teacher {name}: none of the losses reads it; leave it out, or see their --loss-option")


def warn_of_own_copy(teachers: Teachers, losses: Sequence[tuple[Any, str, float]], start: str | None) -> None:
    """Warnings where a loss reads the frozen copy of the encoder that training starts from.

    Its teacher may be another model, and other losses may mix its scores, cosines, with a cross-encoder's.

    Args:
        teachers: that meet the needs of the losses.
        losses: `(loss, name, weight)`.
        start: fingerprint of the weights that training starts from, None if unknown.
    """
    wanting = {name: loss for loss, name, _ in losses if loss.own_copy}
    if not wanting:
        return
    for name, loss in wanting.items():
        for teacher in scores_read(loss, name, teachers.names):
            if start is not None and _model_of(teachers, teacher).fingerprint != start:
                warn(f"--loss {name}: --teacher {teacher} is no copy of --encoder, its weights are others")
    for loss, name, _ in losses:
        apart = {Need.TEACHERS, Need.LAST_BATCH_TEACHER} & loss.needs
        if name in wanting or apart or len(teachers.names) < 2 or len(scores_read(loss, name, teachers.names)) < 2:
            continue
        remedy = f"; give --loss-option {name}.teacher=K" if "teacher" in option_types(type(loss)) else ""
        warn(
            f"--loss {name}: takes the mean of the scores of all teachers, the frozen copy of the encoder among "
            f"them{remedy}"
        )


def _model_of(teachers: Teachers, name: str) -> Any:
    return teachers.models[teachers.names.index(name)]


def _name_of(teachers: Teachers, model: Any) -> str:
    return [name for name, found in zip(teachers.names, teachers.models, strict=True) if found is model][-1]
