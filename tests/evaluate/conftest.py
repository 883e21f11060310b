from __future__ import annotations

import random
from pathlib import Path

import pytest

from pyserini_sdr.trec.qrels import write_qrels
from pyserini_sdr.trec.run import RunWriter


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """qrels.txt, topics.tsv, and the runs bm25.txt, base.txt and tuned.txt, each better than the one before."""
    folder = tmp_path_factory.mktemp("evaluate")
    generator = random.Random(0)
    docids = [f"d{i:02}" for i in range(40)]
    qrels = {f"{q:03}": {d: generator.randint(0, 2) for d in generator.sample(docids, 6)} for q in range(60)}
    write_qrels(folder / "qrels.txt", qrels)
    (folder / "topics.tsv").write_text("".join(f"{qid}\t<b>query</b> & {qid}\n" for qid in qrels))
    for name, strength in (("bm25", 0.1), ("base", 0.4), ("tuned", 1.0)):
        with RunWriter(folder / f"{name}.txt", name) as writer:
            for qid, judged in qrels.items():
                if name == "base" and qid in ("000", "001"):
                    continue
                scores = [generator.random() + strength * max(judged.get(d, 0), 0) for d in docids]
                writer.write(qid, docids, scores, 20)
    return folder
