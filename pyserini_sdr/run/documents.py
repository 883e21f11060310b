"""Which documents of a run are in no collection or index: the ids of either are streamed past the run's hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.progress import bar
from ..data.collection import Collection
from ..data.corpus import iter_documents
from ..data.ids import hash_id

_BATCH = 1 << 16


def known_ids(
    corpus: Path | None = None, collection: Path | None = None, index: Sequence[Path] | None = None
) -> Iterator[str]:
    """Ids of all documents of a corpus, a collection or indexes (one of them is given), streamed.

    Raises:
        DataError: no such corpus, collection or index, or an index of Lucene's.
    """
    if index is None:
        yield from (document.id for document in iter_documents(corpus or Collection.open(collection).corpus))
        return
    from ..encode.layout import DOCID
    from ..index.docids import DocIds
    from ..index.store import require_index_directory
    from ..search.shards import index_directories

    for directory in index_directories(index):
        if any(directory.glob("segments_*")):
            remedy = "give what it was made of, by --corpus or --collection"
            raise DataError(directory, "is a Lucene index, which has no list of its ids", remedy=remedy)
        yield from DocIds(require_index_directory(directory) / DOCID)


class UnknownIds:
    """Ids of a run that are not among known ones. Memory is that of the run's different ids, 8 bytes each.

    Args:
        used: ids of the run, with repetitions.
        known: ids that exist.
    """

    def __init__(self, used: Iterable[str], known: Iterable[str]) -> None:
        hashes = np.unique(np.fromiter(map(hash_id, used), dtype=np.uint64))
        found = np.zeros(len(hashes), dtype=bool)
        ids = iter(bar(known, unit=" documents", desc="reading ids") if len(hashes) else ())
        while len(batch := np.fromiter(map(hash_id, islice(ids, _BATCH)), dtype=np.uint64)):
            places = np.minimum(np.searchsorted(hashes, batch), len(hashes) - 1)
            found[places[hashes[places] == batch]] = True
        self._hashes = frozenset(hashes[~found].tolist())

    def __contains__(self, docid: object) -> bool:
        return bool(self._hashes) and isinstance(docid, str) and hash_id(docid) in self._hashes
