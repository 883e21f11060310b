"""Dev evaluation: a fixed pool of documents ranked for a fixed sample of dev queries, in seconds."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..core.errors import DataError, UsageError
from ..data.collection import Collection
from ..data.corpus import iter_documents
from ..data.sampling import sample_positions
from ..model.encoder import BiEncoder
from ..model.spec import EncoderSpec
from ..trec.measures import evaluate_run
from ..trec.names import canonical
from ..trec.run import iter_run, rank

_RUN_DEPTH = 10


class DevEvaluator:
    """Ranks a pool for dev queries and averages a metric.

    The pool: all relevant documents of the queries, the ten best of each in `run`, and documents drawn at random until
    there are `pool_size`. It is a smaller task than the whole collection, good for comparing checkpoints of one
    training and not for quoting.

    Args:
        collection: with topics and qrels of `split`.
        split: whose queries to use.
        metric: as `trec.measures` names it.
        pool_size: documents in the pool (more if the relevant ones alone are more).
        max_queries: queries used.
        seed: of both samples.
        run: run over the split's topics, for hard documents.
        tower: frozen encoder of the documents, if the encoder that learns does queries only.
    """

    def __init__(
        self,
        collection: Collection,
        split: str,
        metric: str,
        *,
        pool_size: int = 2000,
        max_queries: int = 500,
        seed: int = 0,
        run: Path | None = None,
        tower: BiEncoder | None = None,
    ) -> None:
        self._tower = tower
        self._towered: np.ndarray | None = None
        self.metric = canonical(metric)
        cut = self.metric.rpartition("_")[2]
        self._depth = int(cut) if cut.isdigit() else None
        topics, qrels = collection.topics(split), collection.qrels(split)
        relevant = {qid: [docid for docid, grade in qrels[qid].items() if grade > 0] for qid in topics if qid in qrels}
        qids = [qid for qid, docids in relevant.items() if docids]
        if not qids:
            raise DataError(collection.qrels_path(split), "no topic of the split has a relevant document")
        rng = np.random.default_rng([seed, 1])
        if len(qids) > max_queries:
            qids = [qids[i] for i in sample_positions(len(qids), max_queries, rng)]
        self.qrels = {qid: qrels[qid] for qid in qids}
        self.topics = {qid: topics[qid] for qid in qids}
        wanted = dict.fromkeys(docid for qid in qids for docid in relevant[qid])
        hard = 0
        if run is not None:
            before = len(wanted)
            for qid, ranking in iter_run(run):
                if qid in self.topics:
                    wanted |= dict.fromkeys(docid for docid, _ in islice(ranking, _RUN_DEPTH))
            hard = len(wanted) - before
            if not hard:
                raise UsageError(f"--dev-run {run}: adds no document for the topics of {split!r}")
        self.documents = _pool(collection.corpus, wanted, pool_size, rng)
        lacking = wanted.keys() - self.documents.keys()
        if lacking:
            raise DataError(
                collection.qrels_path(split),
                f"document {min(lacking)!r} is not in the corpus",
                remedy="collection check",
            )
        self.description = (
            f"{self.metric} of {len(qids)} {split} queries over a pool of {len(self.documents)} documents "
            f"({len(wanted) - hard} relevant, {hard} hard, the rest random)"
        )

    def __call__(self, backbone: nn.Module, tokenizer: Any, spec: EncoderSpec, precision: str) -> float:
        """The metric of an encoder, left in the mode it was in."""
        training = backbone.training
        encoder = BiEncoder(backbone, tokenizer, spec, device=next(backbone.parameters()).device, precision=precision)
        documents = self._document_vectors(encoder)
        queries = encoder.encode_queries(list(self.topics.values()))
        backbone.train(training)
        docids = list(self.documents)
        run = (
            (qid, rank(docids, documents @ vector, self._depth))
            for qid, vector in zip(self.topics, queries, strict=True)
        )
        values = evaluate_run(self.qrels, run, [self.metric])[self.metric]
        return float(np.mean(list(values.values())))

    def _document_vectors(self, encoder: BiEncoder) -> np.ndarray:
        texts = list(self.documents.values())
        if self._tower is None:
            return encoder.encode_documents(texts)
        if self._towered is None:
            self._towered = self._tower.encode_documents(texts)
        return self._towered


def _pool(corpus: Path, wanted: dict[str, None], size: int, rng: np.random.Generator) -> dict[str, str]:
    """Texts of the wanted documents and of a uniform sample of the others (reservoir), in corpus order."""
    room = max(0, size - len(wanted))
    kept: dict[str, tuple[int, str]] = {}
    reservoir: list[tuple[int, str, str]] = []
    seen = 0
    for position, document in enumerate(iter_documents(corpus)):
        if document.id in wanted:
            kept[document.id] = (position, document.contents)
            continue
        seen += 1
        if len(reservoir) < room:
            reservoir.append((position, document.id, document.contents))
        elif room and (slot := int(rng.integers(seen))) < room:
            reservoir[slot] = (position, document.id, document.contents)
    everything = [(position, id, text) for id, (position, text) in kept.items()] + reservoir
    return {id: text for _, id, text in sorted(everything)}
