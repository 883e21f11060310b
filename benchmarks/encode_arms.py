"""Ways to encode documents, each as the function that a worker serves, and the comparison of what they give.

All start with a list of texts and end with float32 vectors in memory: tokenisation is in the time, loading is not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import claim, interleave, paired_ratio, spread
from material import batches
from worker import Worker

from pyserini_sdr.core.runtime import share_cores

Encode = Callable[[Sequence[str]], np.ndarray]
Arm = Callable[..., float]
"""`arm(corpus, save=None)` → seconds; with `save`, the vectors are written there."""

STOCK_BATCH = 64
"""Default of stock's `--batch-size`."""


def _timed(encode: Encode, corpora: Mapping[str, Sequence[str]]) -> Arm:
    def arm(corpus: str, save: str | None = None) -> float:
        texts = corpora[corpus]
        start = time.perf_counter()
        vectors = encode(texts)
        seconds = time.perf_counter() - start
        if save is not None:
            np.save(save, vectors)
        return seconds

    return arm


def stock(encoder: str, corpora: Mapping[str, Sequence[str]], device: str = "cpu") -> Arm:
    """The class and the loop of `pyserini.encode --encoder-class auto`, batches of its default size, its JVM beside."""
    from pyserini_sdr.anserini import jvm
    from pyserini_sdr.model.pretrained import quiet_transformers
    from pyserini_sdr.model.spec import read_spec

    jvm.start()
    from pyserini.encode import AutoDocumentEncoder

    spec = read_spec(Path(encoder), {})
    with quiet_transformers():
        model = AutoDocumentEncoder(
            encoder, device=device, pooling=spec.pooling, l2_norm=spec.normalize, prefix=spec.document_prefix or None
        )

    def encode(texts: Sequence[str]) -> np.ndarray:
        parts = [model.encode(list(part), max_length=spec.document_max_length) for part in batches(texts, STOCK_BATCH)]
        return np.concatenate(parts)

    return _timed(encode, corpora)


def sentence_transformers(
    encoder: str, corpora: Mapping[str, Sequence[str]], device: str = "cpu", dtype: str | None = None
) -> Arm:
    """`SentenceTransformer(encoder).encode(texts)` as it comes, or with its weights in another type."""
    from sentence_transformers import SentenceTransformer

    from pyserini_sdr.model.pretrained import quiet_transformers

    options = {} if dtype is None else {"model_kwargs": {"dtype": dtype}}
    with quiet_transformers():
        model = SentenceTransformer(encoder, device=device, **options)
    return _timed(lambda texts: model.encode(list(texts), show_progress_bar=False), corpora)


def plain_loop(
    encoder: str, corpora: Mapping[str, Sequence[str]], device: str = "cpu", dtype: str = "bfloat16", tokens: int = 4096
) -> Arm:
    """What one writes by hand with transformers: sorted by length, padded batches of a token budget, inference mode."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from pyserini_sdr.model.pretrained import quiet_transformers
    from pyserini_sdr.model.spec import read_spec

    spec = read_spec(Path(encoder), {})
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        model = AutoModel.from_pretrained(encoder, dtype=getattr(torch, dtype)).to(device).eval()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> np.ndarray:
        ids = tokenizer(list(texts), truncation=True, max_length=spec.document_max_length)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        vectors = np.empty((len(ids), model.config.hidden_size), dtype=np.float32)
        start = 0
        while start < len(order):
            rows = order[start : start + max(1, tokens // len(ids[order[start]]))]
            padded = tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt").to(device)
            states = model(**padded)[0].float()
            if spec.pooling == "mean":
                mask = padded["attention_mask"].unsqueeze(-1).float()
                pooled = (states * mask).sum(1) / mask.sum(1)
            else:
                pooled = states[:, 0]
            if spec.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            vectors[rows] = pooled.cpu().numpy()
            start += len(rows)
        return vectors

    return _timed(encode, corpora)


def ours(encoder: str, corpora: Mapping[str, Sequence[str]], device: str = "cpu", precision: str = "auto") -> Arm:
    """`BiEncoder.encode_documents`, with the thread setting that our commands begin with."""
    share_cores()
    from pyserini_sdr.model.encoder import BiEncoder

    model = BiEncoder.load(encoder, device=device, precision=precision)
    return _timed(model.encode_documents, corpora)


def token_lengths(encoder: str, corpora: Mapping[str, Sequence[str]]) -> Callable[[], dict[str, Any]]:
    """For a worker: tokens of every text (truncated, unpadded) and the sizes of the encoder."""
    from transformers import AutoConfig, AutoTokenizer

    from pyserini_sdr.model.spec import read_spec

    limit = read_spec(Path(encoder), {}).document_max_length
    tokenizer, config = AutoTokenizer.from_pretrained(encoder), AutoConfig.from_pretrained(encoder)

    def lengths() -> dict[str, Any]:
        return {
            "lengths": {
                name: [len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]]
                for name, texts in corpora.items()
            },
            "hidden": config.hidden_size,
            "intermediate": config.intermediate_size,
            "layers": config.num_hidden_layers,
        }

    return lengths


def agreement(vectors: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Least and mean cosine of two sets of vectors, row by row."""
    product = (vectors.astype(np.float64) * reference).sum(axis=1)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1) * np.linalg.norm(reference.astype(np.float64), axis=1)
    cosines = product / norms
    return {"min": float(cosines.min()), "mean": float(cosines.mean())}


def compare(
    targets: Mapping[str, tuple[str, dict[str, Any]]],
    reference: tuple[str, dict[str, Any]],
    shared: Mapping[str, Any],
    folder: Path,
    rounds: int,
    others: Callable[[str], Mapping[str, Callable[[], Any]]],
) -> dict[str, dict[str, Any]]:
    """Runs encoders over corpora, corpus by corpus, the arms in turn.

    Every arm first encodes the whole corpus once, untimed; those vectors are compared with the reference's.

    Args:
        targets: arm → target of a worker and its settings.
        reference: likewise, whose vectors count as right; it is not timed.
        shared: settings of all: `encoder`, `corpora`, `device`.
        folder: for vectors.
        rounds: timed calls of each arm.
        others: corpus → more arms to be run in the same rounds.

    Returns:
        Corpus → `seconds`, `cosine`, `peak_memory_bytes` by arm, and `others`: what each of them returned.
    """
    results: dict[str, dict[str, Any]] = {name: {} for name in shared["corpora"]}
    right: dict[str, np.ndarray] = {}
    with Worker(reference[0], **shared, **reference[1]) as worker:
        for corpus in results:
            worker(corpus, str(folder / "reference.npy"))
            right[corpus] = np.load(folder / "reference.npy")
    for corpus, found in results.items():
        with contextlib.ExitStack() as stack:  # workers of its own, so that peak memory is that of this corpus
            workers = {name: stack.enter_context(Worker(t, **shared, **kw)) for name, (t, kw) in targets.items()}
            found["cosine"] = {}
            for name, worker in workers.items():
                worker(corpus, str(folder / "vectors.npy"))
                found["cosine"][name] = agreement(np.load(folder / "vectors.npy"), right[corpus])
            arms: dict[str, Callable[[], Any]] = {
                name: (lambda worker=worker, corpus=corpus: worker(corpus)) for name, worker in workers.items()
            }
            timed = interleave(arms | dict(others(corpus)), rounds)
            found["seconds"] = {name: timed.pop(name) for name in workers}
            found["others"] = timed
            found["peak_memory_bytes"] = {name: worker.peak_memory_bytes() for name, worker in workers.items()}
    return results


def arm_records(found: Mapping[str, Any], documents: int) -> dict[str, dict[str, Any]]:
    """Speed, agreement and memory of the arms, JSON-ready."""
    return {
        name: {
            "documents_per_second": spread([documents / value for value in seconds]),
            "seconds": spread(seconds),
            "cosine": found["cosine"][name],
            "peak_memory_bytes": found["peak_memory_bytes"][name],
        }
        for name, seconds in found["seconds"].items()
    }


def speed_claims(found: Mapping[str, Any], mine: str, aims: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """How many times faster `mine` is than other arms: ratios of seconds, round by round."""
    seconds = found["seconds"]
    return [claim(f"{mine} over {name}", paired_ratio(seconds[name], seconds[mine]), aim) for name, aim in aims.items()]
