"""Pictures of matrices, by matplotlib."""
from __future__ import division, print_function

import os
import warnings

import numpy as np


def matrix_picture(path, matrix, names=None, title=None):
    """A function that writes a heat map of a matrix to an open file.

    path: str; its ending is the format (.png, .pdf, .svg ...).
    matrix: C x C, [true, predicted]. names: C class names; None: their numbers.
    title: str or None.
    Raises ValueError for a format that matplotlib cannot write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    size = min(12, 3.2 + .34 * len(matrix))
    figure = Figure(figsize=(size + .9, size))
    kinds = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in kinds:
        raise ValueError("%s: expected a picture that ends in .%s" % (path, ", .".join(sorted(kinds))))
    axes = figure.add_subplot(1, 1, 1)
    image = draw_matrix(axes, matrix, names)
    figure.colorbar(image, ax=axes, fraction=.046, pad=.03)
    if title:
        axes.set_title(title)

    def write(file):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of letters that the font lacks
            figure.savefig(file, format=kind, dpi=150, bbox_inches="tight")
    return write


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
    text = [str(i) if names is None else _label(names[i]) for i in shown]
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


def _label(name, longest=24):
    """A class name as matplotlib shows it: no formula, and not too long."""
    if isinstance(name, bytes):  # Python 2
        name = name.decode("utf-8")
    if len(name) > longest:
        name = name[:longest - 1] + u"\u2026"
    return name.replace(u"$", u"\\$")


def _write_entries(axes, matrix):
    middle = (matrix.min() + matrix.max()) / 2
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, "%.2g" % value, ha="center", va="center", fontsize=8,
                  color="black" if value > middle else "white")
