"""`python -m pyserini_sdr`: lists the commands."""

from __future__ import annotations

import sys

from . import __version__

COMMANDS = {
    "doctor": "what works on this machine, and what to do about what does not",
    "collection": "build a collection (pydocs, ir_datasets, BEIR, MS MARCO) or check one",
    "mine": "hard negatives from runs, BM25 or an encoder, as training groups",
    "teach": "score training groups with a cross-encoder, a bi-encoder or a run; fine-tune a cross-encoder",
    "train": "train a bi-encoder, by default without a teacher",
    "pretrain": "pre-train an encoder on a corpus, from a checkpoint or from scratch",
    "recipe": "multi-stage systems of the field, from one command each",
    "reproduce": "matrices of runs with their expected scores: run them, and compare",
    "encode": "encode a corpus; drop-in for pyserini.encode",
    "index": "build, check FAISS indexes; build BM25 indexes",
    "search": "dense, BM25 and hybrid search, reranking: topics to a TREC run; tune fusion on dev",
    "run": "check, mend, fuse, pool and compare TREC runs",
    "evaluate": "trec_eval's measures with confidence intervals and significance",
    "anserini": "run a stock Pyserini module under the Java that was found",
}


def text() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            f"pyserini_sdr {__version__}: teacher-free training of dense retrievers for Pyserini",
            "",
            "usage: python -m pyserini_sdr.COMMAND ...",
            "",
            *lines,
            "",
            "python -m pyserini_sdr.COMMAND --help tells the flags, with examples.",
        ]
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        print(f"error: commands are modules: python -m pyserini_sdr.{' '.join(arguments)}", file=sys.stderr)
        sys.exit(2)
    if arguments and arguments not in (["-h"], ["--help"], ["--version"]):
        print(f"error: unknown argument {arguments[0]!r}; python -m pyserini_sdr lists the commands", file=sys.stderr)
        sys.exit(2)
    print(f"pyserini_sdr {__version__}" if arguments == ["--version"] else text())
