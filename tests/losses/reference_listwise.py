"""The losses of one teacher over a list, and the self-distillation ones, as in `reference.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .reference import (
    Arrays,
    lists,
    log_softmax,
    mean,
    others,
    pair_lists,
    positives,
    ranks,
    scores,
    sigmoid,
    similarity,
    softmax,
    teacher_mean,
)

# ---- listwise


def annealing(progress: float, longest: int) -> float:
    """Annealing-KD's Φ."""
    step = max(1, math.ceil(longest * (1 - progress)))
    return 1 - (step - 1) / longest


def query_weight(a: Arrays, i: int, columns: list[int], weighting: str, q: list[float], t_row, tau: float):
    """v_i, or None where the query does not count."""
    if weighting == "none":
        return 1.0
    yes, no = positives(a, i, columns), others(a, i, columns)
    if not yes or not no:
        return None
    if weighting == "difficulty":
        return 1 - sum(q[columns.index(d)] for d in yes)
    return sigmoid((mean([t_row[d] for d in yes]) - mean([t_row[d] for d in no])) / tau)


def _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal) -> float | None:
    """Mean of v_i Σ_d term(...): `term` gets log P, log Q and the detached Q over the list."""
    held = held or a
    raw = teacher_mean(a)
    t = annealing(a.progress, anneal) * raw
    s, held_s = scores(a), scores(held)
    terms = []
    for i, columns in lists(a, documents, t):
        log_q = log_softmax([s[i, d] / temperature for d in columns])
        held_q = softmax([held_s[i, d] / temperature for d in columns])
        log_p = log_softmax([t[i, d] / teacher_temperature for d in columns])
        weight = query_weight(a, i, columns, weighting, held_q, raw[i], teacher_temperature)
        if weight is not None:
            terms.append(weight * term(i, columns, log_p, log_q, held_q, t[i]))
    return mean(terms)


def kl(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    weighting: str = "none",
    anneal: int = 1,
    held=None,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        return sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal)


def listnet(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    weighting: str = "none",
    anneal: int = 1,
    held=None,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        return -sum(math.exp(p) * q for p, q in zip(log_p, log_q, strict=True))

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal)


def tct(a: Arrays, *, temperature: float = 1.0, teacher_temperature: float = 0.25, documents: str = "batch", **options):
    return kl(a, temperature=temperature, teacher_temperature=teacher_temperature, documents=documents, **options)


def ckl(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    gamma: float = 1.0,
    beta: float = 0.0,
    weighting: str = "none",
    anneal: int = 1,
    held=None,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        no = others(a, i, columns)
        rank = ranks({d: t_row[d] for d in no})
        total = 0.0
        for d, p, q, now in zip(columns, log_p, log_q, held_q, strict=True):
            exponent = gamma if d not in rank else gamma - beta * (1 - rank[d] / len(no))
            total += ((1 - now) if d not in rank else now) ** exponent * math.exp(p) * (p - q)
        return total

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal)


def prefix_likelihood(logits: Sequence[float], order: Sequence[int], top: int) -> float:
    """log Plackett–Luce probability of the first `top` places of an order (all if 0)."""
    length = min(top, len(order)) if top else len(order)
    return sum(log_softmax([logits[d] for d in order[r:]])[0] for r in range(length))


def rankdistil(
    a: Arrays,
    *,
    orders: Mapping[int, Sequence[Sequence[int]]],
    samples: int = 8,
    top: int = 0,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    held=None,
) -> float | None:
    """`orders`: query → the sampled rankings of its list, as columns."""
    s = scores(a)
    terms = []
    for i, _ in lists(a, "own", teacher_mean(a)):
        logits = {d: s[i, d] / temperature for d in range(len(a.document))}
        terms.append(-sum(prefix_likelihood(logits, order, top) for order in orders[i]) / len(orders[i]))
    return mean(terms)


def nkd(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    gamma: float = 1.5,
    tau: float = 1.0,
    documents: str = "own",
    held=None,
) -> float | None:
    s, t = scores(a), teacher_mean(a)
    terms = []
    for i, p, rivals in pair_lists(a, documents, t):
        student = [s[i, d] / temperature for d in [p, *rivals]]
        teacher = [t[i, d] / teacher_temperature for d in [p, *rivals]]
        rest_s = log_softmax([x / tau for x in student[1:]])
        rest_t = softmax([x / tau for x in teacher[1:]])
        rest = sum(x * y for x, y in zip(rest_t, rest_s, strict=True))
        terms.append(-softmax(teacher)[0] * log_softmax(student)[0] - gamma * tau**2 * rest)
    return mean(terms)


# ---- self-distillation


def tf_nkd(a: Arrays, *, temperature: float = 0.05, documents: str = "batch", held=None) -> float | None:
    def log_positive(batch: Arrays) -> list[float]:
        s = scores(batch)
        pairs = pair_lists(batch, documents)
        return [log_softmax([s[i, d] / temperature for d in [p, *rivals]])[0] for i, p, rivals in pairs]

    now, values = [math.exp(x) for x in log_positive(held or a)], log_positive(a)
    return mean([-(w + 1 - mean(now)) * x for w, x in zip(now, values, strict=True)])


def osakd(a: Arrays, *, k: int = 4, temperature: float = 0.05, documents: str = "batch", held=None) -> float | None:
    s, documents_held = scores(a), (held or a).document
    terms = []
    for i, p, rivals in pair_lists(a, documents):
        near = ranks({d: similarity(documents_held[p], documents_held[d], "cosine") for d in rivals})
        columns = [p, *rivals]
        count = min(k, len(columns))
        log_q = log_softmax([s[i, d] / temperature for d in columns])
        chosen = [d == p or near[d] <= count - 1 for d in columns]
        terms.append(-sum(q / count for q, taken in zip(log_q, chosen, strict=True) if taken))
    return mean(terms)
