"""The metrics of a test set of any size, summed batch by batch."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.comparison import Metric

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
        if D is not None and len(D) != n_classes:
            raise ValueError("D: expected costs of %d classes, as the net has, got %d" % (n_classes, len(D)))
        self.D, self.top = D, min(top, n_classes)
        self.decisions = [PROBABLE] + ([] if D is None else [CHEAPEST])
        self.arrays = {}
        for decision in self.decisions:
            self.arrays[decision + "_confusion"] = np.zeros((n_classes, n_classes), np.int64)
            self.arrays[decision + "_bins"] = np.zeros((self.N_BINS, 3))
            self.arrays[decision + "_costs"] = np.zeros(2)  # sums: as expected, of the top

    def add(self, probabilities, labels):
        """Add a batch. probabilities: N x C floats. labels: N integers."""
        p, labels = probabilities, np.asarray(labels)
        for decision in self.decisions:
            ranking = (metrics.rank_by_probability(p) if decision == PROBABLE
                       else metrics.rank_by_expected_cost(p, self.D))
            decided = ranking[:, 0]
            confusion, bins, costs = [self.arrays[decision + end] for end in ("_confusion", "_bins", "_costs")]
            confusion += metrics.confusion_matrix(labels, decided, len(confusion))
            bins += metrics.confidence_bins(p[np.arange(len(p)), decided], labels == decided, self.N_BINS)
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
        confusion = self.confusion(decision)
        n, right = confusion.sum(), confusion.trace()
        if not n:
            raise ValueError("expected samples whose label is not ignored, got none")
        scores = {"accuracy": right / n,
                  "balanced": np.nanmean(metrics.recalls_of(confusion)),
                  "mean_iu": np.nanmean(metrics.intersections_over_unions(confusion)),
                  "calibration": metrics.error_of_bins(self.bins(decision))}
        if self.D is not None:
            paid = (confusion * self.D).sum()
            expected, top = self.arrays[decision + "_costs"]
            scores.update(cost=paid / n, expected_cost=expected / n, top_cost=top / n,
                          severity=paid / (n - right) if n > right else np.nan)
        return {key: float(score) for key, score in scores.items()}
