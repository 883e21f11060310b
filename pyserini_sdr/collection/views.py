"""`collection views`."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path

from ..core.errors import DataError
from ..core.files import atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note
from ..data.collection import Collection
from ..data.corpus import corpus_files
from ..data.parts import write_parts
from ..data.pseudo import Source
from ..data.pseudo_methods import InverseCloze, KeyPhrases, Method, Rules
from ..data.records import Document
from ..data.views import QueriesOf, with_query
from .output import check_directory, check_file
from .parts_options import ViewsOptions
from .pseudo_generated import Generated, from_options, generator_facts

_MANY = 10
"""Queries and views per document, unless told."""


def run(options: ViewsOptions) -> None:
    """Writes the queries of every document, or the collection of views."""
    if options.output is not None:
        write_queries(options, options.output)
    else:
        assert options.output_collection is not None and options.queries_file is not None
        write_views(options, options.output_collection, options.queries_file)


def write_queries(options: ViewsOptions, output: Path) -> None:
    """Writes a line for every document, and the manifest beside the file."""
    check_file(output, overwrite=options.overwrite)
    source = Source.open(options.source, options.seed)
    method = _method(options, source, output)
    method.prepare(source.documents)
    numbers: Counter[int] = Counter()
    with atomic_file(output) as handle:
        cuts = method.stream(source.documents())
        for cut in bar(cuts, total=source.count, unit="doc", desc="write queries"):
            queries = list(dict.fromkeys(cut.queries))
            numbers[len(queries)] += 1
            handle.write(json.dumps({"id": cut.document.id, "queries": queries}, ensure_ascii=False) + "\n")
        if numbers[0] == source.count:
            raise DataError(
                source.corpus,
                f"none of its {source.count:,} documents gives a query",
                remedy="another --method, or a smaller --min-query-tokens",
            )
        write_manifest(
            output.with_name(output.name + ".json"),
            "document queries",
            config=as_dict(options),
            inputs=corpus_files(source.corpus),
            documents=source.count,
            queries=sum(number * times for number, times in numbers.items()),
            queries_per_document={str(number): times for number, times in sorted(numbers.items())},
            **generator_facts(options.generator, method),
        )
    if isinstance(method, Generated):
        method.remove()
    total = sum(number * times for number, times in numbers.items())
    print(f"{output}: {total:,} queries of {source.count:,} documents, {numbers[0]:,} have none")
    note(
        "a collection of views:\n  python -m pyserini_sdr.collection views "
        f"{shlex.quote(str(options.source))} --queries-file {shlex.quote(str(output))} --output-collection DIR2"
    )


def _method(options: ViewsOptions, source: Source, output: Path) -> Method:
    """A method of pseudo-queries that leaves every document as it is."""
    rules = Rules(
        seed=options.seed,
        per_document=options.queries or _MANY,
        min_tokens=1,
        min_query_tokens=options.min_query_tokens,
        max_query_tokens=options.max_query_tokens,
        keep=1.0,
    )
    if options.method == "seq2seq":
        return from_options(rules, options, source, output)
    return KeyPhrases(rules, options.phrases) if options.method == "key-phrases" else InverseCloze(rules)


def write_views(options: ViewsOptions, output: Path, queries_file: Path) -> None:
    """Writes the collection of views."""
    check_directory(output, options.source, overwrite=options.overwrite)
    source = Collection.open(options.source)
    queries, most = QueriesOf(queries_file), options.views or _MANY

    def views(document: Document) -> list[str]:
        return [with_query(document.contents, query) for query in queries(document.id)[:most]] or [document.contents]

    manifest = write_parts(
        output,
        source,
        views,
        what="views",
        config=as_dict(options),
        facts={"queries_file": str(queries_file)},
        inputs=[queries_file],
        delimiter=options.delimiter,
        overwrite=options.overwrite,
    )
    counts = manifest["counts"]
    print(f"{output}: {counts['views']:,} views of {counts['documents']:,} documents")
    note("search an index of it with --max-passage: a document then scores as its best view")
