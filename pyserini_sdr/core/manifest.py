"""Manifests: a JSON file beside every artefact that says how it was made.

A directory's manifest is written last and atomically, so a directory with its manifest is finished. What is one file is
finished when it is there; its manifest, beside it, is written just before it appears.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .files import file_sha256, read_object, write_json

_PACKAGES = ("pyserini_sdr", "torch", "transformers", "faiss-cpu", "pyserini", "numpy", "pandas", "pytrec-eval-terrier")
_START = time.perf_counter()


def versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Installed versions of the named distributions, Python's first; read from metadata, nothing is imported."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """Peak resident memory of this process (POSIX `ru_maxrss`)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def command_line() -> str:
    """The command of this process as one could type it."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    program = ["python", sys.argv[0]] if spec is None else ["python", "-m", spec.name.removesuffix(".__main__")]
    return shlex.join(program + sys.argv[1:])


def describe_inputs(paths: Iterable[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Path, size and SHA-256 of each input file."""
    return [
        {"path": os.fspath(path), "bytes": Path(path).stat().st_size, "sha256": file_sha256(path)} for path in paths
    ]


def write_manifest(
    path: str | os.PathLike[str],
    kind: str,
    *,
    config: Mapping[str, Any],
    inputs: Iterable[str | os.PathLike[str]] = (),
    **facts: Any,
) -> dict[str, Any]:
    """Writes the manifest of an artefact and returns it.

    Args:
        path: the manifest file.
        kind: what the artefact is: `collection`, `checkpoint`, `index`, `run`, ...
        config: the resolved options.
        inputs: files it was made from; they are hashed.
        facts: anything else worth keeping (counts, spec, cost).
    """
    manifest = {
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "config": dict(config),
        "inputs": describe_inputs(inputs),
        **facts,
        "versions": versions(),
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "cost": {
            "seconds": round(time.perf_counter() - _START, 3),
            "peak_memory_bytes": peak_memory_bytes(),
        },
    }
    write_json(path, manifest)
    return manifest


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest in a file; `DataError` if it is missing or no JSON object."""
    return read_object(path)
