"""The losses of one teacher over a list, and the self-distillation ones, as in `reference.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

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
    the_list,
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
    return sigmoid(gap(a, i, columns, t_row) / tau)


def gap(a: Arrays, i: int, columns: list[int], t_row) -> float:
    """How sure the teacher is of query i."""
    return mean([t_row[d] for d in positives(a, i, columns)]) - mean([t_row[d] for d in others(a, i, columns)])


def chosen_teacher(a: Arrays, number: int):
    """Scores of all teachers in the mean (0), of the k-th from 1, or of the last (-1)."""
    return teacher_mean(a) if number == 0 else a.teacher[number - 1] if number > 0 else a.teacher[-1]


def _listwise(
    a, held, term, temperature, teacher_temperature, documents, weighting, anneal, teacher=0, tau=1.0, pace=1.0
) -> float | None:
    """Mean of v_i τ² Σ_d term(...): `term` gets log P, log Q and the detached Q over the list."""
    held = held or a
    raw = chosen_teacher(a, teacher)
    t = annealing(a.progress, anneal) * raw
    s, held_s = scores(a), scores(held)
    terms, sure = [], []
    for i, columns in lists(a, documents, t):
        if pace < 1 and not (positives(a, i, columns) and others(a, i, columns)):
            continue
        log_q = log_softmax([s[i, d] / temperature / tau for d in columns])
        held_q = softmax([held_s[i, d] / temperature / tau for d in columns])
        log_p = log_softmax([t[i, d] / teacher_temperature / tau for d in columns])
        weight = query_weight(a, i, columns, weighting, held_q, raw[i], teacher_temperature)
        if weight is not None:
            terms.append(weight * tau**2 * term(i, columns, log_p, log_q, held_q, t[i]))
            sure.append(gap(a, i, columns, raw[i]) if pace < 1 else 0.0)
    kept = sorted(range(len(terms)), key=lambda k: -sure[k])
    return mean([terms[k] for k in kept[: max(1, math.ceil((pace + (1 - pace) * a.progress) * len(terms)))]])


def kl(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    weighting: str = "none",
    anneal: int = 1,
    held=None,
    **others_of_kl,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        return sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal, **others_of_kl)


def listnet(
    a: Arrays,
    *,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    weighting: str = "none",
    anneal: int = 1,
    held=None,
    **others_of_kl,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        return -sum(math.exp(p) * q for p, q in zip(log_p, log_q, strict=True))

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal, **others_of_kl)


def tct(a: Arrays, *, temperature: float = 1.0, teacher_temperature: float = 0.25, documents: str = "batch", **options):
    return kl(a, temperature=temperature, teacher_temperature=teacher_temperature, documents=documents, **options)


def lwf(a: Arrays, *, temperature: float = 0.05, teacher: int = -1, tau: float = 4.0, **options) -> float | None:
    return kl(a, temperature=temperature, teacher_temperature=temperature, teacher=teacher, tau=tau, **options)


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
    **others_of_kl,
) -> float | None:
    def term(i, columns, log_p, log_q, held_q, t_row):
        no = others(a, i, columns)
        rank = ranks({d: t_row[d] for d in no})
        total = 0.0
        for d, p, q, now in zip(columns, log_p, log_q, held_q, strict=True):
            exponent = gamma if d not in rank else gamma - beta * (1 - rank[d] / len(no))
            total += ((1 - now) if d not in rank else now) ** exponent * math.exp(p) * (p - q)
        return total

    return _listwise(a, held, term, temperature, teacher_temperature, documents, weighting, anneal, **others_of_kl)


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


def _closeness(a: Arrays, targets: str, held) -> np.ndarray:
    """The documents whose similarities are targets."""
    return a.features["teacher_document"] if targets == "teacher" else (held or a).document


def document_targets(
    a: Arrays,
    *,
    temperature: float = 0.05,
    target_temperature: float = 0.05,
    documents: str = "batch",
    targets: str = "self",
    held=None,
) -> float | None:
    s, near, terms = scores(a), _closeness(a, targets, held), []
    for i, p, rivals in pair_lists(a, documents):
        columns = [p, *rivals]
        log_p = log_softmax([similarity(near[p], near[d], "cosine") / target_temperature for d in columns])
        log_q = log_softmax([s[i, d] / temperature for d in columns])
        terms.append(sum(math.exp(x) * (x - y) for x, y in zip(log_p, log_q, strict=True)))
    return mean(terms)


def adaptive_softmax(
    a: Arrays,
    *,
    temperature: float = 0.05,
    alpha: float = 1.0,
    margin: str = "similarity",
    documents: str = "batch",
    targets: str = "self",
    held=None,
) -> float | None:
    s, near, terms = scores(a), _closeness(a, targets, held), []
    sign = 1 if margin == "similarity" else -1
    for i, p, rivals in pair_lists(a, documents):
        margins = [alpha * (1 + sign * similarity(near[p], near[d], "cosine")) / 2 for d in rivals]
        logits = [s[i, p] / temperature, *((s[i, d] + m) / temperature for d, m in zip(rivals, margins, strict=True))]
        terms.append(-log_softmax(logits)[0])
    return mean(terms)


# ---- against a ranker


def ar2(
    a: Arrays,
    *,
    weight: float = 0.5,
    form: str = "paper",
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    teacher: int = 0,
    held=None,
) -> float | None:
    s, t = scores(a), chosen_teacher(a, teacher) / teacher_temperature
    adversarial, distillation = [], {}
    for i, p, rivals in pair_lists(a, "own", t):

        def log_ranker(d, i=i, p=p):  # log probability that the positive is the better of the two
            return log_softmax([t[i, p], t[i, d]])[0]

        student = {d: s[i, d] / temperature for d in [p, *rivals]}
        if form == "paper":
            chosen = softmax([student[d] for d in rivals])
            adversarial.append(sum(x * log_ranker(d) for x, d in zip(chosen, rivals, strict=True)))
        else:
            log_q = log_softmax(list(student.values()))
            adversarial.append(sum(q * log_ranker(d) for q, d in zip(log_q, student, strict=True)))
        columns = the_list(a, i, "own", t)
        log_q = log_softmax([s[i, d] / temperature for d in columns])
        target = softmax([t[i, d] for d in columns])
        distillation[i] = -sum(x * y for x, y in zip(target, log_q, strict=True))
    game = mean(adversarial) if form == "paper" else sum(adversarial)
    return weight * game + (1 - weight) * mean(list(distillation.values()))
