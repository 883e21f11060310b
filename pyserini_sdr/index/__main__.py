"""`python -m pyserini_sdr.index build|bm25|verify`."""

from ..core.command import Command, CommandGroup, main
from .options import BM25Options, BuildOptions, VerifyOptions

COMMAND = CommandGroup(
    "Make and check indexes.",
    {
        "build": Command(
            "Build a FAISS index from vectors.",
            BuildOptions,
            "pyserini_sdr.index.build:build",
            "  python -m pyserini_sdr.index build --input embeddings --output index",
            "--input is a directory with embeddings.jsonl (ours or stock's) or with a flat index.",
        ),
        "bm25": Command(
            "Build a Lucene index for BM25 (needs Java 21 or newer).",
            BM25Options,
            "pyserini_sdr.index.bm25:build",
            "  python -m pyserini_sdr.index bm25 --input collection/corpus --index collection.bm25",
        ),
        "verify": Command(
            "Check an index: files, counts, duplicate ids, norms, NaN; with --corpus, ids and vectors against it.",
            VerifyOptions,
            "pyserini_sdr.index.verify:verify",
            "  python -m pyserini_sdr.index verify --index index\n"
            "  python -m pyserini_sdr.index verify --index index --corpus collection/corpus --sample 100",
        ),
    },
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.index")
