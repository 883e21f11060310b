"""What a reproduction has to download, said before it starts: what is here already, how big the rest is, and whether it
can be had."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from ..anserini import compat, jvm
from ..anserini.topics import load_topics, qrels_path
from ..core.errors import SdrError
from ..core.progress import note, warn
from .resolve import Cell

_TIMEOUT = 20
"""Seconds that a host has to answer."""


@dataclass(frozen=True)
class Missing:
    """What is not here.

    Args:
        what: it is.
        bytes: its size, if known.
        url: that tells if it can be had, if known.
        refused: why it cannot be had, if that is clear already.
    """

    what: str
    bytes: int | None = None
    url: str | None = None
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({size_text(self.bytes)})" if self.bytes else self.what


def size_text(size: int) -> str:
    """Bytes as people say them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def say_and_check(cells: Sequence[Cell], sizes: Mapping[str, int]) -> None:
    """Notes what has to be downloaded for cells, and fetches topics and qrels of stock names, which are small.

    Raises:
        SdrError: something cannot be had, and what; nothing but topics and qrels has been downloaded.
    """
    missing = list(_missing(dict.fromkeys(name for cell in cells for name in cell.downloads), sizes))
    if missing:
        total = sum(one.bytes or 0 for one in missing)
        note(f"to be downloaded{f', {size_text(total)}' if total else ''}: {', '.join(map(str, missing))}")
        if total > shutil.disk_usage(os.curdir).free:
            warn("that is more than is free on this disk (PYSERINI_CACHE and HF_HOME say where it goes)")
    refused = _refusals(missing)
    if refused:
        why = "; ".join(dict.fromkeys(refused.values()))
        raise SdrError(f"cannot be downloaded here ({why}): {', '.join(one.what for one in refused)}")
    for cell in cells:
        if not _is_made(cell, cell.topics_text):
            load_topics(cell.topics_text)
        if not _is_made(cell, cell.qrels):
            qrels_path(cell.qrels)


def _is_made(cell: Cell, text: str) -> bool:
    """Whether topics or qrels are a file, which is there or which a step makes."""
    return os.sep in text or Path(text).exists()


def _missing(names: Iterable[str], sizes: Mapping[str, int]) -> Iterable[Missing]:
    for text in names:
        kind, _, name = text.partition(":")
        what = f"{kind} {name}"
        if kind == "index":
            jvm.start()
            index = compat.prebuilt_index(name)
            if not index.folder.is_dir():
                yield Missing(what, index.bytes, index.url)
        elif kind == "model":
            import huggingface_hub

            if not isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
                constants = huggingface_hub.constants
                offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
                address = f"{constants.ENDPOINT}/{name}/resolve/main/config.json"
                yield Missing(what, sizes.get(text), address, refused=offline)
        elif name.startswith("ir_datasets:"):
            if find_spec("ir_datasets") is None:
                raise SdrError(f"{name} comes by a package: pip install 'pyserini_sdr[ir-datasets]'")
            # where it keeps what it has, and from where it takes the rest, is its own affair: its step says what failed
            yield Missing(f"{what} (unless it is there)", sizes.get(text))


def _refusals(missing: Sequence[Missing]) -> dict[Missing, str]:
    """Those that cannot be had, with the reason; each host is asked once."""
    answers: dict[str, str] = {}
    reasons = {}
    for one in missing:
        reasons[one] = one.refused
        if one.url and not one.refused:
            host = urlsplit(one.url).netloc
            if host not in answers:
                answers[host] = _no_answer(one.url)
            reasons[one] = answers[host] and f"{host}: {answers[host]}"
    return {one: reason for one, reason in reasons.items() if reason}


def _no_answer(url: str) -> str:
    """Why an address does not answer; empty if it does."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:  # it answers; an index that is not there is for the step to say
        return "" if error.code < 500 else f"HTTP {error.code}"
    except (urllib.error.URLError, OSError) as error:
        return str(getattr(error, "reason", error))
