"""Pictures of matrices, by matplotlib."""
from __future__ import division, print_function

import os

import numpy as np

from caffe_losses.matrix_files import atomic_write


def matrix_picture(path, matrix, names=None, title=None):
    """Write a heat map of a matrix to a picture file.

    path: str; its ending is the format (.png, .pdf, .svg ...).
    matrix: C x C, [true, predicted]. names: C class names; None: their numbers.
    title: str or None.
    Raises ValueError for a format that matplotlib cannot write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    size = min(12, 3.2 + .34 * len(matrix))
    figure = Figure(figsize=(size + .9, size))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 1, 1)
    image = draw_matrix(axes, matrix, names)
    figure.colorbar(image, ax=axes, fraction=.046, pad=.03)
    if title:
        axes.set_title(title)
    with atomic_write(path) as file:
        figure.savefig(file, format=os.path.splitext(path)[1][1:].lower(), dpi=150, bbox_inches="tight")


def draw_matrix(axes, matrix, names=None):
    """Draw a heat map of a C x C matrix into matplotlib axes; returns the image.

    Entries are written into the cells of a small matrix, and every class is named
    as long as the names can be read.
    """
    matrix = np.asarray(matrix)
    n_classes = len(matrix)
    image = axes.imshow(matrix, cmap="viridis", interpolation="nearest")
    if n_classes <= 40:
        shown = np.arange(n_classes)
    else:
        shown = np.unique(np.linspace(0, n_classes - 1, 20).astype(int))
    text = [str(i) if names is None else names[i] for i in shown]
    axes.set_xticks(shown)
    axes.set_yticks(shown)
    axes.set_xticklabels(text, rotation=45 if names else 0, ha="right" if names else "center",
                         rotation_mode="anchor" if names else None)
    axes.set_yticklabels(text)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if n_classes <= 12:
        _write_entries(axes, matrix)
    return image


def _write_entries(axes, matrix):
    middle = (matrix.min() + matrix.max()) / 2
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, "%.2g" % value, ha="center", va="center", fontsize=8,
                  color="black" if value > middle else "white")
