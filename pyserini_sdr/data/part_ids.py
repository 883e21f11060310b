"""Ids of parts of documents: `DOCID#0`, `DOCID#1`, …"""

from __future__ import annotations

DELIMITER = "#"
"""What stock Pyserini's `--max-passage` cuts ids at, unless told."""


def document_of(id: str, delimiter: str = DELIMITER) -> str:
    """Id of the document that a passage or view belongs to: what is before the first delimiter, as in stock Pyserini.

    An id without the delimiter is its own.
    """
    return id.split(delimiter, 1)[0]


def part_id(id: str, number: int, delimiter: str = DELIMITER) -> str:
    """Id of a passage or view of a document, numbered from 0."""
    return f"{id}{delimiter}{number}"
