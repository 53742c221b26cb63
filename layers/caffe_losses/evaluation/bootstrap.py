"""Confidence intervals over test samples, by the bootstrap: what a single run can say of its decisions.

    before = sample_sums(p, labels, rank_by_probability(p), D)
    after = sample_sums(p, labels, rank_by_expected_cost(p, D), D)
    verdict_of(bootstrap_differences(before, after)["cost"], smaller=True)

Samples are drawn with replacement, as many as there are; of dense nets whole images, as the pixels of an image depend
on each other. The metrics are functions of sums over the samples: how often each sample is drawn, times what it adds.
scipy multiplies them; pycaffe needs it, so it is there.

Source: Efron and Tibshirani 1993, An introduction to the bootstrap.
"""
from __future__ import division, print_function

import collections
import math

import numpy as np

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.decisions import check_costs, check_labels, check_probabilities
from caffe_losses.evaluation.intervals import LEVEL, Interval, student_quantile
from caffe_losses.evaluation.tally import Tally, scores_of_sums

# rows: what each sample adds, N x columns, scipy's CSR. n_classes: int, C. The columns: samples of each class that are
# right, that there are, decided for it; in each bin right ones minus confidence; hits of the top; and with costs their
# sums: paid, as expected, of the top.
SampleSums = collections.namedtuple("SampleSums", "rows n_classes")

BLOCK = 2 ** 20  # samples drawn at once
MIN_DRAWS = 200  # fewer have no draw outside the interval at either end


def sample_sums(probabilities, labels, ranking, D=None, top=5, ignore_label=None):
    """Sum what each sample adds to the metrics of its decisions.

    probabilities: N x C x spatial (or N x C), with sums of 1: class weights change the ranking only. labels: N x
    spatial. ranking: shaped as the probabilities, the best class first. D: C x C costs, or None.
    top: int, how many classes of a ranking count in the metrics of the top. ignore_label: int, or None.
    Returns SampleSums of N samples; `joined` makes one of those of several batches. Raises ValueError.
    """
    from scipy.sparse import csr_matrix
    p = check_probabilities(probabilities)
    n_classes, shape = p.shape[1], p.shape[:1] + p.shape[2:]
    if np.shape(ranking) != p.shape:
        raise ValueError("ranking: expected shape %s, that of the probabilities, got %s" % (p.shape, np.shape(ranking)))
    if top < 1:
        raise ValueError("top: expected at least 1, got %r" % top)
    labels, valid = check_labels(labels, shape, n_classes, ignore_label)
    ranking, _ = check_labels(ranking, p.shape, n_classes, name="ranking")
    confidence = metrics.confidences(p, ranking[:, 0]).reshape(shape)[valid]
    labels, ranking, p = labels[valid], np.moveaxis(ranking, 1, -1)[valid], np.moveaxis(p, 1, -1)[valid]
    decided, first = ranking[:, 0], ranking[:, :top]
    right = labels == decided
    n_counts = 3 * n_classes + Tally.N_BINS
    added = [(labels, right), (n_classes + labels, 1), (2 * n_classes + decided, 1),
             (3 * n_classes + metrics.bin_index(confidence, Tally.N_BINS), right - confidence),
             (n_counts, (first == labels[:, None]).any(axis=1))]
    if D is not None:
        D = check_costs(D, n_classes)
        added += [(n_counts + 1, D[labels, decided]), (n_counts + 2, (p * D.T[decided]).sum(axis=1)),
                  (n_counts + 3, D[labels[:, None], first].mean(axis=1))]
    columns, values = [np.concatenate([np.broadcast_to(part, labels.shape) for part in parts]) for parts in zip(*added)]
    samples = np.tile(np.nonzero(valid)[0], len(added))
    return SampleSums(csr_matrix((values.astype(np.float64), (samples, columns)),
                                 (len(valid), n_counts + len(added) - 4)), n_classes)


def joined(batches):
    """Return the SampleSums of several batches as one, the samples in the same order."""
    from scipy.sparse import vstack
    return SampleSums(vstack([batch.rows for batch in batches], "csr"), batches[0].n_classes)


def bootstrap_scores(sums, n_draws=2000, seed=0):
    """Return {key of a Metric: Interval} of the metrics of one method.

    sums: SampleSums. Everything else as in bootstrap_differences. An end may lie outside the range of its metric.
    """
    return Draws([sums], n_draws, seed).intervals(0)


def bootstrap_differences(before, after, n_draws=2000, seed=0):
    """Return {key of a Metric: Interval} of after - before, paired: each draw has the same samples for both.

        [d - f (q_high - d), d + f (d - q_low)],  f = t / z sqrt(n / (n - 1))

    with d the difference over all n samples, and at (1 +- LEVEL) / 2, the level of all intervals here, the quantiles q
    of the draws, t of Student's distribution for n values and z of the normal one. f widens intervals of few samples.
    The quantiles are turned about d (basic intervals), as each draw adds noise that the calibration error counts as
    error; of nets that are calibrated well the interval of the ECE is too narrow all the same.

    The mean recall of a draw is that of the classes that occur in it, the same ones for both.

    before, after: SampleSums of the same samples in the same order. n_draws: int, at least 200. seed: int of at least
    0; the same one gives the same intervals.
    Returns an Interval for every key of Tally.scores, and top_accuracy (metrics.accuracy_of_top): its mean is d, n the
    number of samples that have a label that counts. With one sample it has no ends (None), where a metric has no value
    no mean either. Raises ValueError.
    Source: Davison and Hinkley 1997, Bootstrap methods and their application, section 5.2 (basic intervals); Hesterberg
    2014, What teachers should know about the bootstrap, arXiv 1411.5279 (few samples).
    """
    if before.n_classes != after.n_classes or before.rows.shape != after.rows.shape:
        raise ValueError("after: expected sums of the same metrics and samples as before, %d x %d, got %d x %d"
                         % (before.rows.shape + after.rows.shape))
    if (_present(before) != _present(after)).nnz:
        raise ValueError("after: expected the same samples as before, in the same order, got other labels")
    return Draws([before, after], n_draws, seed).intervals(1, 0)


class Draws(object):
    """The scores of several methods in draws of the same samples.

    methods: list of SampleSums of the same samples. n_draws, seed: as of bootstrap_differences.
    """

    def __init__(self, methods, n_draws=2000, seed=0):
        if n_draws < MIN_DRAWS:
            raise ValueError("n_draws: expected at least %d, got %r" % (MIN_DRAWS, n_draws))
        counted = np.flatnonzero(np.asarray(_present(methods[0]).sum(axis=1)).ravel())
        if not len(counted):
            raise ValueError("labels: expected one that is not ignored, got none")
        self.n_samples = len(counted)
        methods = [SampleSums(_dense_if_full(sums.rows[counted]), sums.n_classes) for sums in methods]
        self._observed = [_scores(sums, sums.rows.sum(axis=0)) for sums in methods]
        blocks = [[_scores(sums, sums.rows.T.dot(counts).T) for sums in methods]
                  for counts in _draws(len(counted), n_draws, seed)]
        self._drawn = [{key: np.concatenate([block[i][key] for block in blocks]) for key in self._observed[i]}
                       for i in range(len(methods))]

    def intervals(self, after, before=None):
        """Return {key of a Metric: Interval} of a method, or of that less another. after, before: their indices."""
        return {key: self.interval(key, after, before) for key in self._observed[after]}

    def interval(self, key, after, before=None):
        """Return one of these Intervals."""
        observed, drawn = [scores[after][key] - (0 if before is None else scores[before][key])
                           for scores in (self._observed, self._drawn)]
        return _interval(float(np.ravel(observed)[0]), drawn, self.n_samples)


def _dense_if_full(rows):
    """Return a sparse matrix as an array where few entries are 0: numpy multiplies that faster."""
    return rows.toarray() if rows.nnz > .1 * rows.shape[0] * rows.shape[1] else rows


def _interval(observed, drawn, n_samples):
    if not np.isfinite(observed):
        return Interval(None, None, None, n_samples)
    if n_samples < 2:
        return Interval(observed, None, None, n_samples)
    low, high = np.percentile(drawn[np.isfinite(drawn)], [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    factor = student_quantile(n_samples) / student_quantile(np.inf) * math.sqrt(n_samples / (n_samples - 1))
    return Interval(observed, observed - factor * float(high - observed), observed + factor * float(observed - low),
                    n_samples)


def _draws(n_samples, n_draws, seed):
    """Yield blocks of draws: how often each sample is in each, n_samples x draws."""
    rng = np.random.RandomState(seed)
    size = max(1, BLOCK // n_samples)
    for start in range(0, n_draws, size):
        width = min(size, n_draws - start)
        drawn = rng.randint(n_samples, size=(width, n_samples)) * width + np.arange(width)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n_samples * width).reshape(n_samples, width).astype(np.float64)


def _present(sums):
    return sums.rows[:, sums.n_classes:2 * sums.n_classes]


def _scores(sums, added):
    """Return {key: scores} of sums over samples, ... x columns."""
    n_classes, n_counts = sums.n_classes, 3 * sums.n_classes + Tally.N_BINS
    right, present, decided, gaps, hits, costs = np.split(
        np.asarray(added), [n_classes, 2 * n_classes, 3 * n_classes, n_counts, n_counts + 1], axis=-1)
    scores = scores_of_sums(right, present, decided, gaps, costs if costs.shape[-1] else None)
    scores["top_accuracy"] = hits[..., 0] / present.sum(axis=-1)
    return scores
