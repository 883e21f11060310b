"""Dev evaluation of a cross-encoder: a run reranked, or groups that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.errors import DataError
from ..data.collection import Collection
from ..data.group import Group
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from ..model.cross_encoder import CrossEncoder
from ..trec.measures import evaluate_run
from ..trec.run import iter_run, rank
from .lists import text_of


class Dev(Protocol):
    """What selects the checkpoint."""

    metric: str
    description: str

    def __call__(self, encoder: CrossEncoder) -> float: ...


class RerankedRun:
    """nDCG@10 of the best documents of a run, reranked; the rest of the run counts as not found.

    Args:
        collection: with topics and qrels of `split`.
        split: whose topics the run answers.
        run: TREC run.
        store: texts of the documents.
        depth: documents reranked per query.
        max_queries: queries used, drawn at random from those that are judged and in the run.
        seed: of the draw.

    Raises:
        DataError: no judged query in the run, nothing relevant among the best, a document that the corpus lacks.
    """

    metric = "ndcg_cut_10"

    def __init__(
        self,
        collection: Collection,
        split: str,
        run: Path,
        store: DocumentStore,
        *,
        depth: int,
        max_queries: int,
        seed: int,
    ) -> None:
        topics, qrels = collection.topics(split), collection.qrels(split)
        judged = {qid for qid in topics if any(grade > 0 for grade in qrels.get(qid, {}).values())}
        best = {
            qid: [docid for docid, _ in rank([d for d, _ in ranking], [s for _, s in ranking], depth)]
            for qid, ranking in iter_run(run)
            if qid in judged
        }
        if not best:
            raise DataError(run, f"holds no query of {split!r} that has a relevant document", remedy="see --dev-split")
        qids = [qid for qid in topics if qid in best]
        qids = [qids[i] for i in sample_positions(len(qids), max_queries, np.random.default_rng([seed, 1]))]
        self._qrels = {qid: qrels[qid] for qid in qids}
        # a query without a relevant document among its best has 0 in any order: it counts, but need not be scored
        kept = [qid for qid in qids if any(qrels[qid].get(docid, 0) > 0 for docid in best[qid])]
        if not kept:
            raise DataError(run, f"no relevant document among the best {depth} of any query", remedy="--dev-depth more")
        missing = store.missing(docid for qid in kept for docid in best[qid])
        if missing:
            raise DataError(
                run, f"document {missing[0]!r} is not in the corpus", remedy="give the run of this collection"
            )
        self._pairs = [(qid, docid) for qid in kept for docid in best[qid]]
        self._texts = [(topics[qid], store[docid]) for qid, docid in self._pairs]
        self.description = f"nDCG@10 of {len(qids)} {split} queries, the best {depth} of {run} reranked"

    def __call__(self, encoder: CrossEncoder) -> float:
        """The mean over the queries."""
        run: dict[str, dict[str, float]] = {}
        for (qid, docid), score in zip(self._pairs, encoder.score(self._texts).tolist(), strict=True):
            run.setdefault(qid, {})[docid] = score
        values = evaluate_run(self._qrels, run, [self.metric])[self.metric]
        return float(np.mean(list(values.values())))


class HeldOutGroups:
    """Mean reciprocal rank of the best positive of a group among its negatives; a tie counts for the negative.

    Args:
        groups: not trained on.
        texts: document id → text.
        depth: documents per group at most: the positives and the first negatives.
    """

    metric = "mrr"

    def __init__(self, groups: Sequence[Group], texts: Any, *, depth: int) -> None:
        self._sizes: list[tuple[int, int]] = []
        self._texts: list[tuple[str, str]] = []
        for group in groups:
            negatives = group.negatives[: max(1, depth - len(group.positives))]
            self._sizes.append((len(group.positives), len(negatives)))
            self._texts += [(group.query, text_of(c, texts)) for c in (*group.positives, *negatives)]
        self.description = f"mean reciprocal rank of the positive in {len(groups)} groups that were held out"

    def __call__(self, encoder: CrossEncoder) -> float:
        """The mean over the groups."""
        scores, start, total = encoder.score(self._texts), 0, 0.0
        for positives, negatives in self._sizes:
            best = scores[start : start + positives].max()
            total += 1 / (1 + int((scores[start + positives : start + positives + negatives] >= best).sum()))
            start += positives + negatives
        return total / len(self._sizes)
