"""A matrix as its file declares it: conditions, topics, the commands between them, and the scores expected.

    summary: BM25 and an encoder on one collection
    source: where the expected scores are from
    settings: {hits: 1000, data: null}          # null: to be given with --set
    collections:
      scifact: {path: "{data}", corpus: 2322…}  # values for the commands; corpus: SHA-256 that the scores are of
    topics:
      test:
        collection: scifact
        topics: "{path}/topics.test.tsv"        # a file, or a name that Pyserini knows
        qrels: "{path}/qrels.test.txt"
        measures: {nDCG@10: ndcg_cut_10, MAP: {measure: map, level: 2}}
    steps:
      index: encode input --corpus {path} output --embeddings {made} --to-faiss encoder --encoder {encoder}
    conditions:
      minilm:
        display: all-MiniLM-L6-v2, as it comes
        with: {encoder: all-MiniLM-L6-v2}       # values for the commands
        search: search dense --index {index} --topics {topics} --output {made} --hits {hits}
        downloads: ["model:NAME", "index:NAME", "dataset:NAME"]
        needs: [a GPU]
        tolerance: 0.001
        expected: {test: {nDCG@10: 0.645, MAP: 0.601}}
    sizes: {"model:NAME": 90000000}             # bytes of downloads

Commands are written as after `python -m pyserini_sdr.`; stock ones as `anserini pyserini.search.faiss …`. `{name}` is
a value or what the step of that name makes, `{made}` what the command itself is to make, `{here}` its own folder,
`{runs/CONDITION}` the run of another condition on the same topics. A step is made once for all conditions and
collections whose values it has in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, shorten, unknown
from ..recipe.definition import mapping_in, read_yaml, text_in, texts_in
from ..trec.measures import canonical

CATALOG = "catalog"
"""Folder of the matrices that come with the package."""
RESERVED = ("made", "here", "runs", "topics", "qrels", "output")
"""Names in commands that are no values and no steps."""
DOWNLOADS = ("index", "model", "dataset")
"""Kinds of downloads: a prebuilt index of Pyserini, a model on the hub, a data set of `ir_datasets`."""


@dataclass(frozen=True)
class Measure:
    """What is measured: trec_eval's name, and the lowest grade that is relevant (`trec_eval -l`)."""

    name: str
    level: int = 1


@dataclass(frozen=True)
class Topics:
    """Topics with their judgements: texts with `{names}` of the collection's values; label → measure."""

    name: str
    collection: str | None
    topics: str
    qrels: str
    measures: Mapping[str, Measure]


@dataclass(frozen=True)
class Condition:
    """A row of the matrix.

    Args:
        name, display: as it is chosen, and as it is shown.
        values: for the commands.
        search: the command that makes its run.
        downloads: `kind:name`, see `DOWNLOADS`; names may have values of the collection in them.
        needs: what else it takes, one line each.
        note: what to know of its numbers.
        tolerance: how far a measured score may lie from the expected one, both rounded to four digits.
        expected: topics → label of a measure → score.
    """

    name: str
    display: str
    values: Mapping[str, Any]
    search: str
    downloads: Sequence[str]
    needs: Sequence[str]
    note: str
    tolerance: float
    expected: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Matrix:
    """A declared matrix.

    Args:
        name: of the file, without its ending.
        path: the file.
        summary, source: one line each.
        settings: name → default; None is to be given where it is used.
        collections: name → values for the commands.
        topics, steps, conditions: name → what is declared.
        sizes: download → bytes.
    """

    name: str
    path: Path
    summary: str
    source: str
    settings: Mapping[str, Any]
    collections: Mapping[str, Mapping[str, Any]]
    topics: Mapping[str, Topics]
    steps: Mapping[str, str]
    conditions: Mapping[str, Condition]
    sizes: Mapping[str, int]


def catalogued() -> list[str]:
    """Names of the matrices that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in (resources.files(__package__) / CATALOG).iterdir())


def load_matrix(name: str) -> Matrix:
    """A matrix of the package by its name; `UsageError` if there is none."""
    if name not in catalogued():
        raise UsageError(f"{unknown('matrix', name, catalogued())} (--file gives one of your own)")
    return read_matrix(Path(str(resources.files(__package__) / CATALOG / f"{name}.yaml")))


def read_matrix(path: Path) -> Matrix:
    """The matrix that a YAML file declares; `DataError` if it declares none, with what is wrong."""
    value = read_yaml(path, "a matrix: a mapping with summary, topics, steps and conditions")
    _known(
        path,
        "key",
        value,
        ("summary", "source", *("settings", "collections", "topics", "steps", "conditions", "sizes")),
    )
    settings, collections = _named(path, value, "settings"), _named(path, value, "collections")
    for name in collections:
        collections[name] = _values(path, f"collections: {name}", collections[name])
        if "corpus" in collections[name] and "path" not in collections[name]:
            raise DataError(path, f"collections: {name}: corpus is the hash of what lies at path, which is not given")
    topics = {name: _topics(path, name, item, collections) for name, item in _named(path, value, "topics").items()}
    steps = _named(path, value, "steps")
    for name, command in steps.items():
        if name in (*RESERVED, *settings):
            raise DataError(path, f"steps: {name!r} cannot be the name of a step")
        _command(path, f"steps: {name}", command)
    conditions = {
        name: _condition(path, name, item, topics) for name, item in _named(path, value, "conditions").items()
    }
    if not topics or not conditions:
        raise DataError(path, "a matrix needs topics and conditions")
    sizes = mapping_in(path, value, "sizes")
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int):
            raise DataError(path, f"sizes: {name}: expected bytes, found {shorten(size)}")
    return Matrix(
        *(path.stem, path, text_in(path, value, "summary"), text_in(path, value, "source"), settings, collections),
        *(topics, steps, conditions, sizes),
    )


def _known(path: Path, kind: str, value: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in value:
        if key not in known:
            raise DataError(path, unknown(kind, str(key), known))


def _named(path: Path, value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping whose keys are names, of which those of folders are made."""
    found = mapping_in(path, value, key)
    for name in found:
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise DataError(path, f"{key}: name {shorten(name)}: expected letters and digits, and .-_ after the first")
    return found


def _values(path: Path, place: str, item: Any) -> dict[str, Any]:
    """Values for commands."""
    found = mapping_in(path, {place: item}, place)
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise DataError(path, f"{place}: {name}: expected text or a number, found {shorten(value, 60)}")
    return found


def _command(path: Path, place: str, command: Any) -> str:
    try:
        if not isinstance(command, str) or not shlex.split(command):
            raise ValueError(f"found {shorten(command, 60)}")
    except ValueError as error:  # also shlex's, for quotes that do not close
        raise DataError(path, f"{place}: expected a command, as after `python -m pyserini_sdr.`: {error}") from error
    return command


def _topics(path: Path, name: str, item: Any, collections: Mapping[str, Any]) -> Topics:
    place = f"topics: {name}"
    value = mapping_in(path, {place: item}, place)
    _known(path, f"key of topics {name}", value, ("collection", "topics", "qrels", "measures"))
    collection = value.get("collection")
    if collection is not None and collection not in collections:
        raise DataError(path, f"{place}: {unknown('collection', str(collection), collections)}")
    texts = {key: text_in(path, value, key) for key in ("topics", "qrels")}
    measures = {}
    for label, given in mapping_in(path, value, "measures").items():
        parts = given if isinstance(given, dict) else {"measure": given}
        level = parts.get("level", 1)
        try:
            _known(path, f"key of measure {label}", parts, ("measure", "level"))
            measures[label] = Measure(canonical(str(parts.get("measure"))), int(level))
        except (UsageError, TypeError, ValueError) as error:
            raise DataError(path, f"{place}: measure {label}: {error}") from error
    if not all(texts.values()) or not measures:
        raise DataError(path, f"{place}: needs topics, qrels and measures")
    return Topics(name, collection, texts["topics"], texts["qrels"], measures)


def _condition(path: Path, name: str, item: Any, topics: Mapping[str, Topics]) -> Condition:
    place = f"conditions: {name}"
    value = mapping_in(path, {place: item}, place)
    known = ("display", "with", "search", "downloads", "needs", "note", "tolerance", "expected")
    _known(path, f"key of condition {name}", value, known)
    downloads = texts_in(path, value.get("downloads") or [], f"{place}: downloads")
    for download in downloads:
        if download.partition(":")[0] not in DOWNLOADS or not download.partition(":")[2]:
            raise DataError(
                path, f"{place}: download {download!r}: expected KIND:NAME, KIND one of {', '.join(DOWNLOADS)}"
            )
    tolerance = value.get("tolerance", 0)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or tolerance < 0:
        raise DataError(path, f"{place}: tolerance {shorten(tolerance)}: expected a number from 0")
    expected = mapping_in(path, value, "expected")
    for chosen, scores in expected.items():
        if chosen not in topics:
            raise DataError(path, f"{place}: expected: {unknown('topics', str(chosen), topics)}")
        for label, score in mapping_in(path, expected, chosen).items():
            if label not in topics[chosen].measures:
                problem = unknown(f"measure of topics {chosen}", str(label), topics[chosen].measures)
                raise DataError(path, f"{place}: expected: {problem}")
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise DataError(path, f"{place}: expected: {label} on {chosen}: no number: {shorten(scores[label])}")
    return Condition(
        *(name, text_in(path, value, "display") or name, _values(path, f"{place}: with", value.get("with"))),
        *(_command(path, f"{place}: search", value.get("search")), downloads),
        *(texts_in(path, value.get("needs") or [], f"{place}: needs"), text_in(path, value, "note")),
        *(float(tolerance), expected),
    )
