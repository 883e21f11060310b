"""Negatives that the encoder mines itself: before training, and anew while it learns (ANCE, arXiv 2007.00808)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.errors import DataError
from ..core.progress import note, warn
from ..data.collection import Collection
from ..data.group import Candidate, Group
from ..data.groups import read_groups
from ..encode.options import EncoderOptions
from ..encode.ranks import Rank
from ..mine.engine import ensure_index, mine
from ..mine.options import MineOptions
from ..mine.refresh import refresh_groups
from ..model.encoder import BiEncoder
from ..search.searcher import Searcher
from ..trec.run import RunWriter
from .batches import BatchSource, Source
from .gather import this_rank
from .lora import merged
from .options import TrainOptions

GROUPS = "groups.jsonl"


def mine_negatives(options: TrainOptions, collection: Collection, encoder: str, work: Path) -> list[Group]:
    """Training groups from the rankings of an encoder; what is in `work` already is not made again.

    Args:
        options: split, lengths, prefixes and number of negatives.
        collection: whose corpus and training queries.
        encoder: name or directory.
        work: folder for the index and the groups.
    """
    output = work / GROUPS
    _index(options, collection, encoder, work)
    if not output.exists():
        mine(
            MineOptions(
                collection=collection.path,
                output=output,
                split=options.train_split,
                index=work / "index",
                device=options.device,
                max_queries=options.max_queries,
                negatives=max(8, options.negatives),
                seed=options.seed,
                query_prefix=options.query_prefix,
                query_max_length=options.query_max_length,
            )
        )
    return list(read_groups(output))


def run_over_dev(options: TrainOptions, collection: Collection, work: Path) -> Path:
    """A run over the dev topics with the index that the negatives were mined from: hard documents for the dev pool."""
    path = work / "dev.trec"
    if not path.exists():
        given = {"query_prefix": options.query_prefix, "query_max_length": options.query_max_length}
        searcher = Searcher(
            work / "index",
            device=options.device,
            **{key: value for key, value in given.items() if value is not None},
        )
        with RunWriter(path) as writer:
            for qid, ranking in searcher.search_topics(collection.topics(options.dev_split), 10):
                writer.write(qid, [docid for docid, _ in ranking], [score for _, score in ranking])
    return path


def _index(options: TrainOptions, collection: Collection, encoder: str, work: Path) -> None:
    ensure_index(
        collection.corpus,
        work / "index",
        EncoderOptions(
            encoder=encoder,
            device=options.device,
            max_length=options.max_length,
            pooling=options.pooling,
            l2_norm=None if options.similarity is None else options.similarity == "cosine",
            prefix=options.document_prefix,
        ),
    )


class Refresh:
    """Mines negatives anew with the encoder as it is, every `steps` steps.

    What was mined after a step is kept until training ends, so that a resumed run sees the same negatives. Under
    several processes each encodes its share of the corpus, and the first one mines.

    Args:
        options: of the run.
        collections: one per source.
        encoder: the one that learns.
        source: gets the new groups.
        work: folder for what is mined.
    """

    def __init__(
        self,
        options: TrainOptions,
        collections: Sequence[Collection],
        encoder: BiEncoder,
        source: BatchSource,
        work: Path,
    ) -> None:
        assert options.refresh_negatives is not None
        self.options, self.collections, self.encoder, self.source = options, collections, encoder, source
        self.every, self.work = options.refresh_negatives, work
        self._present = 0
        self._given = [{group.query_id: group.negatives for group in part.groups} for part in source.sources]

    def before(self, step: int) -> None:
        """Sees to it that the negatives in force at `step` are those mined after the last multiple of `every`."""
        due = step // self.every * self.every
        if due == self._present:
            return
        rank = this_rank()
        folder = self.work / f"refreshed-{due}"
        for position, (collection, source) in enumerate(zip(self.collections, self.source.sources, strict=True)):
            groups, index = folder / str(position) / GROUPS, folder / str(position) / "index"
            done = groups.exists()
            rank.barrier()  # nobody mines before everybody has looked
            if not done:
                if rank.index == 0:
                    note(f"step {step}: mining negatives with the encoder as it is now")
                self._mine(collection, source, index, groups, rank)
                if rank.index == 0:
                    shutil.rmtree(index)
            self._put(source, self._given[position], groups)
        self._present = due

    def _put(self, source: Source, given: Mapping[str, list[Candidate]], path: Path) -> None:
        """Replaces the negatives of a source; a query that was not mined for has those it began with."""
        mined = {group.query_id: group.negatives for group in read_groups(path)}
        if not mined.keys() & given.keys():
            raise DataError(path, "none of the training queries is among the collection's training pairs")
        if lacking := len(given.keys() - mined.keys()):
            warn(f"{lacking} of {len(given)} queries keep the negatives they began with: none were mined for them")
        for group in source.groups:
            positive = {candidate.key for candidate in group.positives}
            fresh = [c for c in mined.get(group.query_id, []) if c.key not in positive]
            group.negatives = fresh or given[group.query_id]

    def _mine(self, collection: Collection, source: Source, index: Path, groups: Path, rank: Rank) -> None:
        encoder, plain = self.encoder, merged(self.encoder.backbone)
        if plain is not encoder.backbone:
            encoder = BiEncoder(plain, encoder.tokenizer, encoder.spec, device=encoder.device)
        refresh_groups(
            collection,
            self.options.train_split,
            encoder,
            index=index,
            output=groups,
            texts=source.texts,
            rank=rank,
            max_queries=None if self.options.groups else self.options.max_queries,
            negatives=max(8, self.options.negatives),
            seed=self.options.seed,
        )
