"""Which of a document's words are encoded: how a corpus is read, and how title and text are put together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..anserini.encoder_classes import ENCODER_CLASSES, class_name
from ..core.errors import UsageError
from ..data.corpus import CorpusSummary, Document, iter_documents
from ..data.reading import Place, StretchReader
from ..data.records import DocumentParser
from .options import EncodeOptions


@dataclass(frozen=True)
class Reading:
    """How documents are read and which fields of them are encoded; kept in the manifest for `index verify`.

    Args:
        docid_field, fields, delimiter: see `data.corpus.iter_documents`.
        encoded_fields: the fields that are encoded, None for `contents` as they are.
        add_sep: title and text are encoded as a pair.
    """

    docid_field: str | None = None
    fields: Sequence[str] | None = None
    delimiter: str = "\n"
    encoded_fields: Sequence[str] | None = None
    add_sep: bool = False

    @classmethod
    def of(cls, options: EncodeOptions) -> Reading:
        """What the options ask for; as in stock, only `text` is encoded unless `encoder --fields` says more.

        Raises:
            UsageError: fields to encode that are not read.
        """
        read, wanted = options.input.fields, options.encoder.fields
        if read is None:
            if wanted not in (None, ["contents"], ["text"]):
                raise UsageError(f"encoder: --fields {' '.join(wanted)}: give input --fields as well")
            wanted = None
        else:
            wanted = wanted or ["text"]
            missing = [name for name in wanted if name not in read]
            if missing:
                raise UsageError(f"encoder: --fields {' '.join(wanted)}: {missing[0]!r} is not among input --fields")
            if "text" not in wanted:
                raise UsageError(f"encoder: --fields {' '.join(wanted)}: 'text' must be among the fields")
        pairs = options.encoder.add_sep
        stock = ENCODER_CLASSES.get(class_name(options.encoder.encoder_class))
        if stock is not None and stock.titles != "either":
            if pairs and stock.titles == "joined":
                problem = f"encoder class {options.encoder.encoder_class!r} joins title and text"
                raise UsageError(f"encoder: --add-sep: {problem}; leave it out")
            pairs = stock.titles == "pair"
        if options.encoder.add_sep and "title" not in (wanted or ()):
            raise UsageError(
                "encoder: --add-sep: needs title and text apart; give input --fields title text, and encoder the same"
            )
        return cls(options.input.docid_field, read, options.input.delimiter, wanted, pairs)

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any] | None) -> Reading:
        """How the corpus of an index was read; the default for an index that does not tell."""
        stored = ((manifest or {}).get("corpus") or {}).get("reading") or {}
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})

    def documents(
        self,
        corpus: str | os.PathLike[str],
        start: int = 0,
        stop: int | None = None,
        places: Sequence[Place] = (),
    ) -> Iterator[Document]:
        """The documents of `corpus` from position `start` to `stop`, streamed; `places` are of a `CorpusSummary`."""
        return iter_documents(
            corpus,
            docid_field=self.docid_field,
            fields=self.fields,
            delimiter=self.delimiter,
            start=start,
            stop=stop,
            places=places,
        )

    def reader(self, summary: CorpusSummary) -> StretchReader:
        """Reads stretches of a corpus that has been checked."""
        parser = DocumentParser(self.docid_field, self.fields, self.delimiter)
        return StretchReader(summary.files, parser, summary.places)


def document_texts(chunk: Sequence[Document], reading: Reading) -> tuple[list[str] | None, list[str]]:
    """Titles to be encoded as firsts of a pair (None for single texts), and the texts.

    Without `fields`, contents already begin with the title.
    """
    texts = [document.contents for document in chunk]
    if reading.encoded_fields is None or "title" not in reading.encoded_fields:
        return None, texts
    titles = [document.title or "" for document in chunk]
    if reading.add_sep:
        return titles, texts
    return None, [f"{title} {text}" if title else text for title, text in zip(titles, texts, strict=True)]
