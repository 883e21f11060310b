"""An encoder's spec, held against the model it belongs to."""

from __future__ import annotations

from typing import Any

from ..core.errors import DataError, UsageError
from .names import ResolvedEncoder
from .spec import SPEC_FILE, EncoderSpec


def fitted_spec(resolved: ResolvedEncoder, spec: EncoderSpec, overrides: dict[str, Any], hidden: int) -> EncoderSpec:
    """The spec with its backbone's name.

    Args:
        resolved: the encoder.
        spec: as read, with `overrides`.
        overrides: fields that the caller wants otherwise.
        hidden: size of the model's embeddings.

    Raises:
        UsageError: more dimensions are wanted than there are.
        DataError: the spec's dimension is not the model's.
    """
    if not spec.backbone or resolved.source != "path":
        spec = EncoderSpec(**{**spec.to_dict(), "backbone": resolved.name})
    wanted = overrides.get("dimension")
    if wanted is not None and wanted > hidden:
        raise UsageError(f"dimension {wanted}: the embeddings of {resolved.name} have {hidden}")
    if wanted is None and hidden != spec.dimension:
        raise DataError(resolved.directory / SPEC_FILE, f"says dimension {spec.dimension}, the model has {hidden}")
    return spec
