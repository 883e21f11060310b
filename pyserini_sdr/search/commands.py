"""What `search dense`, `bm25`, `hybrid` and `rerank` do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..anserini.bm25 import BM25Searcher
from ..anserini.stock import StockCommand, faiss_search_command, lucene_search_command, path_warnings
from ..anserini.topics import load_topics
from ..core.errors import UsageError
from ..core.files import require_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note, warn
from ..data.collection import Collection
from ..data.store import DocumentStore
from ..encode.loading import stock_search_flags
from ..index.types import TYPES
from ..model.cross_encoder import CrossEncoder
from ..model.encoder import BiEncoder
from ..model.names import resolve_encoder
from ..model.spec import is_raw_backbone
from ..trec.fuse import fuse
from ..trec.fusion_options import DEFAULTS, Fusion
from ..trec.run import Ranking, RunWriter, rank
from .background import in_background
from .feedback import Feedback
from .max_passage import best_passages
from .options import BM25Options, DenseOptions, HybridOptions, MaxPassageOptions, RerankOptions, RunOptions
from .rerank import PairScorer, rerank_run
from .searcher import Searcher

Results = Iterator[tuple[str, Ranking]]


def dense(options: DenseOptions) -> None:
    """Writes a dense run and prints the stock command that gives the same."""
    topics = load_topics(options.topics)
    settings = options.feedback()
    feedback = None if settings is None else Feedback(**settings)
    searcher = _open(options)
    _write(
        options,
        "sdr-dense" if feedback is None else f"sdr-dense-{feedback.method}-{feedback.depth}",
        bar(_dense_results(searcher, topics, options, feedback), total=len(topics), unit="topic", desc="dense"),
        len(topics),
        stock=_stock_dense(options, searcher),
        **searcher.encoder.identity(),
    )


def bm25(options: BM25Options) -> None:
    """Writes a BM25 run and prints the stock command that gives the same."""
    topics = load_topics(options.topics)
    stock = None
    if not options.remove_query and options.output_format == "trec":
        stock = lucene_search_command(
            index=options.index,
            topics=options.topics,
            output=f"{options.output}.stock",
            hits=options.hits,
            k1=options.k1,
            b=options.b,
        )
        stock = StockCommand(stock.module, (*stock.args, *options.stock_max_passage()))
    with BM25Searcher(options.index, options.k1, options.b) as searcher:
        results = _bm25_results(searcher, topics, options)
        _write(options, f"sdr-bm25-k1={options.k1:g}-b={options.b:g}", results, len(topics), stock=stock)


def hybrid(options: HybridOptions) -> None:
    """Searches both sides at once and writes the run of both, fused topic by topic."""
    topics = load_topics(options.topics)
    fusion = options.fusion(options.rule, "--rule", 2)
    settings = {**DEFAULTS.get(fusion.rule, {}), **fusion.options}
    tag = "-".join(["sdr", fusion.rule, *(f"{key}={_short(value)}" for key, value in settings.items())])
    searcher = _open(options)
    with (
        BM25Searcher(options.bm25_index, options.k1, options.b) as sparse,
        in_background(_dense_results(searcher, topics, options)) as dense_results,
    ):  # BM25 stays in this thread, in which the JVM was started
        both = zip(dense_results, _bm25_results(sparse, topics, options), strict=True)
        fused = ((qid, _fuse(first, second, fusion, options.hits)) for (qid, first), (_, second) in both)
        fused = bar(fused, total=len(topics), unit="topic", desc="hybrid")
        stated = {"rule": fusion.rule, **settings, "depth": fusion.depth}
        inputs = [options.tuned] if options.tuned else []
        _write(options, tag, fused, len(topics), fusion=stated, inputs=inputs, **searcher.encoder.identity())


def rerank(options: RerankOptions) -> None:
    """Scores the best documents of a run with a model of pairs, and writes them in that order."""
    topics = load_topics(options.topics)
    require_file(options.run, "run file")
    corpus = options.corpus or Collection.open(options.collection).corpus
    settings = {"device": options.device, "precision": options.precision}
    if options.cross_encoder is not None:
        scorer: PairScorer = CrossEncoder.load(options.cross_encoder, max_length=options.max_length, **settings)
    else:
        _refuse_raw(options.encoder)
        scorer = BiEncoder.load(options.encoder, document_max_length=options.max_length, **settings)
    note(f"{'cross-encoder' if options.cross_encoder else 'encoder'}: {scorer.resolved}")
    if options.threads:
        torch.set_num_threads(options.threads)
    results = rerank_run(
        scorer,
        options.run,
        topics,
        DocumentStore(corpus),
        options.hits,
        keep_rest=options.keep_rest,
        remove_query=options.remove_query,
    )
    results = bar(results, total=len(topics), unit="topic", desc="rerank")
    _write(options, f"sdr-rerank-{options.hits}", results, len(topics), inputs=[options.run], **scorer.identity())


def _refuse_raw(name: str) -> None:
    """Raises a `UsageError` if an encoder does not tell how it pools: `search rerank` has no flag for that."""
    directory = resolve_encoder(name).directory
    if is_raw_backbone(directory):
        raise UsageError(
            f"--encoder {name}: {directory} tells no pooling and similarity; make a bi-encoder of it with "
            "python -m pyserini_sdr.train, or a --cross-encoder with python -m pyserini_sdr.teach --train"
        )


def _stock_dense(options: DenseOptions, searcher: Searcher) -> StockCommand | None:
    """The stock command that gives the same run, None where stock has no such thing."""
    encoder = searcher.encoder
    if encoder.resolved is None or options.remove_query or options.output_format != "trec":
        return None
    if len(searcher.indexes) > 1 or options.nprobe is not None:
        return None
    (index,) = searcher.indexes
    if index.type in TYPES and not TYPES[index.type].stock:
        return None
    flags = stock_search_flags(encoder)
    if flags is None:
        return None
    for path, role in ((encoder.resolved.directory, "encoder"), (index.directory, "index"), (options.topics, "topics")):
        for warning in path_warnings(path, role):
            warn(warning)
    command = faiss_search_command(
        index=index.directory,
        topics=options.topics,
        output=f"{options.output}.stock",
        hits=options.hits,
        **flags,
    )
    more = {"ef_search": options.ef_search}
    if options.prf_depth:
        more |= {name: value for name, value in vars(options).items() if name.startswith(("prf_", "rocchio_"))}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in more.items() if value is not None]
    return StockCommand(command.module, (*command.args, *words, *options.stock_max_passage()))


def _open(options: DenseOptions | HybridOptions) -> Searcher:
    overrides = {key: value for key, value in options.spec_overrides().items() if value is not None}
    searcher = Searcher(
        options.index,
        options.encoder,
        threads=options.threads,
        encoder_class=options.encoder_class,
        backend=options.backend,
        device=options.device,
        faiss_device=options.faiss_device,
        nprobe=options.nprobe,
        ef_search=options.ef_search,
        memory=None if options.memory is None else options.memory << 20,
        **overrides,
    )
    note(f"encoder: {searcher.encoder.resolved}")
    return searcher


def _dense_results(
    searcher: Searcher,
    topics: Mapping[str, str],
    options: DenseOptions | HybridOptions,
    feedback: Feedback | None = None,
) -> Results:
    remove = options.remove_query and not options.max_passage  # of passages the documents are compared, at the end
    return searcher.search_topics(
        topics, options.hits, batch_size=options.batch_size, remove_query=remove, feedback=feedback
    )


def _bm25_results(searcher: BM25Searcher, topics: Mapping[str, str], options: BM25Options | HybridOptions) -> Results:
    extra = 1 if options.remove_query and not options.max_passage else 0
    for qid, docids, scores in searcher.search_batch(topics, options.hits + extra, options.threads or None):
        hits = [(d, s) for d, s in zip(docids, scores.tolist(), strict=True) if not (extra and d == qid)]
        yield qid, hits[: options.hits]


def _fuse(dense: Ranking, sparse: Ranking, fusion: Fusion, hits: int) -> Ranking:
    fused = fuse([dict(dense[: fusion.depth]), dict(sparse[: fusion.depth])], fusion.rule, **fusion.options)
    return rank(list(fused), list(fused.values()), hits)


def _short(value: Any) -> str:
    return (
        ",".join(f"{item:g}" for item in value)
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _write(
    options: RunOptions, tag: str, results: Results, topics: int, *, stock: StockCommand | None = None, **facts: Any
) -> None:
    start = time.perf_counter()
    if isinstance(options, MaxPassageOptions):
        results = best_passages(results, options, remove_query=options.remove_query)
    with RunWriter(options.output, options.tag or tag, options.output_format) as writer:
        for qid, ranking in results:
            writer.write(qid, [docid for docid, _ in ranking], [score for _, score in ranking])
    seconds = time.perf_counter() - start
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "run",
        config=as_dict(options),
        topics=topics,
        lines=writer.lines,
        search_seconds=round(seconds, 3),
        stock_command=str(stock) if stock else None,
        **facts,
    )
    note(f"{options.output}: {writer.lines:,} lines for {topics:,} topics in {seconds:.1f} s")
    if stock is not None:
        note(f"the same with stock Pyserini:\n  {stock}")
