"""Documents seen with generated queries: which query, which text, what two texts of one document are to a query."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS
from pyserini_sdr.train.__main__ import COMMAND as TRAIN
from pyserini_sdr.train.batches import BatchSource, Source
from pyserini_sdr.train.document_queries import DocumentQueries, part_at
from pyserini_sdr.train.rouge import common_subsequence, rouge_l, words_of

from .test_batches import Texts, group
from .test_train import arguments


def table_subsequence(one: str, other: str) -> int:
    """The textbook's table."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, x in enumerate(one):
        for j, y in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_rouge_l():
    rng = random.Random(0)
    for _ in range(500):
        one, other = ("".join(rng.choices("abcd", k=rng.randrange(9))) for _ in range(2))
        assert common_subsequence(one, other) == table_subsequence(one, other)
    assert rouge_l(words_of("The cat sat."), words_of("the DOG sat down")) == pytest.approx(2 * 2 / 7)
    assert rouge_l([], []) == 0 and rouge_l(["a"], []) == 0 and rouge_l(["a", "b"], ["a", "b"]) == 1


def write_queries(path: Path, queries: dict[str, list[str]]) -> Path:
    path.write_text("".join(json.dumps({"id": id, "queries": found}) + "\n" for id, found in queries.items()))
    return path


QUERY = "cost of a new roof"
BY_LIKENESS = ["the cost of a new roof", "cost of roof", "price of a house", "where is paris", "how old is tom"]


@pytest.fixture
def queries(tmp_path) -> DocumentQueries:
    mixed = [BY_LIKENESS[i] for i in (3, 0, 4, 2, 1)]
    return DocumentQueries(write_queries(tmp_path / "q.jsonl", {"d": [*mixed, "Cost of a new ROOF?"], "e": [QUERY]}))


def test_parts_fall_with_the_step():
    assert [part_at(step, 12, 3) for step in range(12)] == [3] * 4 + [2] * 4 + [1] * 4
    assert [part_at(step, 10, 4) for step in range(10)] == [4, 4, 4, 3, 3, 2, 2, 2, 1, 1]
    assert [part_at(step, 2, 5) for step in range(2)] == [5, 3] and part_at(99, 10, 3) == 1


def test_queries_are_ordered_by_likeness_without_the_training_query(queries):
    assert queries.ordered("d", QUERY)[:3] == BY_LIKENESS[:3] and len(queries.ordered("d", QUERY)) == 5
    assert queries.ordered("e", QUERY) == [] and queries.ordered("nobody", QUERY) == []


def test_a_query_is_drawn_from_the_part_in_force(queries):
    def seen(part: int) -> Counter:
        return Counter(queries.draw("d", "q", QUERY, part=part, step=step, seed=0) for step in range(200))

    order = queries.ordered("d", QUERY)
    assert [set(seen(part)) for part in (1, 2, 3)] == [set(order[:1]), set(order[1:3]), set(order[3:])]
    assert min(seen(3).values()) > 60
    again, other = ([queries.draw("d", "q", QUERY, part=3, step=s, seed=seed) for s in range(20)] for seed in (0, 1))
    assert again == [queries.draw("d", "q", QUERY, part=3, step=s, seed=0) for s in range(20)] != other
    assert queries.draw("e", "q", QUERY, part=2, step=0, seed=0) == ""


def test_the_order_of_a_pair_is_found_once(queries, monkeypatch):
    asked = []
    monkeypatch.setattr("pyserini_sdr.train.document_queries.rouge_l", lambda *words: asked.append(words) or 0.0)
    for step in range(30):
        queries.draw("d", "q", QUERY, part=1 + step % 3, step=step, seed=0)
    assert len(asked) == len(BY_LIKENESS)
    queries.draw("d", "r", "another query", part=1, step=0, seed=0)
    assert len(asked) > len(BY_LIKENESS)


def test_fewer_queries_than_parts(tmp_path):
    few = DocumentQueries(write_queries(tmp_path / "q.jsonl", {"d": BY_LIKENESS[:2]}), parts=4)
    assert [few.draw("d", "q", QUERY, part=part, step=0, seed=0) for part in (1, 2, 3, 4)] == [
        BY_LIKENESS[0], BY_LIKENESS[0], BY_LIKENESS[1], BY_LIKENESS[1]
    ]  # fmt: skip


def test_only_wanted_documents_are_kept_and_none_comes_twice(tmp_path):
    path = write_queries(tmp_path / "q.jsonl", {"a": ["x"], "b": ["y"], "c": []})
    kept = DocumentQueries(path, {"a", "c"})
    assert "a" in kept and "b" not in kept and "c" not in kept
    path.write_text(path.read_text() + '{"id": "a", "queries": ["z"]}\n')
    with pytest.raises(DataError, match=r"q.jsonl:4: document 'a' comes twice"):
        DocumentQueries(path)


def view_source(tmp_path, groups, known=None, **options) -> BatchSource:
    ids = {c.id for g in groups for c in (*g.positives, *g.negatives)}
    queries = DocumentQueries(
        write_queries(tmp_path / "v.jsonl", {id: [f"ask {id} {k}" for k in "abcdefghi"] for id in ids})
    )
    source = Source(groups, Texts(), known or {}, queries=queries)
    return BatchSource([source], **{"batch_size": len(groups), "steps": 6, **options})


def test_a_document_of_two_queries_has_two_texts_and_no_query_sees_a_copy_of_its_own(tmp_path):
    groups = [group("a", ["1"], ["2"]), group("b", ["3"], ["1"]), group("c", ["4"], ["2"])]
    batch = view_source(tmp_path, groups, known={"c": {"3"}}).batch(0)
    row = {text.removeprefix("query "): r for r, text in enumerate(batch.queries)}
    assert sorted(batch.documents) == sorted(f"text of {d}" for d in "123142")
    column = {}
    for k in range(6):
        owner = next(q for q, r in row.items() if batch.relation[r, k] in (OWN_POS, OWN_NEG))
        column[owner, batch.documents[k][-1]] = k
    assert len(column) == 6

    def codes(qid: str) -> dict[str, int]:
        return {owner + d: int(batch.relation[row[qid], k]) for (owner, d), k in column.items()}

    assert codes("a") == {"a1": OWN_POS, "a2": OWN_NEG, "b1": IGNORE, "b3": OTHER_POS, "c2": IGNORE, "c4": OTHER_POS}
    assert codes("b") == {"a1": IGNORE, "a2": OTHER_NEG, "b1": OWN_NEG, "b3": OWN_POS, "c2": OTHER_NEG, "c4": OTHER_POS}
    assert codes("c") == {"a1": OTHER_POS, "a2": IGNORE, "b1": OTHER_NEG, "b3": IGNORE, "c2": OWN_NEG, "c4": OWN_POS}
    assert batch.triples == 3


def test_the_encoder_sees_a_query_after_each_document_and_teachers_do_not(tmp_path):
    batches = view_source(tmp_path, [group("a", ["1"], ["2"]), group("b", ["3"], ["1"])], seed=2)
    for step in range(6):
        batch = batches.batch(step)
        assert batch.facts == {"query_part": [3, 3, 2, 2, 1, 1][step]}
        for plain, seen in zip(batch.documents, batch.student_documents, strict=True):
            assert seen.startswith(f"{plain} ask {plain[-1]} ")
    assert batches.batch(4).student_documents == batches.batch(4).student_documents
    assert batches.batch(4).student_documents != batches.batch(5).student_documents


def test_texts_without_an_id_and_documents_without_queries_stay_as_they_are(tmp_path):
    groups = [Group("a", "q", [Candidate(text="own")], [Candidate(id="9")]), group("b", ["1"], ["2"])]
    queries = DocumentQueries(write_queries(tmp_path / "v.jsonl", {"1": ["one"]}))
    batch = BatchSource([Source(groups, Texts(), {}, queries=queries)], batch_size=2, steps=1).batch(0)
    assert set(batch.student_documents) == {"own", "text of 9", "text of 1 one", "text of 2"}


def test_sources_with_and_without_queries_share_no_column(tmp_path):
    texts = Texts()
    queries = DocumentQueries(write_queries(tmp_path / "v.jsonl", {"1": ["one"], "2": ["two"]}))
    plain, viewed = group("a", ["1"], ["2"]), group("b", ["2"], ["3"])
    sources = [Source([plain], texts, {}), Source([viewed], texts, {}, queries=queries)]
    for seed in range(20):
        batch = BatchSource(sources, batch_size=2, steps=1, seed=seed).batch(0)
        if len(batch.queries) == 2:
            break
    assert sorted(batch.student_documents) == ["text of 1", "text of 2", "text of 2 two", "text of 3"]
    row = batch.queries.index("query b")
    assert batch.relation[row, batch.student_documents.index("text of 2")] == IGNORE


@pytest.fixture(scope="module")
def generated(tiny_collection, tmp_path_factory) -> Path:
    """Four queries of every document, as a generator might write them."""
    path = tmp_path_factory.mktemp("generated") / "queries.jsonl"
    found = {}
    for line in next((tiny_collection / "corpus").glob("*")).read_text().splitlines():
        record = json.loads(line)
        words = record["contents"].split()
        found[record["id"]] = [f"what is {' '.join(words[k : k + 3])}" for k in range(4)]
    return write_queries(path, found)


def test_training_with_document_queries(tiny_collection, tiny_encoder, groups, generated, tmp_path):
    """The part falls in the log."""
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output, "--loss", "infonce",
                                     "--document-queries", str(generated), "--query-parts", "2", "--max-steps", "4",
                                     "--logging-steps", "1", "--dev-split", "none"))  # fmt: skip
    log = json.loads((output / "train_log.json").read_text())["steps"]
    assert [entry["query_part"] for entry in log] == [2, 2, 1, 1]
    manifest = json.loads((output / "sdr_train.json").read_text())
    assert any("queries.jsonl" in str(entry) for entry in manifest["inputs"])


def test_queries_of_another_collection_and_flags_that_do_not_fit(tiny_collection, tiny_encoder, groups, tmp_path):
    other = write_queries(tmp_path / "other.jsonl", {"nobody": ["x"]})
    command = [*arguments(tiny_collection, tiny_encoder, groups, tmp_path / "x"), "--overwrite"]
    with pytest.raises(DataError, match=r"other.jsonl: has no query of any document of the groups"):
        TRAIN.execute("train", [*command, "--document-queries", str(other)])
    for more, message in (
        (["--query-parts", "3"], "--query-parts: needs --document-queries"),
        (["--document-queries", "a", "b"], "--document-queries: 2 files for 1 collections"),
        (["--document-queries", "a", "--document-tower", "x"], "--document-queries: documents are encoded as"),
        (["--document-queries", str(tmp_path / "none")], "none: no such file"),
    ):
        with pytest.raises((UsageError, DataError), match=message):
            TRAIN.execute("train", [*command, *more])
