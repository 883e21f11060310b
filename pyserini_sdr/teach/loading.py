"""What a teacher's checkpoint is: a cross-encoder or a bi-encoder."""

from __future__ import annotations

from typing import Any

from ..core.errors import DataError
from ..core.files import read_object
from ..model.cross_encoder import CrossEncoder
from ..model.encoder import BiEncoder
from ..model.names import resolve_encoder
from ..model.spec import SPEC_FILE, is_raw_backbone


def load_teacher(
    name: str, *, device: str | None = None, precision: str = "auto", max_length: int | None = None
) -> CrossEncoder | BiEncoder:
    """Loads a teacher as what its files say it is.

    `sdr_encoder.json` makes a bi-encoder, a sequence classification architecture in `config.json` a cross-encoder,
    sentence-transformers' `modules.json` a bi-encoder.

    Args:
        name: see `model.names.resolve_encoder`.
        device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        max_length: tokens of a pair (cross-encoder) or of a document (bi-encoder); None for the checkpoint's.

    Raises:
        DataError: neither of the two, or a checkpoint that cannot be loaded.
    """
    directory = resolve_encoder(name).directory
    settings: dict[str, Any] = {"device": device, "precision": precision}
    if not (directory / SPEC_FILE).exists():
        if classifies(directory):
            return CrossEncoder.load(name, max_length=max_length, **settings)
        if is_raw_backbone(directory):
            raise DataError(
                directory,
                "neither a cross-encoder (a sequence classifier) nor a bi-encoder that tells its pooling",
                remedy="make one of it: `python -m pyserini_sdr.teach --train` or `python -m pyserini_sdr.train`",
            )
    return BiEncoder.load(name, document_max_length=max_length, **settings)


def classifies(directory: Any) -> bool:
    """Whether a checkpoint's configuration names a sequence classifier."""
    named = read_object(directory / "config.json").get("architectures") or []
    return any(str(architecture).endswith("ForSequenceClassification") for architecture in named)
