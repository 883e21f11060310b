"""Tiny random checkpoints of the kinds that stock encoder classes load."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def make_dpr(directory: Path, backbone: Path, kind: str, seed: int = 0) -> Path:
    """A DPR encoder of `kind` Context or Question, with the sizes and tokenizer of a BERT."""
    import transformers

    bert = transformers.BertConfig.from_pretrained(backbone).to_dict()
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = transformers.DPRConfig(**{key: bert[key] for key in (*sizes, "max_position_embeddings")})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        getattr(transformers, f"DPR{kind}Encoder")(config).save_pretrained(directory)
    transformers.AutoTokenizer.from_pretrained(backbone).save_pretrained(directory)
    return directory


def make_ance(directory: Path, seed: int = 0) -> Path:
    """An ANCE encoder (its 768 dimensions are fixed) over a RoBERTa that knows bytes only. Needs a running JVM."""
    from pyserini.encode import AnceEncoder
    from transformers import RobertaConfig, RobertaTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    directory.mkdir(parents=True)
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_to_unicode().values()]
    (directory / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}), "utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    files = (str(directory / "vocab.json"), str(directory / "merges.txt"))
    RobertaTokenizerFast(*files, model_max_length=512).save_pretrained(directory)
    config = RobertaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AnceEncoder(config).save_pretrained(directory)
    return directory
