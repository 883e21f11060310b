"""Groups as files: our JSONL, and the tab-separated triples with scores of Hofstätter et al. (2020)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..core.errors import DataError, UsageError
from ..core.files import atomic_file
from ..data.collection import Collection
from ..data.group import Group
from ..data.groups import iter_located_groups
from ..data.sources import read_teacher_tsv
from ..trec.columns import format_score, held_by_float32


def is_tsv(path: Path) -> bool:
    """Whether a path's name says tab-separated triples."""
    return path.name.removesuffix(".gz").endswith(".tsv")


def iter_input(path: Path, collection: Path | None, split: str) -> Iterator[tuple[int | None, Group]]:
    """Yields `(line number, group)` of a file in either layout; the number is None for triples.

    Groups are streamed; triples are gathered by query in memory, and their queries come from the collection's topics.
    """
    if not is_tsv(path):
        yield from iter_located_groups(path)
        return
    if collection is None:
        raise UsageError(f"--collection: is required for the queries of {path}")
    topics = Collection.open(collection).topics(split)
    yield from ((None, group) for group in read_teacher_tsv(path, topics))


def refuse_texts(path: str | os.PathLike[str], group: Group, line: int | None = None) -> None:
    """Raises a `DataError` about `path` if a document of the group has no id: triples are made of ids."""
    if any(candidate.id is None for candidate in (*group.positives, *group.negatives)):
        raise DataError(
            path,
            f"query {group.query_id!r} has a document without an id, which a .tsv cannot hold",
            line=line,
            remedy="write .jsonl, or give the documents ids",
        )


def write_teacher_tsv(
    path: str | os.PathLike[str],
    groups: Iterable[Group],
    teacher: str,
    record: Callable[[int, int], object] | None = None,
) -> tuple[int, int]:
    """Writes `pos_score neg_score qid pos_id neg_id` for every positive × negative of every group, atomically.

    Args:
        path: the file; `.gz` is compressed.
        groups: with scores of `teacher`.
        teacher: name of the scores.
        record: called with what is returned just before the file appears, so that what it writes is there first.

    Returns:
        Triples written, and triples left out because one of the two has no score.

    Raises:
        DataError: a document without an id, a score that float32 does not hold, or nothing to write; no file is left.
    """
    written = lacking = 0
    with atomic_file(path) as handle:
        for group in groups:
            refuse_texts(path, group)
            table = group.scores.get(teacher, {})
            for positive in group.positives:
                for negative in group.negatives:
                    scores = table.get(positive.key, math.nan), table.get(negative.key, math.nan)
                    if math.isnan(sum(scores)):
                        lacking += 1
                        continue
                    if not all(map(held_by_float32, scores)):
                        raise DataError(
                            path,
                            f"query {group.query_id!r} has the score {max(scores, key=abs)} of {teacher!r}",
                            remedy="scores must be finite float32 numbers",
                        )
                    columns = (*map(format_score, scores), group.query_id, positive.key, negative.key)
                    handle.write("\t".join(columns) + "\n")
                    written += 1
        if not written:
            raise DataError(path, f"no positive and negative that both have a score of {teacher!r}: nothing to write")
        if record is not None:
            record(written, lacking)
    return written, lacking
