"""The formulas as slow loops in float64: what everything else is compared with.

Each loss is a function of one position: (scores of its classes, label, matrix) ->
(loss, gradient). `batch` applies one to a batch.
"""
from __future__ import division, print_function

from math import exp, log

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
