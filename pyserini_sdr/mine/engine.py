"""The work of `mine`: rankings in, training groups out, streamed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note
from ..data.collection import Collection
from ..data.group import Candidate, Group
from ..data.groups import write_groups
from ..data.sampling import sample_positions
from ..encode.engine import MANIFEST, encode_corpus, load_encoder
from ..encode.options import EncodeOptions, EncoderOptions, InputOptions, OutputOptions
from ..model.encoder import BiEncoder
from ..search.searcher import Searcher
from ..trec.run import iter_run
from .options import MineOptions

Rankings = Iterator[tuple[str, list[str]]]
"""Query id and document ids, best first."""


def mine(options: MineOptions) -> None:
    """Writes training groups and their manifest."""
    if options.output.exists() and not options.overwrite:
        raise DataError(options.output, "already exists", remedy="give another file or --overwrite")
    collection = Collection.open(options.collection)
    positives, topics = training_positives(collection, options.split, options.max_queries, options.seed)
    known = known_positives(collection, options.split, positives)
    with ExitStack() as stack:
        sources = [_ranked(run, topics) for run in options.runs or ()]
        if options.index:
            sources.append(_dense(options, topics))
        if options.bm25_index:
            sources.append(_bm25(options, topics, stack))
        windows = [_window(source, options.first_rank, options.last_rank) for source in sources]
        groups = draw(_merge(windows), topics, positives, known, options)
        count = write_groups(options.output, bar(groups, total=len(topics), unit="query", desc="mine"))
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "groups",
        config=as_dict(options),
        groups=count,
        queries=len(topics),
        without_negatives=len(topics) - count,
    )
    note(f"{options.output}: {count:,} groups of {len(topics):,} queries")


def training_positives(
    collection: Collection, split: str, max_queries: int | None = None, seed: int = 0
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Query id → positives, and query id → text, of a training split (a random part of its queries if wanted)."""
    positives: dict[str, list[str]] = {}
    for qid, docid in collection.pairs(split):
        positives.setdefault(qid, []).append(docid)
    topics = collection.topics(split)
    lacking = next((qid for qid in positives if qid not in topics), None)
    if lacking is not None:
        raise DataError(collection.topics_path(split), f"lacks the query {lacking!r} of a training pair")
    if max_queries is not None and max_queries < len(positives):
        qids = list(positives)
        chosen = sample_positions(len(qids), max_queries, np.random.default_rng(seed))
        positives = {qids[i]: positives[qids[i]] for i in chosen}
    return positives, {qid: topics[qid] for qid in positives}


def known_positives(collection: Collection, split: str, positives: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Query id → every document that pairs or the split's qrels call relevant."""
    known = {qid: set(docids) for qid, docids in positives.items()}
    if (collection.path / f"qrels.{split}.txt").exists():
        for qid, grades in collection.qrels(split).items():
            if qid in known:
                known[qid].update(docid for docid, grade in grades.items() if grade > 0)
    return known


def draw(
    rankings: Rankings,
    topics: Mapping[str, str],
    positives: Mapping[str, Sequence[str]],
    known: Mapping[str, set[str]],
    options: MineOptions,
) -> Iterator[Group]:
    """Yields a group for every query that has a negative among the documents given.

    The draw of a query depends on the seed and its id only.
    """
    for qid, ranking in rankings:
        candidates = [docid for docid in ranking if docid not in known[qid]]
        if not candidates:
            continue
        rng = np.random.default_rng([options.seed, zlib.crc32(qid.encode())])
        chosen = sample_positions(len(candidates), options.negatives, rng)
        yield Group(
            query_id=qid,
            query=topics[qid],
            positives=[Candidate(id=docid) for docid in positives[qid]],
            negatives=[Candidate(id=candidates[i]) for i in chosen],
        )


def ensure_index(corpus: Path, index: Path, encoder: EncoderOptions) -> None:
    """Encodes a corpus into an index directory, unless a finished index is there."""
    if (index / MANIFEST).exists():
        return
    options = EncodeOptions(InputOptions(corpus=corpus), OutputOptions(embeddings=index, to_faiss=True), encoder)
    encode_corpus(load_encoder(options), options)


def _dense(options: MineOptions, topics: Mapping[str, str]) -> Rankings:
    assert options.index is not None
    if options.encoder:
        corpus = Collection.open(options.collection).corpus
        encoder = EncoderOptions(encoder=options.encoder, device=options.device, max_length=options.max_length)
        ensure_index(corpus, options.index, encoder)
    overrides = {
        "query_prefix": options.query_prefix,
        "query_max_length": options.query_max_length,
        "document_max_length": options.max_length,
    }
    searcher = Searcher(
        options.index,
        options.encoder,
        device=options.device,
        **{key: value for key, value in overrides.items() if value is not None},
    )
    if isinstance(searcher.encoder, BiEncoder):
        searcher.encoder.query_dtype = searcher.encoder.document_dtype
    for qid, ranking in searcher.search_topics(topics, options.last_rank):
        yield qid, [docid for docid, _ in ranking]


def _bm25(options: MineOptions, topics: Mapping[str, str], stack: ExitStack) -> Rankings:
    from ..anserini.bm25 import BM25Searcher  # the JVM starts only where it is asked for

    searcher = stack.enter_context(BM25Searcher(options.bm25_index))
    for qid, docids, _ in searcher.search_batch(topics, options.last_rank):
        yield qid, docids


def _ranked(run: Path, topics: Mapping[str, str]) -> Rankings:
    """The rankings of a run file, in the order of `topics`; a query it lacks has an empty one."""
    found = {qid: [docid for docid, _ in ranking] for qid, ranking in iter_run(run) if qid in topics}
    if not found:
        raise DataError(run, "holds none of the training queries", remedy="search the topics of that split for it")
    return ((qid, found.get(qid, [])) for qid in topics)


def _window(source: Rankings, first: int, last: int) -> Rankings:
    return ((qid, ranking[first - 1 : last]) for qid, ranking in source)


def _merge(sources: Sequence[Rankings]) -> Rankings:
    """Merges rankings of the same queries, best ranks first, each document once."""
    for entries in zip(*sources, strict=True):
        ranks = zip_longest(*(ranking for _, ranking in entries))
        yield entries[0][0], list(dict.fromkeys(docid for row in ranks for docid in row if docid is not None))
