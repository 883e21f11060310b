"""The card of a collection of pseudo-queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """\
# Pseudo-queries: a known-item collection made from documents alone

Made from `{source}` by the method `{method}`:
{how}

Nobody has judged anything: the one relevant document of a query is the one it was made from, and others may answer it
as well. Figures on these queries compare systems on this task; they are not the effectiveness that users of the
original corpus see, and are to be quoted as known-item figures.

{documents:,} documents; queries: {counts}. Too short, and here as they were: {short:,} documents. Left out, because
several documents share them: {shared:,} queries. Documents of dev and test queries are not those of training queries.
The cut is made in all documents, so that a relevant one cannot be told by it; the corpus therefore differs from the
original, and an index for real use has to be made of the original.
"""

_HOW = {
    "title-body": "a title is the query, and no document here holds its title.",
    "first-sentence": "the first sentence is the query, and no document here holds its first sentence.",
    "inverse-cloze": "a random sentence is the query. It was cut out of its document, of a training query with\n"
    "probability {cut:.2g}, of a dev or test query always.",
    "key-phrases": "the words and word pairs of highest tf-idf are the query. Each was cut out of its document with\n"
    "probability {cut:.2g}.",
    "seq2seq": "a generator wrote the queries, and the documents are unchanged.",
}


def pseudo_card(manifest: Mapping[str, Any]) -> str:
    """Markdown for `CARD.md`, from the collection's manifest."""
    counts, facts = manifest["counts"], manifest["pseudo_queries"]
    queries = {name.removesuffix("_queries"): n for name, n in counts.items() if name.endswith("_queries")}
    return _TEXT.format(
        source=facts["source"],
        method=facts["method"],
        how=_HOW[facts["method"]].format(cut=1 - facts["keep"]),
        documents=counts["documents"],
        counts=", ".join(f"{count:,} {split}" for split, count in queries.items()),
        short=facts["documents_too_short"],
        shared=facts["shared_queries_left_out"],
    )
