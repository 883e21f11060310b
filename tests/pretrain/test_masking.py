"""Words, shares and fates of masked tokens."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from pyserini_sdr.pretrain.masking import IGNORED, Masker, choose

TEXT = "riverba engine zzz marketdo the qx of planetfi"  # zzz and qx are spelled out by the tiny vocabulary


def test_tokens_are_grouped_by_words(masker, loaded):
    [words] = masker.words([TEXT])
    assert len(words) == 8
    assert [len(word) for word in words] == [1, 1, 3, 1, 1, 2, 1, 1]
    assert list(chain.from_iterable(words)) == loaded.tokenizer(TEXT, add_special_tokens=False)["input_ids"]


def test_whole_words_are_masked_or_none_of_their_tokens(masker):
    [words] = masker.words([TEXT * 3])
    rng = np.random.default_rng(0)
    for _ in range(30):
        chosen = choose(words, 0.3, rng)
        masked = masker.for_encoder(words, chosen, rng)
        place = len(masker.before)
        for number, word in enumerate(words):
            labels = masked.labels[place : place + len(word)]
            assert labels == (list(word) if number in chosen else [IGNORED] * len(word))
            place += len(word)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45])
def test_the_share_of_tokens_is_kept(masker, share):
    [words] = masker.words([" ".join(["engine", "qx", "river", "zzz"] * 20)])
    total = sum(map(len, words))
    rng = np.random.default_rng(1)
    for _ in range(20):
        taken = sum(len(words[place]) for place in choose(words, share, rng))
        assert taken <= round(share * total) and taken > share * total - 3


def test_one_word_is_chosen_even_if_it_is_too_long():
    assert choose([[1, 2, 3, 4]], 0.1, np.random.default_rng(0)) == {0}


def test_rare_words_are_preferred():
    words = [[number] for number in range(10)]
    rarity = -np.log(np.array([1.0] + [1000.0] * 9))
    rng = np.random.default_rng(0)
    assert sum(0 in choose(words, 0.1, rng, rarity) for _ in range(100)) > 90
    assert sum(0 in choose(words, 0.1, rng) for _ in range(100)) < 30


def test_fates_of_masked_tokens(masker):
    [words] = masker.words([" ".join(["engine"] * 3000)])
    masked = masker.for_decoder(words, set(range(3000)), np.random.default_rng(0))
    engine = words[0][0]
    body = np.array(masked.ids[1:-1])
    assert masked.count == 3000 and set(masked.labels[1:-1]) == {engine}
    assert abs((body == masker.mask_id).mean() - 0.8) < 0.03
    assert abs((body == engine).mean() - 0.1) < 0.03  # and the odd draw of itself
    special = {*masker.before, *masker.after, masker.mask_id}
    assert not special & set(body[(body != masker.mask_id)].tolist())


def test_special_tokens_and_prefix_are_never_masked(loaded):
    masker = Masker(loaded.tokenizer, "what is")
    plain = Masker(loaded.tokenizer)
    assert len(masker.before) == len(plain.before) + 2 and masker.room(32) == 32 - 4
    [words] = masker.words(["river engine"])
    masked = masker.for_encoder(words, {0, 1}, np.random.default_rng(0))
    assert masked.ids[:3] == loaded.tokenizer("what is")["input_ids"][:3] and masked.ids[-1] == masker.after[0]
    assert masked.labels[:3] == [IGNORED] * 3 and masked.labels[-1] == IGNORED and masked.count == 2


def test_a_tokenizer_without_words_has_its_tokens_masked(masker, loaded):
    assert masker.whole_words and not Masker(loaded.tokenizer, whole_words=False).whole_words
    pieces = [("<unk>", 0.0), ("<mask>", 0.0), *((letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz ")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))  # without a pre-tokenizer, all is one word
    found = Masker(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", mask_token="<mask>"))
    assert not found.whole_words
    assert [len(word) for word in found.words(["two words"])[0]] == [1] * 9
