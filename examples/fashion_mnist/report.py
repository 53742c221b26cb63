"""Write the results as tables, and in sentences that follow from the figures."""
from __future__ import division, print_function

import numpy as np

import experiments
import tables
from caffe_losses.evaluation.comparison import NOISE, Metric
from caffe_losses.evaluation.intervals import PERCENT
from tables import Part, Table, cell, comparison

TREE_METRICS = [
    Metric("accuracy", "top-1", "%.4f", False),
    Metric("cost", "mean cost", "%.4f", True),
    Metric("across", "across groups", "%.0f", True),
    Metric("severity", "severity", "%.3f", True),
    Metric("top3", "top-3 cost", "%.3f", True),
    Metric("calibration", "ECE", "%.3f", True),
]
BALANCED = Metric("balanced", "mean recall", "%.3f", False)

DECISIONS = [("probable", "Deciding for the most probable class"),
             ("cheapest", "Deciding for the class of least expected cost")]


def as_text(results):
    """Return the report for a terminal."""
    return tables.as_text(parts(results))


def as_markdown(results):
    """Return the report as a markdown document."""
    return tables.as_markdown("Fashion-MNIST: what the losses do", parts(results))


def parts(results):
    """Return the two experiments as Parts."""
    return [tree_part(results), tail_part(results)]


# First experiment

def tree_part(results):
    setting = results["settings"]["tree"]
    introduction = (
        "%d training images, the same for every net; %d seeds of %d iterations; mean and standard "
        "deviation over the seeds, on %d test images. Cost: the distance in the class tree. Across "
        "groups: how many mistakes leave their group. Severity: the mean cost of a mistake. Top-3 "
        "cost: the mean cost of the 3 classes ranked first. ECE: expected calibration error. "
        "Two controls say what in H it is that helps: label smoothing (epsilon %.2f) leaves as much "
        "on the true class as H does on average, and spreads the rest over all classes alike; the "
        "shuffled H is made from the same tree with the classes in another random order for every "
        "seed, none at its own place. Below the tables, \"0.25 -> 0.24 (9/10)\" is from the mean of "
        "the one to the mean of the other, better for 9 of 10 seeds; \"%s\" means that the %d %% confidence "
        "interval of the paired difference (Student's t) has 0 in it."
        % (sum(setting["counts"]), len(setting["seeds"]), setting["iterations"],
           results["n_test"], results["epsilon"], NOISE, PERCENT))
    return Part("Few images, and classes in a tree", introduction, list(tree_tables(results)),
                list(tree_findings(results["tree"])) + [_calibration(results["H"])])


def tree_tables(results):
    """Yield a Table for each way to decide."""
    head = [""] + [metric.title for metric in TREE_METRICS]
    for decision, heading in DECISIONS:
        yield Table(heading, [head] + [
            [method.title] + [cell(metric, results["tree"][method.name][decision][metric.key])
                              for metric in TREE_METRICS]
            for method in experiments.TREE])


def tree_findings(scores):
    """Yield what the first experiment shows, in sentences."""
    softmax, native = scores["softmax"], scores["native"]

    def against(before, after):
        return comparison(TREE_METRICS, before, after)

    yield "H against SoftmaxWithLoss. " + against(softmax["probable"], native["probable"])
    yield "H against label smoothing. " + against(scores["smoothing"]["probable"],
                                                  native["probable"])
    yield "H against the shuffled H. " + against(scores["shuffled"]["probable"],
                                                 native["probable"])
    yield "Label smoothing against SoftmaxWithLoss. " + against(softmax["probable"], scores["smoothing"]["probable"])
    yield ("Is D at test time enough? SoftmaxWithLoss deciding for the least expected cost, against "
           "itself deciding for the most probable class. "
           + against(softmax["probable"], softmax["cheapest"]))
    yield ("H, deciding for the most probable class, against SoftmaxWithLoss deciding for the least "
           "expected cost. " + against(softmax["cheapest"], native["probable"]))
    yield ("H, deciding for the least expected cost, against itself deciding for the most probable "
           "class (D then counts twice: H has already drawn the probabilities to the near classes). "
           + against(native["probable"], native["cheapest"]))
    yield _twins(scores)


def _twins(scores):
    apart = np.abs(np.subtract(scores["ours"]["probable"]["accuracy"],
                               scores["native"]["probable"]["accuracy"])).max()
    return ("SoftmaxWithInfogainLoss and native InfogainLoss have the same gradients up to rounding; "
            "in the end their top-1 differs by at most %.4f for a seed." % apart)


def _calibration(H):
    asked = np.diag(H)
    return ("H asks for a probability of %.2f to %.2f on the true class, never 1: do not take the "
            "probabilities of a net trained with it for its confidence without calibrating them."
            % (asked.min(), asked.max()))


# Second experiment

def tail_part(results):
    setting = results["settings"]["tail"]
    introduction = (
        "%d training images, from %d of the first class to %d of the last; %d seeds of %d "
        "iterations. The mean recall of the classes is the balanced accuracy, with its standard "
        "deviation over the seeds; the test set has as many of each class, so it is top-1 too. All "
        "weights but the last two are scaled so that the average training sample weighs 1."
        % (sum(setting["counts"]), setting["counts"][0], setting["counts"][-1],
           len(setting["seeds"]), setting["iterations"]))
    return Part("A long tail", introduction, [tail_table(results)],
                list(tail_findings(results["tail"], results["sample_weights"])))


def tail_table(results):
    """Return the Table of the second experiment: balanced accuracy, and the recall of each class."""
    rows = [["", BALANCED.title] + results["classes"],
            ["(training images)", ""] + [str(n) for n in results["settings"]["tail"]["counts"]]]
    for method in experiments.TAIL:
        scores = results["tail"][method.name]
        rows.append([method.title, cell(BALANCED, scores[BALANCED.key])]
                    + ["%.2f" % recall for recall in np.mean(scores["recalls"], axis=0)])
    return Table("Recall of each class", rows)


def tail_findings(scores, sample_weights):
    """Yield what the second experiment shows, in sentences."""
    for method in experiments.TAIL[1:]:
        finding = "%s, against no weights. %s" % (
            method.title, comparison([BALANCED], scores["none"], scores[method.name]))
        if method.name in sample_weights:
            finding = ("WARNING. %s The average training sample weighs %.3g, as if the learning rate "
                       "were multiplied by that." % (finding, sample_weights[method.name]))
        yield finding
