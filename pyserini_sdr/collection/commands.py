"""Declaration of `collection build` and `check`, and the list of all commands of `collection`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.command import Command, CommandGroup
from ..core.options import at_least, option
from .parts_options import PASSAGES, VIEWS
from .pseudo_options import COMMAND as PSEUDO_QUERIES


@dataclass
class BuildOptions:
    """Options of `collection build`."""

    name: str = option(help="what to build from (see above)", positional=True)
    directory: Path = option(help="collection directory to make", positional=True, metavar="DIR")
    overwrite: bool = option(False, help="replace DIR if it exists")
    max_documents: int | None = option(
        None, help="keep at most this many documents, judged ones first", metavar="N", check=at_least(1)
    )
    drop_invalid: bool = option(
        False, help="leave out bad documents and judgments of absent ones with a warning, instead of refusing them"
    )
    packages: list[str] | None = option(
        None, help="pydocs: distributions to read, 'python' for the standard library (default: those we depend on)"
    )


@dataclass
class CheckOptions:
    """Options of `collection check`."""

    directory: Path = option(help="collection directory", positional=True, metavar="DIR")
    groups: list[Path] | None = option(None, help="training groups to check against the collection", metavar="FILE")
    max_findings: int = option(20, help="findings shown of each kind", metavar="N", check=at_least(1))
    json: bool = option(False, help="print a JSON report")


COMMAND = CommandGroup(
    "Makes and checks collection directories: corpus, topics and qrels by split, training pairs.",
    {
        "build": Command(
            "Makes a collection directory.",
            BuildOptions,
            "pyserini_sdr.collection.build:run",
            details="""\
NAME is one of
  pydocs              documentation of installed Python packages as a known-item task (nothing is downloaded)
  ir_datasets:ID      a data set of ir_datasets, with the train and dev split beside it
  beir:FOLDER         corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv
  msmarco:FOLDER      collection.tsv, queries.X.tsv, qrels.X.tsv, X = train, dev.small (or dev)
  FOLDER              a BEIR folder

DIR then holds corpus/, topics.SPLIT.tsv, qrels.SPLIT.txt, train.pairs.tsv and the manifest collection.json.""",
            examples="""\
  python -m pyserini_sdr.collection build pydocs collections/pydocs
  python -m pyserini_sdr.collection build pydocs collections/small --max-documents 3000
  python -m pyserini_sdr.collection build ir_datasets:beir/scifact/test collections/scifact
  python -m pyserini_sdr.collection build downloads/beir/nfcorpus collections/nfcorpus
  python -m pyserini_sdr.collection build msmarco:downloads/msmarco collections/msmarco""",
        ),
        "check": Command(
            "Looks for faults in a collection directory; exit status 1 if there are errors.",
            CheckOptions,
            "pyserini_sdr.collection.check:run",
            details="""\
Errors: missing, duplicate or malformed ids, empty texts, invalid JSON or UTF-8, ids in pairs, qrels and groups that the
corpus or the topics lack. Warnings: queries of dev or test that are in train too, topics without judgments.""",
            examples="""\
  python -m pyserini_sdr.collection check collections/pydocs
  python -m pyserini_sdr.collection check collections/pydocs --groups mined/groups.jsonl --json""",
        ),
        "pseudo-queries": PSEUDO_QUERIES,
        "passages": PASSAGES,
        "views": VIEWS,
    },
)
