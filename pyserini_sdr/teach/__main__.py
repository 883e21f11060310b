"""`python -m pyserini_sdr.teach`."""

from ..core.command import Command, main
from .options import TeachOptions

COMMAND = Command(
    "Score training groups with teachers; with --train, fine-tune a cross-encoder to be one.",
    TeachOptions,
    "pyserini_sdr.teach.engine:teach",
    "  # scores of a cross-encoder and of a bi-encoder, under the names of their directories\n"
    "  python -m pyserini_sdr.teach --collection collection --groups groups.jsonl --output scored.jsonl \\\n"
    "    --teacher cross-encoder all-MiniLM-L6-v2\n"
    "  # scores that a run has already, under a name of your own\n"
    "  python -m pyserini_sdr.teach --groups groups.jsonl --run bm25.trec --missing lowest --name bm25 \\\n"
    "    --output scored.jsonl\n"
    "  # to and from the tab-separated layout of Hofstätter et al. (pos_score neg_score qid pos_id neg_id)\n"
    "  python -m pyserini_sdr.teach --groups scored.jsonl --name cross-encoder --output scored.tsv\n"
    "  python -m pyserini_sdr.teach --groups bert_cat_ensemble.tsv --collection msmarco --output groups.jsonl.gz\n"
    "  # a cross-encoder from any transformer, on groups from `mine`\n"
    "  python -m pyserini_sdr.teach --train --collection collection --groups groups.jsonl \\\n"
    "    --encoder all-MiniLM-L6-v2 --output cross-encoder",
    """
A teacher is a cross-encoder (any sequence classifier of one or two labels), a bi-encoder or a TREC run; its files tell
which of the two a checkpoint is. An interrupted run goes on when the same command is given again: finished parts lie in
OUTPUT.parts until the end. Scores that the groups hold already are kept.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.teach")
