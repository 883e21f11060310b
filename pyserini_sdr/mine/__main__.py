"""`python -m pyserini_sdr.mine`."""

from ..core.command import Command, main
from .options import MineOptions

COMMAND = Command(
    "Mine hard negatives for training from runs, BM25 or an encoder.",
    MineOptions,
    "pyserini_sdr.mine.engine:mine",
    "  # with the encoder itself: encodes the corpus into --index first, if it is not there\n"
    "  python -m pyserini_sdr.mine --collection collection --encoder all-MiniLM-L6-v2 --index index \\\n"
    "    --output groups.jsonl\n"
    "  python -m pyserini_sdr.mine --collection collection --bm25-index collection.bm25 --output groups.jsonl\n"
    "  # the union of two runs, ranks 10 to 100 of each\n"
    "  python -m pyserini_sdr.mine --collection collection --runs bm25.trec dense.trec \\\n"
    "    --first-rank 10 --last-rank 100 --output groups.jsonl.gz",
    """
Negatives are drawn at random from the window of ranks of each source, known positives (pairs and qrels) left out.
Several sources are merged. The same seed gives the same groups, whatever the order of the queries.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.mine")
