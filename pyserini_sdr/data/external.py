"""Collections in other layouts: BEIR folders, MS MARCO's tab-separated files, `ir_datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, shorten
from ..core.files import read_jsonl, read_lines, require_directory
from ..trec.qrels import read_qrels
from ..trec.topics import read_topics
from .corpus import iter_located
from .material import Material, OnError, Qrels
from .records import Document, Problem, checked_id

SPLITS = ("train", "dev", "test")
_GZ = ("", ".gz")


def beir_material(folder: Path) -> Material:
    """A BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv`; `contents` = title + text."""
    require_directory(folder, "BEIR folder")
    corpus, queries = _find(folder, "corpus.jsonl"), _find(folder, "queries.jsonl")
    found = {split: path for split in SPLITS if (path := _optional(folder / "qrels", f"{split}.tsv"))}
    if not found:
        raise DataError(folder / "qrels", "no qrels: none of train.tsv, dev.tsv, test.tsv")
    texts = _beir_queries(queries)
    qrels = {split: read_qrels(path) for split, path in found.items()}

    def documents(on_error: OnError | None) -> Iterator[Document]:
        return (document for _, _, document in iter_located(corpus, on_error=on_error))

    return Material(
        documents,
        {split: _judged_topics(texts, judged) for split, judged in qrels.items()},
        qrels,
        origin={split: str(path) for split, path in found.items()},
        inputs=[corpus, queries, *found.values()],
    )


def _beir_queries(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, record in read_jsonl(path):
        try:
            qid = checked_id(record.get("_id", record.get("id")), "query id")
        except Problem as problem:
            raise DataError(path, problem.args[0], line=number, remedy=problem.args[1]) from None
        text = record.get("text")
        if not isinstance(text, str) or not text.strip():
            raise DataError(path, f"query {qid!r} has no text", line=number, remedy="remove it or give it a text")
        if qid in texts:
            raise DataError(path, f"duplicate query id {qid!r}", line=number, remedy="remove one")
        texts[qid] = _one_line(text)
    return texts


def msmarco_material(folder: Path) -> Material:
    """MS MARCO passages as distributed: `collection.tsv`, `queries.X.tsv` and `qrels.X.tsv`, X = train, dev[.small].

    `dev.small` (the 6,980 queries that papers report) becomes `dev`; without it, all of `dev`.
    """
    require_directory(folder, "MS MARCO folder")
    collection = _find(folder, "collection.tsv")
    topics: dict[str, dict[str, str]] = {}
    qrels: dict[str, Qrels] = {}
    origin: dict[str, str] = {}
    inputs = [collection]
    for split, names in (("train", ("train",)), ("dev", ("dev.small", "dev"))):
        for name in names:
            judged = _optional(folder, f"qrels.{name}.tsv")
            if judged is None:
                continue
            queries = _optional(folder, f"queries.{name}.tsv") or _find(folder, f"queries.{split}.tsv")
            qrels[split] = read_qrels(judged)
            topics[split] = _judged_topics(read_topics(queries), qrels[split])
            origin[split] = str(judged)
            inputs += [queries, judged]
            break
    if not qrels:
        raise DataError(folder, "no qrels: none of qrels.train.tsv, qrels.dev.small.tsv, qrels.dev.tsv")

    def documents(on_error: OnError | None) -> Iterator[Document]:
        for number, line in read_lines(collection):
            docid, tab, text = line.partition("\t")
            if tab and docid.split() == [docid] and text.strip():
                yield Document(docid, text)
                continue
            error = DataError(collection, f"expected id, tab, text, found {shorten(line, 60)}", line=number)
            if on_error is None:
                raise error
            on_error(error)

    return Material(documents, topics, qrels, origin=origin, inputs=inputs)


def ir_datasets_material(name: str) -> Material:
    """A data set of `ir_datasets`; the other splits of the same corpus (`…/train`, `…/dev`) come with it.

    Raises:
        UsageError: `ir_datasets` is not installed, has no such data set, or it lacks queries or qrels.
    """
    try:
        import ir_datasets
    except ImportError:
        raise UsageError(
            f"ir_datasets:{name} needs the package ir_datasets: pip install 'pyserini_sdr[ir-datasets]'"
        ) from None
    parent, _, last = name.rpartition("/")
    names = {split: f"{parent}/{split}" for split in SPLITS} if last in SPLITS and parent else {"test": name}
    topics: dict[str, dict[str, str]] = {}
    qrels: dict[str, Qrels] = {}
    chosen = _load(ir_datasets, name)
    for split, full in names.items():
        try:
            dataset = chosen if full == name else ir_datasets.load(full)
        except KeyError:  # that split does not exist
            continue
        if not (dataset.has_queries() and dataset.has_qrels()):
            if full == name:
                raise UsageError(f"ir_datasets:{name} has no queries with qrels; take one of its subsets")
            continue
        qrels[split] = {}
        for judgment in dataset.qrels_iter():
            qrels[split].setdefault(str(judgment.query_id), {})[str(judgment.doc_id)] = int(judgment.relevance)
        texts = {str(query.query_id): _one_line(query.default_text()) for query in dataset.queries_iter()}
        topics[split] = _judged_topics(texts, qrels[split])

    def documents(on_error: OnError | None) -> Iterator[Document]:
        for number, record in enumerate(chosen.docs_iter(), start=1):
            docid, title, contents = str(record.doc_id), getattr(record, "title", None) or None, _contents(record)
            if contents.strip() and docid.split() == [docid]:
                yield Document(docid, contents, title)
                continue
            error = DataError(f"ir_datasets:{name}", f"document {docid!r} (number {number}) is empty or has a bad id")
            if on_error is None:
                raise error
            on_error(error)

    origin = {split: f"ir_datasets:{names[split]}" for split in qrels}
    return Material(documents, topics, qrels, origin=origin, facts={"ir_datasets": name})


def _load(ir_datasets: Any, name: str) -> Any:
    try:
        dataset = ir_datasets.load(name)
    except KeyError:
        raise UsageError(f"ir_datasets has no data set {name!r}; they are listed in its catalogue") from None
    if not dataset.has_docs():
        raise UsageError(f"ir_datasets:{name} has no documents")
    return dataset


def _contents(record: Any) -> str:
    """Title, a space and the text where a record has both; else what `ir_datasets` takes as its text."""
    title, text = getattr(record, "title", None), getattr(record, "text", None)
    if isinstance(title, str) and isinstance(text, str):
        return f"{title} {text}".strip()
    return record.default_text()


def _judged_topics(texts: dict[str, str], qrels: Qrels) -> dict[str, str]:
    return {qid: text for qid, text in texts.items() if qid in qrels}


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _optional(folder: Path, name: str) -> Path | None:
    return next((path for end in _GZ if (path := folder / f"{name}{end}").is_file()), None)


def _find(folder: Path, name: str) -> Path:
    path = _optional(folder, name)
    if path is None:
        raise DataError(folder / name, "no such file", remedy="see `collection build --help` for the layouts")
    return path
