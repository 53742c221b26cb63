"""Cost matrices D[true, predicted] made of a confusion matrix or of embeddings."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.optional_packages import optional
from caffe_losses.validation import check_finite, check_square, refuse, shape_text

METRICS = ("cosine", "euclidean")


def costs_from_confusion(counts):
    """Make D of a confusion matrix: classes that are often confused are near each other.

        P[l, k] = counts[l, k] / sum_j counts[l, j]
        D[l, k] = max(0, 1 - (P[l, k] + P[k, l]) / (P[l, l] + P[k, k])),  D[l, l] = 0

    So D is symmetric, 1 for classes that are never confused, 0 for classes that are confused as often as they are told
    apart, whatever the numbers of samples.

    counts: C x C, [true, predicted], not negative: samples, or shares of them. Returns D, C x C float64.
    Raises ValueError, naming the first bad entry, or a class without samples.
    """
    P = check_square(counts, "confusion").astype(np.float64)
    refuse(P, P < 0, "confusion", "a number of samples")
    samples = P.sum(axis=1)
    if not samples.all():
        raise ValueError("confusion: expected samples of every true class (a row each), got none of class %d"
                         % np.argmin(samples))
    P /= samples[:, np.newaxis]
    confused, right = P + P.T, P.diagonal()[:, np.newaxis] + P.diagonal()
    with np.errstate(divide="ignore", invalid="ignore"):
        D = 1 - np.where(right > 0, confused / right, confused > 0)
    np.maximum(D, 0, out=D)
    np.fill_diagonal(D, 0)
    return D


def costs_from_embeddings(embeddings, metric="cosine"):
    """Make D of a vector for each class: the distance of their vectors.

        cosine     D[l, k] = 1 - e_l . e_k / (|e_l| |e_k|), 0 to 2
        euclidean  D[l, k] = |e_l - e_k|

    embeddings: C x M, a row for each class in the order of the labels.
    metric: "cosine" or "euclidean". Returns D, C x C float64, symmetric.
    Raises ValueError, naming the first bad entry, or, for cosine, a row of zeros.
    """
    if metric not in METRICS:
        raise ValueError("metric: expected one of %s, got %r" % (", ".join(METRICS), metric))
    E = np.asarray(embeddings)
    if E.ndim != 2 or not E.size or E.dtype.kind not in "fiub":
        raise ValueError("embeddings: expected a row of numbers for each class, got %s of shape %s"
                         % (E.dtype, shape_text(E.shape)))
    E = E.astype(np.float64)
    check_finite(E, "embeddings")
    largest = np.abs(E).max(axis=1)
    if metric == "cosine" and not largest.all():
        raise ValueError("embeddings: expected no row of zeros with cosine, got one for class %d" % np.argmin(largest))
    optional("scipy", "distances of embeddings")
    from scipy.spatial.distance import pdist, squareform
    scale = largest[:, np.newaxis] if metric == "cosine" else largest.max() or 1  # so that no square overflows
    D = squareform(np.maximum(pdist(E / scale, metric), 0))
    return D if metric == "cosine" else D * scale


def shuffled_costs(D, seed):
    """Return D with its classes in a random order in which none is at its own place: a control for what D says.

        D'[l, k] = D[order[l], order[k]]

    D: C x C, C at least 2. seed: int, by which the order is drawn.
    """
    rng, classes = np.random.RandomState(seed), np.arange(len(D))
    while True:
        order = rng.permutation(len(D))
        if (order != classes).all():
            return np.asarray(D)[np.ix_(order, order)]
