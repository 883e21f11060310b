"""`python -m pyserini_sdr.search dense|bm25|hybrid|rerank|tune`."""

from ..core.command import Command, CommandGroup, main
from .options import BM25Options, DenseOptions, HybridOptions, RerankOptions
from .tune_options import TuneOptions

COMMAND = CommandGroup(
    "Search topics and write a run.",
    {
        "dense": Command(
            "Search a FAISS index with the encoder that made it.",
            DenseOptions,
            "pyserini_sdr.search.commands:dense",
            "  python -m pyserini_sdr.search dense --index index --topics topics.test.tsv --output dense.trec\n"
            "  python -m pyserini_sdr.search dense --index index --encoder checkpoint --topics topics.jsonl \\\n"
            "    --output dense.trec.gz --hits 100 --remove-query\n"
            "  python -m pyserini_sdr.search dense --index shard0 shard1 --topics topics.test.tsv \\\n"
            "    --output dense.trec --prf-depth 5 --prf-method rocchio\n"
            "  python -m pyserini_sdr.search dense --index dpr --topics dpr-nq-test --output dpr.trec \\\n"
            "    --encoder facebook/dpr-question_encoder-multiset-base --encoder-class dpr",
        ),
        "bm25": Command(
            "Search a Lucene index with BM25 (needs Java 21 or newer).",
            BM25Options,
            "pyserini_sdr.search.commands:bm25",
            "  python -m pyserini_sdr.search bm25 --index collection.bm25 --topics topics.test.tsv --output bm25.trec\n"
            "  python -m pyserini_sdr.search bm25 --index msmarco.bm25 --topics dl19-passage \\\n"
            "    --output bm25.dl19.trec --k1 0.82 --b 0.68",
        ),
        "hybrid": Command(
            "Search both and fuse the lists (to fuse finished runs: python -m pyserini_sdr.run fuse).",
            HybridOptions,
            "pyserini_sdr.search.commands:hybrid",
            "  python -m pyserini_sdr.search hybrid --index index --bm25-index collection.bm25 \\\n"
            "    --topics topics.test.tsv --output hybrid.trec\n"
            "  python -m pyserini_sdr.search hybrid --index index --bm25-index collection.bm25 \\\n"
            "    --topics topics.test.tsv --output hybrid.trec --rule stock-hybrid --alpha 0.1\n"
            "  python -m pyserini_sdr.search hybrid --index index --bm25-index collection.bm25 \\\n"
            "    --topics topics.test.tsv --output hybrid.trec --tuned tuned.json",
        ),
        "rerank": Command(
            "Score the best documents of a run with a cross-encoder, or with a bi-encoder without an index.",
            RerankOptions,
            "pyserini_sdr.search.commands:rerank",
            "  python -m pyserini_sdr.search rerank --run bm25.trec --cross-encoder teacher \\\n"
            "    --topics topics.test.tsv --collection collection --output reranked.trec\n"
            "  python -m pyserini_sdr.search rerank --run bm25.trec --encoder all-MiniLM-L6-v2 \\\n"
            "    --hits 50 --keep-rest --topics dl19-passage --corpus msmarco/corpus --output reranked.trec",
        ),
        "tune": Command(
            "Find the weights of a fusion on dev topics.",
            TuneOptions,
            "pyserini_sdr.search.tune:tune",
            "  python -m pyserini_sdr.search tune --runs dense.dev.trec bm25.dev.trec --qrels qrels.dev.txt \\\n"
            "    --output tuned.json\n"
            "  python -m pyserini_sdr.search tune --runs dense.dev.trec bm25.dev.trec --collection collection \\\n"
            "    --normalization min-max z-score --grid 0:1:0.02 --metric RR@10 --output tuned.json\n"
            "  python -m pyserini_sdr.search tune --runs a.dev.trec b.dev.trec c.dev.trec --qrels qrels.dev.txt \\\n"
            "    --rule linear --output tuned.json\n"
            "  python -m pyserini_sdr.run fuse --runs dense.test.trec bm25.test.trec --tuned tuned.json \\\n"
            "    --output fused.test.trec",
            "Scores every setting of the grid on the runs of dev topics and keeps the best. Of equally good ones that\n"
            "nearest to the rule's default is taken: equal weights, α = 0.5, k = 60, stock-hybrid's α = 0.1. Writes\n"
            "the whole curve with 95 % bootstrap intervals, and prints the commands that use it.",
        ),
    },
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.search")
