"""Gain matrices H[true, predicted] and cost matrices D[true, predicted]."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.validation import as_floats, check_square, first_bad, refuse

# The error of a 0 among computed distances, relative to the largest of them: 1 - e . e of float32.
ROUNDING = 1e-6
# The part of a row of gains beside the diagonal below which the distances change nothing in training.
NEARLY_IDENTITY = 1e-3


def check_gain(H, name="H"):
    """Return H as an array if it can serve as a gain matrix.

    H: C x C, finite, with at least one positive entry. Negative entries are legal; `negative_entries` warns of them.
    Raises ValueError, naming the first bad entry, and for what looks like distances.
    """
    H = check_square(H, name)
    if looks_like_cost(H):
        raise ValueError("%s: expected a gain, got what looks like distances (0 on the diagonal, more elsewhere); "
                         "make_h.py --distances FILE --tau T makes a gain of them" % name)
    if not (H > 0).any():
        raise ValueError("%s: expected at least one positive entry, got none" % name)
    return H


def negative_entries(H):
    """Return a warning if H has negative entries, else None."""
    if (H < 0).any():
        return "H has %d negative entries, the smallest %g: the loss has no lower bound" % ((H < 0).sum(), H.min())
    return None


def looks_like_cost(H):
    """Return whether a matrix looks like distances: 0 on the diagonal but for rounding, more elsewhere."""
    H = as_floats(H)
    return bool((np.abs(H.diagonal()) <= ROUNDING * H.max()).all() and (H > 0).any())


def check_cost(D, name="D"):
    """Return D as an array if it can serve as a cost (distance) matrix.

    D: C x C, finite, not negative, 0 on the diagonal, positive somewhere. Rounding errors (up to 1e-6 of the largest
    entry, of either sign) become 0. Raises ValueError, naming the first bad entry, and for what looks like a gain.
    """
    D = check_square(D, name)
    noise = ROUNDING * D.max()
    if (D.min() < 0 or D.diagonal().any()) and D.min() >= -noise and (np.abs(D.diagonal()) <= noise).all():
        D = np.maximum(D, 0)
        np.fill_diagonal(D, 0)
    refuse(D, D < 0, name, "a cost of at least 0")
    if D.diagonal().any():
        raise ValueError(first_bad(D, D * np.eye(len(D)) != 0, name, "a cost matrix, with 0 on the diagonal")
                         + " (a gain matrix is taken as it is, without conversion)")
    if not D.any():
        raise ValueError("%s: expected at least one positive cost, got none" % name)
    return D


def gain_from_costs(D, tau=None, beta=None, linear=False):
    """Make H of D: the smaller the cost, the bigger the gain; every row sums to 1.

        tau:     H[l, k] proportional to exp(-D[l, k] / tau)
        beta:    H[l, k] proportional to exp(-beta D[l, k] / max D), that is softmax(-beta D / max D) over the row
        linear:  H[l, k] proportional to 1 - D[l, k] / max D

    tau: float > 0, in the unit of D; small: close to the identity.
    beta: float >= 0; large: close to the identity, 0: uniform.
    linear: bool. Exactly one of tau, beta and linear is given. Returns H, C x C float64. Raises ValueError.
    Source: Bertinetto et al. 2020, arXiv 1912.09393 (soft labels, beta).
    """
    H = check_cost(D).astype(np.float64)  # a copy, changed in place below: it may be large
    n_given = (tau is not None) + (beta is not None) + bool(linear)
    if n_given != 1:
        raise ValueError("expected one of tau, beta and linear, got %d" % n_given)
    if tau is not None and not (np.isfinite(tau) and tau > 0):
        raise ValueError("tau: expected a number above 0, got %g" % tau)
    if beta is not None and not (np.isfinite(beta) and beta >= 0):
        raise ValueError("beta: expected a number of at least 0, got %g" % beta)
    with np.errstate(over="ignore"):
        H /= H.max() if tau is None else tau
    if linear:
        np.subtract(1, H, out=H)
    else:
        H *= -1 if beta is None else -beta
        np.exp(H, out=H)
    H /= H.sum(axis=1, keepdims=True)  # the diagonal was 1, so no row sums to 0
    return H


def degenerate(S):
    """Return a warning if a gain made of distances keeps nothing of them, else None.

    S: C x C, whose rows sum to 1.
    """
    elsewhere = (1 - S.diagonal()).max()
    if len(S) > 1 and elsewhere < NEARLY_IDENTITY:
        return ("H is the identity%s: all mistakes cost the same, as with SoftmaxWithLoss; a larger --tau, or a "
                "smaller --softmax-beta, keeps more of the distances"
                % ("" if elsewhere <= 0 else " but for %.2g of a row" % elsewhere))
    return None


def smoothed_identity(n_classes, epsilon):
    """Make H of uniform label smoothing: (1 - epsilon) I + epsilon / C.

    n_classes: int, C. epsilon: float in [0, 1], the mass spread over all classes.
    Returns H, C x C float64; every row sums to 1. Raises ValueError.
    Source: Szegedy et al. 2016, arXiv 1512.00567, section 7.
    """
    if not 0 <= epsilon <= 1:
        raise ValueError("smoothing: expected a number in 0..1, got %g" % epsilon)
    return (1 - epsilon) * np.eye(n_classes) + epsilon / n_classes


def equal_smoothing(H):
    """Return the epsilon of label smoothing that leaves the true class as much as H does on average.

        epsilon = (1 - mean_l H[l, l]) C / (C - 1)

    H: C x C, C at least 2, whose rows sum to 1.
    """
    return float((1 - np.diag(H).mean()) * len(H) / (len(H) - 1))


def weighted_gain(weights, gain=None):
    """Return diag(w) S: the rows of a gain, each multiplied by the weight of its class.

    weights: L numbers. gain: L x L, S; None: the identity. Returns H, L x L. Raises ValueError if the sizes differ.
    """
    weights = as_floats(weights)
    if gain is None:
        return np.diag(weights)
    if len(gain) != len(weights):
        raise ValueError("gain: expected %d x %d, as there are %d weights, got %d x %d"
                         % (len(weights), len(weights), len(weights), len(gain), len(gain)))
    return weights[:, np.newaxis] * as_floats(gain)
