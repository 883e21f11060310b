"""What benchmarks work on: documents drawn from a corpus, synthetic corpora of any size, encoders made on the spot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.core.files import atomic_file
from pyserini_sdr.core.progress import bar
from pyserini_sdr.data.corpus import Document, iter_documents
from pyserini_sdr.data.sampling import sample_positions
from pyserini_sdr.encode.flat import flat_header
from pyserini_sdr.trec.topics import write_topics

_WORDS = 5000
_BLOCK = 10_000
_BERT = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
"""Sizes of encoders with random weights; `tiny` makes everything but the encoder visible."""


def draw_documents(corpus: Path, count: int, seed: int, *, first: bool = False) -> list[Document]:
    """`count` documents with text, the first ones or drawn by the seed, in the order of the corpus."""
    documents = [document for document in iter_documents(corpus) if document.contents.strip()]
    if len(documents) < count:
        raise UsageError(f"--corpus {corpus}:{count}: has {len(documents)} documents with text")
    if first:
        return documents[:count]
    return [documents[i] for i in sample_positions(len(documents), count, np.random.default_rng(seed))]


def write_documents(path: Path, documents: Iterable[Document]) -> Path:
    """Documents as stock Pyserini and we read them: `id` and `contents`, one per line."""
    with atomic_file(path) as handle:
        for document in documents:
            # stock splits contents at line breaks into fields
            contents = " ".join(document.contents.split())
            handle.write(json.dumps({"id": document.id, "contents": contents}, ensure_ascii=False) + "\n")
    return path


def draw_topics(topics: dict[str, str], count: int, seed: int, path: Path) -> dict[str, str]:
    """`count` topics drawn by the seed, also written to `path` as TSV."""
    if len(topics) < count:
        raise UsageError(f"--queries {count}: there are {len(topics)} topics")
    qids = list(topics)
    drawn = {qids[i]: topics[qids[i]] for i in sample_positions(len(qids), count, np.random.default_rng(seed))}
    write_topics(path, drawn)
    return drawn


def synthetic_texts(count: int, seed: int, words: tuple[int, int] = (4, 12)) -> Iterable[list[str]]:
    """Yields blocks of texts whose words follow Zipf's law, each between `words[0]` and `words[1]` long."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, _WORDS + 1)
    weights /= weights.sum()
    names = np.array([f"w{number}" for number in range(_WORDS)])
    for start in range(0, count, _BLOCK):
        lengths = rng.integers(words[0], words[1] + 1, size=min(_BLOCK, count - start))
        drawn = names[rng.choice(_WORDS, size=int(lengths.sum()), p=weights)]
        ends = np.cumsum(lengths)
        yield [" ".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def write_synthetic_corpus(path: Path, count: int, seed: int) -> Path:
    """A corpus of `count` short documents, streamed."""
    number = 0
    with atomic_file(path) as handle, bar(total=count, unit="doc", desc="corpus") as progress:
        for texts in synthetic_texts(count, seed):
            handle.writelines(
                f'{{"id": "d{number + place}", "contents": "{text}"}}\n' for place, text in enumerate(texts)
            )
            number += len(texts)
            progress.update(len(texts))
    return path


def make_encoder(
    directory: Path, size: str = "tiny", seed: int = 0, *, vocabulary: Path | None = None, **changes: Any
) -> Path:
    """Saves a BERT with random weights and our spec (mean, cosine).

    Args:
        directory: to make.
        size: a name in `_BERT`.
        vocabulary: WordPiece file; None is the words of the synthetic texts, a token each.
        changes: of the BERT configuration, as `hidden_size=384`.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from pyserini_sdr.model.checkpoint import save_checkpoint
    from pyserini_sdr.model.spec import EncoderSpec

    directory.mkdir(parents=True)
    if vocabulary is None:
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(_WORDS))]
        vocabulary = directory / "vocab.txt"
        vocabulary.write_text("\n".join(pieces) + "\n", "utf-8")
    tokenizer = BertTokenizerFast(str(vocabulary), do_lower_case=True, model_max_length=64)
    torch.manual_seed(seed)
    # the vocabulary has BERT's size, though most of it is never used: embeddings are part of a model's memory
    model = BertModel(BertConfig(vocab_size=30_522, **{**_BERT[size], **changes}))
    spec = EncoderSpec("mean", "cosine", model.config.hidden_size, document_max_length=256)
    save_checkpoint(directory, model.eval(), tokenizer, spec)
    return directory


def unit_vectors(count: int, dimension: int, seed: int) -> np.ndarray:
    """Random unit vectors, (count, dimension) float32."""
    rows = np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_random_index(directory: Path, count: int, dimension: int, seed: int) -> Path:
    """A flat index of random unit vectors, in the files of stock Pyserini, streamed."""
    with atomic_file(directory / "index", "wb") as index, atomic_file(directory / "docid") as names:
        index.write(flat_header(dimension, count))
        for start in range(0, count, _BLOCK):
            size = min(_BLOCK, count - start)
            index.write(unit_vectors(size, dimension, seed + 1 + start).tobytes())
            names.writelines(f"d{number}\n" for number in range(start, start + size))
    return directory


def whole_numbers(text: str) -> int:
    """`10000`, `10k` or `2M` as a number."""
    scale = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(text[:-1] if scale > 1 else text) * scale


def in_words(count: int) -> str:
    """1000000 as `1 M`, 10000 as `10 k`."""
    for scale, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= scale and count % (scale // 10) == 0:
            return f"{count / scale:g} {letter}"
    return str(count)


def batches(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Slices of `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))
