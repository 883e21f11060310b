"""What the load benchmarks work on, written as it is made and never held: vectors, topics, runs and judgements."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from material import draw_topics

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.core.files import atomic_file, read_object, require_directory
from pyserini_sdr.core.progress import bar
from pyserini_sdr.encode.engine import DOCID, INDEX
from pyserini_sdr.encode.flat import flat_header
from pyserini_sdr.index.flat import open_flat
from pyserini_sdr.trec.run import ordered
from pyserini_sdr.trec.scores import score_texts
from pyserini_sdr.trec.topics import read_topics

_BLOCK = 10_000
_DRAWN = 100
"""Topics of runs that are drawn."""
_MIXED = 3
"""Vectors of the source in each one made."""


def write_mixed_index(directory: Path, source: Path, count: int, seed: int) -> Path:
    """A flat index of unit vectors, each a random mean of three vectors of a flat index: they lie between real texts,
    closer to each other than random ones, which no approximate index finds.

    Args:
        directory: to make.
        source: the flat index.
        count: vectors to write.
        seed: of the draws.

    Raises:
        DataError: the source is no flat index.
    """
    file = open_flat(source / INDEX)
    if file is None:
        raise DataError(source, "is no flat index", remedy="give one of type flat")
    known, rng = file.read(0, len(file)), np.random.default_rng(seed)
    with atomic_file(directory / INDEX, "wb") as index, atomic_file(directory / DOCID) as names:
        index.write(flat_header(file.dimension, count))
        for start in bar(range(0, count, _BLOCK), unit="block", desc="vectors"):
            size = min(_BLOCK, count - start)
            weights = rng.dirichlet(np.ones(_MIXED), size).astype(np.float32)
            mixed = np.einsum("nk,nkd->nd", weights, known[rng.integers(0, len(known), (size, _MIXED))])
            index.write((mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32).tobytes())
            names.writelines(f"d{number}\n" for number in range(start, start + size))
    return directory


def encoder_of(index: Path) -> str:
    """The encoder that an index tells.

    Raises:
        DataError: it tells none.
    """
    encoder = read_object(require_directory(index, "index directory") / "sdr_index.json").get("encoder")
    if encoder is None:
        raise DataError(index, "does not tell its encoder", remedy="give one made by python -m pyserini_sdr.encode")
    return encoder


def gather_topics(paths: Sequence[Path], count: int, seed: int, output: Path) -> Path:
    """Writes `count` topics drawn from files; what they lack is made of halves of two of them each.

    Raises:
        DataError: files without topics.
    """
    known = {qid: query for path in paths for qid, query in read_topics(path).items()}
    texts, rng = list(known.values()), np.random.default_rng(seed)
    for number in range(count - len(known)):
        first, second = (texts[place].split() for place in rng.integers(0, len(texts), 2))
        known[f"made-{number}"] = " ".join(first[: len(first) // 2] + second[len(second) // 2 :])
    draw_topics(known, count, seed, output)
    return output


def write_vocabulary(topics: Path, output: Path) -> Path:
    """A WordPiece vocabulary for topics: their 20,000 most frequent words, and every character to spell the others."""
    words = Counter(re.findall(r"\w+|[^\w\s]", " ".join(read_topics(topics).values()).lower()))
    characters = sorted({character for word in words for character in word})[:5000]
    pieces = [*("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), *characters, *(f"##{one}" for one in characters)]
    pieces += [word for word, _ in words.most_common(20_000) if len(word) > 1]
    with atomic_file(output) as handle:
        handle.writelines(f"{piece}\n" for piece in pieces)
    return output


def first_topics(path: Path, count: int, output: Path) -> Path:
    """The first `count` topics of a file of one per line."""
    with path.open(encoding="utf-8") as lines, atomic_file(output) as handle:
        handle.writelines(line for _, line in zip(range(count), lines, strict=False))
    return output


def write_runs(paths: Sequence[Path], qrels: Path, topics: int, depth: int, seed: int) -> None:
    """Runs over one million documents, and judgements for them.

    A topic has a pool of twice `depth` documents: each run has a random half of it, 10 are judged (grades 0 to 2). From
    the 101st topic on they come again under another id, as drawing takes longer than what is to be measured.

    Args:
        paths: of the runs.
        qrels: of the judgements.
        topics: how many.
        depth: documents of each per run, at least 5.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    blocks: list[list[str]] = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(atomic_file(path)) for path in (qrels, *paths)]
        for topic in bar(range(topics), unit="topic", desc="runs"):
            if topic < _DRAWN:
                blocks.append(_topic(rng, len(paths), depth))
            for file, block in zip(files, blocks[topic % _DRAWN], strict=True):
                file.write(block.replace("TOPIC", f"q{topic}"))


def _topic(rng: np.random.Generator, runs: int, depth: int) -> list[str]:
    """The lines of a topic: its judgements, then those of each run."""
    pool = [f"d{number}" for number in rng.choice(1_000_000, 2 * depth, replace=False).tolist()]
    blocks = ["".join(f"TOPIC 0 {docid} {place % 3}\n" for place, docid in enumerate(pool[:10]))]
    for number in range(runs):
        chosen = [pool[place] for place in rng.permutation(2 * depth)[:depth].tolist()]
        docids, scores = ordered(chosen, rng.random(depth, dtype=np.float32))
        rows = zip(docids, score_texts(scores), strict=True)
        blocks.append(
            "".join(f"TOPIC Q0 {docid} {n} {score} load-{number}\n" for n, (docid, score) in enumerate(rows, 1))
        )
    return blocks
