"""`python -m pyserini_sdr.pretrain`."""

from __future__ import annotations

import sys

from ..core.command import Command, main
from .options import PretrainOptions

COMMAND = Command(
    "Pre-train an encoder on a corpus: its vector has to help a weak decoder to fill in masked texts.",
    PretrainOptions,
    "pyserini_sdr.pretrain.engine:pretrain",
    "  python -m pyserini_sdr.pretrain --corpus corpus.jsonl --encoder bert-base-uncased --output pretrained\n"
    "  python -m pyserini_sdr.pretrain --corpus collection --from-scratch --output pretrained\n"
    "  python -m pyserini_sdr.pretrain --corpus collection --from-scratch --layers 6 --hidden-size 384 --heads 12 \\\n"
    "    --vocab-size 20000 --method master --queries pseudo --max-steps 20000 --output pretrained\n"
    "  python -m pyserini_sdr.pretrain --corpus shards/ --from-scratch --config-of distilroberta-base --output new\n"
    "  torchrun --nproc-per-node 2 -m pyserini_sdr.pretrain --corpus corpus.jsonl.gz ...\n"
    "  python -m pyserini_sdr.train --collection collection --encoder pretrained --groups groups.jsonl --output OUT",
    """
cot-mae   two spans of a document: the vector of one helps to fill in the other (arXiv 2208.07670)
master    several decoders, each with a masked text of its own (arXiv 2212.07841)
mlm       masked language modelling alone: a baseline; the vector itself is not trained

The vector is the one that pooling gives, as in `train` and `encode`. Heads and decoders are thrown away: the result is
an ordinary checkpoint directory; sdr_pretrain.json in it tells how it was made, pretrain_log.json and .png how it went.
An interrupted run goes on when the same command is given again.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.pretrain", sys.argv[1:])
