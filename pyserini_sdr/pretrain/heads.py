"""What pre-training puts on an encoder and throws away afterwards: the head that names tokens, and the decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

_NAMES = (  # of the same head in BERT and kin; RoBERTa, MPNet and kin; DistilBERT: dense, norm, bias
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
)


class TokenHead(nn.Module):
    """States → scores of all tokens: a layer, and products with the encoder's own token embeddings (tied, as in BERT).

    Args:
        hidden: dimensions of a state.
        embedding: of a token's embedding.
        vocabulary: number of tokens.
    """

    def __init__(self, hidden: int, embedding: int, vocabulary: int) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(hidden, embedding), nn.LayerNorm(embedding, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        nn.init.normal_(self.dense.weight, std=hidden**-0.5)
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """(n, vocabulary) scores of states (n, hidden)."""
        return nn.functional.linear(self.norm(nn.functional.gelu(self.dense(states))), embeddings, self.bias)

    def take_over(self, checkpoint: Path) -> bool:
        """Takes the weights of the head that a checkpoint was pre-trained with; whether it has one of this shape."""
        weights = _weights(checkpoint)
        for dense, norm, bias in _NAMES:
            pairs = {"bias": bias}
            for own, theirs in (("dense", dense), ("norm", norm)):
                pairs |= {f"{own}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
            pairs = {own: name if name in weights else _old_name(name) for own, name in pairs.items()}
            own = self.state_dict()
            if all(name in weights and weights[name].shape == own[key].shape for key, name in pairs.items()):
                self.load_state_dict({key: weights[name].float() for key, name in pairs.items()})
                return True
        return False


class Decoder(nn.Module):
    """A shallow transformer that fills in a masked text from one vector and what is left of the text.

    Token embeddings are the encoder's; places are told by embeddings of its own, since encoders differ in how they tell
    them. The vector stands in the first place.

    Args:
        hidden: dimensions of the vector.
        embedding: of a token's embedding.
        heads, inner, layers: of the transformer.
        length: tokens of a text at most.
        dropout: rate.
    """

    def __init__(
        self, *, hidden: int, embedding: int, heads: int, inner: int, layers: int, length: int, dropout: float
    ) -> None:
        super().__init__()
        self.widen = nn.Linear(embedding, hidden) if embedding != hidden else nn.Identity()
        self.places, self.norm = nn.Embedding(length, hidden), nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(hidden, heads, inner, dropout, "gelu", batch_first=True) for _ in range(layers)
        )
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, vectors: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        """States (n, length, hidden) of texts.

        Args:
            vectors: (n, hidden).
            embedded: (n, length, embedding) of the tokens; the first one's is not looked at.
            mask: (n, length), 1 for tokens.
        """
        texts = self.widen(embedded[:, 1:]) + self.places.weight[1 : embedded.shape[1]]
        texts = self.dropout(self.norm(texts))
        states = torch.cat([vectors.to(texts.dtype).unsqueeze(1), texts], dim=1)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=mask == 0)
        return states


def _old_name(name: str) -> str:
    """The name of a norm's weights in checkpoints converted from TensorFlow."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def _weights(checkpoint: Path) -> dict[str, Any]:
    """The weights of a checkpoint of one file; none where there are several files."""
    if (checkpoint / "model.safetensors").is_file():
        return load_file(checkpoint / "model.safetensors")
    if (checkpoint / "pytorch_model.bin").is_file():
        return torch.load(checkpoint / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return {}
