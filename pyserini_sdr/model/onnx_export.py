"""Exporting a checkpoint's transformer for `onnx.OnnxEncoder`; the one part of that back end that takes torch."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import SdrError
from ..core.files import atomic_directory, write_json
from ..core.manifest import versions
from .batching import pad_id_of
from .onnx import MODEL, RECORD, TOKENIZER
from .pretrained import load_weights

_OPSET = 17
"""The first with a layer normalisation of its own; onnxruntime 1.13 and later run it."""
_TOLERANCE = 1e-4
_SHAPES = ((1, 1), (1, 5), (3, 2), (2, 19), (5, 33))


class _States(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask)[0]


def export(directory: Path, folder: Path, weights: str, tokens: str) -> None:
    """Writes model, tokenizer and record into `folder`, all or nothing, and checks the model against torch.

    Args:
        directory: checkpoint.
        folder: to be made or replaced.
        weights: fingerprint of the checkpoint's weights.
        tokens: fingerprint of its tokenizer and configuration.

    Raises:
        SdrError: the package `onnx` is missing, or the exported model gives other values.
    """
    if importlib.util.find_spec("onnx") is None:
        raise SdrError("exporting an encoder needs the package onnx; pip install 'pyserini_sdr[onnx]'")
    backbone, tokenizer = load_weights(directory)
    model = _States(backbone).eval()
    with atomic_directory(folder, overwrite=True) as target:
        ids, mask = _example(backbone, 2, 7)
        axes = {0: "texts", 1: "tokens"}
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: what they warn of is checked below
            try:
                torch.onnx.export(
                    model,
                    (ids, mask),
                    str(target / MODEL),
                    input_names=["input_ids", "attention_mask"],
                    output_names=["last_hidden_state"],
                    dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "last_hidden_state"), axes),
                    opset_version=_OPSET,
                    dynamo=False,  # needs onnx alone, and any length is traced as well as another
                )
            except Exception as error:  # torch has many types for what it cannot trace
                cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise SdrError(
                    f"{directory}: this architecture cannot be exported ({cause}); use --backend torch"
                ) from error
        _check(model, backbone, target / MODEL)
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.save(str(target / TOKENIZER))
        record = {
            "weights": weights,
            "tokens": tokens,
            "truncation_side": tokenizer.truncation_side,
            "hidden_size": backbone.config.hidden_size,
            "pad_id": pad_id_of(tokenizer),
            "opset": _OPSET,
            "versions": versions(("pyserini_sdr", "torch", "transformers", "onnx")),
        }
        write_json(target / RECORD, record)


def _example(backbone: nn.Module, texts: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Token ids and a mask with padding in it, the same every time."""
    rng = np.random.default_rng(texts * 1000 + tokens)
    ids = torch.from_numpy(rng.integers(0, backbone.config.vocab_size, (texts, tokens)))
    mask = torch.ones_like(ids)
    for row in range(1, texts):
        mask[row, max(1, tokens - row) :] = 0
    return ids, mask


def _check(model: nn.Module, backbone: nn.Module, path: Path) -> None:
    """Compares the exported model with torch at shapes other than the one it was traced with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for texts, tokens in _SHAPES:
        ids, mask = _example(backbone, texts, tokens)
        with torch.inference_mode():
            expected = model(ids, mask).numpy()
        found = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
        kept = mask.numpy().astype(bool)
        difference = float(np.abs(found - expected)[kept].max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected[kept]).max())):
            raise SdrError(
                f"{path.parent}: the exported model differs from the checkpoint by {difference:.1g}; this architecture "
                "cannot be exported, use --backend torch"
            )
