"""Opening an index directory: ours or one that stock Pyserini made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from ..anserini.encoder_classes import ENCODER_CLASSES, OURS, EncoderClass, StockSpec, class_name
from ..core.errors import DataError, UsageError
from ..core.files import read_lines, require_directory
from ..core.manifest import read_manifest
from ..encode.chunks import FOLDER
from ..encode.engine import DOCID, INDEX, MANIFEST
from ..model.spec import EncoderSpec

if TYPE_CHECKING:
    from ..encode.loading import Encoder


@dataclass
class Index:
    """An index directory.

    Args:
        directory: where it is.
        faiss_index: the FAISS index, searched by inner product.
        docids: id of every vector.
        manifest: what `sdr_index.json` says; None for an index made by stock Pyserini.
    """

    directory: Path
    faiss_index: Any
    docids: list[str]
    manifest: dict[str, Any] | None

    @cached_property
    def spec(self) -> EncoderSpec | StockSpec | None:
        """How its documents were encoded, None if nobody wrote it down."""
        if self.manifest is None or "spec" not in self.manifest:
            return None
        values = self.manifest["spec"]
        kind = StockSpec if isinstance(values, dict) and "encoder_class" in values else EncoderSpec
        return kind.from_dict(values, self.directory / MANIFEST)

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
        """Stored (or reconstructed) vectors (stop − start, dim) float32."""
        return self.faiss_index.reconstruct_n(start, stop - start)


def require_index_directory(directory: Path) -> Path:
    """`directory` if it holds a finished index; else a `DataError` that says what it is."""
    directory = require_directory(directory, "index directory")
    if not (directory / INDEX).exists() or not (directory / DOCID).exists():
        if (directory / FOLDER).exists():
            raise DataError(
                directory, "holds an unfinished encoding", remedy="give the encode command again to finish it"
            )
        if (directory / "embeddings.jsonl").exists():
            raise DataError(
                directory, "holds embeddings.jsonl, not an index", remedy="python -m pyserini_sdr.index build makes one"
            )
        if any(directory.glob("segments_*")):
            raise DataError(directory, "is a Lucene index", remedy="search it with python -m pyserini_sdr.search bm25")
        raise DataError(directory, f"is not an index directory ({INDEX} and {DOCID} are missing)")
    if (directory / FOLDER).exists() and not (directory / MANIFEST).exists():
        raise DataError(directory, "holds an unfinished encoding", remedy="give the encode command again to finish it")
    return directory


def read_docids(directory: Path) -> list[str]:
    """The ids of an index, one per line of its `docid` file."""
    docids = [line for _, line in read_lines(directory / DOCID)]
    if "" in docids:
        raise DataError(directory / DOCID, "empty document id", line=docids.index("") + 1)
    return docids


def open_index(directory: Path) -> Index:
    """Opens an index directory for searching.

    Raises:
        DataError: not an index, unfinished, damaged, or with another number of ids than vectors.
        UsageError: a metric under which larger scores are worse.
    """
    directory = require_index_directory(Path(directory))
    manifest = read_manifest(directory / MANIFEST) if (directory / MANIFEST).exists() else None
    try:
        index = faiss.read_index(str(directory / INDEX), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise DataError(
            directory / INDEX, f"cannot be read by faiss: {_cause(error)}", remedy="build it anew"
        ) from error
    docids = read_docids(directory)
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
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise UsageError(
            f"{directory}: an L2 index: its scores are distances, which trec_eval would rank upside down; "
            "build one by inner product"
        )
    return Index(directory, index, docids, manifest)


def _cause(error: RuntimeError) -> str:
    text = str(error).strip().splitlines()[0]
    return text.rsplit("Error: ", 1)[-1][:200]
