"""What decides how a run proceeds: chosen from the machine where the user says nothing, and kept for its resumption."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DataError
from ..core.manifest import versions
from ..core.progress import note
from ..core.runtime import container_memory
from ..data.corpus import CorpusSummary
from .chunks import ChunkStore
from .options import ChunkDtype, EncodeOptions
from .texts import Reading

CPU_CHUNK, GPU_CHUNK = 4096, 32768
_TEXT_BYTES = 16 << 10
"""Memory that a document's text and tokens take while its chunk is at hand, roughly."""
_NUMBER_BYTES = 22
"""Of a float in JSON with the comma after it."""


@dataclass(frozen=True)
class Settings:
    """What the bytes of a result depend on, besides corpus and encoder.

    Args:
        chunk_size: documents per chunk, within which texts are sorted by length.
        token_budget: padded tokens per batch.
        batch_size: texts per batch at most, None for no limit.
        chunk_dtype: of vectors in chunks.
    """

    chunk_size: int
    token_budget: int
    batch_size: int | None
    chunk_dtype: ChunkDtype

    @classmethod
    def choose(cls, options: EncodeOptions, encoder: Any, count: int, recorded: Mapping[str, Any] | None) -> Settings:
        """What the user gave, else what an interrupted run had, else what suits this machine.

        Args:
            options: of the command.
            encoder: tells its own token budget, dimension and device.
            count: documents of the corpus.
            recorded: plan of the run to be resumed.
        """
        recorded = recorded or {}
        identity = encoder.identity()
        auto = cls(
            options.output.chunk_size or default_chunk_size(count, identity["spec"]["dimension"], identity["device"]),
            options.encoder.token_budget or getattr(encoder, "token_budget", 0),
            options.encoder.batch_size or getattr(encoder, "max_batch", None),
            options.output.chunk_dtype,
        )
        return cls(
            options.output.chunk_size or recorded.get("chunk_size") or auto.chunk_size,
            options.encoder.token_budget or recorded.get("token_budget") or auto.token_budget,
            options.encoder.batch_size or recorded.get("batch_size", auto.batch_size),
            auto.chunk_dtype,
        )

    @classmethod
    def of_plan(cls, plan: Mapping[str, Any]) -> Settings:
        """Those that the first process has written down."""
        return cls(**{name: plan[name] for name in cls.__dataclass_fields__})

    def apply(self, encoder: Any) -> None:
        """Makes the encoder batch accordingly."""
        encoder.token_budget, encoder.max_batch = self.token_budget, self.batch_size


def default_chunk_size(count: int, dimension: int, device: str) -> int:
    """4,096 on a CPU; on a GPU a 64th of the corpus within 4,096 and 32,768, so that several GPUs have enough to do.

    Halved while three chunks of vectors and texts would take more than a 32nd of the machine's memory. It does not
    depend on the number of processes, as that must not change the result.
    """
    size = CPU_CHUNK
    while device != "cpu" and size < min(GPU_CHUNK, count // 64):
        size *= 2
    while size > 256 and size * (12 * dimension + _TEXT_BYTES) > machine_memory() // 32:
        size //= 2
    return size


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    container = container_memory()
    return total if container is None else min(total, container[0])


def make_plan(
    options: EncodeOptions,
    summary: CorpusSummary,
    settings: Settings,
    identity: Mapping[str, Any],
    tokenizer: str | None,
) -> dict[str, Any]:
    """What a run that is resumed must have in common with the one that was interrupted.

    Args:
        tokenizer: fingerprint of the encoder's tokenizer and configuration, None where there are no files of them.
    """
    packages = ["pyserini_sdr", "torch", "transformers", "tokenizers"]
    packages += ["onnxruntime"] if identity.get("backend") == "onnx" else []
    packages += ["pyserini"] if "encoder_class" in identity["spec"] else []
    return {
        "corpus": summary.sha256,
        **asdict(Reading.of(options)),
        "shard": [options.input.shard_id, options.input.shard_num],
        **asdict(settings),
        **identity,
        "tokenizer": tokenizer,
        "software": versions(packages),
    }


def check_space(store: ChunkStore, summary: CorpusSummary, counts: Sequence[int], missing: int, to_faiss: bool) -> None:
    """Says how much room the run will take and refuses if there is less.

    Args:
        store: of the chunks.
        summary: of the whole corpus.
        counts: documents of each chunk.
        missing: documents that are yet to be encoded.
        to_faiss: the result is `index` and `docid`, else `embeddings.jsonl`.

    Raises:
        DataError: with the room that is needed and there.
    """
    count, share = sum(counts), sum(counts) / summary.count
    ids = int(summary.id_bytes * share)
    chunks = missing * store.dimension * store.dtype.itemsize + int(ids * missing / count) + 4096 * len(counts)
    result = count * store.dimension * 4 + ids
    if not to_faiss:
        result = count * store.dimension * _NUMBER_BYTES + int(summary.bytes * share)
    free = shutil.disk_usage(store.folder).free
    room = f"needs {_size(chunks + result)} ({_size(chunks)} of chunks until it is finished, {_size(result)} to stay)"
    if chunks + result > free:
        remedies = ["free some space", "write elsewhere"]
        if store.dtype.itemsize == 4:
            remedies.append("--chunk-dtype float16 halves the chunks")
        raise DataError(store.folder.parent, f"{room}, {_size(free)} are free", remedy=", or ".join(remedies))
    note(f"{store.folder.parent}: {room}, {_size(free)} are free")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"
