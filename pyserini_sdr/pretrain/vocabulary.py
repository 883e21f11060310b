"""A WordPiece tokenizer learnt from texts, the same one at every run."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ALPHABET = 1000
"""Characters that have a token of their own, at most: the most frequent ones. Others are unknown."""


def learn_wordpiece(texts: Callable[[], Iterable[str]], size: int, *, cased: bool, max_length: int) -> Any:
    """A fast BERT tokenizer of transformers with a vocabulary of its own.

    The library numbers the characters inside words (`##c`) in the order of a hash table, which differs from process to
    process, and decides ties between pieces by these numbers. They are therefore given to it: one pass more.

    Args:
        texts: makes an iterator over the texts; called twice. Memory grows with the number of different words.
        size: of the vocabulary, at most.
        cased: keep cases and accents.
        max_length: tokens of a text that the model has places for.
    """
    normalizer, words = normalizers.BertNormalizer(lowercase=not cased), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(normalizer.normalize_str(text))
    ranked = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    most = min(_ALPHABET, max(1, (size - len(SPECIAL)) // 2))
    alphabet = sorted(ranked[:most])
    inner = [f"##{c}" for c in alphabet if len(words.pre_tokenize_str(normalizer.normalize_str(f"a{c}"))) == 1]
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, words
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIAL, *inner],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(texts(), trainer)
    pieces = [piece for piece, _ in sorted(learner.get_vocab().items(), key=lambda item: item[1])]
    with tempfile.TemporaryDirectory() as folder:  # every version of transformers reads a file
        file = Path(folder, "vocab.txt")
        file.write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
        return BertTokenizerFast(str(file), do_lower_case=not cased, model_max_length=max_length)
