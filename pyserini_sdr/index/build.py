"""`index build`: an index of any type from vectors, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ..anserini.topics import load_topics
from ..core.errors import DataError, UsageError
from ..core.files import file_sha256
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..encode.layout import DOCID, EMBEDDINGS, INDEX, MANIFEST
from ..encode.loading import load_any_encoder
from . import faiss_files
from .docids import DocIds
from .make import faiss_threads, make, trained_from
from .options import BuildOptions
from .parameters import check_flags, resolve
from .pool import Pool
from .quality import likeness, measure, report, stored_queries
from .replace import replacing
from .room import check_room, size_text
from .sources import IndexSource, Source, block_rows, describe_sources, open_sources, origin
from .store import Index
from .types import TYPES, building_bytes, file_bytes
from .writing import as_indexes, write_docids, write_flat


def build(options: BuildOptions) -> None:
    """Builds the index; it appears with its ids and manifest at once, when all is done."""
    check_flags(options)
    check_output(options.output, options.input, options.overwrite)
    sources = open_sources(options.input)
    count, dimension = sum(source.count for source in sources), sources[0].dimension
    parameters = resolve(options, count, dimension)
    learned = None
    if options.train_from is not None:
        learned = trained_from(options.train_from, options.type, dimension, options.nprobe)
        parameters = faiss_files.parameters_of(learned) | parameters
    if options.check_size:
        _check_room(options, sources, parameters)
    topics = None if options.queries is None else _encoded(options, sources)
    with replacing(options.output) as folder, faiss_threads(options.threads):
        facts: dict[str, Any] = {}
        if options.type == "flat":
            write_flat(sources, folder)
        else:
            indexes = as_indexes(sources, folder / "spool")
            write_docids(indexes, folder)
            pool = Pool(indexes)
            index = make(options.type, pool, parameters, seed=options.seed, learned=learned)
            faiss_files.write(index, folder / INDEX)
            if options.eval_queries:
                made = Index(folder, index, indexes[0].index.docids, _manifest_of(sources))
                facts = _measure(options, made, pool, topics)
        count = finish(
            folder,
            options,
            options.type,
            parameters=parameters,
            sources=describe_sources(sources),
            **facts,
            **origin(sources),
        )
    size = size_text((options.output / INDEX).stat().st_size)
    note(f"{options.output}: {count:,} vectors of dimension {dimension}, {options.type}, {size}")
    if facts:
        print(f"{options.output}: {report(facts['quality'])}")


def check_output(output: Path, inputs: list[Path], overwrite: bool) -> None:
    """Refuses an output that is an input, or that holds an index already."""
    if output.resolve() in [path.resolve() for path in inputs]:
        raise UsageError(f"--output {output}: is the input directory")
    if (output / INDEX).exists() and not overwrite:
        raise DataError(output, "already holds an index", remedy="give another directory or --overwrite")
    for other in (EMBEDDINGS, "segments_*"):  # whose manifest would be lost, or which is Lucene's
        if any(output.glob(other)):
            what = EMBEDDINGS if other == EMBEDDINGS else "a Lucene index"
            raise DataError(output, f"holds {what}", remedy="give another directory")


def finish(folder: Path, options: Any, type: str, *, exact: bool = True, **facts: Any) -> int:
    """Writes the manifest of the index files in `folder`; returns the number of vectors.

    Args:
        options: of the command.
        type: of the index.
        exact: the vectors that it was made of are those of the encoder.
        facts: for the manifest.

    Raises:
        DataError: there are not as many ids as vectors.
    """
    index = faiss_files.open_mapped(folder / INDEX)
    ids = len(DocIds(folder / DOCID))
    if ids != index.ntotal:
        raise DataError(
            folder.parent,
            f"would hold {ids:,} ids for {index.ntotal:,} vectors",
            remedy="did an input change meanwhile? give the command again",
        )
    write_manifest(
        folder / MANIFEST,
        "index",
        config=as_dict(options),
        count=index.ntotal,
        dimension=index.d,
        type=type,
        exact=exact and TYPES[type].exact,
        stock=TYPES[type].stock,
        files={
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
            for name in (INDEX, DOCID)
        },
        **facts,
    )
    return index.ntotal


def _check_room(options: BuildOptions, sources: list[Source], parameters: dict[str, int]) -> None:
    count, dimension = sum(source.count for source in sources), sources[0].dimension
    disk = file_bytes(options.type, count, dimension, parameters) + 24 * count
    if options.type != "flat" and not all(isinstance(source, IndexSource) for source in sources):
        disk += file_bytes("flat", count, dimension, {})
    memory = building_bytes(options.type, count, dimension, parameters, block_rows(dimension))
    check_room(options.output, disk=disk, memory=memory)


def _manifest_of(sources: list[Source]) -> dict[str, Any]:
    return {key: value for key, value in origin(sources).items() if key in ("encoder", "weights", "spec")}


def _encoded(options: BuildOptions, sources: list[Source]) -> np.ndarray:
    """Vectors (n, dim) of the topics to measure with, made before the index is, which takes longer.

    Raises:
        UsageError: the encoder is not told, is not that of the sources, or is not one for queries.
    """
    directory, manifest = sources[0].directory, _manifest_of(sources)
    topics = list(load_topics(options.queries).values())[: options.eval_queries]
    index = Index(directory, faiss.IndexFlatIP(sources[0].dimension), [], manifest)
    if "encoder" not in manifest:
        raise UsageError(f"--queries {options.queries}: the input does not tell its encoder; leave it out")
    if index.stock_class is not None and not index.stock_class.one_checkpoint:
        raise UsageError(f"--queries {options.queries}: the encoder has a checkpoint of its own for queries")
    encoder = load_any_encoder(manifest["encoder"], side="query", **index.encoder_settings())
    index.check_encoder(encoder)
    return encoder.encode_queries(topics)


def _measure(options: BuildOptions, index: Index, pool: Pool, topics: np.ndarray | None) -> dict[str, Any]:
    own: np.ndarray | None = None
    if topics is None:
        queries, own = stored_queries(pool, options.eval_queries, options.seed)
        of = "stored vectors as queries"
    else:
        queries, of = topics, f"topics of {options.queries}"
    facts: dict[str, Any] = {"quality": {**measure(index, pool, queries, own), "of": of}}
    if not TYPES[options.type].exact:
        facts["likeness"] = likeness(index, pool, pool.sample(options.eval_queries, options.seed))
    return facts
