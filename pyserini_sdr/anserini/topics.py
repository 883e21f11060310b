"""Topics and qrels by path, or by the names that Pyserini knows (`dl19-passage`, `beir-v1.0.0-scifact-test` ...)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..trec.qrels import read_qrels
from ..trec.topics import read_topics
from . import compat, jvm
from .java import NoJavaError

_EXTENSIONS = (".tsv", ".txt", ".json", ".jsonl", ".trec", ".gz", ".qrels")


def load_topics(name_or_path: str | os.PathLike[str]) -> dict[str, str]:
    """Topics from a file (see `trec.topics.read_topics`) or of a stock name: query id → query.

    Ids of stock topics are strings as they stand in their file, also where Pyserini makes them integers.

    Raises:
        DataError: no such file or name, or the file of a stock name is neither cached nor downloadable.
        NoJavaError: a stock name, and no Java to look it up with.
    """
    if _is_path(name_or_path):
        return read_topics(name_or_path)
    name = os.fspath(name_or_path)
    constant = _look_up(name, "topics", compat.topic_names)
    reader = jvm.autoclass("io.anserini.search.topicreader.TopicReader")
    found = _downloaded(name, constant, lambda: reader.getTopicsWithStringIds(constant))
    topics: dict[str, str] = {}
    for qid in _in_order(found.keySet().toArray()):
        query = found.get(qid).get("title")
        if not query or not query.strip():
            raise DataError(name, f"stock topic {qid!r} has no title", remedy="give a topics file with its queries")
        topics[qid] = query.strip()
    return topics


def load_qrels(name_or_path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Relevance judgements from a file (see `trec.qrels.read_qrels`) or of a stock name; ids are strings.

    Raises:
        DataError: as `load_topics`.
        NoJavaError: as `load_topics`.
    """
    return read_qrels(qrels_path(name_or_path))


def qrels_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file behind a qrels path or stock name; downloaded to Anserini's cache if it is not there."""
    if _is_path(name_or_path):
        return Path(name_or_path)
    name = os.fspath(name_or_path)
    constant = _look_up(name, "qrels", compat.qrels_names)
    cached = _cached(constant)
    if cached.is_file():
        return cached
    judgements = jvm.autoclass("io.anserini.eval.RelevanceJudgments")
    java_path = jvm.autoclass("java.nio.file.Path").of(constant.path)
    return Path(_downloaded(name, constant, lambda: judgements.getQrelsPath(java_path).toString()))


def _is_path(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether a file is meant: it exists, or it is spelled like one."""
    text = os.fspath(name_or_path)
    return (
        not isinstance(name_or_path, str) or os.sep in text or text.lower().endswith(_EXTENSIONS) or Path(text).exists()
    )


def _look_up(name: str, kind: str, names: Callable[[], Mapping[str, Any]]) -> Any:
    try:
        jvm.start()
    except NoJavaError as error:
        problem = f"{name}: no such file, and to look it up among Pyserini's {kind} takes Java: {error.problem}"
        raise NoJavaError(problem, error.remedy) from error
    known = names()
    if name not in known:
        close = get_close_matches(name, known, n=3)
        remedy = f"did you mean {' or '.join(map(repr, close))}?" if close else "give the path of a file"
        raise DataError(name, f"neither a file nor {kind} that Pyserini knows", remedy=remedy)
    return known[name]


def _cached(constant: Any) -> Path:
    """Where Anserini keeps the file of a stock name; PYSERINI_CACHE does not move it."""
    home = jvm.autoclass("java.lang.System").getProperty("user.home")
    return Path(home) / ".cache" / "pyserini" / "topics-and-qrels" / Path(constant.path).name


def _downloaded(name: str, constant: Any, read: Callable[[], Any]) -> Any:
    """What Anserini reads for a stock name, or where its file would have to lie."""
    from jnius import JavaException

    place = _cached(constant)
    try:
        with jvm.prints_to_stderr():
            found = read()
    except JavaException as error:
        reason = str(error).splitlines()[0].removeprefix("JVM exception occurred: ")
        raise DataError(
            name, f"its file cannot be had ({reason})", remedy=f"with no network, put the file at {place}"
        ) from error
    if found is None:
        raise DataError(place, f"cannot be read as the file of {name!r}", remedy="delete it, and it is fetched again")
    return found


def _in_order(ids: list[str]) -> list[str]:
    """Query ids in numeric order where all are numbers, as stock runs them; else in string order."""
    return sorted(ids, key=int) if all(i.isascii() and i.isdigit() for i in ids) else sorted(ids)
