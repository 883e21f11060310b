"""What each method makes of a document."""

from __future__ import annotations

import numpy as np
import pytest

from pyserini_sdr.pretrain.masking import IGNORED
from pyserini_sdr.pretrain.methods import METHODS, MIN_SPAN, Source, two_spans, window


def numbered(count: int, length: int = 1) -> list[list[int]]:
    """Words of which every token is another number, so that a span tells where it is from."""
    return [[word * length + token for token in range(length)] for word in range(count)]


def make(name: str, masker, **options):
    chosen = {"encoder_mask": 0.3, "decoder_mask": 0.45, "max_length": 32} | options
    return METHODS[name](masker, **chosen)


@pytest.mark.parametrize("length", [1, 3])
def test_spans_are_two_different_stretches_of_one_document(length):
    rng = np.random.default_rng(0)
    words = numbered(200 // length, length)
    kinds = set()
    for _ in range(200):
        pair = two_spans(words, 30, rng)
        places = []
        for span in pair:
            flat = [token for word in span for token in word]
            assert flat == list(range(flat[0], flat[0] + len(flat)))  # contiguous, whole words, of the document
            assert 1 <= len(flat) <= 30
            places.append((flat[0], flat[-1]))
        (first, last), (after, end) = sorted(places)
        assert first < after and last < end  # never one within the other
        kinds.add("overlap" if after <= last else "near" if after - last <= length else "apart")
    assert kinds == {"overlap", "near", "apart"}


def test_the_order_of_spans_is_drawn():
    rng = np.random.default_rng(0)
    ahead = [pair[0][0] < pair[1][0] for pair in (two_spans(numbered(100), 30, rng) for _ in range(100))]
    assert 30 < sum(ahead) < 70


def test_documents_that_have_no_two_spans():
    rng = np.random.default_rng(0)
    assert two_spans([], 30, rng) is None
    assert two_spans(numbered(2 * MIN_SPAN - 1), 30, rng) is None
    assert two_spans(numbered(1, 40), 30, rng) is None
    assert all(two_spans(numbered(2, 8), 30, rng) for _ in range(20))  # a boundary in the middle only


def test_a_window_is_a_stretch_that_fits():
    rng = np.random.default_rng(0)
    assert window(numbered(10), 10, rng) == numbered(10)
    starts = set()
    for _ in range(50):
        found = window(numbered(40, 2), 20, rng)
        flat = [token for word in found for token in word]
        assert flat == list(range(flat[0], flat[0] + len(flat))) and 18 <= len(flat) <= 20
        starts.add(flat[0])
    assert len(starts) > 10


def test_cot_mae_decodes_each_span_with_the_others_vector(masker):
    [words] = masker.words([" ".join(["engine", "river", "garden", "planet", "qx"] * 12)])
    method = make("cot-mae", masker)
    rows = method.rows(Source(words), np.random.default_rng(0))
    assert [row.term for row in rows] == ["mlm", "mlm"] and all(list(row.decoded) == ["decoder"] for row in rows)
    for own, other in (rows, rows[::-1]):
        text, decoded = own.text, other.decoded["decoder"]
        assert len(text.ids) == len(decoded.ids) <= 32  # the same span, masked twice, with one special token before it
        assert abs(text.count / (len(text.ids) - 2) - 0.3) < 0.1
        assert abs(decoded.count / (len(text.ids) - 2) - 0.45) < 0.1
    assert method.rows(Source(words[:4]), np.random.default_rng(0)) == []


def test_master_masks_what_its_decoders_are_for(masker):
    [words] = masker.words(["engine river garden planet music market the of and in"])
    rarity = np.zeros(1000)
    rarity[[word[0] for word in words[:5]]] = 50.0  # the first five are rare
    method = make("master", masker, decoder_mask=0.5, rarity=rarity)
    rng = np.random.default_rng(0)
    rows = method.rows(Source(words, [[[7], [8]]]), rng)
    assert [row.term for row in rows] == ["mlm", "mlm_next", "mlm_complement"]
    assert [list(row.decoded) for row in rows] == [["rare_words", "queries"], ["next"], ["complement"]]
    labels = rows[0].decoded["rare_words"].labels
    assert [label != IGNORED for label in labels[1:-1]] == [True] * 5 + [False] * 5
    first, second = rows[1].text, rows[1].decoded["next"]
    assert len(first.ids) == len(second.ids) == 5 + 2
    assert set(filter(lambda label: label != IGNORED, second.labels)) <= {word[0] for word in words[5:]}
    seen, hidden = rows[2].text.labels, rows[2].decoded["complement"].labels
    assert all((a == IGNORED) != (b == IGNORED) for a, b in zip(seen[1:-1], hidden[1:-1], strict=True))
    assert "queries" not in method.rows(Source(words), rng)[0].decoded


def test_plain_masking_has_no_decoder(masker):
    [words] = masker.words(["engine river"])
    [row] = make("mlm", masker).rows(Source(words), np.random.default_rng(0))
    assert row.decoded == {} and row.text.count == 1


def test_a_long_text_is_clipped_before_it_is_tokenized(masker):
    method, text = make("cot-mae", masker), "river " * 100_000
    clipped = method.clip(text, np.random.default_rng(0))
    assert 1000 < len(clipped) < 10_000 and clipped in text and not clipped.startswith(" ")
    assert method.clip("short text", np.random.default_rng(0)) == "short text"
