"""`index info`: what a directory holds, whether it is finished, and what made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.files import require_directory
from ..encode.layout import DOCID, EMBEDDINGS, FOLDER, INDEX
from . import faiss_files
from .docids import DocIds
from .manifest import read_index_manifest
from .options import InfoOptions
from .replace import WRITING, complete
from .room import size_text
from .store import chunks_done
from .types import TYPES

_TOLD = ("encoder", "weights", "precision", "spec", "created", "command", "sources", "quality", "likeness", "changes")


def info(options: InfoOptions) -> None:
    """Prints the facts."""
    facts = describe(options.index)
    if options.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    lines = list(_lines(facts))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def describe(directory: Path) -> dict[str, Any]:
    """Facts about a directory, JSON-ready; the vectors are not read.

    Raises:
        DataError: it holds nothing that an index command makes.
    """
    directory = require_directory(directory, "index directory")
    complete(directory)
    facts: dict[str, Any] = {"directory": str(directory)}
    manifest = read_index_manifest(directory)
    if (directory / FOLDER).exists():
        facts |= {"state": "unfinished encoding", "chunks": chunks_done(directory)}
        if manifest is None:
            return facts
    elif (directory / INDEX).exists() and (directory / DOCID).exists():
        facts["state"] = "finished" if manifest is not None else "no manifest: not made by pyserini_sdr"
    elif (directory / WRITING).exists():
        return facts | {"state": "unfinished index"}
    elif (directory / EMBEDDINGS).exists():
        facts["state"] = "embeddings" if manifest is not None else "embeddings, no manifest"
    else:
        raise DataError(directory, f"holds no index ({INDEX} and {DOCID} are missing)")
    facts["bytes"] = {
        name: (directory / name).stat().st_size for name in (INDEX, DOCID, EMBEDDINGS) if (directory / name).exists()
    }
    if INDEX in facts["bytes"]:
        facts |= _of_file(directory)
    elif manifest is not None:
        facts |= {key: manifest[key] for key in ("type", "count", "dimension") if key in manifest}
    return facts | {key: manifest[key] for key in _TOLD if manifest is not None and key in manifest}


def _of_file(directory: Path) -> dict[str, Any]:
    index = faiss_files.open_mapped(directory / INDEX)
    type = faiss_files.type_of(index)
    return {
        "type": type,
        "count": index.ntotal,
        "ids": len(DocIds(directory / DOCID)),
        "dimension": index.d,
        "metric": "inner product" if faiss_files.is_inner_product(index) else "L2 distance (cannot be searched here)",
        "parameters": faiss_files.parameters_of(index),
        "stock": TYPES[type].stock if type in TYPES else True,
        "exact": type in TYPES and TYPES[type].exact,
    }


def _lines(facts: dict[str, Any]) -> Any:
    yield "index", facts["directory"]
    state = facts["state"]
    yield "state", f"{state} ({facts['chunks']} chunks are there)" if "chunks" in facts else state
    if "type" in facts:
        summary = f": {TYPES[facts['type']].summary}" if facts["type"] in TYPES else ""
        yield "type", facts["type"] + summary
    for name in ("count", "dimension", "metric"):
        if name in facts:
            yield name, f"{facts[name]:,}" if name == "count" else facts[name]
    if facts.get("ids", facts.get("count")) != facts.get("count"):
        yield "ids", f"{facts['ids']:,}: not one per vector; python -m pyserini_sdr.index verify tells more"
    for name, size in facts.get("bytes", {}).items():
        yield f"size of {name}", size_text(size)
    if facts.get("parameters"):
        yield "parameters", ", ".join(f"{name} {value}" for name, value in facts["parameters"].items())
    if "stock" in facts:
        yield "stock Pyserini", "reads it" if facts["stock"] else "does not read it"
    if "quality" in facts:
        from .quality import report

        yield "measured", report(facts["quality"])
    if "likeness" in facts:
        yield "likeness", "cosine with the exact vectors {mean} on average, {min} at least".format(**facts["likeness"])
    for name in ("encoder", "weights", "precision", "created", "command"):
        if name in facts:
            yield name, facts[name]
    if "spec" in facts:
        yield "spec", ", ".join(f"{name} {value!r}" for name, value in facts["spec"].items())
    for source in facts.get("sources", ()):
        yield "made of", source
    for change in facts.get("changes", ()):
        what = f"{change['added']:,} added" if "added" in change else f"{change['removed']:,} removed"
        yield "changed", f"{change['when']}: {what} by {change['command']}"
