"""`python -m pyserini_sdr.reproduce`."""

from __future__ import annotations

from ..core.command import Command, main
from .options import ReproduceOptions

COMMAND = Command(
    "Reproduce a matrix of conditions and topics, and compare the scores with the expected ones.",
    ReproduceOptions,
    "pyserini_sdr.reproduce.engine:reproduce",
    "  python -m pyserini_sdr.reproduce --list\n"
    "  python -m pyserini_sdr.reproduce --list beir\n"
    "  python -m pyserini_sdr.reproduce pydocs --condition bm25 untrained --output repro\n"
    "  python -m pyserini_sdr.reproduce pydocs --output repro --display --html pydocs.html\n"
    "  python -m pyserini_sdr.reproduce msmarco-v1-passage --condition tas-b --topics dl19 --dry-run\n"
    "  python -m pyserini_sdr.reproduce local --set scifact=collections/scifact --output repro-local\n"
    "  python -m pyserini_sdr.reproduce --file own.yaml --output own",
    """
--list prints the matrices: conditions, topics, downloads, settings.
Each step is a command that can be given by hand (--dry-run prints them all), with its own folder in --output; runs have
manifests. What is done is skipped, and an interrupted reproduction goes on when the same command is given again.
✓: within the tolerance that the matrix states; otherwise the difference from what is expected. Exit status 1 if a
measured score is out of tolerance.
""",
)

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.reproduce")
