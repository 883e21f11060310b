"""The flags of `train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, between, option


@dataclass
class TrainOptions:
    """From a collection and an encoder to a better encoder."""

    collection: list[str] = option(
        help="collection directory; several as DIR:WEIGHT DIR:WEIGHT … are mixed, dev is the first one's",
        metavar="DIR[:WEIGHT]",
    )
    encoder: str = option(help="checkpoint directory, all-MiniLM-L6-v2 (bundled), or a model on the hub")
    output: Path = option(help="checkpoint directory to make", metavar="DIR")
    overwrite: bool = option(False, help="replace what is in --output, finished or not")

    groups: list[Path] | None = option(
        None,
        help="training groups (from `mine`), a file per collection; left out, the encoder mines its own negatives",
        metavar="FILE",
        group="data",
    )
    train_split: str = option("train", help="split whose queries are trained on", group="data")
    negatives: int = option(1, help="negatives per query and step", check=at_least(0), group="data")
    positives: int = option(1, help="positives per query and step, at most", check=at_least(1), group="data")
    max_queries: int | None = option(
        None, help="train on this many queries, drawn at random", check=at_least(1), group="data"
    )

    mixing: Literal["mixed", "separate"] = option(
        "mixed", help="of several collections: within batches, or one collection per batch", group="data"
    )
    batching: Literal["random", "topics"] = option(
        "random", help="topics: the queries of a batch are of one k-means cluster (TAS-B)", group="data"
    )
    clusters: int | None = option(
        None, help="of --batching topics (default: one per 200 queries)", check=at_least(1), group="data"
    )
    cluster_encoder: str | None = option(
        None, help="whose query vectors are clustered (default: --encoder as it starts)", metavar="NAME", group="data"
    )
    negative_sampling: Literal["uniform", "balanced-margins"] = option(
        "uniform",
        help="balanced-margins: evenly over the range of the first teacher's stored margins (TAS-B)",
        group="data",
    )
    refresh_negatives: int | None = option(
        None,
        help="mine negatives anew with the encoder as trained so far, every N steps",
        metavar="N",
        check=at_least(1),
        group="data",
    )
    document_queries: list[Path] | None = option(
        None,
        help="generated queries of the documents, a file per collection: each document is seen with one of them after "
        "it, those unlike the training query first (CAPSTONE)",
        metavar="FILE",
        group="data",
    )
    query_parts: int | None = option(
        None,
        help="parts that the queries of a document are divided into, one after the other in force (default: 3)",
        metavar="N",
        check=at_least(1),
        group="data",
    )
    word_drop: float = option(
        0.0,
        help="share of the words that the encoder does not see of a document; teachers see all",
        check=between(0, 0.9),
        group="data",
    )
    sentence_shuffle: int = option(
        0,
        help="by how many places the sentences of a document move at most, for the encoder, not for teachers",
        check=at_least(0),
        group="data",
    )
    teacher: list[str] | None = option(
        None,
        help="scores in the groups by their name, or a cross-encoder or bi-encoder that is asked for every batch "
        "(default: the scores in the groups, if a loss needs them)",
        metavar="NAME",
        group="teachers",
    )
    teacher_max_length: int | None = option(
        None, help="tokens a live teacher sees of a text or pair", check=at_least(2), group="teachers"
    )
    teacher_dropout: float = option(
        0.0, help="of live bi-encoder teachers (noisy self-distillation)", check=between(0, 0.9), group="teachers"
    )
    teacher_momentum: float | None = option(
        None,
        help="a live bi-encoder, given as --teacher and --encoder, follows what is trained: this share of its weights "
        "stays at every step, 0.99 for example (default: frozen)",
        check=between(0, 1),
        group="teachers",
    )
    document_tower: str | None = option(
        None,
        help="frozen encoder of the documents: only queries are learned, and searched in an index made with it",
        metavar="NAME",
        group="teachers",
    )

    loss: list[str] = option(["self-scaled"], help="NAME or NAME:WEIGHT; several are added", group="loss")
    loss_option: list[str] | None = option(None, help="NAME.option=value, see --list-losses", group="loss")
    matryoshka: list[int] | None = option(
        None,
        help="train the first N dimensions to do alone, for each N given; the losses are averaged over them",
        metavar="N",
        check=at_least(1),
        group="loss",
    )

    batch_size: int = option(
        32, help="queries per optimiser step, over all processes", check=at_least(2), group="optimisation"
    )
    micro_batch_size: int | None = option(
        None,
        help="texts whose activations are kept at a time; gradients stay exact (default: all)",
        check=at_least(1),
        group="optimisation",
    )
    epochs: float = option(
        1.0, help="passes over the queries, if --max-steps is not given", check=at_least(0), group="optimisation"
    )
    max_steps: int | None = option(None, help="optimiser steps", check=at_least(1), group="optimisation")
    learning_rate: float = option(3e-5, help="peak of the schedule", check=at_least(0), group="optimisation")
    loss_learning_rate: float = option(
        1e-3,
        help="peak for the parameters of losses that have some (heads, temperatures), without weight decay",
        check=at_least(0),
        group="optimisation",
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
        None, help="of the encoder (default: as in its configuration)", check=between(0, 0.9), group="optimisation"
    )
    lora_rank: int | None = option(
        None,
        help="train low-rank adapters of this rank; they are merged at the end",
        check=at_least(1),
        group="optimisation",
    )
    lora_alpha: float | None = option(
        None, help="scale of the adapters (default: 32)", check=at_least(0), group="optimisation"
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", help="auto is bf16 autocast where the hardware has it", group="optimisation"
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group="optimisation")
    seed: int = option(0, help="of data order, negatives and dropout", check=at_least(0), group="optimisation")

    pooling: Literal["cls", "mean"] | None = option(
        None, help="default: the encoder's; mean for a raw backbone", group="encoder"
    )
    similarity: Literal["cosine", "dot"] | None = option(
        None, help="default: the encoder's; cosine for a raw backbone", group="encoder"
    )
    query_prefix: str | None = option(None, help="default: the encoder's", group="encoder")
    document_prefix: str | None = option(None, help="default: the encoder's", group="encoder")
    query_max_length: int | None = option(
        None, help="default: the encoder's, 64 at most", check=at_least(2), group="encoder"
    )
    max_length: int | None = option(
        None, help="of documents; default: the encoder's, 256 at most", check=at_least(2), group="encoder"
    )

    dev_split: str = option(
        "dev", help="split that selects the checkpoint; `none` for the last one", group="dev evaluation"
    )
    dev_run: Path | None = option(
        None, help="run over the dev topics whose best documents join the pool", group="dev evaluation"
    )
    dev_pool: int = option(2000, help="documents ranked for every dev query", check=at_least(2), group="dev evaluation")
    dev_queries: int = option(500, help="dev queries used, drawn at random", check=at_least(1), group="dev evaluation")
    dev_metric: str = option("ndcg_cut_10", help="what selects the checkpoint", group="dev evaluation")
    eval_steps: int | None = option(
        None, help="steps between evaluations (default: ten in all)", check=at_least(1), group="dev evaluation"
    )
    patience: int = option(
        4,
        help="evaluations without a better one before it stops; 0 never stops",
        check=at_least(0),
        group="dev evaluation",
    )

    logging_steps: int = option(10, help="steps between log entries", check=at_least(1), group="output")
    report_to: list[str] = option(["none"], help="Trainer integrations: tensorboard, wandb, ...", group="output")
    keep_checkpoints: bool = option(False, help="keep the intermediate checkpoints", group="output")

    def __post_init__(self) -> None:
        for flag, files in (("--groups", self.groups), ("--document-queries", self.document_queries)):
            if files is not None and len(files) != len(self.collection):
                raise UsageError(
                    f"{flag}: {len(files)} files for {len(self.collection)} collections; give one for each"
                )
        if self.batching == "topics" and self.mixing == "mixed" and len(self.collection) > 1:
            raise UsageError("--batching topics: with several collections needs --mixing separate")
        if self.negative_sampling == "balanced-margins" and (self.negatives == 0 or self.positives > 1):
            raise UsageError(
                "--negative-sampling balanced-margins: draws one positive and its negatives; "
                "needs --negatives at least 1 and --positives 1"
            )
        if self.lora_alpha is not None and self.lora_rank is None:
            raise UsageError("--lora-alpha: needs --lora-rank")
        if self.teacher_momentum is not None and (self.lora_rank is not None or self.document_tower is not None):
            other = "--lora-rank" if self.lora_rank is not None else "--document-tower"
            raise UsageError(f"--teacher-momentum: cannot be used with {other}: the whole encoder is followed")
        if self.document_tower is not None:
            for flag, value in (
                ("--document-prefix", self.document_prefix),
                ("--max-length", self.max_length),
                ("--document-queries", self.document_queries),
                ("--word-drop", self.word_drop or None),
                ("--sentence-shuffle", self.sentence_shuffle or None),
            ):
                if value is not None:
                    raise UsageError(f"{flag}: documents are encoded as --document-tower says")
        for flag, value in (("--clusters", self.clusters), ("--cluster-encoder", self.cluster_encoder)):
            if value is not None and self.batching != "topics":
                raise UsageError(f"{flag}: needs --batching topics")
        if self.query_parts is not None and self.document_queries is None:
            raise UsageError("--query-parts: needs --document-queries")
        if self.document_tower is not None and self.refresh_negatives is not None:
            raise UsageError("--refresh-negatives: cannot be used with --document-tower")

    def spec_overrides(self) -> dict[str, Any]:
        """The `EncoderSpec` fields that flags override."""
        return {
            "pooling": self.pooling,
            "similarity": self.similarity,
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "query_max_length": self.query_max_length,
            "document_max_length": self.max_length,
        }
