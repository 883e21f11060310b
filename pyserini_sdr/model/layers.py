"""States of all layers of an encoder, pooled as its embeddings are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .batching import pad
from .encoder import BiEncoder
from .pooling import pool
from .token_budget import by_token_budget


def forward_layers(model: nn.Module, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pooled, unnormalised float32 states (n, L, dim) of the layers, first to last; the last one is the embedding."""
    hidden = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    return torch.stack([pool(states, mask, pooling) for states in hidden[1:]], dim=1)


@torch.no_grad()
def layer_states(encoder: BiEncoder, texts: Sequence[str], max_length: int) -> Tensor:
    """Pooled states (n, L, dim) of all layers of a frozen encoder.

    Args:
        encoder: in evaluation mode.
        texts: with their prefix.
        max_length: in tokens.
    """
    config = encoder.backbone.config
    states = torch.empty(len(texts), config.num_hidden_layers, config.hidden_size, device=encoder.device)
    if not texts:
        return states
    tokens = encoder.tokenize(texts, max_length)
    for rows in by_token_budget([len(ids) for ids in tokens], encoder.token_budget):
        ids, mask = pad([tokens[row] for row in rows], encoder.pad_id)
        found = forward_layers(encoder.backbone, ids.to(encoder.device), mask.to(encoder.device), encoder.spec.pooling)
        states[torch.from_numpy(rows)] = found
    return states
