"""Opening an index directory: ours or one that stock Pyserini made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anserini.encoder_classes import ENCODER_CLASSES, OURS, EncoderClass, StockSpec, class_name
from ..core.errors import DataError, SdrError, UsageError
from ..core.files import require_directory
from ..encode.layout import DOCID, EMBEDDINGS, FOLDER, INDEX, MANIFEST, PENDING
from ..model.spec import EncoderSpec
from . import faiss_files
from .binary import search_binary
from .docids import read_docids
from .manifest import read_index_manifest
from .replace import WRITING, complete
from .types import TYPES

if TYPE_CHECKING:
    from ..encode.loading import Encoder

State = tuple[tuple[int, int, int] | None, ...]
"""Inode, time and size of each file of an index directory, None for one that is not there."""
_ATTEMPTS, _PAUSE = 20, 0.05


@dataclass
class Index:
    """An index directory.

    Args:
        directory: where it is.
        faiss_index: the FAISS index, searched by inner product (of type `binary`: by Hamming distance).
        docids: id of every vector (a list, or `DocIds` where they are very many).
        manifest: what `sdr_index.json` says; None for an index made by stock Pyserini.
        state: `state_of` its directory when its files were opened; None if they are not in their place yet.
    """

    directory: Path
    faiss_index: Any
    docids: Sequence[str]
    manifest: dict[str, Any] | None
    state: State | None = None

    @cached_property
    def spec(self) -> EncoderSpec | StockSpec | None:
        """How its documents were encoded, None if nobody wrote it down."""
        return spec_of(self.manifest, self.directory / MANIFEST)

    @cached_property
    def type(self) -> str:
        """Its name in `index.types.TYPES`, or FAISS's name of a class that we do not make."""
        return faiss_files.type_of(self.faiss_index)

    @property
    def exact(self) -> bool:
        """Whether it gives back the vectors as the encoder made them."""
        return self.type in TYPES and TYPES[self.type].exact and (self.manifest or {}).get("exact", True)

    @property
    def stock_class(self) -> EncoderClass | None:
        """The stock class of the encoder that made it; None for one of ours, or if nobody wrote it down."""
        return ENCODER_CLASSES[self.spec.encoder_class] if isinstance(self.spec, StockSpec) else None

    def encoder_settings(self, encoder_class: str | None = None) -> dict[str, Any]:
        """Class and document side with which to load an encoder for it, as an index made with flags needs them again.

        Args:
            encoder_class: as the user gave it.

        Raises:
            UsageError: the class is not that of the encoder that made the index.
        """
        if self.spec is None:
            return {"encoder_class": class_name(encoder_class)}
        settings = {"encoder_class": OURS, **self.spec.document_side()}
        if isinstance(self.spec, StockSpec):
            del settings["dimension"]
        if encoder_class is not None and class_name(encoder_class) != settings["encoder_class"]:
            raise UsageError(
                f"--encoder-class {encoder_class}: {self.directory} was made by an encoder of class "
                f"{settings['encoder_class']!r}; leave it out, or encode the corpus anew"
            )
        return settings

    def __len__(self) -> int:
        return len(self.docids)

    def check_encoder(self, encoder: Encoder) -> None:
        """Refuses a query encoder whose documents would have other vectors than these.

        Raises:
            UsageError: dimension, weights, class, pooling, similarity, document prefix or length differ.
        """
        if encoder.spec.dimension != self.faiss_index.d:
            raise UsageError(
                f"{self.directory}: holds vectors of dimension {self.faiss_index.d}, the encoder gives "
                f"{encoder.spec.dimension}; search it with the encoder that made it"
            )
        if self.spec is None or self.manifest is None:
            return
        ours, theirs = ({"encoder_class": OURS, **spec.document_side()} for spec in (encoder.spec, self.spec))
        if ours["encoder_class"] == theirs["encoder_class"]:
            different = [f"{key} {theirs[key]!r} ≠ {ours[key]!r}" for key in ours if ours[key] != theirs[key]]
        else:
            different = [f"encoder class {theirs['encoder_class']!r} ≠ {ours['encoder_class']!r}"]
        shared = self.stock_class is None or self.stock_class.one_checkpoint
        tower = encoder.spec if isinstance(encoder.spec, EncoderSpec) and encoder.spec.queries_only else None
        weights = tower.document_weights if tower else encoder.fingerprint
        if shared and self.manifest["weights"] != weights:
            different.append(f"weights {self.manifest['weights'][:12]} ≠ {weights[:12]}")
        if different:
            theirs = f"the document encoder of this one ({tower.document_encoder})" if tower else "this one"
            raise UsageError(
                f"{self.directory}: was made by an encoder ({self.manifest['encoder']}) that differs from {theirs} in "
                f"{'; '.join(different)}; search it with the encoder that made it, or encode the corpus anew"
            )

    def vectors(self, start: int, stop: int) -> np.ndarray:
        """Stored (or reconstructed) vectors (stop − start, dim) float32; `DataError` if the file is damaged."""
        try:
            return faiss_files.vectors(self.faiss_index, start, stop)
        except RuntimeError as error:
            raise faiss_files.unreadable_vectors(self.directory / INDEX, error) from error

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Stored (or reconstructed) vectors of some positions, (len(positions), dim) float32."""
        try:
            return faiss_files.take(self.faiss_index, positions)
        except RuntimeError as error:
            raise faiss_files.unreadable_vectors(self.directory / INDEX, error) from error

    def search(self, vectors: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """The best vectors for each query, whatever the type of the index.

        Args:
            vectors: (n, dim) float32.
            depth: results per query; no more than there are vectors.

        Returns:
            Scores (n, depth) float32, larger is better, inner products (of compressed vectors where it holds those),
            and positions (n, depth) int64. A position of −1 means that an approximate index found no more.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        depth = min(depth, len(self))
        if not depth:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        if self.type == "binary":
            return search_binary(self.faiss_index, queries, depth)
        return self.faiss_index.search(queries, depth)

    def tune(self, *, nprobe: int | None = None, ef_search: int | None = None) -> None:
        """Searches more, or less, than the index file says from here on.

        Raises:
            UsageError: the type has no such parameter.
        """
        faiss_files.set_search(self.faiss_index, self.directory, nprobe=nprobe, ef_search=ef_search)


def spec_of(manifest: Mapping[str, Any] | None, path: Path) -> EncoderSpec | StockSpec | None:
    """The encoder spec that a manifest holds, None if it holds none; `path` is its file, for messages."""
    if manifest is None or "spec" not in manifest:
        return None
    values = manifest["spec"]
    kind = StockSpec if isinstance(values, dict) and "encoder_class" in values else EncoderSpec
    return kind.from_dict(values, path)


def require_index_directory(directory: Path) -> Path:
    """`directory` if it holds a finished index; else a `DataError` that says what it is."""
    directory = require_directory(directory, "index directory")
    complete(directory)
    if (directory / FOLDER).exists() and not all((directory / name).exists() for name in (INDEX, DOCID, MANIFEST)):
        raise DataError(
            directory,
            f"holds an unfinished encoding ({chunks_done(directory)} chunks are there)",
            remedy="give the encode command again to finish it",
        )
    if not (directory / INDEX).exists() or not (directory / DOCID).exists():
        if (directory / WRITING).exists():
            raise DataError(directory, "holds an unfinished index", remedy="give the command that makes it again")
        if (directory / EMBEDDINGS).exists():
            raise DataError(
                directory, f"holds {EMBEDDINGS}, not an index", remedy="python -m pyserini_sdr.index build makes one"
            )
        if any(directory.glob("segments_*")):
            raise DataError(directory, "is a Lucene index", remedy="search it with python -m pyserini_sdr.search bm25")
        raise DataError(directory, f"is not an index directory ({INDEX} and {DOCID} are missing)")
    return directory


def chunks_done(directory: Path) -> int:
    """Chunks of an unfinished encoding that have their record."""
    return sum(1 for path in (directory / FOLDER).glob("*.json") if path.stem.isdigit())


def open_index(directory: Path) -> Index:
    """Opens an index directory for searching; the file is mapped, not read, where FAISS can do so.

    Raises:
        DataError: not an index, unfinished, damaged, or with another number of ids than vectors.
        UsageError: a metric under which larger scores are worse.
    """
    directory = Path(directory)
    for _ in range(_ATTEMPTS):
        require_index_directory(directory)
        before = state_of(directory)
        try:
            index = _open(directory, before)
        except (SdrError, OSError):  # its fault, or that of another process which was just then replacing its files
            if _still(directory, before):
                raise
        else:
            if _still(directory, before):
                return index
        time.sleep(_PAUSE)
    raise DataError(directory, "keeps changing while it is opened", remedy="try again when nobody changes it")


def state_of(directory: Path) -> State:
    """What tells whether the files of an index directory are still the same ones: it differs after any change."""
    found = []
    for name in (INDEX, DOCID, MANIFEST):
        try:
            facts = (directory / name).stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def _still(directory: Path, before: State) -> bool:
    """Whether nothing has been replaced since, nor is being replaced."""
    return not (directory / PENDING).exists() and state_of(directory) == before


def _open(directory: Path, state: State) -> Index:
    manifest = read_index_manifest(directory)
    index = faiss_files.open_mapped(directory / INDEX)
    docids = read_docids(directory / DOCID)
    if index.ntotal != len(docids):
        raise DataError(
            directory / DOCID, f"holds {len(docids)} ids for {index.ntotal} vectors", remedy="build the index anew"
        )
    if manifest is not None and manifest.get("count") != index.ntotal:
        raise DataError(
            directory / MANIFEST,
            f"says {manifest.get('count')} vectors, index holds {index.ntotal}",
            remedy="build it anew",
        )
    if not faiss_files.is_inner_product(index):
        raise UsageError(
            f"{directory}: an L2 index: its scores are distances, which trec_eval would rank upside down; "
            "build one by inner product"
        )
    return Index(directory, index, docids, manifest, state)
