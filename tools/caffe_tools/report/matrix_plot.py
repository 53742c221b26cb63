"""Heat maps of matrices, by matplotlib."""
from __future__ import division, print_function

import contextlib
import os
import warnings

import numpy as np

from caffe_losses.compat import to_unicode
from caffe_losses.optional_packages import optional

DPI = 150
MOST_NAMED = 100  # classes; of more, only some are named
MOST_WRITTEN = 12  # classes whose entries are written into their cells
MOST_CELLS = 1600  # a side; below two dots a cell nothing could be told apart


def import_matplotlib(purpose):
    """Import matplotlib without the settings in a matplotlibrc of the current folder, which are for other pictures.

    Raises ImportError without matplotlib.
    """
    here, named = os.getcwd(), os.environ.pop("MATPLOTLIBRC", None)
    os.chdir(os.path.dirname(os.path.abspath(__file__)))
    try:
        return optional("matplotlib", purpose)
    finally:
        os.chdir(here)
        if named is not None:
            os.environ["MATPLOTLIBRC"] = named


@contextlib.contextmanager
def drawing(**style):
    """Draw with matplotlib's own settings and those of `style`, and without its warnings."""
    import matplotlib
    own = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font lacks, and of empty charts
        with matplotlib.rc_context(own), matplotlib.rc_context(style):
            yield


def matrix_picture(path, matrix, names=None, title="gain H"):
    """Draw a heat map of a matrix, of class weights alone bars, and return the function that writes it to an open file.

    path: str; its ending is the format (.png, .pdf, .svg ...).
    matrix: C x C, [true, predicted]. names: C class names; None: their numbers.
    title: str, what the matrix is.
    Raises ValueError for a format that matplotlib cannot write, and ImportError without matplotlib.
    """
    import_matplotlib("the picture " + path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    side, are_weights = side_inches(len(matrix)), is_diagonal(matrix)
    figure = Figure(figsize=(side + 1.5, 4 if are_weights else side + .5))
    kinds = FigureCanvasAgg(figure).get_supported_filetypes()
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in kinds:
        raise ValueError("%s: expected a picture that ends in .%s" % (path, ", .".join(sorted(kinds))))
    axes = figure.add_subplot(1, 1, 1)
    if are_weights:
        draw_weights(axes, np.diagonal(matrix), names)
        axes.set_title(title + ": class weights alone")
    else:
        image = draw_matrix(axes, matrix, names)
        figure.colorbar(image, ax=axes, fraction=.046, pad=.02)
        if is_logarithmic(matrix):
            title += " (log scale%s)" % ("" if np.all(matrix) else "; grey: 0")
        axes.set_title(title)

    def write(file):
        with drawing():
            figure.savefig(file, format=kind, dpi=DPI, bbox_inches="tight")
    return write


def side_inches(n_classes):
    """Return the side of a heat map in inches: each cell has room for its entry, or at least for a name."""
    cell = .45 if n_classes <= MOST_WRITTEN else .34 if n_classes <= 40 else .17
    return min(16, max(3, cell * n_classes))


def draw_matrix(axes, matrix, names=None, limits=None):
    """Draw a heat map of a C x C matrix into matplotlib axes, and return the image.

    limits: the least and the greatest value of a linear scale; None: those of the entries.

    Entries are written into the cells of a small matrix; of up to 100 classes each is named, of more every second,
    every third ... Colours are on a logarithmic scale where the entries differ by more than a factor of 100: else the
    diagonal would leave nothing to be seen of the rest.
    """
    from matplotlib.colors import LogNorm
    matrix = np.asarray(matrix, np.float64)
    n_classes, norm = len(matrix), None
    cells = _largest_in_blocks(matrix, -(-n_classes // MOST_CELLS))
    if limits is None and is_logarithmic(matrix):
        positive = matrix[matrix > 0]
        norm = LogNorm(vmin=max(positive.min(), positive.max() * 1e-6), vmax=positive.max())
        cells = np.ma.masked_equal(cells, 0)
        axes.set_facecolor("lightgrey")
    image = axes.imshow(cells, cmap="viridis", norm=norm, interpolation="nearest",
                        extent=(-.5, n_classes - .5, n_classes - .5, -.5))
    if limits is not None:
        image.set_clim(*limits)
    _name_classes(axes, n_classes, names)
    if n_classes <= MOST_WRITTEN:
        _write_entries(axes, matrix, image)
    return image


def is_diagonal(matrix):
    """Return whether a matrix is class weights alone."""
    return bool(np.count_nonzero(matrix) == np.count_nonzero(np.diagonal(matrix)) > 0)


def draw_weights(axes, weights, names=None):
    """Draw class weights, C numbers, as bars into matplotlib axes, on a logarithmic scale as draw_matrix has it."""
    weights = np.asarray(weights, np.float64)
    bars = axes.bar(np.arange(len(weights)), weights, align="center", color="C0")
    if is_logarithmic(weights[weights != 0]):  # a weight of 0 has no bar on it
        axes.set_yscale("log")
    _name_classes(axes, len(weights), names, ("x",))
    axes.set(ylabel="weight of a sample", xlim=(-.6, len(weights) - .4))
    if len(weights) <= MOST_WRITTEN:
        for bar, weight in zip(bars, weights):
            axes.annotate(_short(weight), (bar.get_x() + bar.get_width() / 2, max(weight, 0)), xytext=(0, 2),
                          textcoords="offset points", ha="center", va="bottom", fontsize=8)


def is_logarithmic(matrix):
    """Return whether the heat map of a matrix has a logarithmic scale."""
    matrix = np.asarray(matrix)
    return bool((matrix >= 0).all() and ((matrix > 0) & (matrix < matrix.max() / 100)).any())


def _largest_in_blocks(matrix, size):
    """Return the largest entry of each block of size x size, so that a small picture lacks none."""
    starts = np.arange(0, len(matrix), size)
    return np.maximum.reduceat(np.maximum.reduceat(matrix, starts, axis=0), starts, axis=1)


def _name_classes(axes, n_classes, names, sides=("x", "y")):
    every = -(-n_classes // MOST_NAMED)
    shown = np.arange(0, n_classes, every)
    text = [str(i) if names is None else short_label(names[i]) for i in shown]
    size = 8 if n_classes <= 40 else 7
    ending = {1: "", 2: " (every 2nd named)", 3: " (every 3rd named)"}.get(every, " (every %dth named)" % every)
    axes.set_xticks(shown)
    axes.set_xticklabels(text, rotation=90 if names or len(shown) > 20 else 0, fontsize=size)
    axes.set(xlabel=("predicted class" if "y" in sides else "true class") + ending)
    if "y" in sides:
        axes.set_yticks(shown)
        axes.set_yticklabels(text, fontsize=size)
        axes.set(ylabel="true class" + ending)


def short_label(name, longest=32):
    """Return a name for matplotlib: shortened, and with its dollar signs escaped, as they would begin a formula."""
    name = to_unicode(name)
    if len(name) > longest:
        name = name[:longest - 1] + u"\u2026"
    return name.replace(u"$", u"\\$")


def _write_entries(axes, matrix, image):
    for (row, column), value in np.ndenumerate(matrix):
        shade = image.norm(value)  # masked for the 0 of a logarithmic scale, which is light grey
        axes.text(column, row, _short(value), ha="center", va="center", fontsize=8,
                  color="white" if not np.ma.is_masked(shade) and shade < .5 else "black")


def _short(value):
    text = ("%.2g" if abs(value) < 99.5 else "%.0f") % value
    if len(text) > 5 or "e" in text:  # 0.00032: 3e-4
        text = ("%.0e" % value).replace("e-0", "e-").replace("e+0", "e+")
    return text
