"""What lies at a path: finished or not, what it is, what is wrong with it. Files are opened, and not read through."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.errors import SdrError, shorten
from ..core.files import PARTIAL, open_binary, read_json, read_object
from ..data.collection import PAIRS, Collection, read_pairs
from ..data.corpus import iter_documents
from ..data.groups import read_groups
from ..encode.layout import FOLDER
from ..index.info import describe
from ..index.replace import WRITING
from ..index.room import size_text
from ..model.fingerprint import has_tokenizer, weight_files
from ..model.spec import SPEC_FILE, is_raw_backbone, read_spec
from ..trec.qrels import read_qrels
from ..trec.run import iter_run
from ..trec.topics import read_topics
from .finding import Check, Teller

_TRAINING, _PARTS = ".train", ".parts"
_MADE = ("sdr_train.json", "sdr_pretrain.json", "sdr_teach.json")
_RESULTS = {"results.json": "an evaluation", "sdr_bm25.json": "a BM25 index", "recipe.json": "a recipe's systems"}
_OF_COLLECTION = ("corpus", "*.jsonl", "*.jsonl.gz", "topics.*.tsv", "collection.json")
_TOPICS = re.compile(r"topics\..+\.(tsv|txt|trec|jsonl)(\.gz)?")
_GROUP = re.compile(r'"(query|query_id|positives|positive_passages)"\s*:')
"""In the first line of a file of objects: they are groups, not documents."""
_AGAIN = "give the command that makes it again: it goes on from there"
_ANEW = "make it anew"
_OTHER = "name a collection, checkpoint, index, run, or file of documents, topics, groups or judgements"
_SOME = 1000
"""Documents, groups or topics that are read."""


def check_path(path: Path, teller: Teller) -> Check:
    """What lies at `path`."""
    teller.doing(f"looking at {path}")
    name = str(path)
    try:
        if not path.exists():
            return Check(name, "failure", "there is no such file or directory", "correct the path")
        if PARTIAL in path.name:
            remedy = f"the command that makes {path.name.lstrip('.').partition(PARTIAL)[0]}, given again, removes it"
            return Check(name, "warning", "temporary: a command writes it, or was killed while it did", remedy)
        return _directory(path) if path.is_dir() else _file(path)
    except SdrError as error:
        problem, remedy = getattr(error, "problem", None), getattr(error, "remedy", None)
        return Check(name, "failure", problem or str(error), remedy or _ANEW)
    except OSError as error:
        return Check(name, "failure", f"cannot be read: {error.strerror or error}", "look at its owner and its rights")


def _directory(path: Path) -> Check:
    if (path / _TRAINING).exists():
        steps = len(list((path / _TRAINING).glob("checkpoint-*")))
        return Check(str(path), "warning", f"an unfinished training with {steps} checkpoints", _AGAIN)
    if any((path / name).exists() for name in (FOLDER, WRITING, "index", "embeddings.jsonl", "sdr_index.json")):
        return _index(path)
    if (path / "config.json").exists() or (path / SPEC_FILE).exists() or weight_files(path):
        return _checkpoint(path)
    if any(True for name in _OF_COLLECTION for _ in path.glob(name)):
        return _collection(path)
    for name, what in _RESULTS.items():
        if (path / name).exists():
            facts = read_object(path / name)
            return _finished(path, what, {"created": facts.get("created"), "command": facts.get("command")})
    if not any(path.iterdir()):
        return Check(str(path), "warning", "is empty", "give the command that makes it")
    return Check(str(path), "warning", "holds nothing that a command here makes", _OTHER)


def _index(path: Path) -> Check:
    facts = describe(path)
    state = facts["state"]
    if state.startswith("unfinished"):
        done = f", {facts['chunks']} chunks done" if "chunks" in facts else ""
        return Check(str(path), "warning", f"an {state}{done}", _AGAIN, facts)
    if facts.get("ids", facts.get("count")) != facts.get("count"):
        problem = f"an index of {facts['count']:,} vectors and {facts['ids']:,} ids"
        return Check(str(path), "failure", problem, _ANEW, facts)
    what = f"an index, {facts.get('type', 'embeddings')}"
    if "count" in facts:
        what += f", {facts['count']:,} vectors of dimension {facts['dimension']}"
    what += f", of {facts['encoder']}" if "encoder" in facts else f" ({state})"
    return Check(str(path), "ok", f"{what}; `index verify` reads every vector", None, facts)


def _checkpoint(path: Path) -> Check:
    weights = weight_files(path)
    if not (path / "config.json").exists():
        return Check(str(path), "failure", "a checkpoint without config.json", _ANEW)
    if not weights:
        return Check(str(path), "failure", "a checkpoint without weights (*.safetensors)", _ANEW)
    for file in weights:
        if file.suffix == ".safetensors":
            problem = _header_problem(file)
            if problem is not None:
                return Check(str(path), "failure", f"{file.name} is damaged: {problem}", _ANEW)
    if not has_tokenizer(path):
        return Check(str(path), "failure", "a checkpoint without its tokenizer", _ANEW)
    made = next((name for name in _MADE if (path / name).exists()), None)
    details: dict[str, Any] = {"bytes": sum(file.stat().st_size for file in weights), "manifest": made}
    origin = f"finished, see {made}" if made else "not made here"
    if made == "sdr_teach.json":
        return Check(str(path), "ok", f"a cross-encoder, {origin}", None, details)
    if is_raw_backbone(path):
        remedy = "give `--pooling` and `--l2-norm` or `--no-l2-norm`; `train` needs neither"
        return Check(str(path), "warning", f"a backbone, {origin}: nothing tells its pooling", remedy, details)
    spec = read_spec(path, {})
    details["spec"] = spec.to_dict()
    what = f"an encoder, {origin}: {spec.pooling} pooling, {spec.similarity}, dimension {spec.dimension}"
    lengths = f"lengths {spec.query_max_length} and {spec.document_max_length}"
    return Check(str(path), "ok", f"{what}, {lengths}, {size_text(details['bytes'])}", None, details)


def _header_problem(file: Path) -> str | None:
    """What is wrong with a file of weights, by its header and its length."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            return None if any(True for _ in opened.keys()) else "it holds no tensors"  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        return str(error)


def _collection(path: Path) -> Check:
    collection = Collection.open(path)
    read = sum(1 for _ in islice(iter_documents(collection.corpus), _SOME))
    if not read:
        return Check(str(path), "failure", "a corpus without documents", _ANEW)
    splits = {split: len(collection.topics(split)) for split in collection.splits}
    details = {"splits": splits, "pairs": collection.pairs_path.exists(), "manifest": collection.manifest is not None}
    topics = ", ".join(f"{count:,} {split} topics" for split, count in splits.items()) or "no topics"
    count = f"its first {read:,} documents can be read" if read == _SOME else f"{read:,} documents"
    summary = f"a collection: {count}, {topics}; `collection check` reads all of it"
    return Check(str(path), "ok", summary, None, details)


def _file(path: Path) -> Check:
    parts = path.with_name(path.name + _PARTS)
    record = path.with_name(path.name + ".json")
    made = "" if record.exists() else ", without the .json that tells how it was made"
    if not path.stat().st_size:
        return Check(str(path), "failure", "is empty", _ANEW)
    if path.suffix in (".safetensors", ".json"):
        if path.suffix == ".json":
            found = read_json(path)
            kind = found.get("kind") if isinstance(found, dict) else None
            what = f"tells how {path.stem} was made ({kind})" if kind else "a JSON file"
            return _finished(path, what, {"kind": kind})
        problem = _header_problem(path)
        return (
            Check(str(path), "failure", f"is damaged: {problem}", _ANEW)
            if problem
            else Check(str(path), "ok", f"weights, {size_text(path.stat().st_size)}")
        )
    with open_binary(path) as handle:
        first = handle.readline(1 << 16).decode("utf-8", "replace")
    if _TOPICS.fullmatch(path.name):
        topics = read_topics(path)
        return _finished(path, f"{len(topics):,} topics", {"topics": len(topics)})
    if path.name == PAIRS:
        read = sum(1 for _ in islice(read_pairs(path), _SOME))
        return _finished(path, f"training pairs: {_read(read)}", {"read": read})
    if first.lstrip("\ufeff").startswith("{"):
        if not _GROUP.search(first):
            read = sum(1 for _ in islice(iter_documents(path), _SOME))
            return _finished(path, f"documents: {_read(read)}", {"read": read})
        read = sum(1 for _ in islice(read_groups(path), _SOME))
        unfinished = f"; {parts.name} is left of an unfinished one" if parts.exists() else ""
        return _finished(path, f"groups: {_read(read)}{made}{unfinished}", {"read": read})
    columns = 0 if first.count("\t") == 1 else len(first.split())  # ids and texts are no run, however many words
    if columns in (3, 6):
        read = sum(1 for _ in islice(iter_run(path), _SOME))
        return _finished(path, f"a run: {_read(read)} topics{made}; `run check` looks at all of it", {"read": read})
    if columns == 4:
        judged = read_qrels(path)
        return _finished(path, f"judgements of {len(judged):,} topics", {"topics": len(judged)})
    return Check(str(path), "warning", f"is of no known layout: {shorten(first.strip(), 40)}", _OTHER)


def _finished(path: Path, what: str, details: dict[str, Any]) -> Check:
    return Check(str(path), "ok", what, None, details)


def _read(count: int) -> str:
    return f"its first {count:,}" if count == _SOME else f"{count:,}"
