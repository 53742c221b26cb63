"""The metrics of a test set of any size, summed batch by batch."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.comparison import Metric
from caffe_losses.evaluation.decisions import check_costs, check_labels, check_probabilities

PROBABLE, CHEAPEST = "probable", "cheapest"
DECISIONS = {PROBABLE: "most probable class", CHEAPEST: "least expected cost"}


def metric_list(top, costs=True, spatial=False):
    """List the Metrics of a Tally in the order in which they are shown.

    top: int, that of the Tally. costs: whether there are any. spatial: whether a sample has several labels.
    """
    listed = [
        Metric("accuracy", "accuracy", "%.4f", False, "the fraction of decisions that are right (top-1)"),
        Metric("balanced", "balanced accuracy", "%.4f", False, "the mean recall of the classes")]
    if spatial:
        listed.append(Metric("mean_iu", "mean IU", "%.4f", False,
                             "the mean over the classes of intersection over union"))
    of_costs = [
        Metric("cost", "mean cost", "%.4f", True,
               "the mean of D[true class, class decided for] over all samples, right ones included"),
        Metric("expected_cost", "expected cost", "%.4f", None, "the mean cost that the net's own probabilities "
               "promise for its decisions; below the mean cost: the net is too sure"),
        Metric("severity", "severity", "%.3f", True, "the mean cost of a mistake"),
        Metric("top_cost", "top-%d cost" % top, "%.3f", True,
               "the mean cost of the %d classes ranked first (hierarchical distance of the top %d)" % (top, top))]
    return listed + of_costs * bool(costs) + [
        Metric("calibration", "ECE", "%.4f", True, "expected calibration error: how far confidence and accuracy are "
               "apart, in %d bins" % Tally.N_BINS)]


class Tally(object):
    """Sums over a net's decisions on a test set.

    Decisions are for the most probable class (PROBABLE) and, where there are costs, for the class of least expected
    cost (CHEAPEST).

    n_classes: int, C. D: C x C costs, or None. top: int, the classes of a ranking whose cost counts.
    """

    N_BINS = 15

    def __init__(self, n_classes, D=None, top=5):
        if D is not None:
            if len(D) != n_classes:
                raise ValueError("D: expected costs of %d classes, as the net has, got %d" % (n_classes, len(D)))
            D = check_costs(D)
        self.D, self.top = D, min(top, n_classes)
        self.decisions = [PROBABLE] + ([] if D is None else [CHEAPEST])
        self.arrays = {}
        for decision in self.decisions:
            self.arrays[decision + "_confusion"] = np.zeros((n_classes, n_classes), np.int64)
            self.arrays[decision + "_bins"] = np.zeros((self.N_BINS, 3))
            self.arrays[decision + "_costs"] = np.zeros(2)  # sums: as expected, of the top

    def add(self, probabilities, labels):
        """Add a batch. probabilities: N x C (x spatial) floats. labels: N (x spatial) integers."""
        p = np.moveaxis(check_probabilities(probabilities), 1, -1)
        labels = check_labels(labels, p.shape[:-1], p.shape[-1])[0].ravel()
        p = p.reshape(-1, p.shape[-1])
        for decision in self.decisions:
            ranking = (metrics.rank_by_probability(p) if decision == PROBABLE
                       else metrics.rank_by_expected_cost(p, self.D))
            decided = ranking[:, 0]
            confusion, bins, costs = [self.arrays[decision + end] for end in ("_confusion", "_bins", "_costs")]
            confusion += metrics.confusion_matrix(labels, decided, len(confusion))
            bins += metrics.confidence_bins(metrics.confidences(p, decided), labels == decided, self.N_BINS)
            if self.D is not None:
                costs += ((p * self.D.T[decided]).sum(),
                          metrics.mean_cost_of_top(self.top, labels, ranking, self.D) * len(p))

    def n_samples(self):
        return int(self.confusion(PROBABLE).sum())

    def confusion(self, decision):
        """Return the confusion matrix, C x C int64, [true, decided]."""
        return self.arrays[decision + "_confusion"]

    def bins(self, decision):
        """Return the sums of metrics.confidence_bins."""
        return self.arrays[decision + "_bins"]

    def scores(self, decision):
        """Return {key of a Metric: float}, NaN where there is no value; costs only if there are any."""
        confusion, bins = self.confusion(decision), self.bins(decision)
        if not confusion.any():
            raise ValueError("expected samples whose label is not ignored, got none")
        costs = None
        if self.D is not None:
            costs = np.append((confusion * self.D).sum(), self.arrays[decision + "_costs"])
        scores = scores_of_sums(confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0),
                                bins[:, 1] - bins[:, 2], costs)
        return {key: float(score) for key, score in scores.items()}


def scores_of_sums(right, present, decided, gaps, costs=None):
    """Return {key of a Metric: scores} from sums over samples, one score for each sum.

    right, present, decided: ... x C, the samples of each class that are right, that there are, decided for it.
    gaps: ... x n_bins, right samples minus confidence. costs: ... x 3, sums: paid, as expected, of the top; or None.
    A class without samples has no recall, and does not count in the mean. NaN where there is no value.
    """
    n, n_right = present.sum(axis=-1), right.sum(axis=-1)
    scores = {"accuracy": n_right / n, "calibration": np.abs(gaps).sum(axis=-1) / n,
              "balanced": np.nanmean(metrics.recalls(right, present), axis=-1),
              "mean_iu": np.nanmean(metrics.unions_shared(right, present, decided), axis=-1)}
    if costs is not None:
        paid, expected, top = np.moveaxis(costs, -1, 0)
        wrong = n - n_right
        scores.update(cost=paid / n, expected_cost=expected / n, top_cost=top / n,
                      severity=np.where(wrong > 0, paid / np.maximum(wrong, 1), np.nan))
    return scores
