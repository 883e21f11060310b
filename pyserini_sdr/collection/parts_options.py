"""Declaration of `collection passages` and `collection views`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.command import Command
from ..core.errors import UsageError
from ..core.options import at_least, option

_QUERIES, _VIEWS, _GENERATOR = "queries of documents", "collection of views", "seq2seq"


def _delimiter(value: Any) -> str | None:
    if not value or value != "".join(value.split()):
        return "must not be empty or hold white space"
    return "must not be made of digits" if value.isdigit() else None


@dataclass
class PassagesOptions:
    """Options of `collection passages`."""

    source: Path = option(help="collection directory", positional=True, metavar="DIR")
    output: Path = option(help="collection directory of passages to make", metavar="DIR2")
    words: int = option(120, help="words of a passage, without the title", metavar="N", check=at_least(1))
    stride: int | None = option(
        None, help="words from one passage to the next (default: half of --words)", metavar="N", check=at_least(1)
    )
    delimiter: str = option("#", help="between a document's id and the passage's number", check=_delimiter)
    groups: Path | None = option(None, help="groups of documents to rewrite as groups of passages", metavar="FILE")
    groups_output: Path | None = option(None, help="groups of passages to write", metavar="FILE")
    max_passages: int | None = option(
        None, help="first passages of a document taken into --groups-output (default: all)", check=at_least(1)
    )
    overwrite: bool = option(False, help="replace DIR2, and --groups-output, if they exist")

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.words:
            raise UsageError(f"--stride {self.stride}: would skip words, it must not be above --words {self.words}")
        if (self.groups is None) != (self.groups_output is None):
            raise UsageError("--groups and --groups-output go together")
        if self.max_passages is not None and self.groups is None:
            raise UsageError(f"--max-passages {self.max_passages}: needs --groups")

    @property
    def step(self) -> int:
        """Words from one passage to the next."""
        return self.stride or max(1, self.words // 2)


@dataclass
class ViewsOptions:
    """Options of `collection views`."""

    source: Path = option(
        help="collection directory (of --output: any corpus)",
        positional=True,
        metavar="DIR",
    )
    output: Path | None = option(None, help="queries to write (.jsonl or .jsonl.gz)", metavar="FILE", group=_QUERIES)
    queries: int | None = option(
        None, help="queries per document at most (default: 10)", metavar="N", check=at_least(1), group=_QUERIES
    )
    method: Literal["key-phrases", "sentences", "seq2seq"] = option(
        "key-phrases", help="words and word pairs of highest tf-idf, sentences, or a generator", group=_QUERIES
    )
    phrases: int = option(5, help="key-phrases: words or word pairs per query", check=at_least(1), group=_QUERIES)
    min_query_tokens: int = option(2, help="fewest words of a query", metavar="N", check=at_least(1), group=_QUERIES)
    max_query_tokens: int = option(32, help="most words of a query", metavar="N", check=at_least(1), group=_QUERIES)
    seed: int = option(0, help="of the draws", check=at_least(0), group=_QUERIES)
    generator: str | None = option(
        None, help="checkpoint directory or hub model, any AutoModelForSeq2SeqLM", metavar="NAME", group=_GENERATOR
    )
    generator_prefix: str = option("", help="text put before every document", metavar="TEXT", group=_GENERATOR)
    max_length: int = option(384, help="tokens of a document that are read", check=at_least(8), group=_GENERATOR)
    top_k: int = option(10, help="words sampled from at each step", metavar="K", check=at_least(1), group=_GENERATOR)
    batch_tokens: int = option(
        4096, help="padded tokens per batch, times --queries", metavar="N", check=at_least(1), group=_GENERATOR
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group=_GENERATOR)
    queries_file: Path | None = option(None, help="queries that --output has written", metavar="FILE", group=_VIEWS)
    output_collection: Path | None = option(
        None, help="collection directory of views to make", metavar="DIR2", group=_VIEWS
    )
    views: int | None = option(
        None, help="views per document at most, its first queries (default: 10)", metavar="K", check=at_least(1),
        group=_VIEWS,
    )  # fmt: skip
    delimiter: str = option("#", help="between a document's id and the view's number", check=_delimiter, group=_VIEWS)
    overwrite: bool = option(False, help="replace the output if it exists")

    def __post_init__(self) -> None:
        if (self.output is None) == (self.output_collection is None):
            raise UsageError("give one of --output (queries) and --output-collection (views)")
        if (self.queries_file is None) != (self.output_collection is None):
            raise UsageError("--queries-file and --output-collection go together")
        if self.output is None:
            for flag, value in (("--queries", self.queries), ("--generator", self.generator)):
                if value is not None:
                    raise UsageError(f"{flag} {value}: is for making queries, with --output")
        else:
            if self.views is not None:
                raise UsageError(f"--views {self.views}: is for making views, with --output-collection")
            if (self.method == "seq2seq") != (self.generator is not None):
                raise UsageError("--method seq2seq and --generator NAME go together")
            if self.min_query_tokens > self.max_query_tokens:
                raise UsageError(
                    f"--min-query-tokens {self.min_query_tokens}: must not be above "
                    f"--max-query-tokens {self.max_query_tokens}"
                )


PASSAGES = Command(
    "Cuts the documents of a collection into passages: a collection directory like any other.",
    PassagesOptions,
    "pyserini_sdr.collection.passages:run",
    details="""\
Passages overlap by words and are called DOCID#0, DOCID#1, …; the title stands before each, where the document's text
begins with it. Topics are copied; in qrels and training pairs a document is replaced by all of its passages. A run over
DIR2 by `search … --max-passage` ranks documents, and is evaluated with the qrels of DIR.

--groups are rewritten without their scores, for `teach` to score the passages. From the scored groups
`mine --documents-of '#'` makes groups of documents again, with the best passage's score, and `mine --best-passage NAME`
groups of passages whose positives are the best passages of the relevant documents.""",
    examples="""\
  python -m pyserini_sdr.collection passages collections/mine --output collections/mine-passages
  python -m pyserini_sdr.collection passages DIR --words 80 --stride 80 --output DIR2 \\
    --groups groups.jsonl --groups-output passages.jsonl --max-passages 8
  python -m pyserini_sdr.search dense --index DIR2-index --topics DIR/topics.test.tsv --max-passage \\
    --output run.trec""",
)

VIEWS = Command(
    "Makes queries for every document, and a collection that holds each document once with each of them.",
    ViewsOptions,
    "pyserini_sdr.collection.views:run",
    details="""\
In two steps. --output FILE gets a line {"id": DOCID, "queries": [...]} for every document, which
`train --document-queries` takes too; nothing is cut out of the documents.
  key-phrases   the words and word pairs of highest tf-idf, dealt out to the queries
  sentences     sentences at random
  seq2seq       a generator's questions (as doc2query's); resumed after an interruption
--output-collection DIR2 then holds the views DOCID#0, DOCID#1, …, text and one query each, to be encoded and searched
with --max-passage; a document without a query has one view, its text. Topics are copied; in qrels and training pairs a
document is replaced by all of its views.""",
    examples="""\
  python -m pyserini_sdr.collection views DIR --method key-phrases --queries 10 --output queries.jsonl
  python -m pyserini_sdr.collection views DIR --method seq2seq --generator castorini/doc2query-t5-base-msmarco \\
    --queries 10 --output queries.jsonl
  python -m pyserini_sdr.collection views DIR --queries-file queries.jsonl --views 4 --output-collection DIR2""",
)
