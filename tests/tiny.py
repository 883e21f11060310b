"""A tiny collection and a tiny random encoder: everything a test of the pipeline needs, made in a second."""

from __future__ import annotations

import json
import random
from pathlib import Path

DOMAINS = ("river", "engine", "garden", "market", "planet", "music")
"""One word per theme; a document's words are drawn from its theme and from all themes."""

_SYLLABLES = ("ba", "do", "fi", "gu", "ka", "lo", "mi", "nu", "pe", "ra", "so", "tu")


def vocabulary() -> list[str]:
    """Every word that occurs in the tiny collection."""
    words = [f"{theme}{syllable}" for theme in DOMAINS for syllable in _SYLLABLES]
    return [*DOMAINS, *words, "the", "of", "and", "in", "with", "on", "what", "is"]


def make_tiny_collection(directory: str | Path, documents: int = 60, seed: int = 0) -> Path:
    """Writes a collection: `documents` texts and as many known-item queries; a query shares rare words with its text.

    The last fifth of the queries is `test`, the fifth before it `dev`, the rest `train`. Queries are the text's words
    in another order with a few words of another text, so that lexical matching works without being perfect.
    """
    directory = Path(directory)
    (directory / "corpus").mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    texts: list[list[str]] = []
    for number in range(documents):
        theme = DOMAINS[number % len(DOMAINS)]
        own = [f"{theme}{syllable}" for syllable in rng.sample(_SYLLABLES, 5)]
        other = [f"{rng.choice(DOMAINS)}{rng.choice(_SYLLABLES)}" for _ in range(rng.randint(3, 20))]
        texts.append([theme, *own, *other])
    with (directory / "corpus" / "part-0.jsonl").open("w", encoding="utf-8") as handle:
        for number, words in enumerate(texts):
            body = " ".join(f"{word} {rng.choice(('the', 'of', 'and', 'in'))}" for word in words[1:])
            record = {"id": f"d{number:03d}", "title": words[0], "contents": f"{words[0]} {body}"}
            handle.write(json.dumps(record) + "\n")
    train, dev = documents * 3 // 5, documents // 5
    for split, start, stop in (("train", 0, train), ("dev", train, train + dev), ("test", train + dev, documents)):
        topics, qrels = [], []
        for number in range(start, stop):
            words = [*rng.sample(texts[number][1:6], 4), rng.choice(texts[rng.randrange(documents)])]
            topics.append(f"q{number:03d}\twhat is {' '.join(words)}\n")
            qrels.append(f"q{number:03d} 0 d{number:03d} 1\n")
        (directory / f"topics.{split}.tsv").write_text("".join(topics), "utf-8")
        (directory / f"qrels.{split}.txt").write_text("".join(qrels), "utf-8")
    pairs = "".join(f"q{number:03d}\td{number:03d}\n" for number in range(train))
    (directory / "train.pairs.tsv").write_text(pairs, "utf-8")
    return directory


def make_tiny_encoder(directory: str | Path, seed: int = 0, dim: int = 32, layers: int = 2) -> Path:
    """Saves a random BERT with a WordPiece vocabulary of the tiny collection as a plain `AutoModel` directory."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *vocabulary(), *letters, *(f"##{c}" for c in letters)]
    vocabulary_file = directory / "vocab.txt"
    vocabulary_file.write_text("\n".join(dict.fromkeys(pieces)) + "\n", "utf-8")
    tokenizer = BertTokenizerFast(str(vocabulary_file), do_lower_case=True, model_max_length=64)
    tokenizer.save_pretrained(directory)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = BertModel(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=dim,
                num_hidden_layers=layers,
                num_attention_heads=4,
                intermediate_size=2 * dim,
                max_position_embeddings=128,
            )
        )
    finally:
        torch.random.set_rng_state(state)
    model.eval().save_pretrained(directory)
    return directory
