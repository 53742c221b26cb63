"""Figures of a gain matrix H, and warnings, to read before a net trains on it."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.matrices.gains import looks_like_cost, negative_entries
from caffe_losses.validation import as_floats

# The largest difference of two float32 that are the same number, computed and rounded in two ways: relative, near 0.
_ROUNDING, _SMALLEST = 2. ** -22, 2. ** -149
_FLAT = 1.1  # the largest entry of a row by its smallest, below which H tells no class from another


def summarise(H):
    """Return the figures of a gain matrix, as a dict that JSON can hold.

    Returns n_classes, smallest and largest (entry), row_sums [lowest, highest], least_loss [lowest,
    mean, highest] over the classes (None where there is no least one), symmetric (to float32 rounding), diagonal
    (whether H is class weights alone).
    """
    H = as_floats(H)
    sums, least = row_sums(H), least_losses(H)
    return {"n_classes": len(H), "smallest": float(H.min()), "largest": float(H.max()),
            "row_sums": [sums.min(), sums.max()],
            "least_loss": [number if np.isfinite(number) else None
                           for number in (least.min(), least.mean(), least.max())],
            "symmetric": _is_symmetric(H),
            "diagonal": bool(np.count_nonzero(H) == np.count_nonzero(H.diagonal()))}


def _is_symmetric(H, size=256):
    return not any(_differ(H[start:start + size], H[:, start:start + size].T).any()
                   for start in range(0, len(H), size))  # as H may be large


def _differ(a, b, tolerance=None):
    """Return where two arrays differ by more than a tolerance; None: than by the rounding of float32."""
    a, b = [np.asarray(array, np.float64) for array in (a, b)]
    if tolerance is None:
        tolerance = _ROUNDING * np.maximum(np.abs(a), np.abs(b)) + _SMALLEST
    return np.abs(a - b) > tolerance


def in_words(figures):
    """Return the figures of `summarise` in a line of words."""
    lowest, mean, highest = figures["least_loss"]
    least = "none, as entries are negative" if lowest is None else "0" if not highest else (
        "%.4g (%.4g to %.4g a class)" % (mean, lowest, highest))
    return "H, %d x %d%s, entries %.4g to %.4g, row sums %.4g to %.4g, %ssymmetric, least loss %s" % (
        figures["n_classes"], figures["n_classes"], " (class weights alone)" if figures["diagonal"] else "",
        figures["smallest"], figures["largest"], figures["row_sums"][0], figures["row_sums"][1],
        "" if figures["symmetric"] else "not ", least)


def row_sums(H):
    """Return the sum of each row of H, C float64: the weight of a sample of the class."""
    return np.asarray(H).sum(axis=1, dtype=np.float64)


def least_losses(H):
    """Return the least loss that a sample of each class can have.

        min over p of -sum_j H[l, j] log p_j = r log r - sum_j H[l, j] log H[l, j],
        r = sum_j H[l, j], at p = H[l] / r

    Returns C float64: 0 for a row with one entry or none, -inf for a row with a negative one, which has no least loss.
    """
    H = as_floats(H)
    least = _x_log_x(row_sums(H))
    for l, row in enumerate(H):  # one at a time, as H may be large
        least[l] = max(least[l] - _x_log_x(row.astype(np.float64)).sum(), 0)
    least[np.count_nonzero(H, axis=1) <= 1] = 0
    least[(H < 0).any(axis=1)] = -np.inf
    return least


def _x_log_x(x):
    return x * np.log(np.where(x > 0, x, 1))


def attracted_to(H, label, n_most=3):
    """Return the other classes that samples of a class are most attracted to.

    Returns at most n_most labels with a positive gain, the greatest gain first; of equal ones the lower label first.
    """
    order = np.argsort(-np.asarray(H[label], np.float64), kind="mergesort")[:n_most + 1]
    return [int(k) for k in order if k != label and H[label][k] > 0][:n_most]


def compare(A, B, tolerance=None):
    """Compare two matrices of one shape, as a dict that JSON can hold.

    A, B: C x C. tolerance: the largest difference that counts as none; None: the rounding of float32.
    Returns different (entries), and of those, or of all where none is different, largest (absolute difference), at
    [row, column], a and b (the entries there), row (of which the differences sum to the most), row_difference (that
    sum).
    Raises ValueError if the shapes differ.
    """
    if A.shape != B.shape:
        raise ValueError("expected two matrices of one shape, got %d x %d and %d x %d" % (A.shape + B.shape))
    found = _differences(A, B, tolerance)
    return found if found["different"] else dict(_differences(A, B, 0), different=0)


def _differences(A, B, tolerance):
    rows = []
    for a, b in zip(as_floats(A), as_floats(B)):  # a row at a time, as they may be large
        are_different = _differ(a, b, tolerance)
        row = np.where(are_different, np.abs(a.astype(np.float64) - b), 0)
        rows.append((np.count_nonzero(are_different), row.argmax(), row.max(), row.sum()))
    counts, columns, largest, sums = np.transpose(rows)
    row, l = int(sums.argmax()), int(largest.argmax())
    at = l, int(columns[l])
    return {"different": int(counts.sum()), "largest": float(largest[l]), "at": list(at), "a": float(A[at]),
            "b": float(B[at]), "row": row, "row_difference": float(sums[row])}


def warnings_about(H, absent=()):
    """Return warnings for the user of H, C x C, a list of one-line texts.

    absent: the classes whose rows are known to be 0.
    """
    H = as_floats(H)
    if looks_like_cost(H):
        return ["H looks like distances (0 on the diagonal, more elsewhere): as a gain it attracts every "
                "sample to the wrong classes; make_h.py --distances converts it"]
    negative = negative_entries(H)
    warnings = [negative] if negative else []
    if not negative and len(H) > 1 and (H.max(axis=1) <= _FLAT * H.min(axis=1)).all():
        warnings.append("H is flat: it tells no class from another; a smaller --tau or --smoothing, or a larger "
                        "--softmax-beta, makes the own class of a sample count for more")
    empty = [l for l in np.flatnonzero(~H.any(axis=1)) if l not in absent]
    if len(empty):
        warnings.append("H has nothing in row %s: a sample of that class is not trained on" % listed(empty))
    elsewhere = np.flatnonzero(H.max(axis=1) > H.diagonal())
    if len(elsewhere):
        warnings.append("H attracts the samples of class %s to another class more than to their own"
                        % listed(elsewhere))
    return warnings


def listed(labels, most=10):
    """Return labels as text, of many the first."""
    return ", ".join(map(str, labels[:most])) + (" ..." if len(labels) > most else "")
