"""What a training run learns from: groups from a file, pairs alone, or negatives that the encoder mines itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.progress import note, warn
from ..data.collection import Collection
from ..data.group import Candidate, Group
from ..data.groups import read_groups
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from ..encode.options import EncoderOptions
from ..losses.base import Need
from ..mine.engine import ensure_index, known_positives, mine, training_positives
from ..mine.options import MineOptions
from ..model.names import resolve_encoder
from ..model.spec import is_raw_backbone
from ..search.searcher import Searcher
from ..trec.run import RunWriter
from .options import TrainOptions

NO_DEV = "none"
"""Name of the dev split that stands for no dev evaluation."""


@dataclass
class TrainingData:
    """What a training run learns from.

    Args:
        groups: queries with positives and negatives.
        known: query id → documents known to be relevant.
        texts: document id → text.
        dev_run: run over the dev topics, if the encoder has mined its own negatives.
    """

    groups: list[Group]
    known: Mapping[str, set[str]]
    texts: DocumentStore
    dev_run: Path | None


def load_data(
    options: TrainOptions, collection: Collection, losses: list[tuple[Any, str, float]], work: Path
) -> TrainingData:
    """The data that the options name, checked against what the losses need."""
    dev_run = None
    if options.groups is not None:
        groups, known = _from_file(options, options.groups, collection)
    else:
        positives, topics = training_positives(collection, options.train_split, options.max_queries, options.seed)
        known = known_positives(collection, options.train_split, positives)
        if options.negatives == 0:
            groups = [Group(q, topics[q], [Candidate(id=docid) for docid in docids]) for q, docids in positives.items()]
        else:
            groups, dev_run = _mine_own(options, collection, work)
    have = any(group.negatives for group in groups)
    for loss, name, _ in losses:
        if Need.NEGATIVES in loss.needs and (options.negatives == 0 or not have):
            raise UsageError(f"--loss {name}: needs negatives; give --groups from `mine`, and --negatives at least 1")
    if any(Need.NEGATIVES in loss.needs for loss, _, _ in losses):
        dropped = sum(not group.negatives for group in groups)
        groups = [group for group in groups if group.negatives]
        if dropped:
            warn(f"{dropped} queries without a negative are left out")
    if len(groups) < 2:
        raise UsageError(f"--collection {options.collection}: {len(groups)} training queries, at least 2 are needed")
    note(f"training on {len(groups):,} queries")
    store = DocumentStore(collection.corpus)
    _check_texts(groups, store, options)
    return TrainingData(groups, known, store, dev_run)


def _from_file(options: TrainOptions, path: Path, collection: Collection) -> tuple[list[Group], dict[str, set[str]]]:
    """Groups of a file, and what the collection knows to be relevant to their queries; it may know nothing."""
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
    return groups, known


def _mine_own(options: TrainOptions, collection: Collection, work: Path) -> tuple[list[Group], Path | None]:
    """Negatives by the encoder that is about to be trained, and its run over the dev topics."""
    index, output = work / "mined" / "index", work / "mined" / "groups.jsonl"
    dev_run = None if options.dev_split == NO_DEV else work / "mined" / "dev.trec"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--groups: is required with several processes; mine first")
    if is_raw_backbone(resolve_encoder(options.encoder).directory):
        raise UsageError(
            "--groups: is required for a raw backbone, whose own rankings mean nothing; mine with BM25, say"
        )
    note("no --groups: the encoder mines its own negatives")
    ensure_index(
        collection.corpus,
        index,
        EncoderOptions(
            encoder=options.encoder,
            device=options.device,
            max_length=options.max_length,
            pooling=options.pooling,
            l2_norm=None if options.similarity is None else options.similarity == "cosine",
            prefix=options.document_prefix,
        ),
    )
    queries = {"query_prefix": options.query_prefix, "query_max_length": options.query_max_length}
    if not output.exists():
        mine(
            MineOptions(
                collection=options.collection,
                output=output,
                split=options.train_split,
                index=index,
                device=options.device,
                max_queries=options.max_queries,
                negatives=max(8, options.negatives),
                seed=options.seed,
                **queries,
            )
        )
    if dev_run is not None and not dev_run.exists():
        given = {key: value for key, value in queries.items() if value is not None}
        searcher = Searcher(index, device=options.device, **given)
        with RunWriter(dev_run) as writer:
            for qid, ranking in searcher.search_topics(collection.topics(options.dev_split), 10):
                writer.write(qid, [docid for docid, _ in ranking], [score for _, score in ranking])
    return list(read_groups(output)), dev_run


def _check_texts(groups: list[Group], store: DocumentStore, options: TrainOptions) -> None:
    ids = (c.id for group in groups for c in (*group.positives, *group.negatives) if c.text is None)
    missing = store.missing(dict.fromkeys(id for id in ids if id is not None))
    if missing:
        raise DataError(
            options.groups or options.collection,
            f"{len(missing)} documents are not in the corpus (first: {missing[0]!r})",
            remedy="python -m pyserini_sdr.collection check",
        )
