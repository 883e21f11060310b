"""`collection passages` as a user meets it, and what follows it: scores, documents again, search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.collection.check import check_collection
from pyserini_sdr.collection.commands import COMMAND
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.data.store import DocumentStore
from pyserini_sdr.mine.__main__ import COMMAND as MINE


def execute(*argv: object) -> int:
    return COMMAND.execute("collection", ["passages", *map(str, argv)])


@pytest.fixture
def groups(tiny_collection: Path, tmp_path: Path) -> Path:
    path = tmp_path / "groups.jsonl"
    with path.open("w") as handle:
        for number, (qid, query) in enumerate(Collection.open(tiny_collection).topics("train").items()):
            negatives = [{"id": f"d{(number + i) % 60:03d}"} for i in (1, 2, 3)] + [{"text": f"a text {number}"}]
            record = {"query_id": qid, "query": query, "positives": [{"id": f"d{number:03d}"}], "negatives": negatives}
            handle.write(json.dumps(record) + "\n")
    return path


def test_a_sound_collection(tiny_collection: Path, tmp_path: Path, capsys) -> None:
    assert execute(tiny_collection, "--output", tmp_path / "p", "--words", 10, "--stride", 5) == 0
    report = check_collection(tmp_path / "p")
    assert report.findings == []
    made = list(iter_documents(tmp_path / "p"))
    for document in iter_documents(tiny_collection):
        own = [part for part in made if part.id.startswith(f"{document.id}#")]
        assert [part.id for part in own] == [f"{document.id}#{i}" for i in range(len(own))] and len(own) >= 2
        assert all(part.contents.startswith(f"{document.title} ") and part.title == document.title for part in own)
    old, new = Collection.open(tiny_collection), Collection.open(tmp_path / "p")
    assert {split: new.topics(split) for split in new.splits} == {split: old.topics(split) for split in old.splits}
    counts = {document.id: 0 for document in iter_documents(tiny_collection)}
    for part in made:
        counts[part.id.split("#")[0]] += 1
    for split in old.splits:
        expected = {
            q: {f"{d}#{i}": 1 for d in grades for i in range(counts[d])} for q, grades in old.qrels(split).items()
        }
        assert new.qrels(split) == expected
    assert len(new.pairs()) == sum(counts[docid] for _, docid in old.pairs())
    manifest = new.manifest
    assert manifest is not None and manifest["counts"] == {"documents": 60, "passages": len(made)}
    assert manifest["parts"]["most"] == max(counts.values()) and manifest["parts"]["stride"] == 5
    assert f"{len(made)} passages of 60 documents" in capsys.readouterr().out


def test_groups_there_and_back_with_a_teacher(tiny_collection: Path, groups: Path, tmp_path: Path) -> None:
    """The document's score is its best passage's, under the same name; the positive passage is the teacher's best."""
    cut = tmp_path / "cut.jsonl"
    flags = ("--words", 10, "--groups", groups, "--groups-output", cut, "--max-passages", 3)
    assert execute(tiny_collection, "--output", tmp_path / "p", *flags) == 0
    assert check_collection(tmp_path / "p", [cut]).findings == []
    scored = tmp_path / "scored.jsonl"
    with scored.open("w") as handle:  # a teacher that likes passages with many a's
        texts = DocumentStore(tmp_path / "p", progress=False)
        for line in cut.read_text().splitlines():
            record = json.loads(line)
            assert len(record["positives"]) in (2, 3)
            keys = [c["id"] for c in record["positives"] + record["negatives"] if "id" in c]
            record["scores"] = {"ce": {key: texts[key].count("a") + int(key[-1]) / 10 for key in keys}}
            handle.write(json.dumps(record) + "\n")

    def mine(collection: Path, output: str, *more: object) -> Path:
        words = ["--collection", collection, "--groups", scored, "--output", tmp_path / output, *more]
        MINE.execute("mine", [str(word) for word in words])
        return tmp_path / output

    documents = list(read_groups(mine(tiny_collection, "documents.jsonl", "--documents-of", "#")))
    best = list(read_groups(mine(tmp_path / "p", "best.jsonl", "--best-passage", "ce", "--negatives", 99)))
    for given, passaged, folded, chosen in zip(read_groups(groups), read_groups(scored), documents, best, strict=True):
        assert (folded.positives, folded.negatives) == (given.positives, given.negatives)
        table = passaged.scores["ce"]
        for docid, score in folded.scores["ce"].items():
            assert score == max(x for key, x in table.items() if key.split("#")[0] == docid)
        (positive,) = chosen.positives
        assert table[positive.key] == folded.scores["ce"][given.positives[0].key]
        assert len(chosen.negatives) == len(passaged.negatives)


def test_groups_inside_the_collection_come_with_it(tiny_collection: Path, groups: Path, tmp_path: Path) -> None:
    inside = tmp_path / "p" / "groups.jsonl"
    assert execute(tiny_collection, "--output", tmp_path / "p", "--groups", groups, "--groups-output", inside) == 0
    assert len(list(read_groups(inside))) == 36 and (tmp_path / "p" / "corpus").is_dir()
    assert json.loads(inside.with_name("groups.jsonl.json").read_text())["groups"] == 36


def test_faults_leave_nothing(tiny_collection: Path, groups: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(groups.read_text().replace("d002", "nope"))
    flags = ("--groups", bad, "--groups-output", tmp_path / "cut.jsonl")
    with pytest.raises(DataError, match=r"bad.jsonl:1: document 'nope' of query 'q000' is not in the corpus"):
        execute(tiny_collection, "--output", tmp_path / "p", *flags)
    assert execute(tiny_collection, "--output", tmp_path / "one", "--words", 10) == 0
    with pytest.raises(DataError, match=r"document id 'd000#0' holds '#'.*--delimiter"):
        execute(tmp_path / "one", "--output", tmp_path / "p")
    assert execute(tmp_path / "one", "--output", tmp_path / "two", "--delimiter", "/") == 0
    with pytest.raises(DataError, match="holds the corpus that is to be read"):
        execute(tmp_path / "one", "--output", tmp_path / "one", "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "groups.jsonl", "one", "two"]


def test_documents_that_the_corpus_lacks_and_duplicates(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"id": "a", "contents": "one two three"}\n')
    (folder / "topics.test.tsv").write_text("q\tquery\nr\tquery\n")
    (folder / "qrels.test.txt").write_text("q 0 a 2\nq 0 z 1\nr 0 z 1\n")
    assert execute(folder, "--output", tmp_path / "p", "--words", 2) == 0
    assert "left out 2 judgments and pairs" in capsys.readouterr().err
    assert Collection.open(tmp_path / "p").qrels("test") == {"q": {"a#0": 2, "a#1": 2}}
    (folder / "corpus.jsonl").write_text('{"id": "a", "contents": "one"}\n' * 2)
    with pytest.raises(DataError, match=r"corpus.jsonl:2: duplicate document id 'a'"):
        execute(folder, "--output", tmp_path / "x")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--words", 10, "--stride", 11], "--stride 11: would skip words"),
        (["--groups", "g"], "--groups and --groups-output go together"),
        (["--max-passages", 3], "--max-passages 3: needs --groups"),
        (["--delimiter", "1"], "--delimiter 1: must not be made of digits"),
    ],
)
def test_usage_errors(more: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        execute(tmp_path, "--output", tmp_path / "p", *more)
