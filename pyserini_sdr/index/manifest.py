"""The manifest of an index directory: of the right kinds before anything is done by it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import DataError, shorten
from ..core.files import read_object
from ..encode.layout import DOCID, INDEX, MANIFEST

_REMEDY = "build it anew"
_KINDS: Mapping[str, type] = {
    "count": int,
    "dimension": int,
    "type": str,
    "encoder": str,
    "weights": str,
    "spec": dict,
    "tokenizer": str,
    "corpus": dict,
    "corpus.reading": dict,
    "shard": dict,
    "shard.id": int,
    "shard.num": int,
    "shard.start": int,
    "files": dict,
    "likeness": dict,
    "likeness.min": float,
    "changes": list,
}
"""Key, or key within an object by a dot → what its value is."""


def read_index_manifest(directory: Path) -> dict[str, Any] | None:
    """What `sdr_index.json` of a directory says; None if there is none.

    Raises:
        DataError: it is damaged, or tells what no command of ours writes.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    manifest = read_object(path, remedy=_REMEDY)
    for key, kind in _KINDS.items():
        value = _value(manifest, key)
        if value is None:
            continue
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise DataError(path, f"{key} is {shorten(value, 40)}, expected {kind.__name__}", remedy=_REMEDY)
    if "spec" in manifest and "weights" not in manifest:
        raise DataError(path, "tells how documents were encoded, and not by which weights", remedy=_REMEDY)
    for name, value in ((manifest.get("corpus") or {}).get("reading") or {}).items():
        texts = value if isinstance(value, list) else [value]
        if not all(text is None or isinstance(text, str | bool) for text in texts):
            raise DataError(path, f"corpus.reading: {name} is {shorten(value, 40)}", remedy=_REMEDY)
    shard = manifest.get("shard") or {}
    if shard and not {"id", "num", "start"} <= shard.keys():
        raise DataError(path, f"shard is {shorten(shard, 40)}, expected id, num and start", remedy=_REMEDY)
    for name, facts in (manifest.get("files") or {}).items():
        if name not in (INDEX, DOCID):  # it would be read, wherever it leads to
            raise DataError(path, f"tells of a file {shorten(name, 40)}, expected {INDEX} and {DOCID}", remedy=_REMEDY)
        if not isinstance(facts, dict) or not isinstance(facts.get("sha256"), str):
            raise DataError(path, f"tells no SHA-256 of {name}", remedy=_REMEDY)
    return manifest


def _value(manifest: Mapping[str, Any], key: str) -> Any:
    """The value of a key, of one within another by a dot; None if it is not there."""
    outer, _, inner = key.partition(".")
    value = manifest.get(outer)
    return value.get(inner) if inner and isinstance(value, dict) else None if inner else value
