"""Writing `index` and `docid` from sources as streams; an id that occurs twice is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np

from ..core.files import atomic_file
from ..core.progress import bar
from ..data.corpus import duplicate_error
from ..data.ids import IdHashes, hash_id
from ..encode.flat import flat_header
from ..encode.layout import DOCID, INDEX
from .sources import IndexSource, Source


def write_flat(sources: Sequence[Source], directory: Path, keep: np.ndarray | None = None) -> None:
    """Writes `index` and `docid` of a flat index of all sources.

    Args:
        keep: (count,) bool: which of the vectors to write; None is all.

    Raises:
        DataError: an id occurs twice.
    """
    dimension, ids = sources[0].dimension, IdHashes()
    total = sum(source.count for source in sources)
    seen = 0
    with ExitStack() as stack:
        index = stack.enter_context(atomic_file(directory / INDEX, "wb"))
        names = stack.enter_context(atomic_file(directory / DOCID))
        progress = stack.enter_context(bar(total=total, unit="doc", desc="index"))
        index.write(flat_header(dimension, 0))
        for source in sources:
            for block, vectors in source.blocks():
                progress.update(len(block))
                if keep is not None:
                    mask = keep[seen : seen + len(block)]
                    block, vectors = [id for id, kept in zip(block, mask, strict=True) if kept], vectors[mask]
                    seen += len(mask)
                index.write(np.ascontiguousarray(vectors, dtype="<f4").data)
                _write_ids(block, names, ids)
        index.seek(0)
        index.write(flat_header(dimension, len(ids)))
    _refuse_duplicates(sources, ids)


def write_docids(sources: Sequence[IndexSource], directory: Path, keep: np.ndarray | None = None) -> None:
    """Writes `docid` alone, as `write_flat` does."""
    ids, seen = IdHashes(), 0
    with atomic_file(directory / DOCID) as names:
        for source in sources:
            if keep is None:
                _write_ids(source.index.docids, names, ids)
            else:
                mask = keep[seen : seen + source.count]
                _write_ids((id for id, kept in zip(source.index.docids, mask, strict=True) if kept), names, ids)
                seen += source.count
    _refuse_duplicates(sources, ids)


def _write_ids(block: Iterable[str], names: IO[str], ids: IdHashes) -> None:
    for id in block:
        ids.add(id)
        names.write(f"{id}\n")


def _refuse_duplicates(sources: Sequence[Source], ids: IdHashes) -> None:
    """Raises a `DataError` with both places if an id occurs twice; reads the ids again only if a hash does."""
    suspects = ids.repeated()
    if not suspects:
        return
    first: dict[str, tuple[Path, int]] = {}
    for source in sources:
        for id, file, line in source.located():
            if hash_id(id) not in suspects:
                continue
            if id in first:
                raise duplicate_error(id, first[id], (file, line))
            first[id] = (file, line)


def as_indexes(sources: Sequence[Source], spool: Path) -> list[IndexSource]:
    """The sources as indexes, which can be read again and anywhere; if one is text, all are put into one at `spool`."""
    indexes = [source for source in sources if isinstance(source, IndexSource)]
    if len(indexes) == len(sources):
        return indexes
    write_flat(sources, spool)
    return [IndexSource(spool)]
