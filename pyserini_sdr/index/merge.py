"""`index merge`: shards of one encoding, or indexes with the same training, as one index."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from ..core.errors import DataError, UsageError
from ..core.progress import bar, note
from ..encode.layout import INDEX
from . import faiss_files
from .binary import stored_bits
from .build import check_output, finish
from .options import MergeOptions
from .replace import replacing
from .room import check_room
from .sources import IndexSource, describe_sources, open_sources, origin
from .store import state_of
from .writing import write_docids, write_flat

_MERGED = ("ivf", "ivf-pq", "opq", "pq", "sq8", "binary")


def merge(options: MergeOptions) -> None:
    """Writes one index of several, in the order of their shards, or as given where they are none."""
    check_output(options.output, options.inputs, options.overwrite)
    if len(options.inputs) < 2:
        raise UsageError("--inputs: two directories at least")
    sources = open_sources(options.inputs)
    others = [source for source in sources if not isinstance(source, IndexSource)]
    if others:
        raise DataError(others[0].directory, "is no index", remedy="python -m pyserini_sdr.index build makes one")
    types = [source.index.type for source in sources]
    if len(set(types)) > 1:
        raise UsageError(f"--inputs: indexes of different types ({', '.join(sorted(set(types)))})")
    if types[0] != "flat":
        _check_mergeable(sources)
    size = sum((source.directory / INDEX).stat().st_size for source in sources)
    if options.check_size:
        count = sum(source.count for source in sources)
        check_room(options.output, disk=size + 24 * count, memory=24 * count + (0 if types[0] == "flat" else 2 * size))
    with replacing(options.output) as folder:
        if types[0] == "flat":
            write_flat(sources, folder)
        else:
            write_docids(sources, folder)
            faiss_files.write(_merged(sources), folder / INDEX)
        facts = {"parameters": faiss_files.parameters_of(sources[0].index.faiss_index)}
        count = finish(folder, options, types[0], **facts, sources=describe_sources(sources), **origin(sources))
    order = ", ".join(describe_sources(sources))
    note(f"{options.output}: {count:,} vectors of {len(sources)} indexes, in the order {order}")


def _check_mergeable(sources: list[IndexSource]) -> None:
    type = sources[0].index.type
    if type not in _MERGED:
        raise UsageError(
            f"--inputs: indexes of type {type!r} cannot be merged: links run within each of them only; merge the flat "
            "indexes they were built of, and build one of that"
        )
    first = training(sources[0].index.faiss_index)
    for source in sources[1:]:
        other = training(source.index.faiss_index)
        if len(first) != len(other) or not all(map(np.array_equal, first, other)):
            raise DataError(
                source.directory,
                f"has learned other lists or codes than {sources[0].directory}, so they cannot be merged",
                remedy="build shards with --train-from, or merge their flat indexes and build one of that",
            )


def training(index: Any) -> list[np.ndarray]:
    """What an index has learned: equal arrays mean that codes of one mean the same in the other."""
    learned = []
    if isinstance(index, faiss.IndexPreTransform):
        learned.append(faiss.vector_to_array(faiss.downcast_VectorTransform(index.chain.at(0)).A))
        index = faiss_files.inner(index)
    if isinstance(index, faiss.IndexIVF):
        learned.append(index.quantizer.reconstruct_n(0, index.nlist))
    if isinstance(index, faiss.IndexIVFPQ | faiss.IndexPQ):
        learned += [np.array([index.pq.M, index.pq.nbits]), faiss.vector_to_array(index.pq.centroids)]
    if isinstance(index, faiss.IndexScalarQuantizer):
        learned.append(faiss.vector_to_array(index.sq.trained))
    return learned


def _merged(sources: list[IndexSource]) -> Any:
    """The vectors of all, one after the other; one index more than the result is in memory at a time."""
    with bar(sources, unit="index", desc="merge") as progress:
        merged: Any = None
        for source in progress:
            index = faiss_files.read_whole(source.directory / INDEX)
            if index.ntotal != source.count or state_of(source.directory) != source.index.state:
                raise DataError(source.directory, "has changed since it was opened", remedy="give the command again")
            if merged is None:
                merged = index
            elif isinstance(index, faiss.IndexBinary):
                merged.add(stored_bits(index))
            else:
                merged.merge_from(index, merged.ntotal if faiss_files.lists_of(index) is not None else 0)
    return merged
