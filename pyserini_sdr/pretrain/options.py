"""The flags of `pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, between, option

Method = Literal["cot-mae", "master", "mlm"]
DECODER_MASK = {"cot-mae": 0.45, "master": 0.5}
"""Defaults of `--decoder-mask`, as in the papers."""
_SIZES = {"layers": 4, "hidden_size": 256, "heads": 4, "vocab_size": 8192}
_OF_SCRATCH = ("config_of", "tokenizer", "tokenizer_documents", "cased", *_SIZES)


@dataclass
class PretrainOptions:
    """From a corpus and an encoder, or none, to an encoder that knows the corpus."""

    corpus: Path = option(help="collection directory, directory of .jsonl[.gz], or one such file", metavar="PATH")
    output: Path = option(help="checkpoint directory to make", metavar="DIR")
    encoder: str | None = option(None, help="checkpoint directory, all-MiniLM-L6-v2 (bundled), or a model on the hub")
    from_scratch: bool = option(False, help="start from random weights and a new tokenizer instead of --encoder")
    overwrite: bool = option(False, help="replace what is in --output, finished or not")

    config_of: str | None = option(
        None, help="architecture and sizes of this checkpoint (default: BERT's)", metavar="NAME", group="from scratch"
    )
    tokenizer: str | None = option(
        None,
        help="tokenizer of this checkpoint (default: WordPiece learnt from the corpus)",
        metavar="NAME",
        group="from scratch",
    )
    tokenizer_documents: int | None = option(
        None, help="documents the tokenizer is learnt from (default: 100000)", check=at_least(1), group="from scratch"
    )
    cased: bool = option(False, help="the new tokenizer tells cases and accents apart", group="from scratch")
    vocab_size: int | None = option(
        None, help="of the new tokenizer, at most (default: 8192)", check=at_least(100), group="from scratch"
    )
    layers: int | None = option(None, help="of the new encoder (default: 4)", check=at_least(1), group="from scratch")
    hidden_size: int | None = option(
        None, help="dimensions of its vectors (default: 256)", check=at_least(2), group="from scratch"
    )
    heads: int | None = option(None, help="of its attention (default: 4)", check=at_least(1), group="from scratch")

    method: Method = option("cot-mae", help="what is learnt (see above)", group="objective")
    encoder_mask: float = option(
        0.3, help="share of the encoder's tokens that are masked", check=between(0.01, 0.9), group="objective"
    )
    decoder_mask: float | None = option(
        None,
        help="share of the decoders' tokens that are masked (default: cot-mae 0.45, master 0.5)",
        check=between(0.01, 1),
        group="objective",
    )
    decoder_layers: int = option(2, help="layers of a decoder", check=at_least(1), group="objective")
    decoder_weight: float = option(1.0, help="of the decoders' losses", check=at_least(0), group="objective")
    whole_words: bool = option(True, help="mask whole words, where the tokenizer knows of words", group="objective")
    queries: Path | None = option(
        None,
        help="master: queries of documents, lines of document id, tab, query; or a collection of pseudo-queries",
        metavar="PATH",
        group="objective",
    )

    max_length: int = option(
        128,
        help="tokens of a span; from scratch, the most the encoder will ever read",
        check=at_least(16),
        group="data",
    )
    held_out: int = option(
        256, help="documents kept out of training to measure the losses on; at most a tenth", check=at_least(1),
        group="data",
    )  # fmt: skip
    shuffle_buffer: int = option(
        16384, help="documents that are held in memory to be shuffled", check=at_least(1), group="data"
    )

    batch_size: int = option(
        64, help="documents per optimiser step, over all processes", check=at_least(1), group="optimisation"
    )
    token_budget: int | None = option(
        None,
        help="tokens whose activations are kept at a time (default: 4096 on a CPU, 65536 on a GPU)",
        check=at_least(1),
        group="optimisation",
    )
    epochs: float = option(
        1.0, help="passes over the corpus, if --max-steps is not given", check=at_least(0), group="optimisation"
    )
    max_steps: int | None = option(None, help="optimiser steps", check=at_least(1), group="optimisation")
    learning_rate: float | None = option(
        None, help="peak of the schedule (default: 1e-4, from scratch 5e-4)", check=at_least(0), group="optimisation"
    )
    warmup: float = option(
        0.1, help="part of the steps over which the rate rises", check=between(0, 1), group="optimisation"
    )
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = option(
        "linear", help="of the learning rate", group="optimisation"
    )
    weight_decay: float = option(0.01, help="of AdamW", check=at_least(0), group="optimisation")
    max_grad_norm: float = option(1.0, help="gradient clipping; 0 for none", check=at_least(0), group="optimisation")
    dropout: float | None = option(
        None, help="of encoder and decoders (default: the encoder's)", check=between(0, 0.9), group="optimisation"
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", help="auto: bf16 where the hardware has it; weights are fp32 always", group="optimisation"
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group="optimisation")
    seed: int = option(
        0, help="of new weights, order, spans, masks and dropout", check=at_least(0), group="optimisation"
    )

    pooling: Literal["cls", "mean"] | None = option(
        None, help="default: the encoder's; mean where it has none", group="encoder"
    )
    similarity: Literal["cosine", "dot"] | None = option(
        None, help="default: the encoder's; cosine where it has none", group="encoder"
    )
    document_prefix: str | None = option(
        None, help="put before what is encoded; default: the encoder's", group="encoder"
    )

    eval_steps: int | None = option(
        None, help="steps between held-out losses, and checkpoints (default: ten in all)", check=at_least(1),
        group="output",
    )  # fmt: skip
    logging_steps: int = option(10, help="steps between log entries", check=at_least(1), group="output")
    report_to: list[str] = option(["none"], help="Trainer integrations: tensorboard, wandb, ...", group="output")

    def __post_init__(self) -> None:
        if self.from_scratch == (self.encoder is not None):
            raise UsageError("give either --encoder NAME or --from-scratch")
        if not self.from_scratch:
            for name in _OF_SCRATCH:
                if getattr(self, name):
                    raise UsageError(f"--{name.replace('_', '-')}: needs --from-scratch")
        if self.config_of is not None:
            for name in ("layers", "hidden_size", "heads"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name.replace('_', '-')}: --config-of {self.config_of} tells the sizes")
        if self.tokenizer is not None:
            for name in ("vocab_size", "tokenizer_documents", "cased"):
                if getattr(self, name):
                    raise UsageError(f"--{name.replace('_', '-')}: --tokenizer {self.tokenizer} is taken as it is")
        hidden, heads = self.size("hidden_size"), self.size("heads")
        if hidden % heads:
            raise UsageError(f"--hidden-size {hidden}: must be a multiple of --heads {heads}")
        if self.queries is not None and self.method != "master":
            raise UsageError("--queries: needs --method master")
        if self.method == "mlm" and self.decoder_mask is not None:
            raise UsageError("--decoder-mask: --method mlm has no decoder")

    def size(self, name: str) -> int:
        """A size of the new encoder: as given, or the default."""
        given = getattr(self, name)
        return _SIZES[name] if given is None else given

    @property
    def peak_rate(self) -> float:
        """The learning rate, or its default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 5e-4 if self.from_scratch else 1e-4

    def spec_overrides(self) -> dict[str, Any]:
        """The `EncoderSpec` fields that flags override."""
        return {"pooling": self.pooling, "similarity": self.similarity, "document_prefix": self.document_prefix}
