"""`collection build`."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..core.errors import UsageError, unknown
from ..core.options import as_dict
from ..data.external import beir_material, ir_datasets_material, msmarco_material
from ..data.known_item import pydocs_material
from ..data.material import Material, write_collection
from .commands import BuildOptions


def run(options: BuildOptions) -> None:
    """Builds the collection and prints what it holds and what to do with it."""
    pydocs = options.name == "pydocs"
    if options.packages and not pydocs:
        raise UsageError("--packages is for pydocs only")
    manifest = write_collection(
        options.directory,
        lambda: pydocs_material(options.packages, options.max_documents) if pydocs else _material(options.name),
        config=as_dict(options),
        overwrite=options.overwrite,
        max_documents=None if pydocs else options.max_documents,
        drop_invalid=options.drop_invalid,
    )
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in manifest["counts"].items())
    print(f"{options.directory}: {counts}")
    corpus = shlex.quote(str(options.directory / "corpus"))
    index = shlex.quote(f"{options.directory}.bm25")
    print(
        f"BM25 with stock Pyserini: python -m pyserini.index.lucene --collection JsonCollection --input {corpus} "
        f"--index {index} --generator DefaultLuceneDocumentGenerator --threads 1"
    )


def _material(name: str) -> Material:
    kind, colon, rest = name.partition(":")
    if kind == "ir_datasets" and colon and rest:
        return ir_datasets_material(rest)
    if kind == "msmarco" and colon and rest:
        return msmarco_material(Path(rest))
    if kind == "beir" and colon and rest:
        return beir_material(Path(rest))
    if Path(name).is_dir():
        return beir_material(Path(name))
    if "/" in name:
        raise UsageError(f"NAME {name!r}: no such folder")
    raise UsageError(
        unknown("collection", name, ["pydocs", "ir_datasets:ID", "beir:FOLDER", "msmarco:FOLDER", "FOLDER"])
    )
