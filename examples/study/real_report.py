"""Write the results on real data as tables, and for each remedy on which data it helped, Fashion-MNIST's among them."""
from __future__ import division, print_function

import collections

from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, Metric, compare
from caffe_losses.evaluation.intervals import PERCENT, mean_interval
from study_tables import in_words, marked

RECALL = Metric("recall", "mean recall", "%.4f", False)
ACCURACY = Metric("accuracy", "accuracy", "%.4f", False)
COST = Metric("cost", "mean cost", "%.4f", True)
FAMILIES = [("rare", RECALL, [RECALL, ACCURACY]), ("costs", COST, [COST, ACCURACY])]
# Remedies that the study has on Fashion-MNIST, too: the method and the rule there. The test images are as many of each
# class, so that its accuracy is the mean recall.
TAILS = {"class weights": ("weights", "probable"), "logit adjustment": ("adjusted", "probable"),
         "class weights at test time": ("none", "weighted"),
         "class weights at test time, calibrated": ("none", "calibrated_weighted")}
BALANCED = {"H from distances": ("tree", "probable"), "label smoothing": ("smoothing", "probable"),
            "H from distances, classes shuffled": ("shuffled", "probable"),
            "least expected cost at test time": ("none", "cheapest"),
            "least expected cost at test time, calibrated": ("none", "calibrated_cheapest")}
OF_STUDY = {"rare": ("tail", "accuracy", "long tails of Fashion-MNIST", TAILS),
            "costs": ("balanced", "cost", "sizes and nets of balanced Fashion-MNIST", BALANCED)}
# Pairs that are compared beside the comparison with SoftmaxWithLoss: the first against the second.
PAIRS = [("logit adjustment", "class weights"), ("logit adjustment", "square roots of class weights"),
         ("logit adjustment", "logit adjustment at test time"), ("class weights", "class weights, shuffled"),
         ("class weights", "class weights at test time"), ("square roots of class weights", "class weights"),
         ("effective numbers at test time", "class weights at test time"),
         ("class weights at test time, calibrated", "class weights at test time"),
         ("class weights, at the rate of SoftmaxWithLoss", "class weights"),
         ("logit adjustment, at the rate of SoftmaxWithLoss", "class weights, at the rate of SoftmaxWithLoss"),
         ("SoftmaxWithLoss, weight decay", "SoftmaxWithLoss"), ("class weights, weight decay", "class weights"),
         ("logit adjustment, weight decay", "logit adjustment"), ("H from distances", "label smoothing"),
         ("H from distances", "H from distances, classes shuffled"),
         ("H from distances", "least expected cost at test time")]
INTRODUCTION = """# The study on real data

{seeds} seeds, a net with one hidden layer. Half of each data set is for training, half for test. For each row a
learning rate, and tau, strength or power where there are several, were chosen on a fifth of the training half, held
out, by the mean recall or the mean cost; nothing on the test half. In brackets the {percent} % confidence interval of
a mean or a change, paired by seed (Student's t). **Bold** is better than SoftmaxWithLoss, *italic* worse, plain
within the noise. Setting: what was chosen; the last number is the factor of the solver's learning rate. At test time
the weights multiply the probabilities of a net trained with SoftmaxWithLoss; logit adjustment there is a power of
balanced weights. Calibrated: by the temperature that fits nets of four fifths of the training half on the last fifth.
Shuffled: in another order of the classes for each seed. At the rate of SoftmaxWithLoss: with the learning rate
that is best for that, as where the loss alone is changed. Weight decay: {decay:g}, with the settings that are best
without. Vehicle and LetterRecognition are nearly balanced: there is next to nothing for class weights to do.
"""


def verdicts(results, study):
    """Return {family: {title: {name of data: [(difference, verdict) of each cell]}}}, against SoftmaxWithLoss."""
    found = {}
    for family, metric, _ in FAMILIES:
        of_data, key, name, remedies = OF_STUDY[family]
        by_title = found.setdefault(family, collections.OrderedDict())
        for data in results["data"]:
            for way in data[family][1:]:
                by_title.setdefault(way["title"], collections.OrderedDict())[data["name"]] = [
                    _compared(data[family][0], way, metric)]
        of_cells = [cell["scores"] for cell in study["cells"] if cell["data"] == of_data]
        for title, (method, rule) in sorted(remedies.items()):
            by_title.setdefault(title, collections.OrderedDict())[name] = [
                compare(metric, scores["none"]["probable"][key], scores[method][rule][key]) for scores in of_cells]
    return found


def evidence(by_data):
    """Return in words on which data a remedy is better, within the noise and worse."""
    found = []
    for verdict in (BETTER, NOISE, WORSE):
        counts = [(name, len(cells), [cell[1] for cell in cells].count(verdict)) for name, cells in by_data.items()]
        parts = [("" if of == 1 else "%d of %d " % (n, of)) + name for name, of, n in counts if n]
        found += ["%s: %s" % (verdict, ", ".join(parts))] if parts else []
    return "; ".join(found)


def all_sizes(results, study):
    """Return {family: {name of data: its size in words}}: of rare classes the imbalance, of costs the samples."""
    found = {}
    for family, (of_data, _, name, _) in OF_STUDY.items():
        counts = {data["name"]: [data["train"]] for data in results["data"]}
        counts[name] = [cell["counts"] for cell in study["cells"] if cell["data"] == of_data]
        found[family] = {name: _imbalance(of_name) if family == "rare" else _samples(of_name)
                         for name, of_name in counts.items()}
    return found


def _imbalance(counts):
    ratio = min(max(of_cell) / min(of_cell) for of_cell in counts)
    return " ({:,.{}f} to 1)".format(ratio, int(ratio < 10))


def _samples(counts):
    totals = [sum(of_cell) for of_cell in counts]
    return " (%s samples)" % " to ".join("{:,}".format(n) for n in sorted(set([min(totals), max(totals)])))


def as_markdown(results, study):
    """Return the report as a markdown document. study: the results of the study on Fashion-MNIST."""
    lines = [INTRODUCTION.format(percent=PERCENT, **results), "## In short", ""]
    found, sizes = verdicts(results, study), all_sizes(results, study)
    for family, metric, _ in FAMILIES:
        names = [data["name"] for data in results["data"] if data[family]] + [OF_STUDY[family][2]]
        lines += _table([["change in " + metric.title] + [name + sizes[family][name] for name in names]] + [
            [title] + [_short(by_data.get(name, []), metric) for name in names]
            for title, by_data in found[family].items()])
    for data in results["data"]:
        lines += ["## " + data["name"], "", "Training samples: %s. It took %.0f s." % (", ".join(
            "%s %d" % pair for pair in zip(data["classes"], data["train"])), data["seconds"]), ""]
        for family, metric, metrics in FAMILIES:
            lines += _of_family(data[family], metric, metrics) if data[family] else []
        lines += _tried(data["tried"])
    return "\n".join(lines)


def _of_family(ways, metric, metrics):
    head = ["", "setting"] + [listed.title for listed in metrics] + ["change in " + metric.title]
    rows = [[way["title"], ", ".join("%g" % number for number in way["setting"] if number)]
            + [_interval(listed, mean_interval(way["scores"][listed.key])) for listed in metrics]
            + [in_words(*_compared(ways[0], way, metric) + (metric,)) if way is not ways[0] else ""] for way in ways]
    by_title = {way["title"]: way for way in ways}
    pairs = [[after, before, in_words(*_compared(by_title[before], by_title[after], metric) + (metric,))]
             for after, before in PAIRS if after in by_title and before in by_title]
    return _table([head] + rows) + _table([["", "against", "change in " + metric.title]] + pairs)


def _tried(tried):
    """Return a table of the trainings that settings were chosen by."""
    rates = sorted(set(rate for _, _, _, rate, _ in tried), reverse=True)
    by_row = collections.OrderedDict()
    for metric, title, value, rate, mean in tried:
        if "at test time" not in title:
            by_row.setdefault((title, metric, "%g" % value if value else ""), {})[rate] = mean
    return _table([["by learning rate, on held-out data", "mean", "value"] + ["%g" % rate for rate in rates]] + [
        list(row) + ["%.4f" % of_row[rate] for rate in rates] for row, of_row in by_row.items()])


def _compared(before, after, metric):
    return compare(metric, before["scores"][metric.key], after["scores"][metric.key])


def _short(cells, metric):
    """Return the change in one cell, or how many of several are better, within the noise and worse."""
    if len(cells) == 1:
        return marked(metric.form.replace("%", "%+") % cells[0][0].mean, cells[0][1])
    counts = [[cell[1] for cell in cells].count(verdict) for verdict in (BETTER, NOISE, WORSE)]
    return "%d better, %d within the noise, %d worse" % tuple(counts) if cells else ""


def _interval(metric, interval):
    return "%s [%s, %s]" % tuple(metric.form % number for number in (interval.mean, interval.low, interval.high))


def _table(rows):
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return ["| %s |" % " | ".join(row) for row in [rows[0], rule] + rows[1:]] + [""]
