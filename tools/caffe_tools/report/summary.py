"""The text of a report: what each run said last and best, a line a method, and the recall of each class."""
from __future__ import division, print_function

import collections
import re

from caffe_losses.evaluation import rules
from caffe_losses.evaluation.tally import CHEAPEST, DECISIONS, PROBABLE, metric_list

MOST_ALONE = 10  # outputs whose names differ in a number only, each shown by itself
MOST_CLASSES = 100  # whose recall is printed
COSTS = ("cost", "expected_cost", "severity", "top_cost")  # the scores that are no shares


def exact(value):
    """Return a number as Caffe's log has it, six digits, or all that the log has."""
    short = u"%.6g" % value
    return short if float(short) == value else u"%r" % float(value)


def families(names):
    """Gather names that differ in numbers only: {name or pattern: names}; up to MOST_ALONE of them stay apart."""
    by_pattern = collections.OrderedDict()
    for name in names:
        by_pattern.setdefault(re.sub(r"\d+", u"#", name), []).append(name)
    gathered = collections.OrderedDict()
    for pattern, of_pattern in by_pattern.items():
        gathered.update([(pattern, of_pattern)] if len(of_pattern) > MOST_ALONE else
                        [(name, [name]) for name in of_pattern])
    return gathered


def keep_within_bounds(methods, differences, decisions=()):
    """Cut intervals, as of comparison.methods_of and differences_of, in place: shares at 0 and 1, costs at 0.

    Differences of shares are cut at -1 and 1. decisions: of decision_report.decisions_of.
    """
    for decision in decisions:
        for scores in decision["scores"].values():
            _cut(scores.items(), 0.)
    for method in methods:
        for evaluation in (method["evaluation"] or {}).values():
            _cut([(None, recall) for recall in evaluation["recalls"]] + list(evaluation["scores"].items()), 0.)
    scores = [difference["scores"] for difference in differences]
    for of_one in scores + [of_rule for decision in decisions for of_rule in decision["differences"].values()]:
        _cut([(key, interval) for key, interval in of_one.items() if key not in COSTS], -1.)


def _cut(keys_and_intervals, least):
    for key, interval in keys_and_intervals:
        most = float("inf") if key in COSTS else 1.
        interval.update((end, min(max(interval[end], least), most)) for end in ("low", "high")
                        if interval[end] is not None)


def lowest_first(recalls):
    """Return the numbers of the classes by their mean recall, the lowest first; those without samples last."""
    return sorted(range(len(recalls)), key=lambda label: (recalls[label]["mean"] is None, recalls[label]["mean"] or 0))


def headlines(report):
    """Return a line for each evaluated method: accuracy and lowest recall, deciding for the most probable class."""
    lines = []
    for method in [method for method in report["methods"] if method["evaluation"]]:
        evaluation = method["evaluation"][PROBABLE]
        lowest = lowest_first(evaluation["recalls"])[0]
        lines.append(u"%s: accuracy %s, lowest recall %s (%s)" % (
            method["name"], number("%.4f", evaluation["scores"]["accuracy"]["mean"]),
            number("%.4f", evaluation["recalls"][lowest]["mean"]), class_name(report, lowest)))
    return lines


def decisions(methods):
    """Return (method, decision) of all that were evaluated."""
    return [(method, decision) for method in methods for decision in (PROBABLE, CHEAPEST)
            if decision in (method["evaluation"] or ())]


def label_of(report, method, decision):
    """Return the name of a method, and of its decision where there are two."""
    return method["name"] if report["D"] is None else u"%s, %s" % (method["name"], DECISIONS[decision])


def class_name(report, label):
    return report["classes"][label] if report["classes"] else u"class %d" % label


def lines_of(report):
    """Return the lines of the whole text."""
    lines = [line for run in report["runs"] for line in _lines_of_run(run)]
    if decisions(report["methods"]):
        lines += [u""] + _table(scores(report)) + [u""] + _table(recalls(report)) + [u""] + headlines(report)
    return lines


def lines_of_decisions(report):
    """Return the lines on which decision is best: of one method a table, too."""
    lines, costs = [], report["D"] is not None
    metrics = rules.metrics_of_rules(report["top"], report["n_classes"] or 0, costs, report["spatial"])
    deciding = rules.deciding_metric(costs)
    for decision in report["decisions"]:
        if len(report["decisions"]) == 1:
            rows = [[u"decision"] + [metric.title for metric in metrics] + [u"difference in %s" % deciding.title]]
            for key in decision["rules"]:
                scores, difference = decision["scores"][key], decision["differences"].get(key)
                rows.append([rules.TITLES[key]] + [number(metric.form, scores[metric.key]["mean"]) for metric in metrics]
                            + [_with_ends(deciding.form.replace("%", "%+"), difference[deciding.key])
                               if difference else u""])
            lines += _table(rows)
        lines += decision["notes"] + [decision["sentence"], u"  " + decision["command"]]
    return [u""] * bool(lines) + lines


def _lines_of_run(run):
    yield u"%s%s: %s%s" % (run["name"], u"" if run["seed"] is None else u", seed %s" % run["seed"], run["status"],
                           u"".join(u"; " + note for note in run["notes"]))
    for family, names in families(run["figures"]).items():
        figures = [run["figures"][name] for name in names]
        if len(names) > MOST_ALONE:
            last = [figure["last"] for figure in figures if figure["last"] is not None]
            yield u"  %s: %d outputs, last %s" % (
                family, len(names), u"%s to %s" % (exact(min(last)), exact(max(last))) if last else u"NaN")
            continue
        figure = figures[0]
        best = u"" if figure["best"] is None or not family.startswith("test ") else u", best %s at iteration %d" % (
            exact(figure["best"]), figure["best_iteration"])
        yield u"  %s %s at iteration %d%s" % (family, figure["text"], figure["iteration"], best)
    if run["evaluation"]:
        yield u"  evaluated: %s on %s" % (re.split(r"[/\\]", run["snapshot"])[-1], run["source"])


def scores(report):
    """Return the rows of a table of the scores of each method, with a head."""
    metrics = metric_list(report["top"], report["D"] is not None, report["spatial"])
    rows = [[u"method"] + [metric.title for metric in metrics]]
    for method, decision in decisions(report["methods"]):
        of_method = method["evaluation"][decision]["scores"]
        rows.append([label_of(report, method, decision)]
                    + [_with_ends(metric.form, of_method[metric.key]) for metric in metrics])
    return rows


def recalls(report):
    """Return the rows of a table of the recall of each class, with a head."""
    shown = decisions(report["methods"])
    of_methods = [method["evaluation"][decision]["recalls"] for method, decision in shown]
    order = list(range(len(of_methods[0])))
    title = u"recall of (test samples)"
    if len(order) > MOST_CLASSES:
        order, title = lowest_first(of_methods[0])[:MOST_CLASSES], u"%s, the lowest %d" % (title, MOST_CLASSES)
    counts = next(run["counts"] for run in report["runs"] if run["evaluation"])
    return [[title] + [label_of(report, method, decision) for method, decision in shown]] + [
        [u"%s (%d)" % (class_name(report, label), counts[label])]
        + [_with_ends("%.4f", of_method[label]) for of_method in of_methods] for label in order]


def _with_ends(form, interval):
    ends = u"" if interval["low"] is None else u" (%s to %s)" % (form % interval["low"], form % interval["high"])
    return number(form, interval["mean"]) + ends


def number(form, value):
    return u"NaN" if value is None else form % value


def _table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [u"  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
            .rstrip() for row in rows]
