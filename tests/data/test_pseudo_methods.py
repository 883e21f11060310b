"""Each method: what becomes the query, and what is left of the document."""

from __future__ import annotations

import pytest

from pyserini_sdr.data.pseudo_methods import (
    FirstSentence,
    InverseCloze,
    KeyPhrases,
    Rules,
    TitleBody,
    _without_words,
    split_title,
)
from pyserini_sdr.data.records import Document

BODY = (
    "Foxes sleep in the winter forest. Their dens have several doors and rooms. Rain seldom enters the deepest of them."
)
DOCUMENT = Document("d1", f"On red foxes. {BODY}", "On red foxes.")
LOOSE = Rules(min_tokens=3)


def test_split_title() -> None:
    assert split_title(DOCUMENT) == ("On red foxes.", BODY)
    assert split_title(Document("d", "text", "Another")) == ("", "text")
    assert split_title(Document("d", "text")) == ("", "text")


def test_title_body_takes_the_title_out_of_text_and_metadata() -> None:
    cut = TitleBody(LOOSE).cut(DOCUMENT)
    assert cut.queries == ["On red foxes"]
    assert cut.document == cut.held == Document("d1", BODY)


def test_a_title_that_makes_no_query_is_cut_all_the_same() -> None:
    cut = TitleBody(LOOSE).cut(Document("d", f"Foxes {BODY}", "Foxes"))
    assert cut.queries == [] and cut.document == Document("d", BODY) and not cut.short


def test_untitled_and_short_documents_stay() -> None:
    for document, short in ((Document("d", BODY), False), (Document("d", "A long title alone", "A long title"), True)):
        cut = TitleBody(LOOSE).cut(document)
        assert (cut.queries, cut.document, cut.short) == ([], document, short)


def test_first_sentence_leaves_the_title() -> None:
    cut = FirstSentence(LOOSE).cut(DOCUMENT)
    assert cut.queries == ["Foxes sleep in the winter forest"]
    assert cut.document.contents == "On red foxes. " + BODY[BODY.index("Their") :]
    assert cut.document.title == DOCUMENT.title


def test_inverse_cloze_keeps_some_training_sentences_and_no_held_out_one() -> None:
    method = InverseCloze(Rules(keep=0.1, min_tokens=3))
    documents = [Document(str(i), BODY) for i in range(600)]
    cuts = list(method.stream(documents))
    assert [cut.queries for cut in cuts] == [method.cut(document).queries for document in documents]
    assert {cut.queries[0] for cut in cuts} == {sentence.rstrip(".") for sentence in BODY.split(". ")}
    kept = sum(cut.queries[0] in cut.document.contents for cut in cuts)
    assert 35 < kept < 90
    assert not any(cut.queries[0] in cut.held.contents for cut in cuts)
    assert all(cut.document == cut.held for cut in cuts if cut.queries[0] not in cut.document.contents)


def test_inverse_cloze_makes_several_queries_and_leaves_enough() -> None:
    cut = InverseCloze(Rules(per_document=2, min_tokens=3)).cut(DOCUMENT)
    assert len(cut.queries) == 2 and not any(query in cut.document.contents for query in cut.queries)
    assert cut.document.contents.startswith("On red foxes. ")
    cut = InverseCloze(Rules(per_document=3, min_tokens=3)).cut(DOCUMENT)
    assert len(cut.queries) == 2  # the third would leave nothing
    assert InverseCloze(Rules(min_tokens=30)).cut(DOCUMENT).short


TEXTS = [
    "neural retrieval of passages: neural retrieval learns vectors of passages",
    "passages of old books about neural nets and other matter",
    "retrieval of old stamps and other matter",
    "old stamps and matter of state",
]


def key_phrases(**rules: float) -> KeyPhrases:
    method = KeyPhrases(Rules(**{"min_tokens": 2, "min_query_tokens": 1, **rules}), phrases=2)
    method.prepare(lambda: [Document(str(i), text) for i, text in enumerate(TEXTS)])
    return method


def test_key_phrases_are_pairs_and_words_of_high_tf_idf_in_text_order() -> None:
    cut = key_phrases(keep=0.0).cut(Document("0", TEXTS[0]))
    assert cut.queries == ["neural retrieval passages"]  # "learns" and "vectors" are of one document only
    assert cut.document.contents == "of: learns vectors of"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Neural: passages, of deeper things, old books", "deeper things, old books"),
        ("\u2026 of neural: old", "\u2026 of: old"),
        (".NET of old", ".NET of old"),
    ],
)
def test_key_phrases_leave_no_marks_at_the_beginning(text: str, rest: str) -> None:
    assert _without_words(text, {"neural", "passages", "of"} if rest[0] == "d" else {"neural"}) == rest


def test_a_title_of_key_phrases_is_none_afterwards() -> None:
    document = Document("0", f"Neural retrieval: {TEXTS[0]}", "Neural retrieval:")
    cut = key_phrases(keep=0.0).cut(document)
    assert cut.document.title is None and cut.document.contents.startswith("of: learns")


def test_key_phrases_stay_with_the_probability_asked_for() -> None:
    assert key_phrases(keep=1.0).cut(Document("0", TEXTS[0])).document.contents == TEXTS[0]
    method = key_phrases(keep=0.5)
    cuts = [method.cut(Document(str(i), TEXTS[0])) for i in range(400)]
    assert all(cut.document == cut.held for cut in cuts)
    share = sum("neural" in cut.document.contents for cut in cuts) / 400
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("method", [TitleBody, FirstSentence, InverseCloze])
def test_a_query_is_no_longer_in_a_cut_document(method: type) -> None:
    cut = method(Rules(keep=0.0)).cut(DOCUMENT)
    assert cut.queries and cut.queries[0] not in cut.document.contents


def test_query_lengths() -> None:
    assert TitleBody(Rules(min_tokens=3, max_query_tokens=2)).cut(DOCUMENT).queries == []
    assert TitleBody(Rules(min_tokens=3, min_query_tokens=4)).cut(DOCUMENT).queries == []
