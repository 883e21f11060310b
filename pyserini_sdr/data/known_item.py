"""The embedded collection as a known-item task: related entries stay in one split, every query has one document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

from ..core.errors import DataError
from .card import pydocs_card
from .material import Material, OnError
from .pydocs import Entry, find_sources, read_entries
from .records import Document

SHARE, MINIMUM = 0.075, 500
"""Queries in dev and in test: this share of all, but not fewer than this many."""


def pydocs_material(packages: Sequence[str] | None = None, max_documents: int | None = None) -> Material:
    """The documentation of installed packages; query `q-NAME` asks for document `NAME`.

    Args:
        packages: see `pydocs.find_sources`.
        max_documents: at most that many, see `reduce`.
    """
    sources = find_sources(packages)
    entries = read_entries(sources)
    splits = split_by_group(entries)
    if max_documents is not None and len(entries) > max_documents:
        splits = reduce(splits, max_documents)
    lacking = [name for name, held in splits.items() if not held]
    if lacking:
        raise DataError(
            "pydocs",
            f"{len(entries)} documentation strings are too few for train, dev and test (empty: {', '.join(lacking)})",
            remedy="name more --packages",
        )
    kept = sorted((entry for held in splits.values() for entry in held), key=lambda entry: entry.id)

    def documents(on_error: OnError | None) -> Iterator[Document]:
        return (Document(entry.id, entry.contents) for entry in kept)

    counts = Counter(entry.package for entry in kept)
    packages_read = [
        {"name": s.package, "version": s.version, "licence": s.licence, "documents": counts[s.package]} for s in sources
    ]
    return Material(
        documents,
        topics={name: {f"q-{entry.id}": entry.query for entry in held} for name, held in splits.items()},
        qrels={name: {f"q-{entry.id}": {entry.id: 1} for entry in held} for name, held in splits.items()},
        facts={"task": "known-item", "packages": packages_read},
        card=pydocs_card,
    )


def split_by_group(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """`train`, `dev`, `test` → entries in their order; a group is never divided.

    Groups are dealt in the order of a hash of their names, to test until it has its share, then to dev, the rest to
    train. A group of more than a quarter of a share goes to train, so that dev and test hold several; the bound is
    relaxed if they cannot be filled otherwise.
    """
    wanted = max(MINIMUM, round(SHARE * len(entries)))
    sizes = Counter(entry.group for entry in entries)
    largest = max(1, wanted // 4)
    while True:
        split_of, full = _deal(sizes, wanted, largest)
        if full or largest > len(entries):
            break
        largest *= 2
    splits: dict[str, list[Entry]] = {"train": [], "dev": [], "test": []}
    for entry in entries:
        splits[split_of[entry.group]].append(entry)
    return splits


def _deal(sizes: Counter[str], wanted: int, largest: int) -> tuple[dict[str, str], bool]:
    """Split of each group, and whether test and dev have what they should."""
    split_of: dict[str, str] = {}
    filled: Counter[str] = Counter()
    for group in sorted(sizes, key=_hash):
        split = next((name for name in ("test", "dev") if filled[name] < wanted), "train")
        if sizes[group] > largest:
            split = "train"
        split_of[group] = split
        filled[split] += sizes[group]
    return split_of, min(filled["test"], filled["dev"]) >= wanted


def reduce(splits: dict[str, list[Entry]], limit: int) -> dict[str, list[Entry]]:
    """At most `limit` entries, chosen by a hash of their ids; the order inside a split is kept.

    Dev and test keep their share, but not fewer than 500 each, or a quarter of `limit` if that is less.
    """
    total = sum(map(len, splits.values()))
    sizes = {
        name: min(len(splits[name]), max(min(MINIMUM, limit // 4), limit * len(splits[name]) // total))
        for name in ("dev", "test")
    }
    sizes["train"] = limit - sizes["dev"] - sizes["test"]
    kept = {}
    for name, entries in splits.items():
        chosen = set(sorted((entry.id for entry in entries), key=_hash)[: sizes[name]])
        kept[name] = [entry for entry in entries if entry.id in chosen]
    return kept


def _hash(name: str) -> bytes:
    return blake2b(name.encode("utf-8"), digest_size=8).digest()
