"""How far results differ where they are not the same bytes: threads, processes, precision, batches, index types.

    python -m tests.e2e.determinism --collection DIR --groups FILE --index INDEX --output table.md

Prints the table of docs/trust.md. What is the same in any case is checked by `test_determinism.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import faiss
import numpy as np
import torch
from safetensors.numpy import load_file

from pyserini_sdr.data.collection import Collection
from pyserini_sdr.model.device import document_dtype
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.names import resolve_encoder

from ..conftest import ROOT

DEPTH = 10
"""Documents of a query that are compared."""
Row = tuple[str, str]


class Place:
    """A folder in which commands are run, with the material by absolute paths.

    Args:
        folder: where.
        collection, groups, encoder: of the command line.
        index: flat, of the encoder.
        steps: of a training.
        shards: one of so many parts of the corpus is encoded.
    """

    def __init__(
        self, folder: Path, *, collection: Path, groups: Path, encoder: str, index: Path, steps: int, shards: int
    ) -> None:
        self.folder, self.collection, self.groups, self.encoder = folder, collection, groups, encoder
        self.index, self.steps, self.shards = index, steps, shards

    def run(self, name: str, *words: object, threads: int = 1, processes: int = 1) -> None:
        """`python -m pyserini_sdr.NAME` in this process, or `torchrun` of it."""
        print(name, *words[-4:], file=sys.stderr, flush=True)
        if processes == 1:
            torch.set_num_threads(threads)
            import_module(f"pyserini_sdr.{name}.__main__").COMMAND.execute(name, [*map(str, words)])
            return
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, "-m", f"pyserini_sdr.{name}", *map(str, words)], env=environment, check=True)

    def train(self, output: str, *more: object, threads: int = 1, processes: int = 1) -> Path:
        words = ["--collection", self.collection, "--groups", self.groups, "--encoder", self.encoder]
        words += ["--max-steps", self.steps, "--batch-size", 8, "--dev-split", "none", "--max-length", 64]
        words += ["--output", self.folder / output]
        precision = () if "--precision" in more else ("--precision", "fp32")
        self.run("train", *words, *precision, *more, threads=threads, processes=processes)
        return self.folder / output

    def encode(
        self,
        output: str,
        encoder: str,
        *more: object,
        model: Sequence[object] = (),
        threads: int = 1,
        precision: str = "fp32",
    ) -> np.ndarray:
        """Vectors (n, dim) of a part of the corpus; `more` are flags of the output, `model` of the encoder."""
        words = ["input", "--corpus", self.collection, "--shard-id", 0, "--shard-num", self.shards]
        words += ["output", "--embeddings", self.folder / output, "--to-faiss", *more]
        words += ["encoder", "--encoder", self.folder / encoder, "--precision", precision, *model]
        self.run("encode", *words, threads=threads)
        return vectors_of(self.folder / output)


def vectors_of(index: Path) -> np.ndarray:
    found = faiss.read_index(str(index / "index"))
    return found.reconstruct_n(0, found.ntotal)


def weights_apart(one: Path, other: Path) -> str:
    """The largest difference of two checkpoints' weights."""
    left, right = (load_file(path / "model.safetensors") for path in (one, other))
    most = max(float(np.abs(left[key] - right[key]).max()) for key in left)
    return "identical" if most == 0 else f"weights by {most:.1e} at most"


def vectors_apart(one: np.ndarray, other: np.ndarray, queries: np.ndarray) -> str:
    """How vectors of the same documents differ, and what that does to the best documents of queries."""
    if np.array_equal(one, other):
        return "identical"
    cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    scores = np.abs(queries @ one.T - queries @ other.T).max()
    left, right = top(one, queries), top(other, queries)
    moved = sum(not np.array_equal(a, b) for a, b in zip(left, right, strict=True))
    shared = overlap(left, right)
    return (
        f"1 − cosine {max(0.0, 1 - float(cosine.min())):.1e}, scores by {scores:.1e} at most; "
        f"top {DEPTH} in another order for {moved} of {len(queries)} queries, {shared:.2%} of documents shared"
    )


def top(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(queries, DEPTH) positions of the best documents."""
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :DEPTH]


def overlap(left: np.ndarray, right: np.ndarray) -> float:
    """Mean share of the same documents, whatever their order."""
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(left.tolist(), right.tolist(), strict=True)]))


def training(place: Place) -> list[Row]:
    """Trainings of the same seed against one of one thread and one process."""
    once = place.train("once")
    rows = [("the same again", weights_apart(once, place.train("again")))]
    two = place.train("threads", threads=2)
    rows += [
        ("2 threads instead of 1", weights_apart(once, two)),
        ("2 threads, the same again", weights_apart(two, place.train("threads-again", threads=2))),
        ("`--micro-batch-size 4`", weights_apart(once, place.train("pieces", "--micro-batch-size", 4))),
        ("2 processes instead of 1", weights_apart(once, place.train("processes", processes=2))),
        (
            f"bf16{'' if has_bf16() else ' (emulated here)'}",
            weights_apart(once, place.train("bf16", "--precision", "bf16")),
        ),
    ]
    rows.append(
        ("for comparison: what the training has changed", weights_apart(once, resolve_encoder(place.encoder).directory))
    )
    return [(f"train, {what}", found) for what, found in rows]


def has_bf16() -> bool:
    """Whether the processor computes in bf16, by which `--precision auto` decides."""
    return document_dtype("auto", torch.device("cpu")) == torch.bfloat16


def encoding(place: Place) -> list[Row]:
    """Encodings with what `training` has made, against one of one thread."""
    once, queries = place.encode("flat", "once"), topics_of(place, place.folder / "once")
    bf16 = f"bf16{'' if has_bf16() else ' (emulated here)'}"
    found = {
        "2 threads instead of 1": place.encode("encode-threads", "once", threads=2),
        "`--chunk-size 64`": place.encode("encode-chunks", "once", "--chunk-size", 64),
        "`--batch-size 8`": place.encode("encode-batches", "once", model=("--batch-size", 8)),
        "by the encoder trained with 2 threads": place.encode("encode-trained", "threads"),
        bf16: place.encode("encode-bf16", "once", precision="bf16"),
    }
    return [(f"encode, {what}", vectors_apart(once, vectors, queries)) for what, vectors in found.items()]


def indexes(place: Place) -> list[Row]:
    """Indexes of the same vectors, built by one and by two threads, in this process."""
    queries = topics_of(place, place.encoder)
    exact, rows = top(vectors_of(place.index), queries), []
    for kind in ("hnsw", "ivf", "ivf-pq", "pq", "sq8"):
        built = {}
        for threads, attempt in ((1, 0), (1, 1), (2, 0), (2, 1)):
            output = built[threads, attempt] = place.folder / f"{kind}-{threads}-{attempt}"
            words = ["--input", place.index, "--output", output, "--type", kind, "--threads", threads]
            place.run("index", "build", *words, "--eval-queries", 0)
        for what, one, other in (
            ("1 thread, twice", (1, 0), (1, 1)),
            ("2 threads, twice", (2, 0), (2, 1)),
            ("2 threads instead of 1", (1, 0), (2, 0)),
        ):
            rows.append((f"index build, {kind}, {what}", indexes_apart(built[one], built[other], queries, exact)))
    return rows


def indexes_apart(one: Path, other: Path, queries: np.ndarray, exact: np.ndarray) -> str:
    if (one / "index").read_bytes() == (other / "index").read_bytes():
        return "identical"
    faiss.omp_set_num_threads(1)
    left, right = (faiss.read_index(str(path / "index")).search(queries, DEPTH)[1] for path in (one, other))
    return (
        f"recall@{DEPTH} {overlap(left, exact):.4f} and {overlap(right, exact):.4f}; "
        f"{overlap(left, right):.2%} of the documents found are the same"
    )


def topics_of(place: Place, encoder: str | Path) -> np.ndarray:
    """(topics, dim) vectors of the test topics."""
    topics = list(Collection.open(place.collection).topics("test").values())
    return BiEncoder.load(str(encoder), device="cpu", precision="fp32").encode_queries(topics)


PARTS: dict[str, Callable[[Place], list[Row]]] = {
    "models": lambda place: [*training(place), *encoding(place)],
    "indexes": indexes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.determinism", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--collection", type=Path, required=True, help="collection with topics of `test`")
    parser.add_argument("--groups", type=Path, required=True, help="training groups")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="where training starts")
    parser.add_argument("--index", type=Path, required=True, help="flat index of that encoder")
    parser.add_argument("--steps", type=int, default=6, help="of each training (default: 6)")
    parser.add_argument("--shards", type=int, default=8, help="an N-th of the corpus is encoded (default: 8)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="of the table (default: all)")
    parser.add_argument("--output", type=Path, help="where to write the table")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sdr-determinism-") as name:
        place = Place(
            Path(name),
            collection=options.collection.resolve(),
            groups=options.groups.resolve(),
            encoder=options.encoder,
            index=options.index.resolve(),
            steps=options.steps,
            shards=options.shards,
        )
        rows = [row for part in options.parts for row in PARTS[part](place)]
    text = "\n".join(["| what differs | how far |", "|---|---|", *(f"| {what} | {found} |" for what, found in rows)])
    print(text)
    if options.output:
        options.output.write_text(f"{text}\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
