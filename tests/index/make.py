"""Vectors and indexes for the tests of `index`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pyserini_sdr.index.__main__ import COMMAND

DIMENSION = 32
COUNT = 1200


def clustered(count: int = COUNT, dimension: int = DIMENSION, seed: int = 0, themes: int = 40) -> np.ndarray:
    """Unit vectors (count, dimension) float32 around a few centres, as those of real documents are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(themes, dimension))
    vectors = centres[rng.integers(0, themes, count)] + 0.7 * rng.normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def names(count: int, start: int = 0) -> list[str]:
    """Ids, not in alphabetical order, one of them not ASCII."""
    return [f"d{(n * 7919) % 100003}é" if n == 3 else f"d{(n * 7919) % 100003}" for n in range(start, start + count)]


def write_index(folder: Path, vectors: np.ndarray, ids: list[str] | None = None, **manifest: Any) -> Path:
    """A flat index directory; with a manifest if anything for it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    faiss.write_index(index, str(folder / "index"))
    ids = names(len(vectors)) if ids is None else ids
    (folder / "docid").write_text("".join(f"{id}\n" for id in ids), "utf-8")
    if manifest:
        facts = {"kind": "index", "count": len(vectors), "dimension": vectors.shape[1], "type": "flat", **manifest}
        (folder / "sdr_index.json").write_text(json.dumps(facts))
    return folder


def spec(**changes: Any) -> dict[str, Any]:
    """Manifest entries about an encoder."""
    settings = {"pooling": "mean", "similarity": "cosine", "dimension": DIMENSION, **changes}
    return {"encoder": "some-encoder", "weights": "f" * 64, "spec": settings}


def index(*words: object) -> int:
    """Runs `index` in this process with one thread."""
    before = faiss.omp_get_max_threads()
    status = COMMAND.execute("python -m pyserini_sdr.index", [str(word) for word in words])
    assert faiss.omp_get_max_threads() == before
    return status


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "sdr_index.json").read_text())


def build(source: Path, output: Path, *flags: object) -> Path:
    """Builds with one thread and without measuring, unless the flags say otherwise."""
    given = {str(flag) for flag in flags}
    extra = [word for pair in (("--threads", 1), ("--eval-queries", 0)) if pair[0] not in given for word in pair]
    assert index("build", "--input", source, "--output", output, *extra, *flags) == 0
    return output


def same_files(first: Path, second: Path) -> None:
    """Both directories hold the same bytes of `index` and `docid`."""
    for name in ("docid", "index"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


TYPE_FLAGS: dict[str, tuple[object, ...]] = {
    "hnsw": ("--M", 16),
    "hnsw-pq": ("--M", 16, "--pq-m", 16),
    "ivf": ("--nlist", 20),
    "ivf-pq": ("--nlist", 12, "--pq-m", 16),
    "opq": ("--nlist", 12, "--pq-m", 16, "--pq-nbits", 6),
    "pq": ("--pq-m", 16),
    "sq8": (),
    "binary": (),
}
"""Each type but flat, with flags that suit the vectors of `clustered`."""
