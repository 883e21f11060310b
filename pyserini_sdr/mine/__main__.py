"""`python -m pyserini_sdr.mine`."""

from ..core.command import Command, main
from .options import MineOptions

COMMAND = Command(
    "Mine hard negatives for training from runs, BM25 or an encoder, or filter those of given groups.",
    MineOptions,
    "pyserini_sdr.mine.engine:mine",
    "  # with the encoder itself: encodes the corpus into --index first, if it is not there\n"
    "  python -m pyserini_sdr.mine --collection collection --encoder all-MiniLM-L6-v2 --index index \\\n"
    "    --output groups.jsonl\n"
    "  python -m pyserini_sdr.mine --collection collection --bm25-index collection.bm25 --output groups.jsonl\n"
    "  # the union of two runs, ranks 10 to 100 of each\n"
    "  python -m pyserini_sdr.mine --collection collection --runs bm25.trec dense.trec \\\n"
    "    --first-rank 10 --last-rank 100 --output groups.jsonl.gz\n"
    "  # nothing that the encoder likes more than 95 % of the positive; ambiguous ones among the rest\n"
    "  python -m pyserini_sdr.mine --collection collection --index index --relative-margin 0.05 \\\n"
    "    --sampling simans --simans-a 200 --output groups.jsonl\n"
    "  # 50 candidates, scored by a cross-encoder, then 8 that it does not take for relevant\n"
    "  python -m pyserini_sdr.mine --collection collection --index index --negatives 50 --output many.jsonl\n"
    "  python -m pyserini_sdr.teach --collection collection --groups many.jsonl --teacher CROSS-ENCODER \\\n"
    "    --name ce --output scored.jsonl\n"
    "  python -m pyserini_sdr.mine --collection collection --groups scored.jsonl --teacher-scores ce \\\n"
    "    --teacher-margin 1 --output groups.jsonl\n"
    "  # what the teacher solves and the student does not (PROD), with the teacher's best negatives\n"
    "  python -m pyserini_sdr.mine --collection collection --groups scored.jsonl --teacher-rank ce=1 student=2-15 \\\n"
    "    --group-scores ce --sampling top --negatives 15 --output unsolved.jsonl\n"
    "  # with texts of moderate relevance for a teacher to score (ADAM)\n"
    "  python -m pyserini_sdr.mine --collection collection --groups groups.jsonl --dark-negatives 4 \\\n"
    "    --dark-positives 2 --output dark.jsonl",
    """
Negatives are drawn from the window of ranks of each source; several sources are merged, best ranks first. Left out
are known positives (pairs and qrels), what the filters drop, and copies of a text. A document is dropped if any of
the sources that found it scores it above the limit. The same seed gives the same groups, whatever the other queries.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.mine")
