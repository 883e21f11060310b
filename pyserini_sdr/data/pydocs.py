"""The embedded collection: documentation strings of installed Python packages as a known-item search task.

The summary of an API is the query, the rest of its documentation the document. Source files are parsed statically.
"""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zlib import crc32

from ..core.errors import UsageError
from ..core.progress import bar
from .docstrings import module_name, read_docstrings
from .doctext import normalise, split_docstring

STANDARD_LIBRARY = "python"
PACKAGES = (
    STANDARD_LIBRARY, "torch", "scipy", "numpy", "pandas", "scikit-learn", "matplotlib", "transformers", "networkx",
    "accelerate", "huggingface-hub", "faiss-cpu", "tqdm", "jinja2", "requests", "joblib", "fsspec", "packaging",
    "pillow",
)  # fmt: skip
"""Distributions that come with pyserini_sdr anyway, and the standard library."""

_SKIPPED = {
    *("tests", "test", "testing", "vendor", "vendored", "extern", "externals", "benchmarks", "examples", "models"),
    *("site-packages", "dist-packages", "idlelib", "lib2to3", "turtledemo", "ensurepip"),
}
"""Folders that hold no documentation of their own; `models` is transformers', thousands of almost equal texts."""

_SHINGLE, _SAMPLED, _NEAR = 5, 4, 0.6


@dataclass(frozen=True)
class Source:
    """Source files of one distribution.

    Args:
        package: distribution name, `python` for the standard library.
        version: its version.
        licence: what its metadata say.
        files: `(file, module name)`, sorted by module name.
    """

    package: str
    version: str
    licence: str
    files: list[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A documented API as a known-item pair.

    Args:
        id: qualified name.
        package: distribution it comes from.
        group: sub-package (for the standard library, module) that stays in one split: `torch.nn`, `asyncio`.
        query: its summary.
        contents: the rest of its documentation.
    """

    id: str
    package: str
    group: str
    query: str
    contents: str


def find_sources(packages: Sequence[str] | None = None) -> list[Source]:
    """The source files of installed distributions, without tests and private sub-packages.

    Args:
        packages: distribution names and `python`; default: those of `PACKAGES` that are installed.

    Raises:
        UsageError: a named distribution is not installed or has no source files.
    """
    sources = []
    for package in packages or PACKAGES:
        try:
            source = _standard_library() if package == STANDARD_LIBRARY else _distribution(package)
        except metadata.PackageNotFoundError:
            if packages:
                raise UsageError(f"--packages {package}: no such distribution is installed") from None
            continue
        if packages and not source.files:
            raise UsageError(f"--packages {package}: the distribution has no Python source files")
        sources.append(source)
    return sources


def _standard_library() -> Source:
    root = Path(sysconfig.get_paths()["stdlib"])
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        files += [(Path(folder, name), Path(folder, name).relative_to(root)) for name in names]
    return Source(STANDARD_LIBRARY, platform.python_version(), "PSF-2.0", _modules(files))


def _distribution(package: str) -> Source:
    distribution = metadata.distribution(package)
    files = [(Path(str(distribution.locate_file(file))), Path(file)) for file in distribution.files or ()]
    about = distribution.metadata
    licence = about.get("License-Expression") or about.get("License") or ""
    if not licence or "\n" in licence or len(licence) > 120:  # some put the whole text there
        named = [c.rsplit(" :: ", 1)[-1] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
        licence = ", ".join(named) or "see its metadata"
    return Source(package, distribution.version, licence, _modules(files))


def _modules(files: Iterable[tuple[Path, Path]]) -> list[tuple[Path, str]]:
    found = []
    for file, relative in files:
        folders = relative.parts[:-1]
        private = any(part.startswith("_") and part != "_core" for part in folders)
        if relative.suffix != ".py" or relative.is_absolute() or ".." in folders or private or _SKIPPED & set(folders):
            continue
        name = relative.stem
        mirror = not folders and name.startswith("_")  # _pyio, _pydecimal: the public module has the same texts
        if mirror or name.startswith("test_") or name.endswith("_test") or name in ("conftest", "setup"):
            continue
        found.append((file, module_name(relative)))
    return sorted(found, key=lambda item: (item[1], str(item[0])))


def read_entries(sources: Iterable[Source], *, progress: bool = True) -> list[Entry]:
    """All sensible entries of the sources without duplicates, sorted by id; the same for the same files.

    An entry is dropped if an earlier one has the same id, query or text, or shares most word 5-grams of its text;
    public modules count as earlier than private ones.
    """
    files = [(source.package, file, module) for source in sources for file, module in source.files]
    found: list[Entry] = []
    for package, file, module in bar(files, unit="file", desc="read documentation") if progress else files:
        for docstring in read_docstrings(file, module):
            pair = split_docstring(docstring.text)
            if pair and not _names_itself(pair[0], docstring.name):
                parts = docstring.module.split(".")
                group = ".".join(parts[: 1 if package == STANDARD_LIBRARY else 2])
                found.append(Entry(docstring.name, package, group, *pair))
    found.sort(key=lambda entry: (sum(part.startswith("_") for part in entry.id.split(".")), entry.id, entry.contents))
    return sorted(_distinct(found), key=lambda entry: entry.id)


def _names_itself(query: str, name: str) -> bool:
    """Whether the query gives the answer away: it holds the API's own name, and that is no common word."""
    own = name.rsplit(".", 1)[-1]
    return ("_" in own or not own[1:].islower()) and own.lower() in query.lower()


def _distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    seen: set[tuple[str, str]] = set()
    owner: dict[int, int] = {}  # sampled shingle → number of the first entry that has it
    for number, entry in enumerate(entries):
        text = normalise(entry.contents)
        keys = {("id", entry.id.lower()), ("query", normalise(entry.query)), ("text", text), ("start", text[:200])}
        if keys & seen:
            continue
        shingles = _shingles(text)
        shared: dict[int, int] = {}
        for shingle in shingles:
            if shingle in owner:
                shared[owner[shingle]] = shared.get(owner[shingle], 0) + 1
        if shared and max(shared.values()) >= _NEAR * len(shingles):
            continue
        seen |= keys
        for shingle in shingles:
            owner.setdefault(shingle, number)
        yield entry


def _shingles(text: str) -> set[int]:
    """Hashes of the word 5-grams of a text; of long texts every fourth by hash value, the same ones everywhere."""
    words = text.split()
    hashes = {crc32(" ".join(words[i : i + _SHINGLE]).encode()) for i in range(max(1, len(words) - _SHINGLE + 1))}
    return {value for value in hashes if value % _SAMPLED == 0} if len(hashes) > 40 else hashes
