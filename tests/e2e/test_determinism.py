"""Same seed, machine and number of threads: the same checkpoints, indexes, runs and tables, whatever else differs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyserini_sdr.anserini.java import NoJavaError, find_java

from .chain import CHAIN, EVALUATE, WITH_JAVA, differing, run_chain
from .preloaded import preloaded


def test_the_whole_chain_twice(tiny_collection: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Commands of their own processes; the second time strings hash otherwise, as in every process of Python."""
    lines, runs = list(CHAIN), ["dense.trec", "hnsw.trec"]
    try:
        find_java()
    except NoJavaError:
        pass
    else:
        lines, runs = [*lines, *WITH_JAVA], [*runs, "bm25.trec", "hybrid.trec"]
    lines.append(f"{EVALUATE} {' '.join(runs)} --baseline dense --test randomization")
    for name, seed in (("one", "1"), ("other", "2")):
        folder = tmp_path / "place"  # the same one: manifests name what an index was made with in full
        folder.mkdir()
        shutil.copytree(tiny_collection, folder / "collection")
        shutil.copytree(tiny_encoder, folder / "encoder")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": seed}
        with preloaded(environment) as python:
            run_chain(python / "python", folder, environment, lines)
        folder.rename(tmp_path / name)
    made = {path.relative_to(tmp_path / "one").parts[0] for path in (tmp_path / "one").iterdir()}
    assert {"default", "cached", "adapted", "flat", "hnsw", "ivf", "groups.jsonl", "evaluation", *runs} <= made
    assert differing(tmp_path / "one", tmp_path / "other", given=("bm25",)) == []  # Lucene names its segments at random
