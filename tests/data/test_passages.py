"""Passages: how documents are cut, and groups of documents to groups of passages and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.data.groups import write_groups
from pyserini_sdr.data.part_ids import document_of, part_id
from pyserini_sdr.data.passages import best_passages, fold, fold_groups, passages, to_passages
from pyserini_sdr.data.records import Document


def test_windows_of_words_with_the_title_in_front():
    document = Document("d", "A title: one two three, four (five) six seven.", "A title")
    assert passages(document, 4, 2) == [
        "A title: one two three, four",
        "A title: three, four (five) six",
        "A title: (five) six seven.",
    ]
    assert passages(document, 7, 3) == [document.contents]
    assert passages(Document("d", "a b c d e f"), 3, 3) == ["a b c", "d e f"]
    assert passages(Document("d", "other words than these", "A title"), 2, 2) == ["other words", "than these"]
    assert passages(Document("d", "A title", "A title"), 2, 2) == ["A title"]
    assert passages(Document("d", "東京は大きい。"), 3, 3) == ["東京は", "大きい", "。"]


@given(st.lists(st.text("ab.,(é東", min_size=1), min_size=1), st.integers(1, 5), st.data())
def test_every_word_is_in_a_passage_and_none_is_too_long(words: list[str], size: int, data: st.DataObject):
    stride = data.draw(st.integers(1, size))
    text = " ".join(words)
    found = passages(Document("d", text), size, stride)
    assert all(part and part in text for part in found)
    assert all(any(word in part for part in found) for word in words if len(word) == 1)
    if "東" not in text:
        assert all(len(part.split()) <= size for part in found)
        assert len(found) == 1 + max(0, -(-(len(words) - size) // stride))
        whole = [part.split() for part in found]
        assert [word for part in whole[:-1] for word in part[:stride]] + whole[-1] == words


def test_ids():
    assert part_id("a.b", 3) == "a.b#3" and document_of("a.b#3") == "a.b" and document_of("a#1#2") == "a"
    assert document_of("a#1", "::") == "a#1" and document_of("a::1", "::") == "a"


def group(positives: list[str], negatives: list[str], **scores: dict[str, float]) -> Group:
    """Of ids; a word in brackets is a text without one."""

    def candidate(word: str) -> Candidate:
        return Candidate(text=word) if word.startswith("[") else Candidate(word)

    return Group("q", "query", [candidate(w) for w in positives], [candidate(w) for w in negatives], scores)


def ids(found: Group) -> tuple[list[str | None], list[str | None]]:
    return [c.id or c.text for c in found.positives], [c.id or c.text for c in found.negatives]


def test_groups_of_passages():
    cut = to_passages(group(["a"], ["b", "[x]", "c"], ce={"a": 1.0}), {"a": 3, "b": 1, "c": 2}, "#", 2)
    assert ids(cut) == (["a#0", "a#1"], ["b#0", "[x]", "c#0", "c#1"]) and cut.scores == {}
    assert ids(to_passages(group(["a"], []), {"a": 3}, "/"))[0] == ["a/0", "a/1", "a/2"]


def test_folding_takes_the_best_passage_under_every_name():
    text = Candidate(text="[x]").key
    scores = {"a#0": 1.0, "a#1": 3.0, "b#0": -2.0, "b#1": -5.0, text: 0.5}
    folded = fold(group(["a#0", "a#1"], ["b#0", "[x]", "b#1", "c#0"], ce=scores, bm={"b#1": 4.0}))
    assert ids(folded) == (["a"], ["b", "[x]", "c"])
    assert folded.scores == {"ce": {"a": 3.0, "b": -2.0, text: 0.5}, "bm": {"b": 4.0}}
    assert ids(fold(group(["a#0"], ["a#1", "b#0"]))) == (["a"], ["b"])
    own = Group("q", "query", [Candidate("a#0", "own text")], [])
    assert fold(own).positives == [Candidate("a")]  # the text was the passage's


def test_there_and_back(tmp_path: Path):
    documents = group(["a", "b"], ["c", "[x]", "d"])
    cut = to_passages(documents, {"a": 2, "b": 3, "c": 1, "d": 9}, "#")
    write_groups(tmp_path / "p.jsonl", [cut])
    (back,) = fold_groups(tmp_path / "p.jsonl")
    assert back == documents


def test_the_best_passage_of_each_positive(tmp_path: Path):
    ce = {"a#0": 1.0, "a#1": 3.0, "a#2": 3.0, "n#0": 2.0}
    write_groups(tmp_path / "p.jsonl", [group(["a#0", "a#1", "a#2", "b#0", "b#1"], ["n#0", "n#1"], ce=ce)])
    (best,) = best_passages(tmp_path / "p.jsonl", "ce")
    assert ids(best) == (["a#1", "b#0"], ["n#0", "n#1"])  # the first of a tie, and of those without a score
    assert best.scores == {"ce": {"a#1": 3.0, "n#0": 2.0}}


@pytest.mark.parametrize("read", [lambda path: fold_groups(path, "::"), lambda path: best_passages(path, "ce", "::")])
def test_groups_without_passages_are_refused(read, tmp_path: Path):
    write_groups(tmp_path / "p.jsonl", [group(["a#0"], ["b#0"])])
    with pytest.raises(DataError, match=r"p.jsonl: no document id holds '::'"):
        list(read(tmp_path / "p.jsonl"))
