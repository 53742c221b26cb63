"""Rules to decide by, tried on the test data of a trained net: class weights, costs, and each calibrated.

    trial = Trial(n_classes=10, n_images=10000, D=D, weights=weights)
    for scores, labels in batches:
        trial.add(scores, labels)
    found = trial.results()
    best_rule(found, trial.metric)
"""
from __future__ import division, print_function

import collections

import numpy as np

from caffe_losses.evaluation import metrics
from caffe_losses.evaluation.bootstrap import Draws, SampleSums, sample_sums
from caffe_losses.evaluation.comparison import BETTER, NOISE, Metric, verdict_of
from caffe_losses.evaluation.decisions import (expected_cost_scores, fit_temperature, halves, temperature_scaled,
                                               weighted_probabilities)
from caffe_losses.evaluation.intervals import Interval, mean_interval
from caffe_losses.evaluation.tally import CHEAPEST, DECISIONS, PROBABLE, metric_list

# A way to decide. weights, costs: bool, whether class weights, and costs, are used. calibrated: bool, whether the
# probabilities go through a temperature first.
Rule = collections.namedtuple("Rule", "key title weights costs calibrated")

_PLAIN = [Rule(PROBABLE, DECISIONS[PROBABLE], False, False, False),
          Rule(CHEAPEST, DECISIONS[CHEAPEST], False, True, False),
          Rule("weighted", "class weights", True, False, False),
          Rule("weighted_cheapest", "class weights and costs", True, True, False)]
RULES = _PLAIN + [Rule("calibrated" if rule.key == PROBABLE else "calibrated_" + rule.key, rule.title + ", calibrated",
                       rule.weights, rule.costs, True) for rule in _PLAIN]  # the simplest first
TITLES = {rule.key: rule.title for rule in RULES}

IGNORED = -1
MOST_BYTES = 200 * 10 ** 6  # of scores that are kept
MOST_PIXELS = 100000  # of nets with a label for each pixel; of more a sample is drawn
MOST_ROWS = 1000  # of the bootstrap; more samples are put together at random, which leaves the intervals as they are
MOST_FITTED = 2 ** 23  # scores that a temperature is fitted on
BLOCK = 2 ** 21  # scores that are decided by at once
MOST_PARTS = 64  # sums that wait to be added up
_TINY = 1e-300  # a probability above 0, so that class weights of 0 leave one that is


def metrics_of_rules(top, n_classes, costs=True, spatial=False):
    """List the Metrics that rules are compared in. top: int. n_classes: int, C. costs, spatial: as of metric_list."""
    listed = [metric for metric in metric_list(top, costs, spatial) if metric.key not in ("expected_cost", "severity")]
    if top < n_classes:
        listed.insert(-1, Metric("top_accuracy", "top-%d accuracy" % top, "%.4f", False,
                                 "the fraction of samples whose class is among the %d ranked first" % top))
    return listed


def deciding_metric(costs):
    """Return the Metric that says which rule is best: the mean cost where there are costs, else the mean recall."""
    key = "cost" if costs else "balanced"
    return next(metric for metric in metric_list(1, costs) if metric.key == key)


def best_rule(found, metric):
    """Return the key of the best rule, or None if none is better than PROBABLE by more than noise.

    Of those that are better, and of which no other is better by more than noise than the one of the best mean, the
    simplest.

    found: dict of Trial.results or over_seeds. metric: Metric, of deciding_metric.
    """
    better = [key for key in found["rules"] if key != PROBABLE and _verdict(
        found["differences"][key][metric.key], metric) == BETTER]
    if not better:
        return None
    best = (min if metric.smaller else max)(better, key=lambda key: found["scores"][key][metric.key]["mean"])
    return next(key for key in better if key == best or _verdict(found["rivals"][best][key], metric) == NOISE)


def over_seeds(several, metric):
    """Return the results of several seeds as one dict like theirs, with intervals over the seeds.

    several: list of dicts of Trial.results. metric: Metric, of deciding_metric.
    """
    rules = [key for key in several[0]["rules"] if all(key in found["rules"] for found in several)]

    def values(rule, key):
        return np.array([found["scores"][rule][key]["mean"] for found in several], np.float64)  # None: NaN

    def interval(numbers):
        return dict(mean_interval(numbers)._asdict())

    keys = sorted(several[0]["scores"][PROBABLE])
    return {"rules": rules, "scores": {rule: {key: interval(values(rule, key)) for key in keys} for rule in rules},
            "differences": {rule: {key: interval(values(rule, key) - values(PROBABLE, key)) for key in keys}
                            for rule in rules if rule != PROBABLE},
            "rivals": {rule: {other: interval(values(other, metric.key) - values(rule, metric.key))
                              for other in rules if other != rule} for rule in rules}}


class Trial(object):
    """The decisions of a net on its test data by every rule.

    n_classes: int, C. n_images: int, the number of test samples, or of images with a label for each pixel.
    D: C x C costs, or None. weights: C class weights, or None. top: int, the classes of a ranking that count.
    """

    def __init__(self, n_classes, n_images, D=None, weights=None, top=5):
        self.n_classes, self.n_images, self.D, self.weights = n_classes, n_images, D, weights
        self.top, self.metric = min(top, n_classes), deciding_metric(D is not None)
        self.rules = [rule for rule in RULES if (D is not None or not rule.costs)
                      and (weights is not None or not rule.weights)]
        self._rng = np.random.RandomState(0)
        self._n, self._kept, self._labels, self._parts = 0, None, None, {rule: [] for rule in self.rules}
        self.n_pixels = self.of_pixels = None
        self._rows = (np.arange(n_images) if n_images <= MOST_ROWS else
                      self._rng.randint(MOST_ROWS, size=n_images))  # of the bootstrap

    def add(self, scores, labels):
        """Add a batch. scores: N x C x pixels (one for a sample), finite. labels: N x pixels, IGNORED ones too."""
        if self.n_pixels is None:
            self._start(scores.shape[2])
        scores, labels = self._sampled(scores, labels)
        n = self._n + len(scores)
        if self._kept is None:
            self._add(self.rules, self._n, scores, labels, [1.0])
        else:
            self._kept[self._n:n], self._labels[self._n:n] = scores, labels
        self._n = n

    def results(self):
        """Return what was found, as a dict that JSON can hold.

        rules: keys of the Rules, the simplest first. scores: {rule: {key of a Metric: Interval}}, by the bootstrap.
        differences: the same, of each rule minus PROBABLE. rivals: {rule: {other: Interval of other minus rule}}, of
        the deciding metric. temperature: float, fitted on all samples; temperatures: two, each fitted on one half of
        them and applied to the other; fitted: int, fitted on every so many-th of the samples. None where
        not_calibrated: str, says why. n_pixels, of_pixels: int, how many pixels of an image were taken, out of how
        many; 1 of 1 where an image has one label.
        """
        temperature = temperatures = reason = None
        fitted = 1 if self._kept is None else self._step(-(-self._n // 2))
        if self._kept is None:
            reason = "the scores of %d test samples take more than %d MB" % (self.n_images, MOST_BYTES // 10 ** 6)
        else:
            x, labels = self._kept[:self._n], self._labels[:self._n]
            self._add_kept([rule for rule in self.rules if not rule.calibrated], x, labels, np.ones(self._n))
            try:
                temperature, temperatures, of_sample = self._fitted(x, labels)
            except ValueError as error:
                reason = str(error)
            else:
                self._add_kept([rule for rule in self.rules if rule.calibrated], x, labels, of_sample)
        rules = [rule for rule in self.rules if self._parts[rule]]
        draws = Draws([SampleSums(sum(self._parts[rule]), self.n_classes) for rule in rules])
        keys = [rule.key for rule in rules]
        at = {key: i for i, key in enumerate(keys)}

        def intervals(rule, other=None):
            found = draws.intervals(at[rule], None if other is None else at[other])
            return {key: dict(interval._asdict()) for key, interval in found.items()}

        return {"rules": keys, "scores": {rule: intervals(rule) for rule in keys},
                "differences": {rule: intervals(rule, PROBABLE) for rule in keys if rule != PROBABLE},
                "rivals": {rule: {other: dict(draws.interval(self.metric.key, at[other], at[rule])._asdict())
                                  for other in keys if other != rule} for rule in keys},
                "temperature": temperature, "temperatures": temperatures, "not_calibrated": reason, "fitted": fitted,
                "n_images": self._n, "n_pixels": self.n_pixels, "of_pixels": self.of_pixels}

    def _start(self, of_pixels):
        self.of_pixels = self.n_pixels = of_pixels
        if of_pixels > 1:
            most = min(MOST_PIXELS, MOST_BYTES // (4 * self.n_classes)) // self.n_images
            self.n_pixels = min(of_pixels, max(1, most))
        if 4 * self.n_images * self.n_classes * self.n_pixels <= MOST_BYTES:
            self._kept = np.empty((self.n_images, self.n_classes, self.n_pixels), np.float32)
            self._labels = np.empty((self.n_images, self.n_pixels), np.int64)
        else:
            self.rules = [rule for rule in self.rules if not rule.calibrated]

    def _sampled(self, scores, labels):
        """Return some pixels of each image, drawn with replacement, or all where these are so many."""
        n, of_pixels = labels.shape
        if of_pixels == self.n_pixels:
            return scores, labels
        drawn = np.sort(self._rng.randint(of_pixels, size=(n, self.n_pixels)), axis=1)
        image = np.arange(n)[:, None]
        return scores[image[:, None], np.arange(self.n_classes)[:, None], drawn[:, None]], labels[image, drawn]

    def _fitted(self, x, labels):
        """Return the temperature of all samples, those of the halves, and of each sample that of the other half."""
        temperatures, of_sample = [], np.empty(len(x))
        for half, other in halves(labels, len(x)):
            temperatures.append(self._fit(x, labels, other))
            of_sample[half] = temperatures[-1]
        return self._fit(x, labels, np.arange(len(x))), temperatures, of_sample

    def _fit(self, x, labels, samples):
        step = self._step(len(samples))
        return fit_temperature(x[samples[::step]], labels[samples[::step]], 1, IGNORED)

    def _step(self, n):
        """Return m where a temperature is fitted on every m-th of n samples."""
        return max(1, -(-n * self.n_classes * self.n_pixels // MOST_FITTED))

    def _add_kept(self, rules, x, labels, temperatures):
        step = max(1, BLOCK // (self.n_classes * self.n_pixels))
        for start in range(0, len(x), step):
            end = start + step
            self._add(rules, start, x[start:end], labels[start:end], temperatures[start:end])

    def _add(self, rules, start, x, labels, temperatures):
        """Add the decisions of a batch by some rules. temperatures: of each sample, or of all."""
        from scipy.sparse import csr_matrix
        x = np.asarray(x, np.float64)
        x = x - x.max(axis=1, keepdims=True)
        probable = metrics.rank_by_probability(temperature_scaled(x, 1.0))  # a temperature leaves the order
        p = temperature_scaled(np.asarray(x / np.reshape(temperatures, (-1, 1, 1))), 1.0)
        rows = self._rows[start:start + len(x)]
        to_rows = csr_matrix((np.ones(len(x)), (rows, np.arange(len(x)))), (min(self.n_images, MOST_ROWS), len(x)))
        for rule in rules:
            ranking = probable if not (rule.costs or rule.weights) else self._ranking(rule, p)
            sums = sample_sums(p, labels, ranking, self.D, self.top, IGNORED)
            parts = self._parts[rule]
            parts.append(to_rows.dot(sums.rows))
            if len(parts) > MOST_PARTS:
                self._parts[rule] = [sum(parts)]

    def _ranking(self, rule, p):
        weights = self.weights if rule.weights else None
        if rule.costs:
            return metrics.rank_by_score(expected_cost_scores(p, self.D, weights))
        return metrics.rank_by_probability(weighted_probabilities(np.maximum(p, _TINY), weights))


def _verdict(interval, metric):
    return verdict_of(Interval(**interval), metric.smaller)
