"""`python -m pyserini_sdr.index build|bm25|merge|append|delete|verify|info|export`."""

from ..core.command import Command, CommandGroup, main
from .options import (
    AppendOptions,
    BM25Options,
    BuildOptions,
    DeleteOptions,
    ExportOptions,
    InfoOptions,
    MergeOptions,
    VerifyOptions,
)
from .types import TYPES

_TYPES = "\n".join(
    f"  {name:<8} {kind.summary}{'' if kind.stock else ' (not for stock Pyserini)'}" for name, kind in TYPES.items()
)

COMMAND = CommandGroup(
    "Make, check and change indexes.",
    {
        "build": Command(
            "Build a FAISS index from vectors.",
            BuildOptions,
            "pyserini_sdr.index.build:build",
            "  python -m pyserini_sdr.index build --input embeddings --output index\n"
            "  python -m pyserini_sdr.index build --input index --output index.hnsw --type hnsw --M 32 --efC 200\n"
            "  python -m pyserini_sdr.index build --input shard-0 shard-1 --output index.ivf --type ivf-pq --pq-m 96\n"
            "  python -m pyserini_sdr.index build --input index --output index.pq --type pq --queries topics.dev.tsv",
            "Types (all by inner product; stock Pyserini reads and searches them unless it says otherwise):\n"
            f"{_TYPES}\n\n"
            "Recall against exact search is measured after building, and kept in the manifest.",
        ),
        "bm25": Command(
            "Build a Lucene index for BM25 (needs Java 21 or newer).",
            BM25Options,
            "pyserini_sdr.index.bm25:build",
            "  python -m pyserini_sdr.index bm25 --input collection/corpus --index collection.bm25",
        ),
        "merge": Command(
            "Put shards of one encoding, or indexes with the same training, together.",
            MergeOptions,
            "pyserini_sdr.index.merge:merge",
            "  python -m pyserini_sdr.index merge --inputs shard-0 shard-1 shard-2 --output index",
            "Shards are put into their order, whatever the order given. Indexes of type ivf, ivf-pq, opq, pq and sq8\n"
            "must have the same training (index build --train-from); graphs cannot be merged.",
        ),
        "append": Command(
            "Add documents to an index.",
            AppendOptions,
            "pyserini_sdr.index.change:append",
            "  python -m pyserini_sdr.index append --index index --input new-embeddings",
        ),
        "delete": Command(
            "Take documents out of an index (not of type hnsw).",
            DeleteOptions,
            "pyserini_sdr.index.change:delete",
            "  python -m pyserini_sdr.index delete --index index --ids withdrawn.txt\n"
            "  python -m pyserini_sdr.index delete --index index --ids doc17 doc23",
        ),
        "verify": Command(
            "Check an index: files, counts, duplicate ids, norms, NaN; with --corpus, ids and vectors against it.",
            VerifyOptions,
            "pyserini_sdr.index.verify:verify",
            "  python -m pyserini_sdr.index verify --index index\n"
            "  python -m pyserini_sdr.index verify --index index --corpus collection/corpus --sample 100",
        ),
        "info": Command(
            "Tell what an index is, what made it, and whether it is finished.",
            InfoOptions,
            "pyserini_sdr.index.info:info",
            "  python -m pyserini_sdr.index info --index index\n"
            "  python -m pyserini_sdr.index info --index index --json",
        ),
        "export": Command(
            "Write the vectors for Anserini's Lucene indexers (vectors of length 1 only).",
            ExportOptions,
            "pyserini_sdr.index.export:export",
            "  python -m pyserini_sdr.index export --index index --to lucene --output vectors\n"
            "  bash run_scripts/lucene_dense.sh index topics.test.tsv   # the whole way, compared with FAISS",
        ),
    },
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.index")
