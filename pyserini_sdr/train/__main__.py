"""`python -m pyserini_sdr.train`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.command import Command, main
from ..core.errors import UsageError
from .options import TrainOptions


@dataclass(frozen=True)
class TrainCommand(Command):
    """`train`, which can also list what it can minimise."""

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        if "--list-losses" in argv:
            if len(argv) > 1:
                raise UsageError("--list-losses: takes no other flags")
            from ..losses.table import loss_table

            print(loss_table())
            return 0
        return super().execute(prog, argv)


COMMAND = TrainCommand(
    "Train a bi-encoder, by default without labels beyond pairs and without a teacher.",
    TrainOptions,
    "pyserini_sdr.train.engine:train",
    "  python -m pyserini_sdr.train --collection collection --encoder all-MiniLM-L6-v2 --output checkpoint\n"
    "  python -m pyserini_sdr.train --collection collection --encoder bert-base-uncased --groups groups.jsonl \\\n"
    "    --loss distributed-margin --loss-option distributed-margin.layout=column \\\n"
    "    --batch-size 128 --output checkpoint\n"
    "  python -m pyserini_sdr.train --collection collection --encoder checkpoint --groups groups.jsonl \\\n"
    "    --loss infonce --negatives 7 --micro-batch-size 64 --output contrastive\n"
    "  python -m pyserini_sdr.train --collection collection --encoder checkpoint --groups scored.jsonl \\\n"
    "    --loss kl infonce:0.2 --teacher cross-encoder --negatives 7 --output distilled\n"
    "  python -m pyserini_sdr.train --collection msmarco:3 collection:1 --groups a.jsonl b.jsonl --loss infonce \\\n"
    "    --refresh-negatives 500 --matryoshka 384 128 --encoder checkpoint --output mixed\n"
    "  torchrun --nproc-per-node 2 -m pyserini_sdr.train --collection collection ...\n"
    "  python -m pyserini_sdr.train --list-losses",
    """
--list-losses prints what can be minimised, with formulas, needs and options, and stops.
An interrupted training goes on when the same command is given again. The checkpoint is an ordinary directory for
transformers, sentence-transformers and stock Pyserini; sdr_train.json in it tells how it was made, train_log.json and
train_log.png how it went.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.train", sys.argv[1:])
