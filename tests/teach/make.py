"""Tiny cross-encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def make_cross_encoder(directory: Path, backbone: Path, labels: int = 1, **changes: Any) -> Path:
    """Saves a sequence classifier over a tiny backbone, its head drawn with a fixed seed."""
    state = torch.random.get_rng_state()
    torch.manual_seed(labels)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=labels, **changes)
    finally:
        torch.random.set_rng_state(state)
    with torch.no_grad():  # a fresh BERT is nearly constant
        for weight in model.parameters():
            weight.mul_(6 if weight.dim() == 2 else 1)
        model.classifier.weight.mul_(20)
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(directory)
    return directory
