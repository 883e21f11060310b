"""Sentences, pieces and cuts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.data.pseudo_text import count_words, fraction, pieces, sentences, without


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One thing. Another thing! A third? Yes.", ["One thing.", "Another thing!", "A third?", "Yes."]),
        (
            "Dr. J. Smith, cf. Fig. 3, measured 3.5 mm.  He left.",
            ["Dr. J. Smith, cf. Fig. 3, measured 3.5 mm.", "He left."],
        ),
        ("Mice (e.g. Mus) ate. (They were hungry.) Then", ["Mice (e.g. Mus) ate.", "(They were hungry.)", "Then"]),
        ("He said \u201cgo.\u201d She went.", ["He said \u201cgo.\u201d", "She went."]),
        ("the ca. value of p. aeruginosa", ["the ca. value of p. aeruginosa"]),
        ("lower case , tokenised . the next one", ["lower case , tokenised .", "the next one"]),
        ("A heading\n\nand its text", ["A heading", "and its text"]),
        ("\u6211\u5728\u8fd9\u91cc\u3002\u4f60\u5462\uff1f", ["\u6211\u5728\u8fd9\u91cc\u3002", "\u4f60\u5462\uff1f"]),
        ("  ", []),
        ("p < 0.05. We conclude", ["p < 0.05.", "We conclude"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet='ab AB.!?\n \u3002\u0964"(', max_size=80), st.integers(1, 6))
def test_pieces_cover_the_text_in_order(text: str, most: int) -> None:
    spans = pieces(text, most)
    assert all(start < end for start, end in spans)
    assert "".join("".join(text[slice(*span)].split()) for span in spans) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert all(count_words(text[slice(*span)]) <= most for span in spans)


def test_long_sentences_are_divided_evenly_and_only_ones_in_two() -> None:
    text = " ".join(f"w{i}" for i in range(10))
    assert [text[slice(*span)] for span in pieces(text, 4)] == ["w0 w1 w2", "w3 w4 w5", "w6 w7 w8 w9"]
    assert [text[slice(*span)] for span in pieces(text, 32)] == ["w0 w1 w2 w3 w4", "w5 w6 w7 w8 w9"]
    assert len(pieces("One of these. Two of these.", 32)) == 2


def test_words_of_scripts_without_spaces() -> None:
    assert count_words("\u6211\u5728here, it's 3.5") == 7


def test_without_keeps_the_rest_as_it_is() -> None:
    assert without("A b.  C  d. E", [(6, 11)]) == "A b. E"
    assert without("abc", [(0, 3)]) == "" and without(" abc ", []) == "abc"


def test_draws_depend_on_all_that_is_named_and_are_uniform() -> None:
    draws = [fraction(0, "x", str(i)) for i in range(2000)]
    assert draws == [fraction(0, "x", str(i)) for i in range(2000)] and all(0 <= draw < 1 for draw in draws)
    assert abs(sum(draws) / 2000 - 0.5) < 0.03
    assert draws[0] != fraction(1, "x", "0") != fraction(0, "y", "0")
