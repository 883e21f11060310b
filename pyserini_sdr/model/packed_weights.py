"""The weights of BERT-like encoders in one shape, whatever transformers calls them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Norm = tuple[Tensor, Tensor]
"""Weight and bias of a layer normalisation, (dim,) each."""

Affine = tuple[Tensor, Tensor]
"""Weight (out, in) and bias (out,) of a linear layer."""


@dataclass(frozen=True)
class BlockWeights:
    """One layer: attention and feed-forward, each with a residual and a normalisation after it.

    Args:
        qkv: the projections to queries, keys and values, stacked: (3·dim, dim).
        out, up, down: the other linear layers.
        norm1, norm2: after attention and after the feed-forward layers.
    """

    qkv: Affine
    out: Affine
    norm1: Norm
    up: Affine
    down: Affine
    norm2: Norm


@dataclass(frozen=True)
class EncoderWeights:
    """An encoder with post-normalisation, GELU and absolute positions.

    Args:
        words: (vocabulary, dim).
        positions: (positions, dim), for the first token on; token type 0 is added in.
        norm: of the embeddings.
        blocks: the layers.
        heads: of attention.
        eps: of normalisations.
        bias: makes the attention bias (1, heads, length, length) by relative position, None for none.
    """

    words: Tensor
    positions: Tensor
    norm: Norm
    blocks: Sequence[BlockWeights]
    heads: int
    eps: float
    bias: Callable[[int], Tensor] | None = None


def encoder_weights(model: nn.Module) -> EncoderWeights | None:
    """The float32 weights of a model of a kind known here (BERT, RoBERTa, DistilBERT, MPNet), None for another one."""
    config = model.config
    kind = _KINDS.get(config.model_type)
    if kind is None or getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        return None
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if activation != "gelu" or getattr(config, "position_embedding_type", "absolute") not in (None, "absolute"):
        return None
    try:
        return kind(model)
    except (_UnknownLayerError, AttributeError):  # other names in another version of transformers
        return None


def _bert(model: nn.Module) -> EncoderWeights:
    embeddings, config = model.embeddings, model.config
    # RoBERTa counts positions from behind the padding's
    first = config.pad_token_id + 1 if config.model_type != "bert" else 0
    positions = embeddings.position_embeddings.weight[first:] + embeddings.token_type_embeddings.weight[0]
    blocks = []
    for layer in model.encoder.layer:
        inner, after = layer.attention.self, layer.attention.output
        blocks.append(
            BlockWeights(
                _stacked(inner.query, inner.key, inner.value),
                _affine(after.dense),
                _norm(after.LayerNorm),
                _affine(layer.intermediate.dense),
                _affine(layer.output.dense),
                _norm(layer.output.LayerNorm),
            )
        )
    return EncoderWeights(
        embeddings.word_embeddings.weight,
        positions,
        _norm(embeddings.LayerNorm),
        blocks,
        config.num_attention_heads,
        config.layer_norm_eps,
    )


def _distilbert(model: nn.Module) -> EncoderWeights:
    embeddings = model.embeddings
    blocks = [
        BlockWeights(
            _stacked(layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin),
            _affine(layer.attention.out_lin),
            _norm(layer.sa_layer_norm),
            _affine(layer.ffn.lin1),
            _affine(layer.ffn.lin2),
            _norm(layer.output_layer_norm),
        )
        for layer in model.transformer.layer
    ]
    return EncoderWeights(
        embeddings.word_embeddings.weight,
        embeddings.position_embeddings.weight,
        _norm(embeddings.LayerNorm),
        blocks,
        model.config.n_heads,
        embeddings.LayerNorm.eps,
    )


def _mpnet(model: nn.Module) -> EncoderWeights:
    embeddings = model.embeddings
    blocks = [
        BlockWeights(
            _stacked(layer.attention.attn.q, layer.attention.attn.k, layer.attention.attn.v),
            _affine(layer.attention.attn.o),
            _norm(layer.attention.LayerNorm),
            _affine(layer.intermediate.dense),
            _affine(layer.output.dense),
            _norm(layer.output.LayerNorm),
        )
        for layer in model.encoder.layer
    ]
    return EncoderWeights(
        embeddings.word_embeddings.weight,
        embeddings.position_embeddings.weight[embeddings.padding_idx + 1 :],
        _norm(embeddings.LayerNorm),
        blocks,
        model.config.num_attention_heads,
        model.config.layer_norm_eps,
        lambda length: model.encoder.compute_position_bias(torch.empty(1, length, 1)),
    )


_KINDS: dict[str, Callable[[nn.Module], EncoderWeights]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "camembert": _bert,
    "distilbert": _distilbert,
    "mpnet": _mpnet,
}


class _UnknownLayerError(Exception):
    """A layer that computes more than its weight and bias say: one with an adapter, a quantised one."""


def _affine(layer: nn.Linear) -> Affine:
    if type(layer) is not nn.Linear or layer.bias is None:
        raise _UnknownLayerError
    return layer.weight, layer.bias


def _stacked(*layers: nn.Linear) -> Affine:
    pairs = [_affine(layer) for layer in layers]
    return torch.cat([weight for weight, _ in pairs]), torch.cat([bias for _, bias in pairs])


def _norm(layer: nn.LayerNorm) -> Norm:
    if type(layer) is not nn.LayerNorm:
        raise _UnknownLayerError
    return layer.weight, layer.bias
