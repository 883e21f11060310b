"""The weights of BERT-like encoders in one shape, whatever transformers calls them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


@dataclass(frozen=True)
class Architecture:
    """What the weights of an encoder of a known kind do not tell; JSON-ready.

    Args:
        kind: transformers' `model_type`.
        layers: how many.
        heads: of attention.
        eps: of normalisations.
        first: row of the position embeddings of the first token.
    """

    kind: str
    layers: int
    heads: int
    eps: float
    first: int


@dataclass(frozen=True)
class _Names:
    """What transformers calls the modules of a layer; `layer` is where it finds the layer of a number."""

    layer: str
    qkv: tuple[str, str, str]
    out: str
    norm1: str
    up: str
    down: str
    norm2: str

    @property
    def linear(self) -> tuple[str, ...]:
        return (*self.qkv, self.out, self.up, self.down)


_BERT = _Names(
    "encoder.layer.{}.",
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_MPNET = _Names(
    "encoder.layer.{}.",
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_DISTILBERT = _Names(
    "transformer.layer.{}.",
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
_KINDS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
}
_NORM, _RELATIVE = "embeddings.LayerNorm", "encoder.relative_attention_bias.weight"
_FARTHEST = 128
"""The distance from which on MPNet tells no relative positions apart."""


def architecture_of(model: nn.Module) -> Architecture | None:
    """The architecture of a model of a kind known here (BERT, RoBERTa, DistilBERT, MPNet), None for another one."""
    config = model.config
    names = _KINDS.get(config.model_type)
    if names is None or getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        return None
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation", None)
    if activation != "gelu" or getattr(config, "position_embedding_type", "absolute") not in (None, "absolute"):
        return None
    try:
        norms = [model.get_submodule(_NORM)]
        for number in range(config.num_hidden_layers):
            layer = model.get_submodule(names.layer.format(number).rstrip("."))
            norms += [layer.get_submodule(names.norm1), layer.get_submodule(names.norm2)]
            linear = [layer.get_submodule(name) for name in names.linear]
            if any(type(part) is not nn.Linear or part.bias is None for part in linear):
                return None  # computes more than its weight and bias say: one with an adapter, a quantised one
    except AttributeError:  # other names in another version of transformers
        return None
    eps = norms[0].eps
    if any(type(norm) is not nn.LayerNorm or norm.eps != eps for norm in norms):
        return None
    # RoBERTa and kin count positions from behind the padding's
    first = 0 if config.model_type in ("bert", "distilbert") else config.pad_token_id + 1
    return Architecture(config.model_type, config.num_hidden_layers, config.num_attention_heads, eps, first)


def encoder_weights(model: nn.Module) -> EncoderWeights | None:
    """The float32 weights of a model of a known kind, None for another one."""
    found = architecture_of(model)
    try:
        return None if found is None else weights_of(dict(model.named_parameters()), found)
    except KeyError:  # other names in another version of transformers
        return None


def weights_of(tensors: Mapping[str, Tensor], architecture: Architecture) -> EncoderWeights:
    """The weights among named tensors, as a model has and a checkpoint's files hold them; `KeyError` if one is not."""

    def pair(name: str) -> tuple[Tensor, Tensor]:
        return tensors[f"{name}.weight"], tensors[f"{name}.bias"]

    def stacked(pairs: Sequence[Affine]) -> Affine:
        return torch.cat([weight for weight, _ in pairs]), torch.cat([bias for _, bias in pairs])

    names = _KINDS[architecture.kind]
    blocks = []
    for number in range(architecture.layers):
        at = names.layer.format(number)
        blocks.append(
            BlockWeights(
                stacked([pair(at + name) for name in names.qkv]),
                pair(at + names.out),
                pair(at + names.norm1),
                pair(at + names.up),
                pair(at + names.down),
                pair(at + names.norm2),
            )
        )
    positions = tensors["embeddings.position_embeddings.weight"][architecture.first :]
    if names is _BERT:
        positions = positions + tensors["embeddings.token_type_embeddings.weight"][0]
    return EncoderWeights(
        tensors["embeddings.word_embeddings.weight"],
        positions,
        pair(_NORM),
        blocks,
        architecture.heads,
        architecture.eps,
        _relative_bias(tensors[_RELATIVE]) if names is _MPNET else None,
    )


def _relative_bias(table: Tensor) -> Callable[[int], Tensor]:
    """MPNet's attention bias (1, heads, length, length) by length, from its table (buckets, heads).

    Half of the buckets are for keys before the query and half for those after it; in each, half for near distances,
    and the others for ranges that grow with the logarithm of the distance (as in T5, arXiv 1910.10683).
    """
    half = len(table) // 2
    near = half // 2

    def bias(length: int) -> Tensor:
        places = torch.arange(length, device=table.device)
        distance = places[:, None] - places[None, :]
        far = distance.abs()
        ranges = near + (torch.log(far.float() / near) / math.log(_FARTHEST / near) * (half - near)).long()
        bucket = torch.where(far < near, far, ranges.clamp(max=half - 1)) + half * (distance < 0)
        return F.embedding(bucket, table).permute(2, 0, 1)[None]

    return bias
