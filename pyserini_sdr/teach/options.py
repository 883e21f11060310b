"""The flags of `teach`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, between, option


def _positive(value: Any) -> str | None:
    return None if 0 < value < math.inf else "must be a finite number above 0"


@dataclass
class TeachOptions:
    """From groups to scored groups, or to a cross-encoder."""

    groups: Path = option(help="training groups (.jsonl), or triples with scores (.tsv), plain or .gz", metavar="FILE")
    output: Path = option(help="scored groups to write (.jsonl or .tsv, also .gz); with --train a checkpoint directory")
    collection: Path | None = option(
        None, help="collection directory: texts of the documents, topics, judgements", metavar="DIR"
    )
    split: str = option("train", help="split whose topics give the queries of a .tsv")
    overwrite: bool = option(False, help="replace what is in --output, finished or not")

    teacher: list[str] | None = option(
        None, help="cross-encoders and bi-encoders: checkpoint directories or model names", group="scoring"
    )
    run: list[Path] | None = option(None, help="TREC runs to take scores from", group="scoring")
    name: list[str] | None = option(
        None,
        help="what each teacher's, then each run's scores are called (default: the name of its directory or file); "
        "without teachers, the scores that a .tsv is to hold, or how those of a .tsv are called",
        group="scoring",
    )
    missing: Literal["error", "lowest", "skip"] = option(
        "error", help="a document that a run lacks: the run's lowest score of that query, or no score", group="scoring"
    )
    overwrite_scores: bool = option(False, help="replace scores of the same name in the groups", group="scoring")
    window: int = option(
        256, help="queries scored and written at a time; a kill loses one window", check=at_least(1), group="scoring"
    )

    train: bool = option(False, help="fine-tune a cross-encoder on the groups", group="fine-tuning")
    encoder: str | None = option(
        None, help="what it starts from: any transformer, or a cross-encoder to be trained on", group="fine-tuning"
    )
    objective: Literal["lce", "bce"] = option(
        "lce", help="softmax cross entropy over each query's list, or binary cross entropy", group="fine-tuning"
    )
    negatives: int = option(7, help="negatives per query and step", check=at_least(1), group="fine-tuning")
    batch_size: int = option(32, help="queries per optimiser step", check=at_least(1), group="fine-tuning")
    micro_batch_size: int = option(
        64, help="pairs whose activations are kept at a time (whole lists)", check=at_least(1), group="fine-tuning"
    )
    epochs: float = option(
        1.0, help="passes over the queries, if --max-steps is not given", check=_positive, group="fine-tuning"
    )
    max_steps: int | None = option(None, help="optimiser steps", check=at_least(1), group="fine-tuning")
    learning_rate: float = option(5e-5, help="peak of the schedule", check=at_least(0), group="fine-tuning")
    warmup: float = option(
        0.1, help="part of the steps over which the rate rises", check=between(0, 1), group="fine-tuning"
    )
    weight_decay: float = option(0.01, help="of AdamW", check=at_least(0), group="fine-tuning")
    dropout: float | None = option(
        None,
        help="default: as in the configuration; 0 saves a third of a step on a CPU",
        check=between(0, 0.9),
        group="fine-tuning",
    )
    seed: int = option(
        0, help="of the new head, data order, negatives and dropout", check=at_least(0), group="fine-tuning"
    )

    dev_run: Path | None = option(
        None,
        help="run over the dev topics that is reranked to select the checkpoint "
        "(default: a tenth of the groups is held out)",
        group="dev evaluation",
    )
    dev_split: str = option("dev", help="split of the dev topics and judgements", group="dev evaluation")
    dev_depth: int = option(20, help="documents reranked per query", check=at_least(1), group="dev evaluation")
    dev_queries: int = option(200, help="queries used at most", check=at_least(1), group="dev evaluation")
    eval_steps: int | None = option(
        None, help="steps between evaluations (default: five in all)", check=at_least(1), group="dev evaluation"
    )

    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group="models")
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", help="auto is bf16 where the hardware has it", group="models"
    )
    max_length: int | None = option(
        None,
        help="tokens of a pair, or of a document for a bi-encoder (default: the model's; --train: 256 at most)",
        check=at_least(16),
        group="models",
    )

    def __post_init__(self) -> None:
        if self.train:
            given = [flag for flag in ("teacher", "run", "name") if getattr(self, flag) is not None]
            if given:
                raise UsageError(f"--{given[0]}: not with --train; score with the checkpoint once it is made")
            if self.encoder is None:
                raise UsageError("--encoder: is required with --train, as what the cross-encoder starts from")
            if self.collection is None:
                raise UsageError("--collection: is required with --train")
        elif self.encoder is not None:
            raise UsageError("--encoder: only with --train; what scores is given with --teacher")
