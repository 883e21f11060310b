"""`collection pseudo-queries`."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from ..core.options import as_dict
from ..core.progress import note
from ..data.pseudo import GROUPS, TITLED, Source, Survey, survey, write_pseudo_collection
from ..data.pseudo_methods import FirstSentence, InverseCloze, KeyPhrases, Rules, TitleBody
from .output import check_directory
from .pseudo_generated import Generated, from_options, generator_facts
from .pseudo_options import PseudoOptions

_SIMPLE: dict[str, type] = {"title-body": TitleBody, "first-sentence": FirstSentence, "inverse-cloze": InverseCloze}


def run(options: PseudoOptions) -> None:
    """Makes the collection and prints what it holds and what to do with it."""
    check_directory(options.output, options.source, overwrite=options.overwrite)
    source = Source.open(options.source, options.seed, options.max_documents)
    name, method, found = _chosen(options, source)
    manifest = write_pseudo_collection(
        options.output,
        source,
        method,
        found,
        config=as_dict(options),
        facts={"method": name, "keep": method.rules.keep, **generator_facts(options.generator, method)},
        overwrite=options.overwrite,
    )
    if isinstance(method, Generated):
        method.remove()
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in manifest["counts"].items())
    print(f"{options.output}: {counts}")
    print(
        f"known-item pseudo-queries by {name}; {found.short:,} documents too short, "
        f"{found.shared:,} queries shared by several documents left out"
    )
    collection = shlex.quote(str(options.output))
    note(
        "train on it:\n  python -m pyserini_sdr.train --collection "
        f"{collection} --encoder all-MiniLM-L6-v2 --output CHECKPOINT\n"
        f"or on {GROUPS} (without hard negatives):\n  python -m pyserini_sdr.train --collection {collection} "
        f"--groups {shlex.quote(str(options.output / GROUPS))} --negatives 0 --loss infonce "
        "--encoder all-MiniLM-L6-v2 --output CHECKPOINT"
    )


def _chosen(options: PseudoOptions, source: Source) -> tuple[str, Any, Survey]:
    """Name of the method, the method, and what it finds."""
    name = "title-body" if options.method == "auto" else options.method
    method, found = _surveyed(name, options, source)
    if options.method == "auto":
        if found.queries < TITLED * source.count:
            name = "inverse-cloze"
            method, found = _surveyed(name, options, source)
        note(f"--method auto: {name}")
    return name, method, found


def _surveyed(name: str, options: PseudoOptions, source: Source) -> tuple[Any, Survey]:
    method = _method(name, options, source)
    method.prepare(source.documents)
    return method, survey(source, method, options.seed, options.dev, options.test)


def _method(name: str, options: PseudoOptions, source: Source) -> Any:
    rules = Rules(
        seed=options.seed,
        per_document=options.per_document,
        min_tokens=options.min_tokens,
        min_query_tokens=options.min_query_tokens,
        max_query_tokens=options.max_query_tokens,
    )
    kind: Any = {**_SIMPLE, "key-phrases": KeyPhrases, "seq2seq": Generated}[name]
    rules = dataclasses.replace(rules, keep=kind.default_keep if options.keep is None else options.keep)
    if name == "key-phrases":
        return KeyPhrases(rules, options.phrases)
    if name == "seq2seq":
        return from_options(rules, options, source, options.output)
    return kind(rules)
