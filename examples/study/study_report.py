"""Write the study's results as tables, and in sentences that follow from the figures."""
from __future__ import division, print_function

import collections

import numpy as np

import cells
import choice
import claims
import files
import dense_scores
from caffe_losses.evaluation.comparison import Metric, compare
from caffe_losses.evaluation.intervals import PERCENT
from study_tables import Part, Table, as_markdown, in_words, marked, prose, spread

RULES = [("probable", "most probable class"), ("calibrated", "most probable class, calibrated"),
         ("cheapest", "distances at test time"), ("calibrated_cheapest", "distances at test time, calibrated"),
         ("weighted", "class weights at test time"), ("calibrated_weighted", "class weights at test time, calibrated"),
         ("weighted_cheapest", "both at test time"), ("calibrated_weighted_cheapest", "both at test time, calibrated")]
DATA_TITLES = {"balanced": "Balanced", "tail": "Long tail"}
TAIL_TITLES = {"accuracy": "mean recall"}  # the test set has as many images of each class
WAYS = collections.OrderedDict([("probable", "most probable class"), ("prior", "weights at test time")])
DENSE_METRICS = [
    Metric("mean_iu", "mean IU", "%.4f", False), Metric("garments_iu", "of garments", "%.4f", False),
    Metric("mean_recall", "mean recall", "%.4f", False), Metric("accuracy", "pixels right", "%.4f", False),
]


def report(results):
    """Return the report as a markdown document."""
    return as_markdown("The study: when does it help to say how bad a mistake is?", prose("""
        This is the experiment behind the README, and no example to copy; those are [the others](../README.md)."""),
                              parts(results))


def parts(results):
    """Return everything as Parts."""
    grid = results["cells"]
    return ([short_part(grid), claims_part("Balanced data", _balanced_introduction(results), grid, claims.BALANCED),
             claims_part("A long tail", _tail_introduction(results), grid, claims.TAIL),
             scale_part(results), dense_part(results["dense"], results["seeds"])]
            + [settings_part(results["tried"]), cells_part(results)])


def _balanced_introduction(results):
    return prose("""
        Fashion-MNIST, as many training images of each class; two nets ({nets}); {seeds} seeds, each with training
        images (of 60,000: all), their order and initial weights of its own, the same for all methods; {n_test} test
        images, the same for all. Costs: the distance of the classes in the tree of [the first
        example](../fashion_mnist/README.md), 1 inside a group and 3 across. H is exp(-D / tau), its rows divided
        by their sums; at test time the distances choose the class of least expected cost. Across groups: how many
        mistakes leave their group; severity: the mean cost of a mistake; top-3 cost: the mean cost of the 3 classes
        ranked first; ECE: expected calibration error. A cell is a data set of one size and a net. Label smoothing
        leaves the true class as much as H does on average; shuffled: the classes of D in another order, none at its
        place; of the {pairs} pairs of near classes {kept:.1f} on average are near by chance again. Calibrated: the
        probabilities go through one temperature, the one that fits another net best, trained on four fifths of the
        images, on the last fifth. Learning rates and tau were chosen on validation images (below); nothing was
        chosen on the test images. In the tables: what changes from the one to the other, seed by seed, with its
        {level} % confidence interval (Student's t). **Bold** is better, *italic* is worse, plain is within the
        noise: the interval has 0 in it, before rounding. Each comparison is taken by itself: where nothing changes,
        one of a hundred would seem to. The ECE of a decision is that of the probability of the class decided for,
        with the class weights in it where they are in the decision.""",
                 nets=" and ".join(files.TITLES[net] for net in cells.NETS), seeds=results["seeds"],
                 n_test=results["n_test"], pairs=results["near"]["pairs"], kept=np.mean(results["near"]["kept"]),
                 level=PERCENT)


def _tail_introduction(results):
    counts = [cell["counts"] for cell in results["cells"] if cell["data"] == "tail"]
    return prose("""
        The same with training images that fall geometrically from the first class to the last, in the longest tail
        from {most} to {fewest}, in the shortest from {short_most} to {short_fewest}. The test images are as many of
        each class, so that the mean recall is top-1 too. Class weights: balanced, all classes weigh the same in the
        loss, and the average training image weighs 1. At test time the same weights multiply the probabilities,
        before the distances if those count too. Logit adjustment: of strength 1, by the counts of the training images.
        The rare classes are always the same ones; the fifth that a temperature is fitted on holds next to none of
        them.""", most=counts[-1][0], fewest=counts[-1][-1],
                 short_most=counts[0][0], short_fewest=counts[0][-1])


def short_part(grid):
    """Return tables with a row for every claim and a column for every size: the change with each net."""
    introduction = prose("""
        By how much of what it was before the mean over the seeds changes, %: with {first} / with {second}. **Bold** is
        better, *italic* worse, plain within the noise; what each row compares is said below, with the intervals. In the
        picture: the change of the mean cost in %, and of the mean recall in points, with {level} % confidence
        intervals.""", first=files.TITLES[cells.NETS[0]], second=files.TITLES[cells.NETS[1]], level=PERCENT)
    listed = [("balanced", claims.BALANCED, claims.COST), ("balanced", claims.BALANCED, claims.ACROSS),
              ("balanced", claims.BALANCED, claims.TOP3), ("balanced", claims.BALANCED, claims.ACCURACY),
              ("tail", claims.TAIL, claims.ACCURACY), ("tail", claims.TAIL, claims.COST)]
    return Part("In short", introduction, [short_table(grid, *one) for one in listed], [])


def short_table(grid, data_set, listed, metric):
    """Return the Table of the claims on a data set in one metric."""
    by_size = collections.OrderedDict()
    for cell in grid:
        if cell["data"] == data_set:
            by_size.setdefault(sum(cell["counts"]), []).append(cell)
    rows = [["training images"] + ["{:,}".format(size) for size in by_size]]
    for claim in listed:
        rows.append([claim.title] + [" / ".join(marked("%+.1f" % claims.change(cell, claim, metric),
                                                        claims.difference(cell, claim, metric)[1])
                                                for cell in of_size) for of_size in by_size.values()])
    return Table("%s: %s, change in %%" % (DATA_TITLES[data_set], _title(data_set, metric)), rows)


def claims_part(heading, introduction, grid, listed):
    """Return a Part with a Table for every claim."""
    return Part(heading, introduction, [claim_table(grid, claim) for claim in listed], [])


def claim_table(grid, claim):
    """Return the Table of a Claim's differences: a row for each of its cells, a column for each metric."""
    rows = [["training images; net"] + [_title(claim.data, metric) for metric in claims.METRICS]]
    for cell in grid:
        if cell["data"] == claim.data:
            rows.append([cell_title(cell)] + [
                in_words(*claims.difference(cell, claim, metric), metric=metric) for metric in claims.METRICS])
    return Table(claim.title + ": change, with its interval", rows)


def cell_title(cell):
    return "{:,}; {}".format(sum(cell["counts"]), files.TITLES[cell["net"]])


def _title(data_set, metric):
    return TAIL_TITLES.get(metric.key, metric.title) if data_set == "tail" else metric.title


# The scale of class weights

def scale_part(results):
    introduction = prose("""
        The longest tail and the net with {net}, at learning rate {rate:g}, which is that of SoftmaxWithLoss; all
        gradients times a scale: with class weights whose average sample weighs as much, and without class weights.
        A scale is the same as a learning rate as many times as large, so the column without weights is the control:
        it says which harm the learning rate does alone. Mean recall.""",
                         net=files.TITLES[cells.NETS[0]], rate=results["scales"][0]["rate"])
    rows = [["average sample weighs", "no weights", "class weights", "heaviest sample weighs"]]
    for one in results["scales"]:
        rows.append(["%g" % one["scale"]] + [spread(claims.ACCURACY, one["scores"][method]) for method in
                                             ("none", "weights")] + ["%.3g" % one["heaviest"]])
    return Part("The scale of class weights", introduction, [Table("Mean recall", rows)],
                list(_scale_findings(results)))


def _scale_findings(results):
    for method, title in (("none", "Without class weights"), ("weights", "With class weights")):
        means = [(sum(one["scores"][method]) / len(one["scores"][method]), one["scale"]) for one in results["scales"]]
        best, scale = max(means)
        good = ["%g" % one_scale for mean, one_scale in means if mean > best - .02]
        bad = ["%g (%.3f)" % (one_scale, mean) for mean, one_scale in means if mean <= best - .1]
        yield ("%s the mean recall is highest at scale %g (%.3f); within .02 of it at %s; more than .1 below it at %s."
               % (title, scale, best, ", ".join(good), ", ".join(bad) or "none"))


# Scenes

def dense_part(dense, n_seeds):
    """Return the scenes as a Part. dense: of results.json."""
    introduction = prose("""
        A label for each pixel: 1 to 3 garments on a noisy canvas, 64 x 64, {background:.0f} % of the pixels
        background, the first garment drawn ten times as often as the last; a rim of a pixel around each garment is
        ignored. A small fully convolutional net, {iterations} iterations at learning rate {rates[0]:g}, with
        weights {rates[1]:g}; {seeds} seeds, each with {n_train:,} canvases of its own; {n_test:,} canvases of test
        images. Median-frequency weights from the label images; scaled so that the average pixel weighs 1. Their
        controls: the same decision at test time, the probabilities of the net without weights times the weights
        (decision: {prior}); and the weights shuffled among the classes; square root: of the weights. In the second
        table: what changes from "no weights", with its {level} % confidence interval.""",
                         background=100 * dense["shares"][0], iterations=dense["iterations"], rates=dense["rates"],
                         seeds=n_seeds, n_train=dense["n_train"], n_test=dense["n_test"], prior=WAYS["prior"],
                         level=PERCENT)
    ways = [(method, way) for method in dense_scores.METHODS for way in WAYS
            if way == "probable" or method.name == "none"]

    def titles(method, way):
        return [method.title, WAYS[way]]
    head = ["", "decision"] + [metric.title for metric in DENSE_METRICS]
    figures = [head] + [titles(*both) + [spread(metric, _of(dense, both)[metric.key]) for metric in DENSE_METRICS]
                        for both in ways]
    changes = [head] + [titles(*both) + [_change(_of(dense, ways[0])[metric.key], _of(dense, both)[metric.key], metric)
                                         for metric in DENSE_METRICS] for both in ways[1:]]
    at_test_time, trained = ways[1:3]
    changes.append(["median frequency, against weights at test time", ""] + [
        _change(_of(dense, at_test_time)[metric.key], _of(dense, trained)[metric.key], metric)
        for metric in DENSE_METRICS])
    classes = [["", "decision"] + dense["classes"],
               ["(share of the pixels)", ""] + ["%.1f %%" % (100 * share) for share in dense["shares"]]]
    classes += [titles(*both) + ["%.2f" % iou for iou in np.mean(_of(dense, both)["ious"], axis=0)] for both in ways]
    return Part("Scenes: a label for each pixel", introduction, [
        Table("On the test canvases", figures), Table("Against no weights", changes),
        Table("IU of each class", classes)],
        ["Scenes, their labels, and what the first net of \"no weights\" and of \"median frequency\" decide for: "
         "[picture](scenes.png)."])


def _of(dense, both):
    method, way = both
    return dense["scores"][method.name][way]


def _change(before, after, metric):
    return in_words(*compare(metric, before, after), metric=metric)


# Settings

def settings_part(tried):
    """Describe the settings that were tried on validation images."""
    introduction = prose("""
        What was tried, with {seeds} seeds, on {images} of the training images, as many of each class, which were
        kept from the nets that were tried. First, in every cell, a learning rate for SoftmaxWithLoss, with which
        the methods from distances train, too, one for class weights, with which all that have them train, and one for
        logit adjustment: by the mean recall. Then tau, for every size, by the mean cost with both nets. For scenes the
        learning rates without and with weights, by the mean IU on canvases of such images. mlp: {mlp}; conv: {conv}.
        **Bold** was chosen. No net has weight decay, nor is its training stopped early. The smaller tau, the closer H
        is to the identity, that is to SoftmaxWithLoss. Seeds and images are few: neighbouring settings are often as
        good.""",
                         images=files.N_CLASSES * choice.N_VALIDATION,
                         seeds=len(tried["rates"][0]["accuracy"]), **files.TITLES)
    taus = {choice.group(cell): tau for cell, tau in choice.taus(tried).items()}
    listed = [_rates_table("Mean recall of SoftmaxWithLoss by learning rate, validation images", tried["rates"]),
              _rates_table("Mean recall with class weights by learning rate, validation images",
                           tried["weighted_rates"]),
              _rates_table("Mean recall with logit adjustment by learning rate, validation images",
                           tried["adjusted_rates"]),
              _tried_table("Mean cost by tau, validation images", choice.mean_costs(tried), taus),
              _dense_table(tried)]
    edges = ", ".join(_at_edges(tried)) or "nothing"
    return Part("Settings", introduction, listed,
                ["At the edge of what was tried: %s." % edges, _weighted_rates(tried)])


def _weighted_rates(tried):
    """Compare the learning rates with class weights with those without, and say what they prevent."""
    rates, weighted = choice.rates(tried["rates"]), choice.rates(tried["weighted_rates"])
    ratios = [weighted[cell] / rates[cell] for cell in weighted]
    recalls = {(one["cell"], one["rate"]): np.mean(one["accuracy"]) for one in tried["weighted_rates"]}
    lost, cell = max((recalls[cell, weighted[cell]] - recalls[cell, rates[cell]], cell) for cell in weighted)
    return ("Class weights trained best at %.2g to %.2g times the learning rate of SoftmaxWithLoss; at its own rate "
            "they are up to %.2f of mean recall below that on the validation images (%s: %.3f instead of %.3f)." % (
                min(ratios), max(ratios), lost, cell.replace("_", " "), recalls[cell, rates[cell]],
                recalls[cell, weighted[cell]]))


def _at_edges(tried):
    """List what was chosen though it is the smallest or largest tried: more might be better still."""
    for title, chosen, listed in (
            ("learning rate", choice.rates(tried["rates"]), cells.RATES),
            ("learning rate with class weights", choice.rates(tried["weighted_rates"]), cells.WEIGHTED_RATES),
            ("learning rate with logit adjustment", choice.rates(tried["adjusted_rates"]), cells.RATES),
            ("tau", {choice.group(cell): tau for cell, tau in choice.taus(tried).items()}, cells.TAUS),
            ("learning rate of scenes", dict(zip(("none", "median"), choice.dense_rates(tried))), dense_scores.RATES)):
        for where, setting in sorted(chosen.items()):
            if setting in (min(listed), max(listed)):
                yield "%s %g of %s" % (title, setting, where.replace("_", " "))


def _dense_table(tried):
    found = collections.OrderedDict()
    for one in tried["dense_rates"]:
        found.setdefault(one["method"], {})[one["rate"]] = np.mean(one["mean_iu"])
    return _tried_table("Mean IU of scenes by learning rate, validation images", found,
                        dict(zip(("none", "median"), choice.dense_rates(tried))))


def _rates_table(heading, tried):
    recalls = collections.OrderedDict()
    for one in tried:
        recalls.setdefault(one["cell"], {})[one["rate"]] = np.mean(one["accuracy"])
    return _tried_table(heading, recalls, choice.rates(tried))


def _tried_table(heading, found, chosen):
    """Return the Table of settings tried. found: {cell: {setting: number}}. chosen: {cell: setting}."""
    settings = sorted(next(iter(found.values())))
    return Table(heading, [[""] + ["%g" % setting for setting in settings]] + [
        [cell.replace("_", " ")] + [("**%.4f**" if setting == chosen[cell] else "%.4f") % of_cell[setting]
                                    for setting in settings] for cell, of_cell in found.items()])


# All figures

def cells_part(results):
    return Part("All figures", "Mean and standard deviation over the seeds.",
                [cell_table(cell, results) for cell in results["cells"]], [])


def cell_table(cell, results):
    """Return the Table of every method and rule of one cell."""
    titles = collections.OrderedDict((method.name, method.title) for method in cells.methods("tail", 1))
    rows = [["", "decision"] + [_title(cell["data"], metric) for metric in claims.METRICS]]
    for method, name in titles.items():
        for rule, title in RULES:
            if rule in cell["scores"].get(method, {}):
                rows.append([name, title] + [spread(metric, cell["scores"][method][rule][metric.key])
                                             for metric in claims.METRICS])
    rates = "%g" % cell["rate"] + "".join(", with %s %g" % (words, cell[field]) for words, field in (
        ("class weights", "weighted_rate"), ("logit adjustment", "adjusted_rate")) if cell[field])
    return Table("%s, %s (learning rate %s, tau %g, %d iterations)" % (
        DATA_TITLES[cell["data"]], cell_title(cell), rates, cell["tau"], cell["iterations"]), rows)
