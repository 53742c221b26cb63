"""Draw the pixels and an embedding as dots in the plane that parts the classes best."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")

from caffe_tools.report.charts import INK, STYLE
from matplotlib import patheffects, pyplot
import numpy as np

# Ten colours that differ, for the ten classes; the names stand in the picture anyway.
CLASSES = ["#4E79A7", "#F28E2B", "#E15759", "#76B7B2", "#59A14F", "#C9A400", "#B07AA1", "#D4779B", "#8C6D4F", "#6B6B6B"]


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


def draw(results, file):
    """Draw the planes of train.py's results, as PNG into an open file."""
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.6))
        figure.subplots_adjust(left=.03, right=.99, bottom=.06, top=.92, wspace=.06)
        for one, name, title in zip(axes, ("pixels", results["methods"][0][0]),
                                    ("The pixels", "The embedding of " + results["methods"][0][1])):
            _draw_plane(one, results, np.array(results["planes"][name]))
            one.set_title(title, loc="left", fontweight="bold")
        figure.savefig(file, format="png", dpi=200)
        pyplot.close(figure)


def _draw_plane(axes, results, points):
    """Draw the dots, and each class's name at its middle."""
    labels = np.array(results["shown"])
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    low, high = low - 0.07 * (high - low), high + 0.07 * (high - low)
    axes.scatter(points[:, 0], points[:, 1], s=5, c=[CLASSES[label] for label in labels], linewidths=0, alpha=0.6)
    middles = [np.median(points[labels == label], axis=0) for label in range(len(results["classes"]))]
    for name, place in zip(results["classes"], _apart(middles, (high - low) * [0.16, 0.05])):
        text = axes.text(place[0], place[1], name, ha="center", va="center", fontweight="bold", color=INK)
        text.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[],
             xlabel="what parts the classes best (no unit)", ylabel="what parts them second best")


def _apart(middles, size):
    """Return the places of texts of a size: from their middles up and down until none lies on another."""
    places = np.array(middles)
    for _ in range(1000):
        moves = np.zeros(len(places))
        for i, j in zip(*np.triu_indices(len(places), 1)):
            if (np.abs(places[i] - places[j]) < size).all():
                step = size[1] / 8 * (1 if places[i][1] > places[j][1] else -1)
                moves[i] += step
                moves[j] -= step
        places[:, 1] += moves
    return places
