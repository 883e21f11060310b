"""A live teacher that follows the encoder: an exponential moving average of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

from ..core.errors import UsageError
from ..model.encoder import BiEncoder
from .teachers import Teachers

_FILE = "teacher.safetensors"


class Follower(TrainerCallback):
    """After every step θ_T ← m·θ_T + (1 − m)·θ, as in mean teachers (Tarvainen and Valpola, arXiv 1703.01780).

    Args:
        teacher: that follows; its backbone is changed in place.
        backbone: that is trained.
        momentum: m, from 0 (the encoder as of the step before) to 1 (a frozen teacher).
    """

    def __init__(self, teacher: BiEncoder, backbone: nn.Module, momentum: float) -> None:
        self.teacher, self.backbone, self.momentum = teacher, backbone, momentum

    @classmethod
    def of(cls, teachers: Teachers, encoder: BiEncoder, momentum: float) -> Follower:
        """The follower among the teachers: the live bi-encoder.

        Raises:
            UsageError: there is none, there are several, or it is another kind of encoder: its weights have other
                shapes, or it pools, compares or prefixes texts in another way.
        """
        live = [
            name for name, model in zip(teachers.names, teachers.models, strict=True) if isinstance(model, BiEncoder)
        ]
        if len(live) != 1:
            found = f"there are {len(live)}: {', '.join(live)}" if live else "there is none"
            raise UsageError(f"--teacher-momentum: needs one live bi-encoder among the teachers; {found}")
        teacher = teachers.embedder
        assert teacher is not None
        if _shapes(teacher.backbone) != _shapes(encoder.backbone):
            raise UsageError(
                f"--teacher-momentum: the teacher {live[0]} must be an encoder like that of --encoder, of the same "
                "architecture and size; give the same name to both"
            )
        for name in ("pooling", "similarity", "query_prefix", "document_prefix"):
            theirs, ours = getattr(teacher.spec, name), getattr(encoder.spec, name)
            if theirs != ours:
                raise UsageError(
                    f"--teacher-momentum: the teacher {live[0]} has the {name} {theirs!r}, the encoder {ours!r}; they "
                    f"must agree: leave --{name.replace('_', '-')} out, or give a teacher that was made with it"
                )
        return cls(teacher, encoder.backbone, momentum)

    @torch.no_grad()
    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        own = dict(self.backbone.named_parameters())
        for name, parameter in self.teacher.backbone.named_parameters():
            parameter.lerp_(own[name].to(parameter.dtype), 1 - self.momentum)
        self.teacher.weights_changed()

    def save(self, directory: Path) -> None:
        """Keeps the teacher's weights with an intermediate checkpoint."""
        weights = self.teacher.backbone.named_parameters()
        save_file({name: parameter.detach().contiguous() for name, parameter in weights}, directory / _FILE)

    def load(self, directory: Path) -> None:
        """Takes up the teacher's weights of a checkpoint."""
        self.teacher.backbone.load_state_dict(load_file(directory / _FILE), strict=False)
        self.teacher.weights_changed()


def _shapes(backbone: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in backbone.named_parameters()}
