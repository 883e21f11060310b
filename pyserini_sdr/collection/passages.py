"""`collection passages`."""

from __future__ import annotations

import shlex

from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..data.collection import Collection
from ..data.parts import GroupsToCut, write_parts
from ..data.passages import passages
from .output import check_directory, check_file
from .parts_options import PassagesOptions


def run(options: PassagesOptions) -> None:
    """Makes the collection, rewrites the groups, and prints what there is."""
    check_directory(options.output, options.source, overwrite=options.overwrite)
    groups = None
    if options.groups is not None and options.groups_output is not None:
        check_file(options.groups_output, overwrite=options.overwrite)
        groups = GroupsToCut(options.groups, options.groups_output, options.max_passages)
    manifest = write_parts(
        options.output,
        Collection.open(options.source),
        lambda document: passages(document, options.words, options.step),
        what="passages",
        config=as_dict(options),
        facts={"words": options.words, "stride": options.step},
        delimiter=options.delimiter,
        groups=groups,
        overwrite=options.overwrite,
    )
    counts = manifest["counts"]
    print(
        f"{options.output}: {counts['passages']:,} passages of {counts['documents']:,} documents, "
        f"at most {manifest['parts']['most']:,} of one"
    )
    if groups is not None:
        path = groups.output.with_name(groups.output.name + ".json")
        write_manifest(path, "groups", config=as_dict(options), inputs=[groups.source], groups=counts["groups"])
        print(f"{groups.output}: {counts['groups']:,} groups of passages")
        note(
            f"score them:\n  python -m pyserini_sdr.teach --collection {shlex.quote(str(options.output))} "
            f"--groups {shlex.quote(str(groups.output))} --teacher CROSS-ENCODER --output SCORED.jsonl"
        )
