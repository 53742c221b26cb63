"""The formulas as slow loops in float64: what everything else is compared with."""
from __future__ import division, print_function

from math import exp, log

import numpy as np


def positions(scores, labels, axis):
    """(index of the position in outer x inner, scores of its classes, its label)."""
    scores = np.asarray(scores, np.float64)
    axis %= scores.ndim
    x = scores.reshape(int(np.prod(scores.shape[:axis])), scores.shape[axis], -1)
    labels = np.asarray(labels).reshape(x.shape[0], x.shape[2])
    for o in range(x.shape[0]):
        for i in range(x.shape[2]):
            yield (o, i), x[o, :, i], int(labels[o, i])


def softmax_with_infogain(scores, labels, H, axis=1, ignore_label=None, normalization="VALID"):
    """(loss, gradient) of SoftmaxWithInfogainLoss, position by position."""
    axis %= np.ndim(scores)
    outer = int(np.prod(np.shape(scores)[:axis]))
    C = np.shape(scores)[axis]
    gradient = np.zeros((outer, C, int(np.prod(np.shape(scores)[axis + 1:]))))
    total = valid = count = 0
    for (o, i), x, label in positions(scores, labels, axis):
        count += 1
        if label == ignore_label:
            continue
        valid += 1
        m = max(x)
        s = sum(exp(v - m) for v in x)
        for j in range(C):
            if H[label][j]:
                total -= H[label][j] * (x[j] - m - log(s))
        for k in range(C):
            gradient[o, k, i] = exp(x[k] - m) / s * sum(float(h) for h in H[label]) - H[label][k]
    z = max(1, {"VALID": valid, "FULL": count, "BATCH_SIZE": outer, "NONE": 1}[normalization])
    return total / z, (gradient / z).reshape(np.shape(scores))
