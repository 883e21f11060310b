"""Loading an encoder of any class, and telling stock Pyserini which one it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..anserini import compat
from ..anserini.encoder_classes import ENCODER_CLASSES, OURS, StockSpec, class_name
from ..core.errors import UsageError
from .options import Backend

if TYPE_CHECKING:
    from ..anserini.encoders import StockEncoder
    from ..model.encoder import BiEncoder
    from ..model.onnx import OnnxEncoder

    Encoder = BiEncoder | OnnxEncoder | StockEncoder


def load_any_encoder(
    name: str | Path,
    encoder_class: str | None = None,
    *,
    side: Literal["document", "query"],
    backend: Backend = "torch",
    **options: Any,
) -> Encoder:
    """A `BiEncoder`, or a `StockEncoder` where a class other than `auto` is asked for (that one takes a Java).

    What a backend does not need is not imported: with `onnx`, an encoder that has been exported loads without torch.

    Args:
        name: see `model.names.resolve_encoder`.
        encoder_class: see `anserini.encoder_classes`.
        side: what it is for.
        backend: `torch`, or `onnx` for an `OnnxEncoder`.
        options: for `BiEncoder.load` or `StockEncoder`.
    """
    if class_name(encoder_class) == OURS:
        if backend == "onnx":
            from ..model.onnx import OnnxEncoder

            return OnnxEncoder.load(name, **options)
        from ..model.encoder import BiEncoder

        return BiEncoder.load(name, lazy=True, **options)
    if backend == "onnx":
        raise UsageError(f"--backend onnx: an encoder of class {encoder_class!r} runs in stock Pyserini's own way only")
    from ..anserini.encoders import StockEncoder  # not before it is asked for: encoding needs no pyserini

    return StockEncoder(name, encoder_class, side=side, **options)


def stock_search_flags(encoder: Encoder, *, made_index: bool = False) -> dict[str, Any] | None:
    """The arguments of `anserini.stock.faiss_search_command` that concern the encoder; None if stock cannot load it.

    Args:
        made_index: the encoder is for documents; a class with another checkpoint for queries gets a placeholder.
    """
    spec, directory = encoder.spec, encoder.resolved.directory
    if isinstance(spec, StockSpec):
        entry = ENCODER_CLASSES[spec.encoder_class]
        if entry.own_model and not compat.loads_own_models():
            return None
        path = "QUERY_ENCODER" if made_index and not entry.one_checkpoint else directory
        return {"encoder": path, "encoder_class": entry.search_name}
    if encoder.truncated:
        return None
    return {
        "encoder": directory,
        "pooling": spec.pooling,
        "l2_norm": spec.normalize,
        "query_prefix": spec.query_prefix,
    }
