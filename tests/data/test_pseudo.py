"""The collection of pseudo-queries: splits, shared queries, files."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.data.pseudo import GROUPS, Source, survey, write_pseudo_collection
from pyserini_sdr.data.pseudo_methods import InverseCloze, Rules, TitleBody

from .test_corpus import write


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """200 documents, of which the last 20 share ten titles."""
    path = tmp_path / "corpus.jsonl"
    words = [f"word{i}" for i in range(300)]
    rng = random.Random(0)
    records = []
    for i in range(200):
        title = f"About the matter {i if i < 180 else 1000 + i // 2}"
        body = ". ".join(f"It {' '.join(rng.sample(words, 8))}".capitalize() for _ in range(4))
        records.append({"id": f"d{i}", "title": title, "contents": f"{title} {body}."})
    write(path, *records)
    return path


def make(corpus: Path, target: Path, method=TitleBody, dev: float = 0.1, test: float = 0.2, seed: int = 0, **sample):
    source = Source.open(corpus, seed, **sample)
    maker = method(Rules(seed=seed, keep=method.default_keep))
    found = survey(source, maker, seed, dev, test)
    facts = {"method": "title-body" if method is TitleBody else "inverse-cloze", "keep": maker.rules.keep}
    write_pseudo_collection(target, source, maker, found, config={}, facts=facts)
    return found, Collection.open(target)


def test_splits_are_disjoint_and_of_the_sizes_asked_for(corpus: Path, tmp_path: Path) -> None:
    found, collection = make(corpus, tmp_path / "c")
    assert (found.documents, found.queries, found.shared) == (200, 180, 20)
    qrels = {split: collection.qrels(split) for split in ("train", "dev", "test")}
    assert {split: len(values) for split, values in qrels.items()} == {"train": 126, "dev": 18, "test": 36}
    relevant = {split: {d for grades in values.values() for d in grades} for split, values in qrels.items()}
    assert not relevant["train"] & relevant["dev"] and not relevant["test"] & (relevant["train"] | relevant["dev"])
    assert {f"d{i}" for i in range(180)} == set.union(*relevant.values())
    assert collection.pairs() == [(qid, docid) for qid, grades in qrels["train"].items() for docid in grades]
    assert collection.topics("test").keys() == qrels["test"].keys()


def test_the_cut_is_made_in_the_whole_corpus(corpus: Path, tmp_path: Path) -> None:
    _, collection = make(corpus, tmp_path / "c")
    documents = list(iter_documents(collection.corpus))
    assert len(documents) == 200
    assert all(document.title is None and document.contents.startswith("It ") for document in documents)


def test_groups_hold_the_texts_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    _, collection = make(corpus, tmp_path / "c", InverseCloze)
    texts = {document.id: document.contents for document in iter_documents(collection.corpus)}
    groups = list(read_groups(collection.path / GROUPS))
    assert {group.query_id: group.query for group in groups} == collection.topics("train")
    assert all(texts[c.id] == c.text for group in groups for c in group.positives)


def test_held_out_documents_never_hold_their_query(corpus: Path, tmp_path: Path) -> None:
    _, collection = make(corpus, tmp_path / "c", InverseCloze)
    texts = {document.id: document.contents for document in iter_documents(collection.corpus)}

    def held(split: str) -> list[bool]:
        topics = collection.topics(split)
        return [topics[qid] in texts[docid] for qid, docid in collection.pairs(split)]

    assert not any(held("dev") + held("test"))
    assert 0 < sum(held("train")) < 0.25 * len(held("train"))


def test_order_of_the_corpus_changes_nothing_but_order(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(reversed(corpus.read_text().splitlines())) + "\n")
    _, first = make(corpus, tmp_path / "a", InverseCloze)
    _, second = make(other, tmp_path / "b", InverseCloze)
    assert all(first.topics(split) == second.topics(split) for split in ("train", "dev", "test"))
    _, again = make(corpus, tmp_path / "c", InverseCloze)
    for name in ("topics.train.tsv", "qrels.test.txt", GROUPS, "corpus/documents.jsonl"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    _, seeded = make(corpus, tmp_path / "d", InverseCloze, seed=1)
    assert seeded.topics("train") != first.topics("train")


def test_a_sample_of_documents(corpus: Path, tmp_path: Path) -> None:
    found, collection = make(corpus, tmp_path / "c", InverseCloze, max_documents=50)
    ids = [document.id for document in iter_documents(collection.corpus)]
    assert len(ids) == 50 == found.documents and ids == sorted(ids, key=lambda id: int(id[1:])) and ids[-1] != "d49"


def test_no_dev_or_no_test(corpus: Path, tmp_path: Path) -> None:
    assert make(corpus, tmp_path / "a", dev=0)[1].splits == ["train", "test"]
    assert make(corpus, tmp_path / "b", test=0)[1].splits == ["train", "dev"]


def test_manifest_and_card_say_what_the_queries_are(corpus: Path, tmp_path: Path) -> None:
    _, collection = make(corpus, tmp_path / "c", InverseCloze)
    manifest = collection.manifest
    assert manifest is not None and manifest["task"] == "known-item, pseudo-queries"
    assert manifest["pseudo_queries"]["method"] == "inverse-cloze" and manifest["inputs"][0]["path"] == str(corpus)
    card = (collection.path / "CARD.md").read_text()
    assert "known-item" in card and "probability 0.9" in card


def test_too_few_queries(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    write(corpus, *({"id": f"d{i}", "contents": "Too short."} for i in range(9)))
    with pytest.raises(
        DataError, match=r"its 9 documents give 0 queries, too few .*9 documents are too short.*--method"
    ):
        make(corpus, tmp_path / "c", InverseCloze)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_duplicate_ids_are_refused_with_both_lines(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": "a", "contents": "x"}) + "\n" for _ in range(2)))
    with pytest.raises(DataError, match=r"corpus\.jsonl:2: duplicate document id 'a', first at .*:1"):
        Source.open(corpus)
