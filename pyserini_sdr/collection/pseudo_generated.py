"""Pseudo-queries from a generator: written in parts, so that an interrupted generation goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ..core.command import load
from ..core.errors import DataError
from ..core.files import atomic_file, file_sha256, read_jsonl
from ..core.plan import hold_to_plan
from ..core.progress import bar
from ..data.corpus import corpus_files
from ..data.doctext import normalise
from ..data.pseudo import Source
from ..data.pseudo_methods import Cut, Rules
from ..data.pseudo_text import hash64
from ..data.records import Document

PART = 1000
"""Documents per part: what an interruption can lose."""


class Generated:
    """Queries that a generator writes; documents stay as they are.

    Args:
        rules: `keep` has no meaning here.
        generator: makes the generator.
        folder: where the parts are, until `remove`.
        plan: what the parts depend on, besides the generator's weights.
        output: the collection that is being made, for messages.
        total: documents to come, for the bar.
        part: documents per part.

    Attributes:
        weights: fingerprint of the generator's weights; empty before `prepare`.
    """

    default_keep: ClassVar[float] = 1.0
    several: ClassVar[bool] = True

    def __init__(
        self,
        rules: Rules,
        generator: Callable[[], Any],
        folder: Path,
        plan: dict[str, Any],
        *,
        output: Path,
        total: int,
        part: int = PART,
    ) -> None:
        self.rules, self.folder, self.part = rules, folder, part
        self._make, self._plan, self._output, self._total = generator, plan, output, total
        self.weights = ""

    def prepare(self, documents: Callable[[], Iterable[Document]]) -> None:
        """Generates the parts that are missing."""
        generator = self._make()
        self.weights = generator.fingerprint
        path = self.folder / "plan.json"
        if not any(self.folder.glob("[0-9]*.jsonl")):  # an attempt that failed at once binds nobody to its settings
            path.unlink(missing_ok=True)
        plan = {**self._plan, "weights": self.weights}
        hold_to_plan(path, plan, output=self._output, what="unfinished pseudo-queries")
        with bar(total=self._total, unit="doc", desc="generate queries") as progress:
            for number, chunk in enumerate(_parts(documents(), self.part)):
                path = self._path(number)
                if not path.exists():
                    long = [document for document in chunk if self.rules.leaves(document.contents)]
                    seed = hash64(self.rules.seed, "generate", str(number)) >> 1
                    texts = [document.contents for document in long]
                    queries = generator.generate(texts, self.rules.per_document, seed)
                    made = {document.id: found for document, found in zip(long, queries, strict=True)}
                    with atomic_file(path) as handle:
                        for document in chunk:
                            record = {"id": document.id, "queries": made.get(document.id)}
                            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
                progress.update(len(chunk))

    def stream(self, documents: Iterable[Document]) -> Iterator[Cut]:
        """The documents with what was generated for them."""
        for number, chunk in enumerate(_parts(documents, self.part)):
            path = self._path(number)
            records = [record for _, record in read_jsonl(path)]
            if [record["id"] for record in records] != [document.id for document in chunk]:
                raise DataError(path, "does not belong to this corpus", remedy="--overwrite to start anew")
            for document, record in zip(chunk, records, strict=True):
                if record["queries"] is None:
                    yield Cut([], document, document, short=True)
                else:
                    yield Cut(self._sensible(record["queries"]), document, document)

    def remove(self) -> None:
        """Deletes the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sensible(self, queries: Iterable[str]) -> list[str]:
        distinct = {normalise(query) or query: query for query in queries}
        return [query for query in distinct.values() if self.rules.accepts(query)]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"


def from_options(rules: Rules, options: Any, source: Source, output: Path) -> Generated:
    """What the flags of a generator ask for; unfinished parts lie beside the output, and `overwrite` drops them.

    Args:
        rules: see `Generated`.
        options: with the fields of the group `seq2seq` in `pseudo_options`, and `overwrite`.
        source: the documents.
        output: what is to be made.
    """
    folder = output.with_name(f".{output.resolve().name}.generated")
    if options.overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    plan = {
        "corpus": [file_sha256(file) for file in corpus_files(source.corpus)],
        "generator": options.generator,
        "max_documents": None if source.limit is None else source.count,
        **{key: getattr(rules, key) for key in ("seed", "per_document", "min_tokens", "max_query_tokens")},
        **{key: getattr(options, key) for key in ("generator_prefix", "max_length", "top_k", "batch_tokens")},
    }

    def generator() -> Any:
        return load("pyserini_sdr.model.generator:QueryGenerator")(  # torch only where it is asked for
            options.generator,
            device=options.device,
            prefix=options.generator_prefix,
            max_length=options.max_length,
            max_query_length=2 * rules.max_query_tokens,
            top_k=options.top_k,
            batch_tokens=options.batch_tokens,
        )

    return Generated(rules, generator, folder, plan, output=output, total=source.count)


def generator_facts(generator: str | None, method: Any) -> dict[str, str | None]:
    """For the manifest: the generator and its weights, where the queries are a generator's."""
    if not isinstance(method, Generated):
        return {}
    return {"generator": generator, "generator_weights": method.weights}


def _parts(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while part := list(islice(iterator, size)):
        yield part
