"""One line of a corpus file → one document."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, shorten
from ..trec.columns import encodable, id_problem

ID_KEYS = ("id", "_id", "docid")
"""Keys that may hold the document id, in the order in which stock `pyserini.encode` looks for them."""

_PLAIN_ID = re.compile(r"[!-~]+").fullmatch
"""Whether an id is of ASCII without white space, which needs no further check."""
_scan_json = json.JSONDecoder().scan_once


class Problem(Exception):
    """What is wrong with a value and what to do; whoever knows the file and line makes it a `DataError`."""

    def __init__(self, problem: str, remedy: str | None = None) -> None:
        super().__init__(problem, remedy)


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a corpus.

    Args:
        id: identifier without white space; a string always (`007` stays `007`).
        contents: the text to index. It begins with the title where there is one, except when the corpus is read with
            `fields`: then `contents` is the text alone and `title` the title alone.
        title: the title, `None` if the corpus has none.
    """

    id: str
    contents: str
    title: str | None = None


def begins_with_title(document: Document) -> bool:
    """Whether the contents of a document begin with its title, but for white space and case."""
    title = " ".join((document.title or "").split()).casefold()
    start = " ".join(document.contents[: 2 * len(document.title or "") + 16].split()).casefold()
    return start.startswith(title) and not start[len(title) :][:1].isalnum()  # not a word that begins like it


@dataclass(frozen=True)
class DocumentParser:
    """How lines become documents.

    Args:
        docid_field: key of the id (default: the first of `id`, `_id`, `docid` that is there).
        fields: read as stock `pyserini.encode input --fields` does: all of them as keys, or else `contents` cut by
            `delimiter` into exactly that many. `text` must be among them; others than `title` and `text` are ignored.
        delimiter: what separates the fields inside `contents`.
    """

    docid_field: str | None = None
    fields: Sequence[str] | None = None
    delimiter: str = "\n"

    def __post_init__(self) -> None:
        if self.fields is not None and "text" not in self.fields:
            raise UsageError(f"--fields {' '.join(self.fields)}: 'text' must be among the fields")
        if self.fields is not None and not self.delimiter:
            raise UsageError("--delimiter '': must not be empty")

    def parse(self, path: Path, number: int, line: str) -> Document:
        """The document in `line` (its line end removed), or a `DataError` with `path:number`."""
        try:
            record = _parse_json(line)
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"invalid JSON ({error}): {shorten(line, 60)}", line=number) from error
        if not isinstance(record, dict):
            raise DataError(path, f"expected a JSON object, found {shorten(record, 60)}", line=number)
        try:
            id = self._id(record)
            title, contents = self._default(record) if self.fields is None else self._fields(record)
            if not contents.strip():
                raise Problem(f"document {id!r} has an empty text", "remove it or give it a text")
            if "\\u" in line and not encodable(f"{title}{contents}"):  # only escapes bring in lone surrogates
                raise Problem(f"document {id!r} has text that is not valid Unicode", "replace lone surrogates")
        except Problem as problem:
            raise DataError(path, problem.args[0], line=number, remedy=problem.args[1]) from None
        return Document(id, contents, title)

    def _id(self, record: dict[str, Any]) -> str:
        if self.docid_field is None and type(id := record.get("id")) is str and _PLAIN_ID(id):  # nearly always
            return id
        keys = ID_KEYS if self.docid_field is None else (self.docid_field,)
        key = next((key for key in keys if record.get(key) is not None), None)
        if key is None:
            raise Problem(
                f"no document id: none of the keys {', '.join(keys)} (found: {shorten(list(record), 60)})",
                "name the key with --docid-field",
            )
        return checked_id(record[key], f"document id under {key!r}")

    @staticmethod
    def _default(record: dict[str, Any]) -> tuple[str | None, str]:
        title = _text(record, "title") if record.get("title") is not None else None
        if "contents" in record:
            return title or None, _text(record, "contents")
        if "text" not in record:
            raise Problem(
                f"no text: neither 'contents' nor 'text' (found: {shorten(list(record), 60)})",
                "write the document's text under 'contents'",
            )
        text = _text(record, "text")
        return title or None, f"{title} {text}" if title and text.strip() else title or text

    def _fields(self, record: dict[str, Any]) -> tuple[str | None, str]:
        assert self.fields is not None
        if all(field in record for field in self.fields):
            values = [_text(record, field).strip() if record[field] is not None else "" for field in self.fields]
        elif "contents" not in record:
            raise Problem(
                f"neither the fields {', '.join(self.fields)} nor 'contents' (found: {shorten(list(record), 60)})",
                "name the fields with --fields",
            )
        else:
            contents = _text(record, "contents")
            if contents.count(self.delimiter) == len(self.fields):  # stock: one delimiter more, at the end
                contents = contents.removesuffix(self.delimiter)
            values = [value.strip(" ") for value in contents.split(self.delimiter)]
            if len(values) != len(self.fields):
                raise Problem(
                    f"'contents' has {len(values)} fields cut by {self.delimiter!r}, expected {len(self.fields)} "
                    f"({', '.join(self.fields)})",
                    "give the right --fields or --delimiter",
                )
        named = dict(zip(self.fields, values, strict=True))
        return named.get("title"), named["text"]


def _parse_json(line: str) -> Any:
    """`json.loads`, at half its cost where the line is an object with nothing around it."""
    if line.startswith("{"):
        try:
            value, end = _scan_json(line, 0)
        except StopIteration:  # `loads` says what is wrong
            return json.loads(line)
        if end == len(line):
            return value
    return json.loads(line)


def checked_id(value: Any, what: str) -> str:
    """`value` as an id: a string without white space, or an integer taken as its decimal string.

    Raises:
        Problem: anything else; the message names `what` and the value.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    fault = id_problem(value)
    if fault:
        raise Problem(f"{what}: {fault}", "use ids without white space, as TREC files need them")
    return value


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise Problem(f"{key!r} must be a string, found {shorten(value, 60)}")
    return value
