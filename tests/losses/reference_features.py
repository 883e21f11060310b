"""The losses with several teachers, teacher embeddings, layer states or parameters, as in `reference.py`.

Parameters come as arrays: a test gives random ones to both sides.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from pyserini_sdr.losses.base import IGNORE, OWN_POS

from .reference import (
    Arrays,
    kl_divergence,
    lists,
    log_softmax,
    mean,
    pair_lists,
    positives,
    score_matrix,
    scores,
    sigmoid,
    similarity,
    softmax,
    teacher_mean,
    unit,
)


def ctkd(
    a: Arrays,
    *,
    theta: float = 1.0,
    start: float = 1.0,
    range: float = 20.0,
    strength: float = 1.0,
    ramp: float = 0.1,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    documents: str = "own",
    held=None,
) -> float | None:
    s, t = scores(a), teacher_mean(a)
    hot = start + range * sigmoid(theta)
    terms = []
    for i, columns in lists(a, documents, t):
        teacher = [t[i, d] / (teacher_temperature * hot) for d in columns]
        terms.append(hot**2 * kl_divergence(teacher, [s[i, d] / temperature / hot for d in columns]))
    return mean(terms)


def reversal(progress: float, *, strength: float = 1.0, ramp: float = 0.1) -> float:
    """λ of CTKD: θ's gradient is multiplied by −λ."""
    return strength * 0.5 * (1 - math.cos(math.pi * min(progress / ramp, 1)))


def ca_mkd(
    a: Arrays,
    *,
    tau: float = 4.0,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    weights: str = "confidence",
    held=None,
) -> float | None:
    s, teachers = scores(a), a.teacher / teacher_temperature
    count = len(teachers)
    terms = []
    for i, columns in lists(a, "own", teacher_mean(a)):
        found = positives(a, i, columns)
        share = [1 / count] * count
        if weights == "confidence":
            if not found:
                continue
            error = []
            for t in teachers:
                p = softmax([t[i, d] for d in columns])
                error.append(-math.log(sum(p[columns.index(d)] for d in found)))
            share = [(1 - x) / (count - 1) for x in softmax(error)]
        student = [s[i, d] / temperature / tau for d in columns]
        divergence = [kl_divergence([t[i, d] / tau for d in columns], student) for t in teachers]
        terms.append(sum(w * tau**2 * x for w, x in zip(share, divergence, strict=True)))
    return mean(terms)


def mtd(
    a: Arrays,
    *,
    tau: float = 1.0,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    favour: str = "consensus",
    held=None,
) -> float | None:
    s, count = scores(a), len(a.teacher)
    terms = []
    for i, columns in lists(a, "own", teacher_mean(a)):
        p = [softmax([t[i, d] / teacher_temperature / tau for d in columns]) for t in a.teacher]
        middle = [mean(column) for column in zip(*p, strict=True)]
        spread = mean([sum(x * math.log(x / m) for x, m in zip(row, middle, strict=True) if x > 0) for row in p])
        weight = 1 - spread / math.log(count) if favour == "consensus" else 1 + spread / math.log(count)
        student = [s[i, d] / temperature / tau for d in columns]
        divergence = [kl_divergence([t[i, d] / teacher_temperature / tau for d in columns], student) for t in a.teacher]
        terms.append(weight * tau**2 * mean(divergence))
    return mean(terms)


def cerberus(
    a: Arrays, *, heads: Sequence[np.ndarray], temperature: float = 0.05, teacher_temperature: float = 1.0, held=None
) -> float | None:
    values = []
    for head, t in zip(heads, a.teacher, strict=True):
        s = score_matrix(a.query @ head.T, a.document @ head.T, a.similarity)
        terms = []
        for i, columns in lists(a, "own", t):
            teacher = [t[i, d] / teacher_temperature for d in columns]
            terms.append(kl_divergence(teacher, [s[i, d] / temperature for d in columns]))
        if not terms:
            return None
        values.append(mean(terms))
    return mean(values)


# ---- embeddings


def _student(a: Arrays, vectors: np.ndarray, w: np.ndarray | None) -> list[np.ndarray]:
    rows = [unit(x) if a.similarity == "cosine" else x for x in vectors]
    return rows if w is None else [w @ x for x in rows]


def embed_distill(
    a: Arrays,
    *,
    w: np.ndarray | None = None,
    metric: str = "l2",
    queries: bool = True,
    documents: bool = True,
    held=None,
) -> float | None:
    def distance(x: np.ndarray, y: np.ndarray) -> float:
        if metric == "l2":
            return math.sqrt(sum((x - y) ** 2))
        return float(np.mean((x - y) ** 2)) if metric == "mse" else 1 - similarity(x, y, "cosine")

    total = 0.0
    if queries:
        pairs = zip(_student(a, a.query, w), a.features["teacher_query"], strict=True)
        total += mean([distance(x, y) for x, y in pairs])
    if documents:
        students, teachers = _student(a, a.document, w), a.features["teacher_document"]
        used = [d for d in range(len(a.document)) if any(a.relation[i, d] != IGNORE for i in range(len(a.query)))]
        if not used:
            return None
        total += mean([distance(students[d], teachers[d]) for d in used])
    return total


def comparative(a: Arrays, *, w: np.ndarray | None = None, form: str = "mse", held=None) -> float | None:
    used = [d for d in range(len(a.document)) if any(a.relation[i, d] == OWN_POS for i in range(len(a.query)))]
    documents = _student(a, a.document, w)
    student = _student(a, a.query, w) + [documents[d] for d in used]
    teacher = list(a.features["teacher_query"]) + [a.features["teacher_document"][d] for d in used]
    terms = []
    for x, y in itertools.permutations(range(len(student)), 2):
        ours, theirs = student[x] - student[y], teacher[x] - teacher[y]
        terms.append(float(np.mean((ours - theirs) ** 2)) if form == "mse" else kl_divergence(theirs, ours))
    return mean(terms)


# ---- pseudo-classes


def lelp_cells(a: Arrays) -> list[tuple[int, int]]:
    return [(i, d) for i, columns in lists(a, "own", teacher_mean(a)) for d in columns]


def lelp_products(a: Arrays) -> dict[tuple[int, int], np.ndarray]:
    """Cell → the teacher's embedding of the pair, off the direction of ones."""
    products = {}
    for i, d in lelp_cells(a):
        e = a.features["teacher_query"][i] * a.features["teacher_document"][d]
        products[i, d] = e - np.mean(e)
    return products


def lelp_statistics(
    a: Arrays, relevant: bool, before: tuple[np.ndarray, np.ndarray] | None = None, momentum: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """Running mean and covariance of a class after this batch; the batch's own if it is the first."""
    own = [e for (i, d), e in lelp_products(a).items() if (a.relation[i, d] == OWN_POS) == relevant]
    centre = sum(own) / len(own)
    if before:
        centre = momentum * before[0] + (1 - momentum) * centre
    covariance = sum(np.outer(e - centre, e - centre) for e in own) / len(own)
    if before:
        covariance = momentum * before[1] + (1 - momentum) * covariance
    return centre, covariance


def leading_eigenvectors(covariance: np.ndarray, count: int) -> np.ndarray:
    """(Dt, count), largest first."""
    return np.linalg.eigh(covariance)[1][:, ::-1][:, :count]


def lelp_projections(
    a: Arrays, statistics: tuple[np.ndarray, np.ndarray], axes: np.ndarray
) -> dict[tuple[int, int], np.ndarray]:
    """Cell → projections on the axes (Dt, S), each scaled to unit variance in the class that the statistics are of."""
    centre, covariance = statistics
    spread = [math.sqrt(axis @ covariance @ axis) for axis in axes.T]
    return {cell: (e - centre) @ axes / spread for cell, e in lelp_products(a).items()}


def lelp(
    a: Arrays,
    *,
    head: np.ndarray,
    head_bias: np.ndarray,
    projections: tuple[dict, dict],
    subclasses: int = 4,
    beta: float = 1.0,
    temperature: float = 0.05,
    teacher_temperature: float = 1.0,
    momentum: float = 0.9,
    held=None,
) -> float | None:
    """`projections` of the relevant class and of the other; the first of the head's rows are the relevant class's."""
    t = teacher_mean(a)
    queries, documents = _student(a, a.query, None), _student(a, a.document, None)
    terms = []
    for i, columns in lists(a, "own", t):
        p = softmax([t[i, d] / teacher_temperature for d in columns])
        for d, share in zip(columns, p, strict=True):
            grade = share / max(p)
            yes = softmax([x / beta for x in projections[0][i, d]])
            no = softmax([x / beta for x in projections[1][i, d]])
            target = [grade * x for x in yes] + [(1 - grade) * x for x in no]
            logits = head @ (queries[i] * documents[d]) + head_bias
            log_q = log_softmax([x / temperature for x in logits])
            terms.append(-sum(x * y for x, y in zip(target, log_q, strict=True)))
    return mean(terms)


# ---- layers


def lead(
    a: Arrays,
    *,
    student_layers: Sequence[int],
    teacher_layers: Sequence[int],
    layers: int = 3,
    temperature: float = 0.05,
    teacher_temperature: float = 0.05,
    layer_temperature: float = 10.0,
    documents: str = "batch",
    held=None,
) -> float | None:
    """`student_layers`, `teacher_layers`: the drawn layers, in order."""
    f = a.features
    errors, divergences = [], []
    for mine, theirs in zip(student_layers, teacher_layers, strict=True):
        s = score_matrix(f["query_layers"][:, mine], f["document_layers"][:, mine], a.similarity)
        t = score_matrix(f["teacher_query_layers"][:, theirs], f["teacher_document_layers"][:, theirs], a.similarity)
        t, s = t / teacher_temperature, s / temperature
        pairs = pair_lists(a, documents)
        if not pairs:
            return None
        errors.append(mean([-log_softmax([t[i, d] for d in [p, *rivals]])[0] for i, p, rivals in pairs]))
        divergences.append(
            mean([kl_divergence([t[i, d] for d in c], [s[i, d] for d in c]) for i, c in lists(a, documents)])
        )
    weights = softmax([-x / layer_temperature for x in errors])
    return sum(w * x for w, x in zip(weights, divergences, strict=True))
