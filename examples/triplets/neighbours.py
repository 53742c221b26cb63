"""Score an embedding by nearest neighbours and nearest centroid, with numpy; and find its best plane."""
from __future__ import division, print_function

import collections
from multiprocessing.pool import ThreadPool

import numpy as np

K = 5

# Queries in a block; a block's distances to 60,000 images are 48 MB.
BLOCK = 200


def scores(train, train_labels, test, test_labels, n_threads=None):
    """Return the shares of test rows that are right: {"neighbours": by the 5 nearest, "centroid": by the nearest}."""
    decided = [("neighbours", decide_by_neighbours(train, train_labels, test, K, n_threads)),
               ("centroid", decide_by_centroid(train, train_labels, test))]
    return collections.OrderedDict((name, float(np.mean(labels == test_labels))) for name, labels in decided)


def decide_by_neighbours(train, train_labels, test, k=K, n_threads=None):
    """Return the label that most of the k nearest rows of `train` have; of several, that of the nearest.

    n_threads: as many as there are cores, unless given.
    """
    squares = np.einsum("nc,nc->n", train, train)

    def of_block(start):
        # The square of the test row is the same for all, and left out.
        distances = squares - 2 * np.dot(test[start:start + BLOCK], train.T)
        nearest = _smallest(distances, k)
        rows = np.arange(len(nearest))[:, None]
        nearest = nearest[rows, np.argsort(distances[rows, nearest], axis=1)]
        labels = np.asarray(train_labels)[nearest]
        votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
        return labels[rows[:, 0], votes.argmax(axis=1)]  # the first of equals is the nearest

    pool = ThreadPool(n_threads)
    try:
        return np.concatenate(pool.map(of_block, range(0, len(test), BLOCK), chunksize=1))
    finally:
        pool.close()


def _smallest(values, k):
    """Return the columns of the k smallest values of each row.

    They stand in the k groups of columns whose least value is smallest, and in the
    columns that are left over; to look only there takes a seventh of the time.
    """
    n_groups = max(1, int(values.shape[1] ** 0.5))
    if n_groups <= k:
        return np.argpartition(values, k - 1, axis=1)[:, :k]
    height = values.shape[1] // n_groups
    grouped = n_groups * height
    least = values[:, :grouped].reshape(len(values), height, n_groups).min(axis=1)
    groups = np.argpartition(least, k - 1, axis=1)[:, :k]
    columns = (groups[:, :, None] + n_groups * np.arange(height)).reshape(len(values), -1)
    rest = np.tile(np.arange(grouped, values.shape[1]), (len(values), 1))
    columns = np.concatenate([columns, rest], axis=1)
    rows = np.arange(len(values))[:, None]
    return columns[rows, np.argpartition(values[rows, columns], k - 1, axis=1)[:, :k]]


def decide_by_centroid(train, train_labels, test):
    """Return the label whose rows in `train` have the nearest mean."""
    classes = np.unique(train_labels)
    centroids = np.array([train[train_labels == label].mean(axis=0, dtype=np.float64) for label in classes])
    distances = np.einsum("kc,kc->k", centroids, centroids) - 2 * np.dot(test, centroids.T)
    return classes[distances.argmin(axis=1)]


def plane(train, train_labels, test):
    """Return test rows in the two dimensions that part the classes best (linear discriminant analysis).

    Returns N x 2. Source: Fisher; for more than two classes Rao, 1948.
    """
    classes = np.unique(train_labels)
    mean = train.mean(axis=0, dtype=np.float64)
    within, between = 0, 0
    for label in classes:
        rows = train[train_labels == label].astype(np.float64)
        centroid = rows.mean(axis=0)
        within = within + np.dot((rows - centroid).T, rows - centroid)
        between = between + len(rows) * np.outer(centroid - mean, centroid - mean)
    # For pixels that are always 0, and for an embedding that is a point.
    within += np.eye(len(mean)) * (1e-3 * np.trace(within) / len(mean) + 1e-9)
    whiten = np.linalg.inv(np.linalg.cholesky(within))
    values, vectors = np.linalg.eigh(np.dot(np.dot(whiten, between), whiten.T))
    axes = np.dot(whiten.T, vectors[:, ::-1][:, :2])
    axes /= np.linalg.norm(axes, axis=0)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # an eigenvector has no sign of its own
    return np.dot(test - mean, axes)
