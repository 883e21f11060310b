"""The card of the embedded collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """\
# pydocs: documentation of installed Python packages

A known-item search collection made on this machine from the documentation strings of installed packages. A query is
the first sentence of an API's documentation, the one relevant document is the rest of that documentation (cleaned of
markup, doctests and the sentence itself, at most 2,000 characters). Source files were parsed, not imported or run.

{documents:,} documents; queries: {train:,} train, {dev:,} dev, {test:,} test. All entries of a sub-package (for the
standard library, of a module) are in one split. Entries with the same or nearly the same text or query as another were
dropped, so were deprecation notices, aliases and entries with fewer than 15 words after the first sentence.

Scores here tell how well a system finds an API by its summary. Other documents may answer a query as well; they count
as not relevant. Scores are comparable only where the package versions are the same; SHA-256 of this corpus:
{digest}.

## Sources and licences

The texts belong to the authors of these packages and stay under their licences; check them before passing the
collection on.

| package | version | licence (as its metadata say) | documents |
|---|---|---|---:|
{rows}
"""


def pydocs_card(manifest: Mapping[str, Any]) -> str:
    """Markdown for `CARD.md`, from the collection's manifest."""
    counts = manifest["counts"]
    return _TEXT.format(
        documents=counts["documents"],
        train=counts["train_queries"],
        dev=counts["dev_queries"],
        test=counts["test_queries"],
        digest=manifest["corpus"]["sha256"],
        rows="\n".join(
            "| {name} | {version} | {licence} | {documents:,} |".format(**row) for row in manifest["packages"]
        ),
    )
