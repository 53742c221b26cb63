"""The formulas as slow loops in float64: what everything else is compared with.

Each loss is a function of one position: (scores of its classes, label, matrix) ->
(loss, gradient). `batch` applies one to a batch.
"""
from __future__ import division, print_function

from math import exp, log, sqrt

import numpy as np


def softmax_with_infogain(x, l, H):
    log_p = log_softmax(x)
    loss = -sum(H[l][j] * log_p[j] for j in range(len(x)) if H[l][j])
    total = sum(float(h) for h in H[l])
    return loss, [exp(log_p[k]) * total - H[l][k] for k in range(len(x))]


def infogain(p, l, H):
    q = [max(v, 1e-20) for v in p]
    return -sum(H[l][j] * log(q[j]) for j in range(len(p))), [-H[l][j] / q[j] for j in range(len(p))]


def cost_scaled_softmax(x, l, D):
    log_p = log_softmax(x)
    cost = D[l][max(range(len(x)), key=lambda k: x[k])]
    return -cost * log_p[l], [cost * (exp(log_p[k]) - (k == l)) for k in range(len(x))]


def expected_cost(x, l, D):
    p = [exp(v) for v in log_softmax(x)]
    loss = sum(D[l][j] * p[j] for j in range(len(x)))
    return loss, [p[k] * (D[l][k] - loss) for k in range(len(x))]


def log_softmax(x):
    m = max(x)
    log_s = log(sum(exp(v - m) for v in x))
    return [v - m - log_s for v in x]


def batch(loss, scores, labels, matrix, axis=1, ignore_label=None, normalization="VALID"):
    """(loss, gradient) of a batch, position by position."""
    scores = np.asarray(scores, np.float64)
    matrix = np.asarray(matrix, np.float64).tolist()
    axis %= scores.ndim
    outer, inner = int(np.prod(scores.shape[:axis])), int(np.prod(scores.shape[axis + 1:]))
    x = scores.reshape(outer, scores.shape[axis], inner)
    labels = np.asarray(labels).reshape(outer, inner)
    gradient = np.zeros_like(x)
    total = valid = 0
    for o in range(outer):
        for i in range(inner):
            if labels[o, i] == ignore_label:
                continue
            valid += 1
            value, gradient[o, :, i] = loss(x[o, :, i].tolist(), int(labels[o, i]), matrix)
            total += value
    z = max(1, {"VALID": valid, "FULL": outer * inner, "BATCH_SIZE": outer, "NONE": 1}[normalization])
    return total / z, (gradient / z).reshape(scores.shape)


def distance(x1, x2, norm="l2"):
    """(distance, its gradient with respect to x1) of two rows."""
    d = [float(u) - float(v) for u, v in zip(x1, x2)]
    largest = max(map(abs, d))
    if not largest:
        return 0., [0.] * len(d)
    if norm == "squared_l2":
        return sum(u * u for u in d), [2 * u for u in d]
    a = largest * sqrt(sum((u / largest) ** 2 for u in d))
    return a, [u / a for u in d]


def triplet_softmax(anchor, positive, negative, norm="l2", form="mse"):
    """(loss, gradients with respect to the three) of one triplet."""
    a, da = distance(anchor, positive, norm)
    b, db = distance(anchor, negative, norm)
    small = exp(-abs(a - b))
    d_plus, d_minus = (1 / (1 + small), small / (1 + small))[::1 if a > b else -1]
    if form == "mse":
        loss, slope = d_plus ** 2, 2 * d_plus ** 2 * d_minus
    else:
        loss, slope = max(a - b, 0) + log(1 + small), d_plus
    return loss, ([slope * (p - n) for p, n in zip(da, db)], [-slope * p for p in da], [slope * n for n in db])


def triplet_batch(anchor, positive, negative, norm="l2", form="mse"):
    """(sum of the losses, gradients of the three, N x C each) of N triplets."""
    found = [triplet_softmax(*rows, norm=norm, form=form)
             for rows in zip(*[np.asarray(x).reshape(len(x), -1).tolist() for x in (anchor, positive, negative)])]
    return sum(loss for loss, _ in found), [np.array([gradients[i] for _, gradients in found]) for i in range(3)]


def all_triplets(labels, ignore_label=None):
    """Every (anchor, positive, negative) of a batch."""
    rows = [i for i, label in enumerate(labels) if label != ignore_label]
    return [(a, p, n) for a in rows for p in rows for n in rows
            if a != p and labels[a] == labels[p] and labels[a] != labels[n]]


def select_triplets(x, labels, strategy, ignore_label=None):
    """The triplets that all, hardest or semi_hard choose, in a set."""
    def squared(i, j):
        return sum((float(u) - float(v)) ** 2 for u, v in zip(x[i], x[j]))

    every = all_triplets(labels, ignore_label)
    if strategy == "all":
        return set(every)
    chosen = set()
    for anchor in range(len(labels)):
        positives = sorted(set(p for a, p, _ in every if a == anchor))
        negatives = sorted(set(n for a, _, n in every if a == anchor))
        if not positives:
            continue
        if strategy == "hardest":
            chosen.add((anchor, max(positives, key=lambda p: squared(anchor, p)),  # the first of equals
                        min(negatives, key=lambda n: squared(anchor, n))))
            continue
        for p in positives:
            farther = [n for n in negatives if squared(anchor, n) > squared(anchor, p)]
            if farther:
                chosen.add((anchor, p, min(farther, key=lambda n: squared(anchor, n))))
    return chosen
