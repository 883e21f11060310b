"""A training group: a query with its positive and negative documents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document of a group, by id, by text or by both (the text then stands for the corpus's).

    Args:
        id: document id, `None` for a text that belongs to no corpus.
        text: the document's text, `None` if the corpus has it.
    """

    id: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.id is None and self.text is None:
            raise ValueError("a candidate needs an id or a text")

    @property
    def key(self) -> str:
        """What its scores are filed under: the id, or for a text without one `#` and a hash of the text."""
        return self.id if self.id is not None else "#" + hashlib.sha1((self.text or "").encode()).hexdigest()[:16]


@dataclass
class Group:
    """One query with its documents.

    Args:
        query_id: id of the query.
        query: its text.
        positives: relevant documents, at least one.
        negatives: documents taken as not relevant; may be empty.
        scores: teacher name → `Candidate.key` → score; a document may lack a score.
    """

    query_id: str
    query: str
    positives: list[Candidate]
    negatives: list[Candidate] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
