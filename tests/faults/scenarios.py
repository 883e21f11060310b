"""The commands that are struck, and the faults."""

from __future__ import annotations

from dataclasses import dataclass

DISK = "disk"
"""Folder of what the commands make."""
FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "disk full", "file limit", "unwritable", "memory")


@dataclass(frozen=True)
class Scenario:
    """A command, what it makes, and which file says that this is finished.

    Args:
        line: after `python -m pyserini_sdr.`, in a folder of `material.make_material`.
        made: the files of the result, relative to `DISK`, that are compared.
        marker: the file that is there only when the result is whole, relative to `DISK`.
        weights: the result is a checkpoint: the same to 1e-6 instead of byte by byte.
    """

    line: str
    made: tuple[str, ...]
    marker: str
    weights: bool = False


SCENARIOS = {
    "train": Scenario(
        "train --collection collection --encoder encoder --groups groups.jsonl --output disk/out --precision fp32 "
        "--loss infonce --max-steps 8 --eval-steps 2 --batch-size 8 --learning-rate 1e-3 --negatives 2",
        ("out/model.safetensors", "out/tokenizer.json", "out/sdr_encoder.json"),
        "out/sdr_train.json",
        weights=True,
    ),
    "pretrain": Scenario(
        "pretrain --corpus collection --encoder encoder --output disk/out --precision fp32 --max-length 24 "
        "--held-out 4 --max-steps 8 --eval-steps 2 --batch-size 4 --shuffle-buffer 8",
        ("out/model.safetensors", "out/tokenizer.json", "out/sdr_encoder.json"),
        "out/sdr_pretrain.json",
        weights=True,
    ),
    "encode": Scenario(
        "encode input --corpus collection output --embeddings disk/out --to-faiss --chunk-size 4 "
        "encoder --encoder checkpoint --precision fp32",
        ("out/index", "out/docid"),
        "out/sdr_index.json",
    ),
    "index build": Scenario(
        "index build --input index --output disk/out --type ivf --nlist 2 --threads 1 --eval-queries 5",
        ("out/index", "out/docid"),
        "out/sdr_index.json",
    ),
    "mine": Scenario(
        "mine --collection collection --index index --negatives 3 --output disk/out.jsonl", ("out.jsonl",), "out.jsonl"
    ),
    "teach": Scenario(
        "teach --collection collection --groups groups.jsonl --teacher cross --window 4 --precision fp32 --name x "
        "--output disk/out.jsonl",
        ("out.jsonl",),
        "out.jsonl",
    ),
    "evaluate": Scenario(
        "evaluate --qrels qrels.txt --runs run.trec other.trec --output disk/out",
        ("out/table.csv",),
        "out/results.json",
    ),
}
