"""`index append` and `index delete`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ..core.errors import DataError, UsageError, shorten
from ..core.files import read_lines
from ..core.manifest import command_line
from ..core.progress import note
from ..encode.layout import INDEX
from . import faiss_files
from .build import finish
from .make import faiss_threads, fill
from .options import AppendOptions, DeleteOptions
from .pool import Pool
from .replace import replacing
from .room import check_room
from .sources import IndexSource, check_same_encoder, describe_sources, open_sources
from .store import require_index_directory
from .types import TYPES
from .writing import as_indexes, write_docids, write_flat

_KEPT = ("parameters", "sources", "encoder", "weights", "spec", "tokenizer", "precision", "device")
_KEPT += ("likeness", "changes")


def append(options: AppendOptions) -> None:
    """Adds vectors and ids at the end of an index, in one step: it is the old one or the new one, never half."""
    require_index_directory(options.index)
    if options.index.resolve() in [path.resolve() for path in options.input]:
        raise UsageError(f"--input {options.index}: is the index itself")
    with replacing(options.index) as folder, faiss_threads(options.threads):  # nobody else changes it from here on
        target = _open(options.index, "append")
        added = open_sources(options.input, sort=False)
        for source in added:
            check_same_encoder(target, source)
        new = sum(source.count for source in added)
        _check_room(options, target, 1 + new / target.count)
        if target.index.type == "flat":
            write_flat([target, *added], folder)
        else:
            indexes = as_indexes(added, folder / "spool")
            write_docids([target, *indexes], folder)
            index = faiss_files.read_whole(options.index / INDEX)
            fill(index, Pool(indexes))
            faiss_files.write(index, folder / INDEX)
        exact = target.exact and all(source.exact for source in added)
        count = _finish(folder, options, target, exact=exact, added=new, of=describe_sources(added))
    note(f"{options.index}: {new:,} vectors appended, {count:,} in all")


def delete(options: DeleteOptions) -> None:
    """Takes documents out of an index; the others keep their order and move up."""
    require_index_directory(options.index)
    wanted = _ids(options.ids)
    with replacing(options.index) as folder:  # nobody else changes it from here on
        target = _open(options.index, "delete")
        keep = _kept(target, wanted)
        removed = int((~keep).sum())
        _check_room(options, target, 1)
        if target.index.type == "flat":
            write_flat([target], folder, keep)
        else:
            write_docids([target], folder, keep)
            faiss_files.write(_without(faiss_files.read_whole(options.index / INDEX), keep), folder / INDEX)
        count = _finish(folder, options, target, exact=target.exact, removed=removed)
    note(f"{options.index}: {removed:,} documents deleted, {count:,} left")


def _open(directory: Path, verb: str) -> IndexSource:
    source = IndexSource(directory)
    type = source.index.type
    if type not in TYPES:
        raise UsageError(f"{directory}: is of a type ({type}) that cannot be changed here; build another")
    reason = TYPES[type].no_append if verb == "append" else TYPES[type].no_delete
    if reason:
        raise UsageError(
            f"{directory}: is of type {type!r}: {reason}; {verb} in the flat index that it was "
            "built of, and build it anew"
        )
    return source


def _check_room(options: AppendOptions | DeleteOptions, target: IndexSource, growth: float) -> None:
    if not options.check_size:
        return
    size = int((options.index / INDEX).stat().st_size * growth)
    ids = int(24 * target.count * growth)
    check_room(options.index, disk=size + ids, memory=ids + (0 if target.index.type == "flat" else size))


def _ids(values: list[str]) -> dict[str, None]:
    """The ids given, those in files among them, each once, in order."""
    ids: dict[str, None] = {}
    for value in values:
        path = Path(value)
        if not os.path.isfile(path):  # noqa: PTH113 (unlike pathlib's, this one takes any text for a path)
            ids[value] = None
            continue
        for number, line in read_lines(path):
            if not line.strip():
                continue
            if len(line.split()) > 1 or line != line.strip():
                raise DataError(path, f"expected one document id, found {shorten(line, 40)}", line=number)
            ids[line] = None
    if not ids:
        raise UsageError(f"--ids {' '.join(values)}: no ids")
    return ids


def _kept(target: IndexSource, wanted: dict[str, None]) -> np.ndarray:
    """(count,) bool: which vectors stay when these ids are deleted, each of which has to be there."""
    docids = target.index.docids
    keep = np.fromiter((id not in wanted for id in docids), bool, target.count)
    gone = np.flatnonzero(~keep).tolist()
    found = {docids[position] for position in gone}
    missing = [id for id in wanted if id not in found]
    if missing:
        names = ", ".join(map(repr, missing[:3])) + (" …" if len(missing) > 3 else "")
        raise DataError(target.directory, f"holds no document {names} ({len(missing):,} of {len(wanted):,} ids)")
    if len(gone) == target.count:
        raise UsageError(f"--ids: all {len(gone):,} documents of {target.directory}; remove the directory instead")
    return keep


def _without(index: Any, keep: np.ndarray) -> Any:
    """The index with the vectors that are to be kept, numbered anew in their order."""
    lists = faiss_files.lists_of(index)
    if lists is None:  # codes in one array: FAISS closes the gaps itself
        gone = np.flatnonzero(~keep)
        index.remove_ids(gone.astype(np.int64))
        return index
    numbers = np.cumsum(keep, dtype=np.int64) - 1
    old, new = lists.invlists, faiss.ArrayInvertedLists(lists.nlist, lists.code_size)
    for number in range(lists.nlist):
        size = old.list_size(number)
        if not size:
            continue
        ids = faiss.rev_swig_ptr(old.get_ids(number), size)
        codes = faiss.rev_swig_ptr(old.get_codes(number), size * lists.code_size).reshape(size, lists.code_size)
        kept = keep[ids]
        ids, codes = np.ascontiguousarray(numbers[ids[kept]]), np.ascontiguousarray(codes[kept])
        if len(ids):
            new.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    lists.replace_invlists(new, True)
    new.this.disown()
    lists.ntotal = index.ntotal = int(keep.sum())
    return index


def _finish(folder: Path, options: Any, target: IndexSource, *, exact: bool, **change: Any) -> int:
    """Writes the manifest of a changed index: what it was, and what has been done to it since."""
    before = target.manifest
    facts = {key: before[key] for key in _KEPT if key in before}
    reading = (before.get("corpus") or {}).get("reading")
    if reading is not None:  # how documents are read; no longer which ones they are
        facts["corpus"] = {"reading": reading}
    entry = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "command": command_line(), **change}
    facts["changes"] = [*before.get("changes", ()), entry]
    return finish(folder, options, target.index.type, exact=exact, **facts)
