"""The flags of `search`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..anserini.encoder_classes import problem_with
from ..core.errors import UsageError
from ..core.options import at_least, between, option
from ..data.part_ids import DELIMITER
from ..trec.fusion_options import FusionOptions

_FEEDBACK, _PASSAGES = "pseudo-relevance feedback", "documents from passages"
Rule = Literal["stock-hybrid", "rrf", "interpolation", "linear", "combsum", "combmnz", "average"]


@dataclass(kw_only=True)
class RunOptions:
    """What every search writes."""

    topics: str = option(help="topics file (.tsv, .jsonl, .json, .trec, .gz) or a stock name such as dl19-passage")
    output: Path = option(help="run file to write; .gz is compressed", metavar="FILE")
    hits: int = option(1000, help="documents per topic", check=at_least(1))
    output_format: Literal["trec", "msmarco"] = option("trec", help="format of the run")
    tag: str | None = option(None, help="last column of a TREC run (default: by kind of search)")
    remove_query: bool = option(
        False, help="drop the document whose id is the topic's (queries that are in the corpus)"
    )
    threads: int = option(0, help="threads; 0 is one per core", check=at_least(0))


@dataclass(kw_only=True)
class MaxPassageOptions:
    """Documents from passages, as stock Pyserini has it."""

    max_passage: bool = option(
        False, help="rank documents by their best passage (or view), DOCID#0, DOCID#1, …", group=_PASSAGES
    )
    max_passage_hits: int | None = option(
        None, help="documents per topic, from --hits passages (default: 100)", check=at_least(1), group=_PASSAGES
    )
    max_passage_delimiter: str | None = option(
        None, help="a document's id is what stands before it (default: #)", metavar="TEXT", group=_PASSAGES
    )

    @property
    def documents(self) -> int:
        """Documents per topic."""
        return self.max_passage_hits or 100

    @property
    def delimiter(self) -> str:
        """What ids are cut at."""
        return DELIMITER if self.max_passage_delimiter is None else self.max_passage_delimiter

    def check_max_passage(self) -> None:
        """Refuses an empty delimiter, and what has no meaning without `--max-passage`."""
        if self.max_passage_delimiter == "":
            raise UsageError("--max-passage-delimiter '': must not be empty")
        for flag in ("max_passage_hits", "max_passage_delimiter"):
            value = getattr(self, flag)
            if value is not None and not self.max_passage:
                raise UsageError(f"--{flag.replace('_', '-')} {value}: needs --max-passage")

    def stock_max_passage(self) -> list[str]:
        """The flags of stock Pyserini for it."""
        if not self.max_passage:
            return []
        return ["--max-passage", f"--max-passage-hits={self.documents}", f"--max-passage-delimiter={self.delimiter}"]


@dataclass(kw_only=True)
class QueryEncoderOptions:
    """With what queries are encoded."""

    encoder: str | None = option(
        None, help="checkpoint or model (default: the one that made the index)", group="query encoder"
    )
    encoder_class: str | None = option(
        None,
        help="auto, tct_colbert, ance, dpr, contriever or sentence (default: the one that made the index)",
        check=problem_with,
        group="query encoder",
    )
    backend: Literal["torch", "onnx"] = option(
        "torch", help="onnx loads neither torch's model nor transformers: a quicker start", group="query encoder"
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group="query encoder")
    query_prefix: str | None = option(None, help="default: the encoder's", group="query encoder")
    max_length: int | None = option(
        None, help="tokens kept of a query (default: the encoder's)", check=at_least(2), group="query encoder"
    )
    pooling: Literal["cls", "mean"] | None = option(None, help="default: the encoder's", group="query encoder")
    l2_norm: bool | None = option(None, help="default: the encoder's", group="query encoder")
    batch_size: int | None = option(
        None,
        help="queries encoded and searched at a time (default: what suits index and memory)",
        check=at_least(1),
        group="query encoder",
    )

    def spec_overrides(self) -> dict[str, Any]:
        """The `EncoderSpec` fields that flags override."""
        return {
            "pooling": self.pooling,
            "similarity": None if self.l2_norm is None else ("cosine" if self.l2_norm else "dot"),
            "query_prefix": self.query_prefix,
            "query_max_length": self.max_length,
        }


@dataclass(kw_only=True)
class DenseIndexOptions:
    """What is searched with vectors, and how."""

    index: list[Path] = option(
        help="index directory (index and docid), directory of shards, or several of them", metavar="DIR"
    )
    faiss_device: str = option("cpu", help="where flat indexes are searched: cpu, cuda or cuda:N", group="index")
    memory: int | None = option(
        None,
        help="MB for what is found in flat indexes (default: an eighth of what is free, 2048 at most)",
        check=at_least(1),
        group="index",
    )
    ef_search: int | None = option(
        None, help="HNSW: candidates kept while walking the graph", check=at_least(1), group="index"
    )
    nprobe: int | None = option(None, help="IVF: lists searched", check=at_least(1), group="index")


@dataclass(kw_only=True)
class DenseOptions(MaxPassageOptions, RunOptions, QueryEncoderOptions, DenseIndexOptions):
    """`search dense`."""

    prf_depth: int | None = option(
        None, help="best documents that the query is moved towards; 0 is none", check=at_least(0), group=_FEEDBACK
    )
    prf_method: Literal["avg", "rocchio"] | None = option(
        None, help="mean of query and documents, or Rocchio (default: avg)", group=_FEEDBACK
    )
    rocchio_alpha: float | None = option(None, help="weight of the query (default: 0.9)", group=_FEEDBACK)
    rocchio_beta: float | None = option(None, help="weight of the relevant ones (default: 0.1)", group=_FEEDBACK)
    rocchio_gamma: float | None = option(None, help="weight of the others (default: 0.1)", group=_FEEDBACK)
    rocchio_topk: int | None = option(
        None, help="best documents, taken for relevant (default: 3)", check=at_least(1), group=_FEEDBACK
    )
    rocchio_bottomk: int | None = option(
        None, help="last of the --prf-depth, taken for not relevant (default: 0)", check=at_least(0), group=_FEEDBACK
    )

    def feedback(self) -> dict[str, Any] | None:
        """The arguments of `search.feedback.Feedback`, None for a search without."""
        rocchio = {name: getattr(self, f"rocchio_{name}") for name in ("alpha", "beta", "gamma", "topk", "bottomk")}
        given = {name: value for name, value in rocchio.items() if value is not None}
        return {"depth": self.prf_depth, "method": self.prf_method or "avg", **given} if self.prf_depth else None

    def __post_init__(self) -> None:
        self.check_max_passage()
        rocchio = [name for name in vars(self) if name.startswith("rocchio_") and getattr(self, name) is not None]
        if rocchio and self.prf_method != "rocchio":
            raise UsageError(f"--{rocchio[0].replace('_', '-')}: needs --prf-method rocchio")
        if self.prf_method is not None and self.prf_depth is None:
            raise UsageError(f"--prf-method {self.prf_method}: needs --prf-depth, the number of documents looked at")


@dataclass(kw_only=True)
class BM25Options(MaxPassageOptions, RunOptions):
    """`search bm25`."""

    index: Path = option(help="Lucene index directory")
    k1: float = option(0.9, help="BM25 k1 (0.82 for MS MARCO passages)", check=at_least(0))
    b: float = option(0.4, help="BM25 b (0.68 for MS MARCO passages)", check=between(0, 1))

    def __post_init__(self) -> None:
        self.check_max_passage()


@dataclass(kw_only=True)
class HybridOptions(FusionOptions, MaxPassageOptions, RunOptions, QueryEncoderOptions, DenseIndexOptions):
    """`search hybrid`."""

    bm25_index: Path = option(help="Lucene index directory for the sparse side")
    k1: float = option(0.9, help="BM25 k1", check=at_least(0))
    b: float = option(0.4, help="BM25 b", check=between(0, 1))
    rule: Rule | None = option(None, help="how the two are fused, dense first (default: rrf)", group="fusion")

    def __post_init__(self) -> None:
        self.check_max_passage()


@dataclass(kw_only=True)
class RerankOptions(RunOptions):
    """`search rerank`."""

    run: Path = option(help="run whose best documents are reranked", metavar="FILE")
    cross_encoder: str | None = option(None, help="checkpoint or model that scores pairs", group="model (one of them)")
    encoder: str | None = option(None, help="bi-encoder whose similarity is the score", group="model (one of them)")
    corpus: Path | None = option(None, help="corpus that was searched", group="texts (one of them)")
    collection: Path | None = option(
        None, help="collection directory, for its corpus", metavar="DIR", group="texts (one of them)"
    )
    hits: int = option(100, help="best documents of each topic that are reranked", check=at_least(1))
    keep_rest: bool = option(
        False, help="let the documents below them follow in their order, each one score point below the last"
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option("auto", help="auto is bf16 where the hardware has it")
    max_length: int | None = option(
        None, help="tokens of a pair, or of a document for a bi-encoder (default: the model's)", check=at_least(16)
    )

    def __post_init__(self) -> None:
        if (self.cross_encoder is None) == (self.encoder is None):
            raise UsageError("give one of --cross-encoder and --encoder")
        if (self.corpus is None) == (self.collection is None):
            raise UsageError("give one of --corpus and --collection")
