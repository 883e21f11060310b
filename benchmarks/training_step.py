"""Seconds per training step on a CPU: our `train` against a fixed-length loop with three forward passes in fp32.

Claim: ours is at least 3 times as fast as the loop of the paper authors' code, run in fp32: every query padded to
--query-length, every positive and negative to --document-length (20 and 200 in all of the authors' configurations),
three forward passes. Same encoder, same triples in the same order, same truncation, same loss, AdamW with clipping in
both. Ours runs twice: as it comes (bf16 where the hardware has it), and in fp32, which shows what packing alone gives.
A negative per query is drawn at random from the corpus. The first steps of every arm are not timed.

examples:
  python benchmarks/training_step.py --collection ../shared/data/wiki-union
  python benchmarks/training_step.py --collection collection --loss infonce --steps 20 --document-length 256
  python benchmarks/training_step.py --collection collection --quick
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Benchmark, claim, interleave, paired_ratio, show, spread
from worker import Worker

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.data.groups import write_groups
from pyserini_sdr.data.sampling import sample_positions

FIXED, OURS, OURS_FP32 = "three forwards, fixed length, fp32", "ours", "ours, fp32"
AIM = 3.0


def main() -> None:
    benchmark = Benchmark("training_step", __doc__)
    add = benchmark.parser.add_argument
    add("--collection", type=Path, required=True, metavar="DIR", help="with training pairs")
    add("--encoder", default="all-MiniLM-L6-v2", help="default: the bundled all-MiniLM-L6-v2")
    add("--loss", default="distributed-margin", help="default: distributed-margin")
    add("--loss-option", nargs="+", metavar="NAME.KEY=VALUE", help="as in `train`")
    add("--batch-size", type=int, default=32, help="triples per step (default: 32)")
    add("--query-length", type=int, default=20, help="tokens (default: 20)")
    add("--document-length", type=int, default=200, help="tokens (default: 200)")
    add("--steps", type=int, default=8, help="timed steps of every arm (default: 8)")
    add("--warm-up", type=int, default=2, help="steps before them (default: 2)")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args, folder = benchmark.args, benchmark.folder
    if args.quick:
        args.steps, args.warm_up = 1, 1
    steps = max(args.steps, args.rounds)
    collection = Collection.open(args.collection)
    groups = folder / "groups.jsonl"
    count = write_groups(groups, draw_groups(collection, args.batch_size * (steps + args.warm_up + 1), args.seed))
    if count < args.batch_size:
        raise UsageError(f"--batch-size {args.batch_size}: {args.collection} gives {count} training queries")
    settings = {
        "collection": str(args.collection),
        "encoder": args.encoder,
        "groups": str(groups),
        "loss": args.loss,
        "loss_option": args.loss_option,
        "batch_size": args.batch_size,
        "steps": steps + args.warm_up,
        "dropout": None,
        "query_length": args.query_length,
        "document_length": args.document_length,
        "learning_rate": 3e-5,
        "seed": args.seed,
    }
    targets = {FIXED: ("three_forwards", "fp32"), OURS: ("ours", "auto"), OURS_FP32: ("ours", "fp32")}
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                Worker(
                    f"train_arms:{function}",
                    **settings,
                    precision=precision,
                    output=str(folder / f"{function}-{precision}"),
                )
            )
            for name, (function, precision) in targets.items()
        }
        for worker in workers.values():
            for _ in range(args.warm_up):
                worker()
        seconds = interleave(workers, steps)
        memory = {name: worker.peak_memory_bytes() for name, worker in workers.items()}
    arms = {
        name: {
            "seconds": spread(values),
            "triples_per_second": spread([args.batch_size / value for value in values]),
            "peak_memory_bytes": memory[name],
        }
        for name, values in seconds.items()
    }
    for name, record in arms.items():
        show(f"{name}, seconds per step", record["seconds"])
    return {
        "collection": args.collection.name,
        "loss": args.loss,
        "batch_size": args.batch_size,
        "lengths": {"query": args.query_length, "document": args.document_length},
        "text_words": text_words(groups, collection),
        "arms": arms,
        "claims": [
            claim(f"{OURS} over {FIXED}", paired_ratio(seconds[FIXED], seconds[OURS]), AIM),
            claim(f"{OURS_FP32} over {FIXED}", paired_ratio(seconds[FIXED], seconds[OURS_FP32])),
        ],
    }


def draw_groups(collection: Collection, count: int, seed: int) -> Iterator[Group]:
    """At most `count` training queries drawn by the seed, each with a positive and a random other document."""
    positives: dict[str, list[str]] = {}
    for qid, docid in collection.pairs():
        positives.setdefault(qid, []).append(docid)
    topics = collection.topics("train")
    ids = [document.id for document in iter_documents(collection.corpus)]
    rng = np.random.default_rng(seed)
    qids = [qid for qid in positives if qid in topics]
    for place in sample_positions(len(qids), count, rng):
        own = positives[qids[place]]
        other = next(id for id in (ids[int(rng.integers(len(ids)))] for _ in itertools.count()) if id not in own)
        yield Group(qids[place], topics[qids[place]], [Candidate(id=own[0])], [Candidate(id=other)])


def text_words(groups: Path, collection: Collection) -> dict[str, float]:
    """Words of the queries and documents on average: what fixed lengths pad."""
    from pyserini_sdr.data.groups import read_groups
    from pyserini_sdr.data.store import DocumentStore

    store, drawn = DocumentStore(collection.corpus), list(read_groups(groups))
    documents = [store[c.id] for group in drawn for c in (*group.positives, *group.negatives) if c.id is not None]
    return {
        "query": statistics.mean(len(group.query.split()) for group in drawn),
        "document": statistics.mean(len(text.split()) for text in documents),
    }


if __name__ == "__main__":
    main()
