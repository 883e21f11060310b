"""`collection pseudo-queries`."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
from typing import Any

from ..core.command import load
from ..core.errors import DataError
from ..core.files import file_sha256
from ..core.options import as_dict
from ..core.progress import note
from ..data.corpus import corpus_files
from ..data.pseudo import GROUPS, TITLED, Source, Survey, survey, write_pseudo_collection
from ..data.pseudo_methods import FirstSentence, InverseCloze, KeyPhrases, Rules, TitleBody
from .pseudo_generated import Generated
from .pseudo_options import PseudoOptions

_SIMPLE: dict[str, type] = {"title-body": TitleBody, "first-sentence": FirstSentence, "inverse-cloze": InverseCloze}


def run(options: PseudoOptions) -> None:
    """Makes the collection and prints what it holds and what to do with it."""
    _check_output(options)
    source = Source.open(options.source, options.seed, options.max_documents)
    name, method, found = _chosen(options, source)
    manifest = write_pseudo_collection(
        options.output,
        source,
        method,
        found,
        config=as_dict(options),
        facts={"method": name, "keep": method.rules.keep, **_generator_facts(options, method)},
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


def _check_output(options: PseudoOptions) -> None:
    """Refuses a used output before the work, not after it."""
    output = options.output
    if output.exists() and not output.is_dir():
        raise DataError(output, "is a file, cannot make a directory there")
    if output.exists() and any(output.iterdir()) and not options.overwrite:
        raise DataError(output, "already exists and is not empty", remedy="give another path or --overwrite")
    if output.exists() and any(output.resolve() in file.resolve().parents for file in corpus_files(options.source)):
        raise DataError(output, "holds the corpus that is to be read", remedy="give another --output")


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
        return _generated(rules, options, source)
    return kind(rules)


def _generated(rules: Rules, options: PseudoOptions, source: Source) -> Generated:
    folder = options.output.with_name(f".{options.output.resolve().name}.generated")
    if options.overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    plan = {
        "corpus": [file_sha256(file) for file in corpus_files(source.corpus)],
        "generator": options.generator,
        **{key: getattr(options, key) for key in _PLANNED},
    }

    def generator() -> Any:
        return load("pyserini_sdr.model.generator:QueryGenerator")(  # torch only where it is asked for
            options.generator,
            device=options.device,
            prefix=options.generator_prefix,
            max_length=options.max_length,
            max_query_length=2 * options.max_query_tokens,
            top_k=options.top_k,
            batch_tokens=options.batch_tokens,
        )

    return Generated(rules, generator, folder, plan, output=options.output, total=source.count)


_PLANNED = (
    *("seed", "max_documents", "per_document", "min_tokens", "max_query_tokens", "generator_prefix", "max_length"),
    *("top_k", "batch_tokens"),
)
"""Options that generated queries depend on."""


def _generator_facts(options: PseudoOptions, method: Any) -> dict[str, str | None]:
    if not isinstance(method, Generated):
        return {}
    return {"generator": options.generator, "generator_weights": method.weights}
