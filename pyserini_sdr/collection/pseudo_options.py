"""Declaration of `collection pseudo-queries`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.command import Command
from ..core.errors import UsageError
from ..core.options import at_least, between, option

METHODS = ("title-body", "first-sentence", "inverse-cloze", "key-phrases", "seq2seq")


@dataclass
class PseudoOptions:
    """Options of `collection pseudo-queries`."""

    source: Path = option(
        help="corpus: .jsonl[.gz] file, directory of them, or collection directory",
        positional=True,
        metavar="DIR",
    )
    output: Path = option(help="collection directory to make", metavar="DIR2")
    method: Literal["auto", "title-body", "first-sentence", "inverse-cloze", "key-phrases", "seq2seq"] = option(
        "auto", help="how queries are made (see above)"
    )
    per_document: int = option(1, help="queries per document at most", metavar="N", check=at_least(1))
    max_documents: int | None = option(
        None, help="use only this many documents, drawn at random", metavar="N", check=at_least(1)
    )
    dev: float = option(0.05, help="share of the documents with queries held out for dev", check=between(0, 0.5))
    test: float = option(0.1, help="share of them held out for test", check=between(0, 0.5))
    keep: float | None = option(
        None,
        help="probability that a query stays in its document (default: inverse-cloze 0.1, key-phrases 0.5, else 0)",
        metavar="P",
        check=between(0, 1),
    )
    phrases: int = option(5, help="key-phrases: words or word pairs per query", check=at_least(1))
    min_tokens: int = option(10, help="words that must be left in a document", metavar="N", check=at_least(1))
    min_query_tokens: int = option(3, help="fewest words of a query", metavar="N", check=at_least(1))
    max_query_tokens: int = option(32, help="most words of a query", metavar="N", check=at_least(1))
    seed: int = option(0, help="of all draws", check=at_least(0))
    overwrite: bool = option(False, help="replace DIR2 if it exists")
    generator: str | None = option(
        None,
        help="checkpoint directory or hub model, any AutoModelForSeq2SeqLM",
        metavar="NAME",
        group="seq2seq",
    )
    generator_prefix: str = option("", help="text put before every document", metavar="TEXT", group="seq2seq")
    max_length: int = option(384, help="tokens of a document that are read", check=at_least(8), group="seq2seq")
    top_k: int = option(10, help="words sampled from at each step", metavar="K", check=at_least(1), group="seq2seq")
    batch_tokens: int = option(
        4096, help="padded tokens per batch, times --per-document", metavar="N", check=at_least(1), group="seq2seq"
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group="seq2seq")

    def __post_init__(self) -> None:
        if (self.method == "seq2seq") != (self.generator is not None):
            raise UsageError("--method seq2seq and --generator NAME go together")
        if self.min_query_tokens > self.max_query_tokens:
            raise UsageError(
                f"--min-query-tokens {self.min_query_tokens}: must not be above "
                f"--max-query-tokens {self.max_query_tokens}"
            )
        if self.dev + self.test > 0.9:
            raise UsageError(f"--dev {self.dev} and --test {self.test}: leave too little to train on")
        if self.keep is not None and self.method == "seq2seq":
            raise UsageError("--keep: seq2seq cuts nothing, its queries are not parts of the document")
        if self.per_document > 1 and self.method in ("title-body", "first-sentence"):
            raise UsageError(f"--per-document {self.per_document}: --method {self.method} makes one query per document")


COMMAND = Command(
    "Makes a known-item collection of pseudo-queries from documents alone, to train on and to measure with.",
    PseudoOptions,
    "pyserini_sdr.collection.pseudo:run",
    details="""\
A part of a document becomes the query, what is left is its relevant document. The cut is made in the whole corpus of
DIR2, so that no model can tell relevant documents by it. DIR is not touched.
  title-body      the title; DIR2 holds no titles
  first-sentence  the first sentence
  inverse-cloze   a random sentence, or part of a long one (Lee et al. 2019)
  key-phrases     words and word pairs of highest tf-idf
  seq2seq         a generator's questions (as doc2query's); nothing is cut; resumed after an interruption
  auto            title-body if at least half of the documents have a title of their own, else inverse-cloze

Queries that several documents share are left out. DIR2 is a collection directory like any other (topics.SPLIT.tsv,
qrels.SPLIT.txt, train.pairs.tsv), pseudo.train.groups.jsonl its training queries with the texts of their documents.
Measures on it are of a known-item task: other documents may answer a query as well.""",
    examples="""\
  python -m pyserini_sdr.collection pseudo-queries corpus.jsonl --output pseudo
  python -m pyserini_sdr.collection pseudo-queries collections/mine --method inverse-cloze --per-document 2 \\
    --max-documents 20000 --output pseudo
  python -m pyserini_sdr.collection pseudo-queries corpus.jsonl --method seq2seq --per-document 3 \\
    --generator castorini/doc2query-t5-base-msmarco --output pseudo
  python -m pyserini_sdr.train --collection pseudo --encoder all-MiniLM-L6-v2 --output adapted""",
)
