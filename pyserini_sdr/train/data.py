"""What a training run learns from: groups from a file, pairs alone, or negatives that the encoder mines itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.job import world
from ..core.progress import note, warn
from ..data.collection import Collection
from ..data.group import Candidate, Group
from ..data.groups import read_groups, read_teacher_tsv
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from ..losses.base import Need
from ..mine.engine import known_positives, training_positives
from ..model.names import resolve_encoder
from ..model.spec import is_raw_backbone
from .batches import Source
from .document_queries import DocumentQueries
from .negatives import mine_negatives, run_over_dev
from .options import TrainOptions

NO_DEV = "none"
"""Name of the dev split that stands for no dev evaluation."""

QUERY_PARTS = 3
"""Default of `--query-parts`: CAPSTONE's in its first stage."""


@dataclass
class TrainingData:
    """What a training run learns from.

    Args:
        sources: one per collection.
        dev_run: run over the dev topics, if the encoder has mined its own negatives.
    """

    sources: list[Source]
    dev_run: Path | None = None

    @property
    def queries(self) -> int:
        """Queries of all sources."""
        return sum(len(source.groups) for source in self.sources)


def parse_collections(given: Iterable[str]) -> list[tuple[Collection, float]]:
    """`["A:2", "B"]` → collections with their weights, 1 where none is given; a path that exists wins."""
    collections = []
    for text in given:
        path, colon, weight = text.rpartition(":")
        share = 1.0
        if colon and path and not Path(text).exists():
            try:
                share = float(weight)
            except ValueError:
                path = text
            if not math.isfinite(share) or share <= 0:
                raise UsageError(f"--collection {text}: the weight must be positive")
        else:
            path = text
        collections.append((Collection.open(path), share))
    return collections


def load_data(
    options: TrainOptions,
    collections: Sequence[tuple[Collection, float]],
    losses: Sequence[tuple[Any, str, float]],
    work: Path,
) -> TrainingData:
    """The data that the options name, checked against what the losses need of it."""
    data = TrainingData([])
    stores: dict[Path, DocumentStore] = {}
    for position, (collection, weight) in enumerate(collections):
        corpus = collection.corpus.resolve()
        texts = stores[corpus] = stores.get(corpus) or DocumentStore(collection.corpus)  # shared: see `Source`
        if options.groups is not None:
            source = _from_file(options, options.groups[position], collection, texts)
        else:
            source = _from_pairs(options, collection, texts, work / "mined" / str(position))
            if options.negatives and position == 0 and options.dev_split != NO_DEV:
                data.dev_run = run_over_dev(options, collection, work / "mined" / "0")
        source.weight = weight
        if options.document_queries is not None:
            source.queries = _queries_of(options, options.document_queries[position], source)
        data.sources.append(source)
    wanting = {name: loss.fewest_negatives for loss, name, _ in losses if Need.NEGATIVES in loss.needs}
    for source in data.sources:
        check_negatives(source, wanting, options.negatives)
    if data.queries < 2:
        raise UsageError(f"--collection {' '.join(options.collection)}: {data.queries} training queries, 2 are needed")
    note(f"training on {' + '.join(f'{len(source.groups):,}' for source in data.sources)} queries")
    for position, source in enumerate(data.sources):
        _check_texts(source, options.groups[position] if options.groups else options.collection[position])
    return data


def check_negatives(source: Source, wanting: Mapping[str, int], negatives: int) -> None:
    """Leaves queries with too few negatives out if a loss needs them; `UsageError` if none has enough.

    Args:
        source: its groups are replaced.
        wanting: names of the losses that need negatives → how many of a query.
        negatives: drawn per query.
    """
    if not wanting:
        return
    name = max(wanting, key=lambda key: wanting[key])
    fewest = wanting[name]
    kept = [group for group in source.groups if len(group.negatives) >= fewest]
    if negatives < fewest or not kept:
        raise UsageError(
            f"--loss {name}: needs negatives; give --groups from `mine`, and --negatives at least {fewest}"
        )
    if dropped := len(source.groups) - len(kept):
        warn(f"{dropped} queries with fewer than {fewest} negatives are left out")
    source.groups = kept


def _from_file(options: TrainOptions, path: Path, collection: Collection, texts: DocumentStore) -> Source:
    """Groups of a file, and what the collection knows to be relevant to their queries; it may know nothing."""
    if path.name.removesuffix(".gz").endswith(".tsv"):
        groups = list(read_teacher_tsv(path, collection.topics(options.train_split)))
    else:
        groups = list(read_groups(path))
    if options.max_queries is not None and options.max_queries < len(groups):
        rng = np.random.default_rng(options.seed)
        groups = [groups[i] for i in sample_positions(len(groups), options.max_queries, rng)]
    known: dict[str, set[str]] = {}
    if collection.has_pairs(options.train_split):
        positives, _ = training_positives(collection, options.train_split)
        known = known_positives(collection, options.train_split, positives)
    removed = 0
    for group in groups:
        relevant = known.setdefault(group.query_id, set())
        kept = [c for c in group.negatives if c.id is None or c.id not in relevant]
        removed += len(group.negatives) - len(kept)
        group.negatives = kept
    if removed:
        warn(f"{path}: {removed} negatives that the collection calls relevant are left out")
    most = max(len(group.negatives) for group in groups)
    if 0 < most < options.negatives:
        warn(f"--negatives {options.negatives}: {path} has {most} per query at most")
    return Source(groups, texts, known)


def _from_pairs(options: TrainOptions, collection: Collection, texts: DocumentStore, work: Path) -> Source:
    """The collection's pairs, with negatives by the encoder that is about to be trained unless none are wanted."""
    positives, topics = training_positives(collection, options.train_split, options.max_queries, options.seed)
    known = known_positives(collection, options.train_split, positives)
    if options.negatives == 0:
        groups = [Group(q, topics[q], [Candidate(id=docid) for docid in docids]) for q, docids in positives.items()]
        return Source(groups, texts, known)
    if world() > 1:
        raise UsageError("--groups: is required with several processes; mine first")
    if is_raw_backbone(resolve_encoder(options.encoder).directory):
        raise UsageError(
            "--groups: is required for a raw backbone, whose own rankings mean nothing; mine with BM25, say"
        )
    note("no --groups: the encoder mines its own negatives")
    return Source(mine_negatives(options, collection, options.encoder, work), texts, known)


def _queries_of(options: TrainOptions, path: Path, source: Source) -> DocumentQueries:
    """The generated queries of the documents of the groups, or, where others may be mined later, of all documents."""
    ids = {c.id for group in source.groups for c in (*group.positives, *group.negatives) if c.id is not None}
    queries = DocumentQueries(path, None if options.refresh_negatives else ids, options.query_parts or QUERY_PARTS)
    lacking = [id for id in ids if id not in queries]
    if len(lacking) == len(ids):
        raise DataError(path, "has no query of any document of the groups", remedy="is it of another collection?")
    if lacking:
        warn(f"{path}: {len(lacking)} of {len(ids)} documents of the groups have no query and are seen as they are")
    return queries


def _check_texts(source: Source, where: Path | str) -> None:
    ids = (c.id for group in source.groups for c in (*group.positives, *group.negatives) if c.text is None)
    missing = source.texts.missing(dict.fromkeys(id for id in ids if id is not None))
    if missing:
        raise DataError(
            where,
            f"{len(missing)} documents are not in the corpus (first: {missing[0]!r})",
            remedy="are these groups of another collection?",
        )
