"""The contrastive and pairwise losses as loops in NumPy float64, written from the definitions, not from the torch code.

A function takes the arrays of a batch and the options of the loss, and returns its value, or None where nothing in the
batch counts. `held` is the batch that detached quantities are computed from (the same batch if absent): a finite
difference over the other argument is then the gradient that training should see. The other families are in
`reference_listwise.py` and `reference_features.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS


@dataclass(frozen=True)
class Arrays:
    """A `LossBatch` of NumPy arrays."""

    query: np.ndarray
    document: np.ndarray
    relation: np.ndarray
    similarity: str
    teacher: np.ndarray | None = None
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    progress: float = 0.0


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(math.sqrt(sum(x * x for x in vector)), 1e-12)


def similarity(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    if kind == "cosine":
        x, y = unit(x), unit(y)
    return float(sum(a * b for a, b in zip(x, y, strict=True)))


def score_matrix(queries: np.ndarray, documents: np.ndarray, kind: str) -> np.ndarray:
    return np.array([[similarity(q, d, kind) for d in documents] for q in queries])


def scores(a: Arrays) -> np.ndarray:
    return score_matrix(a.query, a.document, a.similarity)


def teacher_mean(a: Arrays) -> np.ndarray:
    """NaN where any of the teachers did not score."""
    return sum(a.teacher[k] for k in range(len(a.teacher))) / len(a.teacher)


def log_softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    total = top + math.log(sum(math.exp(v - top) for v in values))
    return [v - total for v in values]


def softmax(values: Sequence[float]) -> list[float]:
    return [math.exp(v) for v in log_softmax(values)]


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return math.exp(-softplus(-x))


def binary_cross_entropy(logit: float, target: float) -> float:
    return target * softplus(-logit) + (1 - target) * softplus(logit)


def kl_divergence(p_logits: Sequence[float], q_logits: Sequence[float]) -> float:
    log_p, log_q = log_softmax(p_logits), log_softmax(q_logits)
    return sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))


def mean(terms: Sequence[float]) -> float | None:
    return sum(terms) / len(terms) if terms else None


def the_list(a: Arrays, i: int, documents: str, t: np.ndarray | None = None) -> list[int]:
    """Columns of the list of query i; with teacher scores t, only those that it scored."""
    wanted = (OWN_POS, OWN_NEG) if documents == "own" else (OWN_POS, OWN_NEG, OTHER_POS, OTHER_NEG)
    return [d for d in range(len(a.document)) if a.relation[i, d] in wanted and (t is None or not math.isnan(t[i, d]))]


def lists(a: Arrays, documents: str, t: np.ndarray | None = None) -> list[tuple[int, list[int]]]:
    """(query, its list) for the queries with two documents or more."""
    all_lists = [(i, the_list(a, i, documents, t)) for i in range(len(a.query))]
    return [(i, columns) for i, columns in all_lists if len(columns) >= 2]


def positives(a: Arrays, i: int, columns: Sequence[int]) -> list[int]:
    return [d for d in columns if a.relation[i, d] == OWN_POS]


def others(a: Arrays, i: int, columns: Sequence[int]) -> list[int]:
    return [d for d in columns if a.relation[i, d] != OWN_POS]


def pair_lists(a: Arrays, documents: str, t: np.ndarray | None = None) -> list[tuple[int, int, list[int]]]:
    """(query, positive, the list's documents that are not positives of the query), where there is such a document."""
    pairs = []
    for i in range(len(a.query)):
        columns = the_list(a, i, documents, t)
        rivals = others(a, i, columns)
        if rivals:
            pairs += [(i, p, rivals) for p in positives(a, i, columns)]
    return pairs


# ---- contrastive


def infonce(a: Arrays, *, temperature: float = 0.05, in_batch: bool = True, held=None) -> float | None:
    s = scores(a)
    terms = []
    for i, p, rivals in pair_lists(a, "batch" if in_batch else "own"):
        terms.append(-log_softmax([s[i, d] / temperature for d in [p, *rivals]])[0])
    return mean(terms)


def lce(a: Arrays, *, temperature: float = 0.05, in_batch: bool = False, held=None) -> float | None:
    return infonce(a, temperature=temperature, in_batch=in_batch)


def full_contrastive(a: Arrays, *, temperature: float = 0.02, held=None) -> float | None:
    s = scores(a)
    terms = []
    for i, p, rivals in pair_lists(a, "batch"):
        logits = [s[i, p]]
        logits += [s[i, d] for d in rivals]
        for j in range(len(a.query)):
            if j == i:
                continue
            if a.relation[j, p] not in (OWN_POS, IGNORE):
                logits.append(s[j, p])
            logits.append(similarity(a.query[i], a.query[j], a.similarity))
        logits += [similarity(a.document[p], a.document[d], a.similarity) for d in rivals]
        terms.append(-log_softmax([x / temperature for x in logits])[0])
    return mean(terms)


def self_scaled(a: Arrays, *, rivals: str = "auto", held=None) -> float | None:
    """Either of the two at a temperature from the similarities of every query to what it is held against."""
    first = held or a
    s = scores(first)
    variances, logs = [], []
    for i in range(len(a.query)):
        own = [d for q, _, others in pair_lists(a, "batch") if q == i for d in others]
        against = sorted(set(own))
        if len(against) >= 2:
            values = np.array([s[i, d] for d in against])
            variances.append(((values - values.mean()) ** 2).sum() / (len(values) - 1))
            logs.append(math.log(len(values)))
    if not variances:
        return None
    temperature = max(math.sqrt(np.mean(variances) / (2 * np.mean(logs))), 1e-4)
    if rivals == "auto":
        pairs = list(pair_lists(first, "batch"))
        own = np.mean([s[i, p] for i, p, _ in pairs])
        q, documents = first.query, first.document
        alike = [similarity(x, y, first.similarity) for i, x in enumerate(q) for j, y in enumerate(q) if i != j]
        near = [similarity(documents[p], documents[d], first.similarity) for _, p, others in pairs for d in others]
        rivals = "all" if np.mean(alike) < own and np.mean(near) < own else "documents"
    if rivals == "all":
        return full_contrastive(a, temperature=temperature)
    return infonce(a, temperature=temperature)


def bixse(
    a: Arrays,
    *,
    scale: float = 20.0,
    bias: float = -10.0,
    learn: bool = True,
    grades: str = "label",
    teacher_temperature: float = 1.0,
    held=None,
) -> float | None:
    s = scores(a)
    t = teacher_mean(a) if grades == "teacher" else None
    terms = []
    for i in range(len(a.query)):
        for d in range(len(a.document)):
            code = a.relation[i, d]
            if code == IGNORE:
                continue
            target = 1.0 if code == OWN_POS else 0.0
            if grades == "teacher" and code in (OWN_POS, OWN_NEG):
                if math.isnan(t[i, d]):
                    continue
                target = sigmoid(t[i, d] / teacher_temperature)
            terms.append(binary_cross_entropy(scale * s[i, d] + bias, target))
    return mean(terms)


# ---- pairwise


def margin_mse(a: Arrays, *, scale: float = 1.0, pairs: str = "positive", held=None, t=None) -> float | None:
    s, t = scores(a), teacher_mean(a) if t is None else t
    terms = []
    for i in range(len(a.query)):
        columns = the_list(a, i, "own", t)
        if pairs == "positive":
            chosen = [(p, n) for p in positives(a, i, columns) for n in others(a, i, columns)]
        else:
            chosen = [(x, y) for x in columns for y in columns if x < y]
        terms += [(scale * (s[i, x] - s[i, y]) - (t[i, x] - t[i, y])) ** 2 for x, y in chosen]
    return mean(terms)


def tas_b(a: Arrays, *, alpha: float = 0.75, scale: float = 1.0, held=None) -> float | None:
    s, t = scores(a), a.teacher[-1]
    pair = margin_mse(a, scale=scale, t=a.teacher[0])
    if pair is None:
        return None
    in_batch = []
    for wanted in (OTHER_NEG, OTHER_POS):
        terms = []
        for i in range(len(a.query)):
            columns = the_list(a, i, "batch", t)
            for p in positives(a, i, columns):
                for d in columns:
                    if a.relation[i, d] == wanted:
                        terms.append((scale * (s[i, p] - s[i, d]) - (t[i, p] - t[i, d])) ** 2)
        in_batch.append(mean(terms) or 0.0)
    return pair + alpha * 0.5 * (in_batch[0] + in_batch[1])


def ordered_pairs(a: Arrays, t: np.ndarray, keep_positives: bool = True) -> list[tuple[int, int, int]]:
    """(query, a, b) with t(a) > t(b), both of the query's own list."""
    found = []
    for i in range(len(a.query)):
        columns = the_list(a, i, "own", t)
        if not keep_positives:
            columns = others(a, i, columns)
        found += [(i, x, y) for x in columns for y in columns if t[i, x] > t[i, y]]
    return found


def ranknet(
    a: Arrays, *, temperature: float = 0.05, target: str = "order", teacher_temperature: float = 1.0, held=None
) -> float | None:
    s, t = scores(a), teacher_mean(a)
    terms = []
    for i, x, y in ordered_pairs(a, t):
        margin = (s[i, x] - s[i, y]) / temperature
        wanted = 1.0 if target == "order" else sigmoid((t[i, x] - t[i, y]) / teacher_temperature)
        terms.append(binary_cross_entropy(margin, wanted))
    return mean(terms)


def hinge_order(a: Arrays, *, margin: float = 0.0, positives: bool = True, held=None) -> float | None:
    s, t = scores(a), teacher_mean(a)
    return mean([max(0.0, margin - (s[i, x] - s[i, y])) for i, x, y in ordered_pairs(a, t, positives)])


def ranks(values: Mapping[int, float]) -> dict[int, int]:
    """Column → rank from 1, by value descending, ties by column order."""
    order = sorted(values, key=lambda d: (-values[d], d))
    return {d: rank for rank, d in enumerate(order, 1)}


def lambda_mrr(
    a: Arrays, *, temperature: float = 0.05, relevant: int = 5, tail: str = "zero", held=None
) -> float | None:
    s, t = scores(a), teacher_mean(a)
    held_scores = scores(held or a)
    terms = []
    for i in range(len(a.query)):
        columns = the_list(a, i, "own", t)
        wanted = ranks({d: t[i, d] for d in columns})
        now = ranks({d: held_scores[i, d] for d in columns})
        label = {d: 1 / wanted[d] if wanted[d] <= relevant else 0.0 for d in columns}
        if tail == "halves":
            rest = sorted((d for d in columns if wanted[d] > relevant), key=lambda d: wanted[d])
            better = len(rest) // 2
            label |= dict.fromkeys(rest[:better], -0.25) | dict.fromkeys(rest[better:], -0.5)
        for x in columns:
            for y in columns:
                if label[x] > label[y]:
                    weight = abs(1 / now[x] - 1 / now[y])
                    terms.append(weight * softplus(-(s[i, x] - s[i, y]) / temperature))
    return mean(terms)
