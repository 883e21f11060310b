"""Topics: query ids and their texts, in the formats that stock Pyserini reads, told apart by the file's name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import DataError, shorten
from ..core.files import atomic_file, read_jsonl, read_lines, require_file
from .columns import check_ids, encodable, id_problem

Row = tuple[int | None, str, str]
"""Line number (None where the format has none), query id, query."""

_JSONL_IDS = ("id", "qid", "_id", "query_id")
_JSONL_TEXTS = ("title", "text", "query")
_TAG = re.compile(r"<(/?)(\w+)>")


def read_topics(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads topics in file order: query id → query, both stripped of surrounding white space.

    Formats by extension (each also with `.gz`): `.tsv` and `.txt` (`qid<TAB>query`; a `.txt` that begins with `<top>`
    is read as `.trec`), `.json` (`{qid: {"title": query}}` or `{qid: query}`), `.jsonl` (`id`, `qid`, `_id` or
    `query_id`, and `title`, `text` or `query`), `.trec` (`<num>` and `<title>`).

    Raises:
        DataError: with file and line, for an empty query, a missing tab, a duplicate or malformed id, or no topics.
    """
    path = require_file(path, "topics file")
    topics: dict[str, str] = {}
    lines: dict[str, int | None] = {}
    for line, qid, query in _reader(path)(path):
        query = query.strip()
        if problem := id_problem(qid):
            raise DataError(path, problem, line=line)
        if qid in topics:
            first = f" (first on line {lines[qid]})" if lines[qid] else ""
            raise DataError(path, f"duplicate query id {qid!r}{first}", line=line, remedy="query ids must be unique")
        if not query:
            raise DataError(path, f"query {qid!r} is empty", line=line, remedy="give it a text or remove it")
        if not encodable(query):
            raise DataError(
                path, f"query {qid!r} is not valid Unicode", line=line, remedy="replace its lone surrogates"
            )
        topics[qid], lines[qid] = query, line
    if not topics:
        raise DataError(path, "holds no topics")
    return topics


def write_topics(path: str | os.PathLike[str], topics: Mapping[str, str]) -> None:
    """Writes `qid<TAB>query` lines in the given order; runs of white space in a query become one space.

    Raises:
        DataError: an empty query, or an id with white space; nothing is written.
    """
    check_ids(path, list(topics))
    with atomic_file(path) as handle:
        for qid, query in topics.items():
            text = " ".join(query.split())
            if not text:
                raise DataError(path, f"query {qid!r} is empty", remedy="give it a text or remove it")
            if not encodable(text):
                raise DataError(path, f"query {qid!r} is not valid Unicode: {shorten(text)}")
            handle.write(f"{qid}\t{text}\n")


def _reader(path: Path) -> Callable[[Path], Iterator[Row]]:
    extension = Path(path.name.removesuffix(".gz")).suffix.lower()
    if extension == ".txt":
        first = next((text for _, text in read_lines(path) if text.strip()), "")
        return _read_trec if first.lstrip().lower().startswith("<top>") else _read_tsv
    readers = {".tsv": _read_tsv, ".json": _read_json, ".jsonl": _read_jsonl, ".trec": _read_trec}
    if extension not in readers:
        raise DataError(
            path, f"unknown topics format {extension or path.name!r}", remedy="use .tsv, .txt, .json, .jsonl or .trec"
        )
    return readers[extension]


def _read_tsv(path: Path) -> Iterator[Row]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        qid, tab, query = line.partition("\t")
        if not tab:
            raise DataError(path, f"no tab in {shorten(line, 60)}", line=number, remedy="expected qid<TAB>query")
        yield number, qid.strip(), query


def _read_json(path: Path) -> Iterator[Row]:
    def pairs_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            twice = next(key for i, key in enumerate(keys) if key in keys[:i])
            raise DataError(path, f"duplicate key {twice!r}", remedy="query ids must be unique")
        return dict(pairs)

    text = "\n".join(line for _, line in read_lines(path))
    try:
        value = json.loads(text, object_pairs_hook=pairs_of)
    except json.JSONDecodeError as error:
        raise DataError(path, f"invalid JSON: {error.msg}", line=error.lineno) from error
    except RecursionError as error:
        raise DataError(path, "invalid JSON: nested too deeply") from error
    except ValueError as error:  # a number of too many digits
        raise DataError(path, f"invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(path, f"expected an object of topics, found {shorten(value, 60)}")
    for qid, topic in value.items():
        query = topic.get("title") if isinstance(topic, dict) else topic
        if not isinstance(query, str):
            raise DataError(path, f'topic {qid!r} has no text: {shorten(topic, 60)}; expected {{"title": query}}')
        yield None, qid.strip(), query


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, record in read_jsonl(path):
        id_key = next((key for key in _JSONL_IDS if key in record), None)
        text_key = next((key for key in _JSONL_TEXTS if record.get(key) is not None), None)
        if id_key is None or text_key is None:
            missing, known = ("id", _JSONL_IDS) if id_key is None else ("text", _JSONL_TEXTS)
            raise DataError(
                path, f"topic without {missing}: {shorten(record, 60)}", line=number, remedy=f"use {' or '.join(known)}"
            )
        qid, query = record[id_key], record[text_key]
        if isinstance(qid, int) and not isinstance(qid, bool):
            qid = str(qid)
        if not isinstance(qid, str) or not isinstance(query, str):
            raise DataError(path, f"{id_key} and {text_key} must be strings: {shorten(record, 60)}", line=number)
        yield number, qid.strip(), query


def _read_trec(path: Path) -> Iterator[Row]:
    """TREC topics: a field runs from its tag to the next tag; `Number:` and `Topic:` labels are dropped."""
    numbered = list(read_lines(path))
    fields: dict[str, str] | None = None
    start, current = 0, ""
    for number, line in numbered:
        position = 0
        for match in [*_TAG.finditer(line), None]:
            text = line[position : match.start()] if match else line[position:]
            if fields is not None and current:
                fields[current] = f"{fields.get(current, '')} {text}".strip()
            if match is None:
                continue
            position, (closing, tag) = match.end(), (match[1], match[2].lower())
            if tag == "top" and not closing:
                if fields is not None:
                    raise DataError(path, "<top> before the </top> of the topic above", line=number)
                fields, start = {}, number
            elif tag == "top":
                if fields is None:
                    raise DataError(path, "</top> without <top>", line=number)
                yield _trec_topic(path, start, fields)
                fields = None
            current = "" if closing or tag == "top" else tag
    if fields is not None:
        raise DataError(path, "<top> without </top>", line=start)


def _trec_topic(path: Path, line: int, fields: Mapping[str, str]) -> Row:
    for name in ("num", "title"):
        if name not in fields:
            raise DataError(path, f"topic without <{name}>", line=line)
    qid = re.sub(r"(?i)^number\s*:", "", fields["num"]).strip()
    query = re.sub(r"(?i)^topic\s*:", "", fields["title"]).strip()
    return line, qid, " ".join(query.split())
