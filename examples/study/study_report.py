"""The study's results as tables, and in sentences that follow from the figures."""
from __future__ import division, print_function

import collections

import numpy as np

import cells
import choice
import claims
import data
import decisions
import dense_methods
import tables
import trunks
from claims import BETTER, NOISE, WORSE
from tables import Metric, Part, Table

RULES = collections.OrderedDict([
    (decisions.PROBABLE.name, "most probable class"),
    (decisions.CALIBRATED.name, "most probable class, calibrated"),
    (decisions.CHEAPEST.name, "least expected cost"),
    (decisions.CALIBRATED_CHEAPEST.name, "least expected cost, calibrated"),
    (decisions.WEIGHTED.name, "weighted probability"),
    (decisions.CALIBRATED_WEIGHTED.name, "weighted probability, calibrated"),
    (decisions.WEIGHTED_CHEAPEST.name, "least weighted cost"),
    (decisions.CALIBRATED_WEIGHTED_CHEAPEST.name, "least weighted cost, calibrated"),
])
DATA_TITLES = {"balanced": "Balanced", "tail": "Long tail"}
TAIL_TITLES = {"accuracy": "mean recall"}  # the test set has as many images of each class


def as_text(results):
    """The report for a terminal."""
    return tables.as_text(parts(results))


def as_markdown(results):
    """The report as a markdown document."""
    return tables.as_markdown("The study: when does it help to say how bad a mistake is?", parts(results))


def parts(results):
    """Everything as Parts."""
    grid = results["cells"]
    return ([short_part(grid), claims_part("Balanced data", _balanced_introduction(results), grid, claims.BALANCED),
             claims_part("A long tail", _tail_introduction(results), grid, claims.TAIL),
             scale_part(results), dense_part(results["dense"], results["seeds"])]
            + [settings_part(results["tried"]), cells_part(results)])


def _balanced_introduction(results):
    return (
        "Fashion-MNIST, as many training images of each class; two nets (%s); %d seeds, each with training images, their "
        "order and initial weights of its own, the same for all methods; %d test images. Costs: the distance of the "
        "classes in the tree of [the first example](../fashion_mnist/RESULTS.md), 1 inside a group and 3 across. H is "
        "exp(-D / tau), its rows divided by their sums. Label smoothing leaves the true class as much as H does on average; "
        "shuffled: the classes of D in another order, none at its place. Calibrated: by one temperature, which fits the "
        "last fifth of the training images best, given to a net trained on the other four. Learning rates and tau were "
        "chosen on validation images (below); nothing was chosen on the test images. In the tables: what changes from the "
        "one to the other, seed by seed, with its %d %% confidence interval (Student's t). **Bold** is better, *italic* "
        "is worse, plain is within the noise: the interval has 0 in it. Each comparison is taken by itself: where nothing "
        "changes, one of a hundred would seem to."
        % (" and ".join(sorted(trunks.TITLES.values(), reverse=True)), results["seeds"], results["n_test"],
           round(100 * claims.LEVEL)))


def _tail_introduction(results):
    counts = [cell["counts"] for cell in results["cells"] if cell["data"] == "tail"]
    return (
        "The same with training images that fall geometrically from the first class to the last, in the longest tail from "
        "%d to %d, in the shortest from %d to %d. The test images are as many of each class, so that the mean recall is "
        "top-1 too. Class weights: balanced, all classes weigh the same in the loss, and the average training image weighs "
        "1. At test time the same weights multiply the probabilities, or with distances the costs of each true class."
        % (counts[-1][0], counts[-1][-1], counts[0][0], counts[0][-1]))


def short_part(grid):
    """A row for every claim, a column for every size: what the change is with each net."""
    introduction = (
        "By how much of what it was before the mean over the seeds changes, %%: with %s / with %s. **Bold** is better, "
        "*italic* worse, plain within the noise. What each row compares is said below, with the intervals."
        % tuple(trunks.TITLES[net] for net in cells.NETS))
    listed = [("balanced", claims.BALANCED, claims.COST), ("balanced", claims.BALANCED, claims.ACROSS),
              ("balanced", claims.BALANCED, claims.TOP3), ("balanced", claims.BALANCED, claims.ACCURACY),
              ("tail", claims.TAIL, claims.ACCURACY), ("tail", claims.TAIL, claims.COST)]
    return Part("In short", introduction, [short_table(grid, *one) for one in listed], [])


def short_table(grid, data_set, listed, metric):
    """The claims on a data set in one metric."""
    by_size = collections.OrderedDict()
    for cell in grid:
        if cell["data"] == data_set:
            by_size.setdefault(sum(cell["counts"]), []).append(cell)
    rows = [["training images"] + ["{:,}".format(size) for size in by_size]]
    for claim in listed:
        rows.append([claim.title] + [" / ".join(_marked("%+.1f" % claims.change(cell, claim, metric),
                                                        claims.difference(cell, claim, metric)[1])
                                                for cell in of_size) for of_size in by_size.values()])
    return Table("%s: %s, change in %%" % (DATA_TITLES[data_set], _title(data_set, metric)), rows)


def _marked(text, verdict):
    return {BETTER: "**%s**", NOISE: "%s", WORSE: "*%s*"}[verdict] % text


def claims_part(heading, introduction, grid, listed):
    """A Table for every claim."""
    return Part(heading, introduction, [claim_table(grid, claim) for claim in listed], [])


def claim_table(grid, claim):
    """A Claim's differences: a row for each of its cells, a column for each metric."""
    rows = [["training images; net"] + [_title(claim.data, metric) for metric in claims.METRICS]]
    for cell in grid:
        if cell["data"] == claim.data:
            rows.append([cell_title(cell)] + [_difference(cell, claim, metric) for metric in claims.METRICS])
    return Table(claim.title, rows)


def cell_title(cell):
    return "{:,}; {}".format(sum(cell["counts"]), trunks.TITLES[cell["net"]])


def _title(data_set, metric):
    return TAIL_TITLES.get(metric.key, metric.title) if data_set == "tail" else metric.title


def _difference(cell, claim, metric):
    interval, verdict = claims.difference(cell, claim, metric)
    return _interval(interval, verdict, metric)


def _interval(interval, verdict, metric):
    form = metric.form.replace("%", "%+")
    return _marked("%s [%s, %s]" % tuple(form % number for number in (interval.mean, interval.low, interval.high)),
                   verdict)


# The scale of class weights

def scale_part(results):
    introduction = (
        "The longest tail and the net with %s again, all gradients times a scale: with class weights whose average sample "
        "weighs as much, and without class weights. A scale is the same as a learning rate times as large, so the column "
        "without weights is the control: it says which harm the learning rate does alone. Mean recall."
        % trunks.TITLES[cells.NETS[0]])
    rows = [["average sample weighs", "no weights", "class weights", "heaviest sample weighs"]]
    for one in results["scales"]:
        rows.append(["%g" % one["scale"]] + [tables.cell(claims.ACCURACY, one["scores"][method]) for method in
                                             ("none", "weights")] + ["%.3g" % one["heaviest"]])
    return Part("The scale of class weights", introduction, [Table("Mean recall", rows)], list(_scale_findings(results)))


def _scale_findings(results):
    for method, title in (("none", "Without class weights"), ("weights", "With class weights")):
        means = [(sum(one["scores"][method]) / len(one["scores"][method]), one["scale"]) for one in results["scales"]]
        best, scale = max(means)
        good = [one_scale for mean, one_scale in means if mean > best - .02]
        bad = ["%g (%.3f)" % (one_scale, mean) for mean, one_scale in means if mean <= best - .1]
        yield "%s the best scale is %g (%.3f); within .02 of it are %g to %g; more than .1 below it are %s." % (
            title, scale, best, min(good), max(good), ", ".join(bad) or "none")


# Scenes

WAYS = collections.OrderedDict([("probable", "most probable class"), ("prior", "probability times weight")])
DENSE_METRICS = [
    Metric("mean_iu", "mean IU", "%.4f", False), Metric("garments_iu", "of garments", "%.4f", False),
    Metric("mean_recall", "mean recall", "%.4f", False), Metric("accuracy", "pixels right", "%.4f", False),
]


def dense_part(dense, n_seeds):
    introduction = (
        "A label for each pixel: 1 to 3 garments on a noisy canvas, 64 x 64, {:.0f} % of the pixels background, the first "
        "garment drawn ten times as often as the last; a rim of a pixel around each garment is ignored. A small fully "
        "convolutional net, {:d} iterations; {:d} seeds, each with {:,} canvases of its own; {:,} canvases of test images. "
        "Median-frequency weights from the label images; all but \"unscaled\" are scaled so that the average pixel weighs "
        "1. Their control: the same decision at test time, the probabilities of the net without weights times the weights "
        "(decision: {}); and the weights shuffled among the classes. In the second table: what changes from \"no weights\", "
        "with its {:.0f} % confidence interval.".format(
            100 * dense["shares"][0], dense["setting"][2], n_seeds, dense["n_train"], dense["n_test"], WAYS["prior"],
            100 * claims.LEVEL))
    ways = [(method, way) for method in dense_methods.METHODS for way in WAYS if way == "probable" or method.name == "none"]

    def titles(method, way):
        return [method.title, WAYS[way]]
    head = ["", "decision"] + [metric.title for metric in DENSE_METRICS]
    figures = [head] + [titles(*both) + [tables.cell(metric, _of(dense, both)[metric.key]) for metric in DENSE_METRICS]
                        for both in ways]
    changes = [head] + [titles(*both) + [_change(_of(dense, ways[0])[metric.key], _of(dense, both)[metric.key], metric)
                                         for metric in DENSE_METRICS] for both in ways[1:]]
    classes = [["", "decision"] + dense["classes"],
               ["(share of the pixels)", ""] + ["%.1f %%" % (100 * share) for share in dense["shares"]]]
    classes += [titles(*both) + ["%.2f" % iou for iou in np.mean(_of(dense, both)["ious"], axis=0)] for both in ways]
    return Part("Scenes: a label for each pixel", introduction, [
        Table("On the test canvases", figures), Table("Against no weights", changes), Table("IU of each class", classes)],
        ["Scenes, their labels, and what the first net of \"no weights\" and of \"median frequency\" decide for: "
         "[picture](scenes.png)."])


def _of(dense, both):
    method, way = both
    return dense["scores"][method.name][way]


def _change(before, after, metric):
    interval, verdict = claims.change_of(np.array(before), np.array(after), metric.smaller_is_better)
    return _interval(interval, verdict, metric)


# Settings

def settings_part(tried):
    """The learning rates and taus tried on validation images."""
    introduction = (
        "Tried on %d of the training images, kept from the nets that were tried, with %d seeds: in every cell "
        "a learning rate for SoftmaxWithLoss, with which all methods without class weights train, and one for class weights, "
        "with which all that have them train, by the mean recall; then tau for every size by the mean cost, with both nets. **Bold** was chosen. The "
        "smaller tau, the closer H is to the identity, that is to SoftmaxWithLoss."
        % (data.N_CLASSES * choice.N_VALIDATION, len(tried["rates"][0]["accuracy"])))
    taus = {choice.group(cell): tau for cell, tau in choice.taus(tried).items()}
    return Part("Settings", introduction, [
        _rates_table("Mean recall of SoftmaxWithLoss by learning rate", tried["rates"]),
        _rates_table("Mean recall with class weights by learning rate", tried["weighted_rates"]),
        _tried_table("Mean cost by tau", choice.mean_costs(tried), taus)], [])


def _rates_table(heading, tried):
    recalls = collections.OrderedDict()
    for one in tried:
        recalls.setdefault(one["cell"], {})[one["rate"]] = np.mean(one["accuracy"])
    return _tried_table(heading, recalls, choice.rates(tried))


def _tried_table(heading, found, chosen):
    """found: {cell: {setting: number}}. chosen: {cell: setting}."""
    settings = sorted(next(iter(found.values())))
    return Table(heading, [[""] + ["%g" % setting for setting in settings]] + [
        [cell.replace("_", " ")] + [("**%.4f**" if setting == chosen[cell] else "%.4f") % of_cell[setting]
                                    for setting in settings] for cell, of_cell in found.items()])


# All figures

def cells_part(results):
    return Part("All figures", "Mean and standard deviation over the seeds.",
                [cell_table(cell, results) for cell in results["cells"]], [])


def cell_table(cell, results):
    """Every method and rule of one cell."""
    titles = collections.OrderedDict((method.name, method.title) for method in cells.methods("tail", 1))
    rows = [["", "decision"] + [_title(cell["data"], metric) for metric in claims.METRICS]]
    for method, name in titles.items():
        for rule, title in RULES.items():
            if rule in cell["scores"].get(method, {}):
                rows.append([name, title] + [tables.cell(metric, cell["scores"][method][rule][metric.key])
                                             for metric in claims.METRICS])
    rates = "%g" % cell["rate"] + (", with class weights %g" % cell["weighted_rate"] if cell["weighted_rate"] else "")
    return Table("%s, %s (learning rate %s, tau %g, %d iterations)" % (
        DATA_TITLES[cell["data"]], cell_title(cell), rates, cell["tau"], cell["iterations"]), rows)
