"""Documentation strings → query and document."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.data.doctext import MAX_CHARACTERS, QUERY_WORDS, clean, normalise, split_docstring

BODY = " ".join(f"word{i}" for i in range(20))


def test_numpydoc() -> None:
    text = f"""Compute the arithmetic mean along the specified axis.

    Returns the :func:`~numpy.mean` of the ``array`` elements, see `here <https://x.org>`_. {BODY}

    Parameters
    ----------
    a : array_like

    Examples
    --------
    >>> secret_call(1)
    printed output

    More after the example [1]_.
    """
    pair = split_docstring(text)
    assert pair is not None
    query, document = pair
    assert query == "Compute the arithmetic mean along the specified axis"
    assert document.startswith("Returns the mean of the array elements, see here. word0")
    assert document.endswith("Parameters a : array_like Examples More after the example .")
    assert "secret_call" not in document and "printed" not in document


def test_signature_first() -> None:
    pair = split_docstring(
        f"abs(input, *, out=None) -> Tensor\n\nComputes the absolute value of each element.\n\n{BODY}"
    )
    assert pair == ("Computes the absolute value of each element", BODY)
    pair = split_docstring(f"absolute(x, /)\nComputes the absolute value of each element.\n\n{BODY}")
    assert pair == ("Computes the absolute value of each element", BODY)


def test_rest_of_first_paragraph_is_document() -> None:
    pair = split_docstring(f"Fit a model to e.g. some noisy data. The fit is robust.\n\n{BODY}")
    assert pair == ("Fit a model to e.g. some noisy data", f"The fit is robust. {BODY}")


def test_query_is_cut_out_of_document() -> None:
    pair = split_docstring(f"Draw a coloured line here.\n\nUse this to draw a  *coloured* line\nhere. {BODY}")
    assert pair == ("Draw a coloured line here", f"Use this to {BODY}")


@pytest.mark.parametrize(
    "text",
    [
        f"Short one.\n\n{BODY}",
        f"{'many ' * 40}words here.\n\n{BODY}",
        f"Deprecated since version two of this package.\n\n{BODY}",
        f"Alias for the other function named below.\n\n{BODY}",
        f"a = b + c; d -> e | f\n\n{BODY}",
        f"Return the value of all of it.\n\n{BODY}",
        "Compute the arithmetic mean of numbers.\n\nToo little text after it.",
        "Compute the arithmetic mean of numbers.\n\n>>> " + "f(1) " * 40,
        "",
    ],
)
def test_no_sensible_pair(text: str) -> None:
    assert split_docstring(text) is None


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(0, 3000))
def test_any_text(noise: str, repeat: int) -> None:
    pair = split_docstring(f"Compute the arithmetic mean of numbers.\n\n{noise}\n\n{'filler ' * repeat}")
    if pair is not None:
        query, document = pair
        assert QUERY_WORDS[0] <= len(query.split()) <= QUERY_WORDS[1]
        assert 0 < len(document) <= MAX_CHARACTERS
        assert document == " ".join(document.split())
        assert normalise(query) not in normalise(document)


def test_clean_markup() -> None:
    assert clean("a [`BertModel`] and [link](https://x.org/a_(b)), **bold**, *it*, 2 * 3 * 4") == (
        "a BertModel and link, bold, it, 2 * 3 * 4"
    )
    assert clean("café\u0301".replace("é", "e")) == "café"
    assert clean(".. note::\n\n    Mind :class:`the gap <x.Gap>`") == "Mind the gap"
