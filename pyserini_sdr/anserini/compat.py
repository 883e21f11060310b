"""Every difference between Pyserini 1.6 and 2.x that we meet, in one place. Importing it imports no pyserini."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..core.errors import SdrError, unknown


def pyserini_version() -> str | None:
    """The installed version, or None."""
    try:
        return metadata.version("pyserini")
    except metadata.PackageNotFoundError:
        return None


def package_directory() -> Path:
    """The folder of the installed `pyserini` package; nothing of it is imported."""
    spec = find_spec("pyserini")
    if spec is None or not spec.submodule_search_locations:
        raise SdrError("pyserini is not installed; run `pip install 'pyserini>=1.6,<3'`")
    return Path(next(iter(spec.submodule_search_locations)))


def fatjar() -> Path:
    """Anserini's jar with everything in it, chosen as Pyserini chooses it (ANSERINI_CLASSPATH, then its own)."""
    folder = Path(os.environ.get("ANSERINI_CLASSPATH") or package_directory() / "resources" / "jars")
    jars = sorted(folder.glob("anserini-*-fatjar.jar"), key=lambda jar: (jar.stat().st_ctime, jar.name))
    if not jars:
        raise SdrError(f"{folder}: no anserini-*-fatjar.jar there; reinstall pyserini or correct ANSERINI_CLASSPATH")
    return jars[-1]


def module_file(module: str) -> Path | None:
    """The file that `python -m MODULE` would run, found without importing its packages; None if there is none."""
    folder = package_directory().joinpath(*module.split(".")[1:])
    for file in (folder / "__main__.py", folder.with_name(folder.name + ".py")):
        if file.is_file():
            return file
    return None


def runnable_modules() -> Iterator[str]:
    """Names of Pyserini's modules that have a command line."""
    root = package_directory()
    for file in sorted(root.rglob("*.py")):
        if file.parent == root and file.name == "__main__.py":
            continue
        has_main = b"__main__" in file.read_bytes() and not file.name.startswith("_")
        if has_main or file.name == "__main__.py":
            parts = file.relative_to(root).with_suffix("").parts
            yield ".".join(["pyserini", *(p for p in parts if p != "__main__")])


def loads_own_models() -> bool:
    """Whether stock can load models whose classes are Pyserini's own (ANCE): before 2.1 not under transformers 5."""
    return _release("pyserini") >= (2, 1) or _release("transformers") < (5, 0)


@contextlib.contextmanager
def heads_stay_as_loaded() -> Iterator[None]:
    """Within it, Pyserini 2.4 does not read the head of ANCE again, from a `pytorch_model.bin`.

    It does so because transformers 5 may draw a head at random after loading it; our loading fills the whole model.
    """
    name = "load_head_weights"
    modules = [m for key, m in list(sys.modules.items()) if key.startswith("pyserini.encode.") and hasattr(m, name)]
    originals = [getattr(module, name) for module in modules]
    for module in modules:
        setattr(module, name, lambda *_: None)
    try:
        yield
    finally:
        for module, original in zip(modules, originals, strict=True):
            setattr(module, name, original)


def asks_for_key() -> bool:
    """Whether it cannot be imported without an OPENAI_API_KEY, which may be anything: before 2.1."""
    return _release("pyserini") < (2, 1)


def starts_without_network() -> bool:
    """Whether `python -m pyserini...` does: 2.4 fetches lists of its prebuilt indexes while it is imported."""
    return pyserini_version() is None or _release("pyserini") != (2, 4)


def defer_downloads() -> None:
    """Lets Pyserini 2.4 fetch its lists of prebuilt indexes when one is asked for, not while it is imported.

    Two names of impact indexes are resolved at its import, alone of all. The import gets records with these names in
    place of the lists; afterwards they stand for other names as everywhere else in that module. To be called before
    anything of pyserini is imported; other versions are left as they are.
    """
    name = "pyserini.prebuilt_index_info"
    if starts_without_network() or name in sys.modules:
        return
    import urllib.request as network

    fields = ("description", "filename", "urls", "md5", "size")
    records = json.dumps([{"name": target, **dict.fromkeys(fields)} for target in _RESOLVED_AT_IMPORT.values()])
    urlopen = network.urlopen
    network.urlopen = lambda *_, **__: io.BytesIO(records.encode())
    try:
        info = import_module(name)
    finally:
        network.urlopen = urlopen
    info.urlopen = urlopen
    info.IMPACT_INDEX_INFO_MSMARCO._info = None
    info.IMPACT_INDEX_INFO_MSMARCO_ALIASES.clear()
    info.IMPACT_INDEX_INFO._aliases.update(_RESOLVED_AT_IMPORT)


_RESOLVED_AT_IMPORT = {
    "msmarco-passage-unicoil-d2q": "msmarco-v1-passage.unicoil",
    "msmarco-v2-passage-unicoil-0shot": "msmarco-v2-passage.unicoil-0shot",
}


def _release(package: str) -> tuple[int, ...]:
    """Its first two numbers."""
    return tuple(map(int, metadata.version(package).split(".")[:2]))


def topic_names() -> dict[str, Any]:
    """Stock topic names → Anserini's `Topics` constants. Needs a running JVM."""
    return _table("topics_mapping")


def qrels_names() -> dict[str, Any]:
    """Stock qrels names → Anserini's `Qrels` constants. Needs a running JVM."""
    return _table("qrels_mapping")


@dataclass(frozen=True)
class PrebuiltIndex:
    """An index that Pyserini downloads: from where, its compressed size in bytes, and where it lies afterwards."""

    name: str
    url: str
    bytes: int
    folder: Path


def prebuilt_index(name: str) -> PrebuiltIndex:
    """What Pyserini knows of an inverted or FAISS index of its own. Needs a running JVM, and from 2.4 a network.

    Raises:
        SdrError: no index of that name, or no network for the list of them.
    """
    info = import_module("pyserini.prebuilt_index_info")
    try:
        known = {**info.TF_INDEX_INFO, **info.FAISS_INDEX_INFO}
    except OSError as error:
        raise SdrError(
            f"index {name}: pyserini {pyserini_version()} fetches the list of its indexes, which fails ({error}); "
            "run it where there is a network, or install 'pyserini<2.4', which brings the list"
        ) from None
    if name not in known:
        raise SdrError(unknown(f"prebuilt index of pyserini {pyserini_version()}", name, known))
    entry = known[name]
    url = entry["urls"][0]
    stem = (entry.get("filename") or url.rpartition("/")[2]).partition(".tar.gz")[0]
    folder = Path(import_module("pyserini.util").get_cache_home(), "indexes", f"{stem}.{entry['md5']}")
    size = entry["size compressed (bytes)" if brings_tables() else "size"]
    return PrebuiltIndex(name, url, int(size), folder)


def brings_tables() -> bool:
    """Whether Pyserini knows names of topics, qrels and indexes by itself: from 2.4 on it fetches them."""
    return _release("pyserini") < (2, 4)


def _table(attribute: str) -> dict[str, Any]:
    """A table of Pyserini 1.6 to 2.3; see `brings_tables`."""
    table = getattr(import_module("pyserini.search._base"), attribute, None)
    if table is None:
        raise SdrError(f"pyserini {pyserini_version()} has no table of stock names; give the path of a file instead")
    return table
