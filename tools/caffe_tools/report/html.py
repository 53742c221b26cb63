"""A report as one HTML page: its pictures are inside, it loads nothing, and it has no scripts."""
from __future__ import division, print_function
from __future__ import unicode_literals

import base64
import collections
import re
import struct
from xml.sax.saxutils import escape

import numpy as np

from caffe_losses.evaluation import rules
from caffe_losses.evaluation.comparison import INTERVALS, NOISE, verdict_of
from caffe_losses.evaluation.intervals import LEVEL, PERCENT, Interval
from caffe_losses.evaluation.tally import CHEAPEST, DECISIONS, PROBABLE, metric_list
from caffe_tools.report import charts, summary
from caffe_tools.report.summary import decisions

MOST_COSTLY = 10  # confusions listed
MOST_RECALLS = 100  # classes whose recall is shown
SHARE = re.compile("acc|recall|precision|iou|auc|map|top", re.IGNORECASE)  # names of outputs that are shares
MOST_PICTURES = 30  # of outputs
WIDEST = 620  # pixels; a wider picture scrolls, as its names could not be read if it shrank below LEAST of its size
LEAST = .7

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", Arial, sans-serif; color: #222;
  background: #fff; margin: 0 auto; padding: 1rem; max-width: 76rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; border-top: 2px solid #ddd; padding-top: .9rem; }
h3 { font-size: 1.02rem; margin: 1.2rem 0 .3rem; }
p, li { max-width: 50rem; }
.scroll { overflow-x: auto; max-width: 100%; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #e2e2e2; text-align: right; vertical-align: top;
  white-space: nowrap; }
th { background: #f5f5f5; }
td:first-child, th:first-child, td.text, th.text { text-align: left; }
td.wrap { white-space: normal; min-width: 14rem; text-align: left; }
td small { color: #595959; display: block; }
.better { background: #e3f1fa; } .worse { background: #fdeadd; }
.figures > div { min-width: 0; max-width: 100%; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; min-width: 0; max-width: 100%; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .2rem; }
img { max-width: 100%; height: auto; display: block; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; max-width: 48rem; }
.headline { font-size: 1.15rem; font-weight: 600; margin: .3rem 0; max-width: none; }
.best { font-weight: 700; } code { font-size: .85rem; }
.bad { color: #a33c00; font-weight: 600; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>%(title)s</title>
<style>%(css)s</style>
</head>
<body>
<h1>%(title)s</h1>
%(body)s
</body>
</html>
"""


def page(report):
    """Return the HTML of a report, a str.

    report: the dict that report.py --json prints: runs, methods, differences, classes, D, top, spatial; of compare.py
        outcome, too: sentences, rows of a table and remarks.
    """
    evaluated = [method for method in report["methods"] if method["evaluation"]]
    sections = [_headline(report), _runs(report), _curves(report)]
    if evaluated:
        metrics = metric_list(report["top"], report["D"] is not None, report["spatial"])
        names = report["classes"] or [str(label) for label in range(report["n_classes"])]
        sections += [_scores(report, evaluated, metrics), _differences(report, metrics),
                     _recalls(report, evaluated, names), _confusions(report, evaluated, names),
                     _calibration(evaluated), _meanings(report, metrics), _which_decision(report)]
    else:
        sections.append(_section("Decisions on the test data", _paragraph(
            "No run was evaluated; where that was tried, the notes above say why not. What the log does not lead to "
            "can be named: report.py name=caffe.log,train_val.prototxt,snapshot_iter_1000.caffemodel")))
    return PAGE % {"title": _escaped(report["title"]), "css": CSS, "body": "\n".join(filter(None, sections))}


# The runs

def _headline(report):
    """Return the lines at the top: of a comparison its sentence, its table and what is to be known of it."""
    outcome = report.get("outcome", {"sentences": summary.headlines(report), "rows": [], "remarks": []})
    parts = ['<p class="headline">%s</p>' % _escaped(line) for line in outcome["sentences"]]
    if outcome["rows"]:
        rows = [[_Cell(row[0], "wrap")] + row[1:] for row in outcome["rows"]]
        parts.append(_table(rows, "the comparison"))
    return "\n".join(parts + [_paragraph(remark) for remark in outcome["remarks"]])


def _runs(report):
    noted = any(run["notes"] for run in report["runs"])
    rows = [["run", "seed", "iterations", "last training loss", _Cell("how it ended", "text"),
             _Cell("evaluated", "text")] + [_Cell("notes", "text")] * noted]
    for run in report["runs"]:
        loss = run["figures"].get("training loss")
        bad = run["status"].startswith(("diverged", "failed", "cut off"))
        rows.append([run["name"], run["seed"], run["iterations"] and run["iterations"][1],
                     loss and _Cell(loss["text"], "", "iteration %d" % loss["iteration"]),
                     _Cell(run["status"], "wrap bad" if bad else "text"),
                     _Cell(run["snapshot"] and run["snapshot"].replace("\\", "/").split("/")[-1], "text")]
                    + [_Cell("; ".join(run["notes"]), "wrap")] * noted)
    return _table(rows, "the runs") + _tests(report)


def _tests(report):
    """Return a table of the last and the best value of each test output that is shown by itself."""
    rows = [["run", "seed", _Cell("output", "text"), "last", "best"]]
    for run in report["runs"]:
        for family, names in summary.families(run["figures"]).items():
            figure = run["figures"][names[0]]
            if len(names) <= summary.MOST_ALONE and family.startswith("test "):
                best = figure["best"] is not None and _Cell(summary.exact(figure["best"]), "",
                                                            "iteration %d" % figure["best_iteration"])
                rows.append([run["name"], run["seed"], _Cell(family, "text"),
                             _Cell(figure["text"], "", "iteration %d" % figure["iteration"]), best or None])
    return "\n" + _table(rows, "test outputs in the logs") if len(rows) > 1 else ""


def _curves(report):
    rates = set(rate for run in report["runs"] for rate in run["curves"].get("learning rate", {"values": []})["values"])
    names = list(collections.OrderedDict.fromkeys(
        name for run in report["runs"] for name, curve in run["curves"].items()
        if not (name == "learning rate" and min(len(curve["values"]), len(rates)) < 2
                or name in _same_as_the_loss(run))))
    if not names:
        return None
    text = ""
    if any(len(method["seeds"]) > 1 for method in report["methods"]):
        text += ("Bold: the mean over the seeds, in a band that is its %d %% interval; with two seeds only, and where "
                 "seeds were not measured at the same iterations, each has a thin line. " % PERCENT)
    if any("diverged" in run["status"] for run in report["runs"]):
        text += "A cross marks the last value before NaN or infinity. "
    if any(len(curve["values"]) > charts.MOST_POINTS for run in report["runs"] for curve in run["curves"].values()):
        text += "Of more than %d points the lines show means of neighbours; what is said is as in the log. " % (
            charts.MOST_POINTS)
    if any(abs(value or 0) > charts.LARGEST for run in report["runs"] for curve in run["curves"].values()
           for value in curve["values"]):
        text += "Values beyond %g are not drawn. " % charts.LARGEST
    families = list(summary.families(names).items())
    if len(families) > MOST_PICTURES:
        text += "%d more outputs are in --json and --csv. " % sum(len(of) for _, of in families[MOST_PICTURES:])
    pictures = [_spread_of(report, family, of) if len(of) > summary.MOST_ALONE else _curves_of(report, family)
                for family, of in families[:MOST_PICTURES]]
    return _section("Training", _paragraph(text) if text else None, _figures(pictures))


def _same_as_the_loss(run):
    """Return the training outputs of a run that add nothing to its loss: the only one."""
    outputs = [name for name in run["curves"] if name.startswith("training output")]
    return outputs if len(outputs) == 1 and "training loss" in run["curves"] else []


def _runs_of(report, method, names):
    """Return (iterations, values) of each curve of some names of a method."""
    series = [run["curves"][name] for run in report["runs"] if run["name"] == method["name"]
              for name in names if name in run["curves"]]
    return [(one["iterations"], np.array(one["values"], float)) for one in series]


def _curves_of(report, name):
    curves = [charts.Curve(method["name"], _runs_of(report, method, [name])) for method in report["methods"]]
    ends = ["%s ends at %s" % (curve.name, ", ".join(summary.exact(y[-1]) for _, y in curve.runs if len(y)))
            for curve in curves if curve.runs]
    picture = charts.curves(curves, name, name == "learning rate", _bounds(name, curves))
    return _figure(picture, name, "%s by iteration, %s: %s" % (
        name, "a line for each run" if len(curves) > 1 else "a line", "; ".join(ends)))


def _bounds(name, curves):
    """Return the bounds of an output that is a share by its name and by its values."""
    values = np.concatenate([y for curve in curves for _, y in curve.runs] or [[]])
    values = values[np.isfinite(values)]
    is_share = SHARE.search(name) and values.size and values.min() >= 0 and values.max() <= 1
    return (0, 1) if is_share else charts.NO_BOUNDS


def _spread_of(report, family, names):
    curves = [charts.Curve(method["name"], _runs_of(report, method, names)) for method in report["methods"]]
    text = "%s: the median of %d outputs, and from the least to the greatest" % (family, len(names))
    return _figure(charts.spread(curves, family, _bounds(family, curves)), text,
                   "%s by iteration, a line and a band for each method" % text)


# The decisions

def _scores(report, methods, metrics):
    costs = report["D"] is not None
    rows = [["method"] + [_Cell("decision", "text")] * costs + [metric.title for metric in metrics]]
    for method, decision in decisions(methods):
        scores = method["evaluation"][decision]["scores"]
        rows.append([method["name"]] + [_Cell(DECISIONS[decision], "text")] * costs
                    + [_interval_cell(metric.form, scores[metric.key]) for metric in metrics])
    text = "On %s. " % ", ".join(sorted(set(run["source"] for run in report["runs"] if run["evaluation"])))
    if any(len(method["seeds"]) > 1 for method in methods):
        text += "Mean over the seeds, and below it the interval: %s. " % INTERVALS
    else:
        text += "One run of a method says nothing of the spread between seeds: name several of the same name. "
    if not costs:
        text += "With --distances or --tree, which say how bad each mistake is, there are costs here too."
    return _section("Decisions on the test data", _paragraph(text), _table(rows, "scores of each method"))


def _differences(report, metrics):
    if not report["differences"]:
        return None
    rows = [["what, against what", "pairs"] + [metric.title for metric in metrics]]
    for difference in report["differences"]:
        (of, decision), (start, start_decision) = difference["of"], difference["from"]
        what = ("%s, against %s" % (of, start) if of != start else
                "%s: deciding for the %s, against the %s" % (of, DECISIONS[decision], DECISIONS[start_decision]))
        rows.append([_Cell(what, "wrap"), difference["seeds"]] + [
            _difference_cell(metric, difference["scores"][metric.key]) for metric in metrics])
    text = ('Mean of the paired differences, and below it the %d %% interval; "better" or "worse" where the interval '
            "leaves out 0. The first method is what the others are compared with. Of %d such comparisons of things "
            "that are the same, one is expected to leave out 0." % (PERCENT, round(1 / (1 - LEVEL))))
    return _section("Differences, seed by seed", _paragraph(text), _table(rows, "paired differences"))


def _recalls(report, methods, names):
    first = methods[0]["evaluation"][PROBABLE]
    n_runs = sum(1 for run in report["runs"] if run["name"] == methods[0]["name"] and run["evaluation"])
    counts = np.sum(first["confusion"], axis=1) // n_runs
    shown = np.arange(len(names))
    text = "With the %d %% interval over several seeds; in brackets how many test samples. " % PERCENT
    if len(names) > MOST_RECALLS:
        shown = summary.lowest_first(first["recalls"])[:MOST_RECALLS]
        text += "The %d classes of %d with the lowest recall by %s; --json has all. " % (
            len(shown), len(names), methods[0]["name"])
    n_pictures = -(-len(shown) // charts.MOST_CLASSES)
    figures = []
    for _, decision in decisions(methods[:1]):
        for number, part in enumerate(np.array_split(shown, n_pictures)):
            rows = [(method["name"], [Interval(**method["evaluation"][decision]["recalls"][label]) for label in part])
                    for method in methods]
            described = "; ".join("%s: %s" % (name, ", ".join(
                "%s %s" % (names[label], _number("%.2f", recall.mean)) for label, recall in zip(part, recalls)))
                for name, recalls in rows[:3])
            caption = "Deciding for the " + DECISIONS[decision]
            if n_pictures > 1:
                caption += ", %d of %d" % (number + 1, n_pictures)
            figures.append(_figure(charts.recalls([names[label] for label in part], counts[part], rows), caption,
                                   "recall of each class. " + described))
    return _section("Recall of each class", _paragraph(text), _figures(figures))


def _confusions(report, methods, names):
    figures = []
    if report["D"] is not None:
        figures.append(_figure(charts.matrix(report["D"], report["classes"], "cost D"), "What each mistake costs",
                               "heat map of the costs D, true class by predicted class"))
    for method, decision in decisions(methods):
        confusion = np.array(method["evaluation"][decision]["confusion"])
        of_class = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        title = "%s, %s" % (method["name"], DECISIONS[decision])
        figures.append(_figure(charts.matrix(of_class, report["classes"], "% of the true class", (0, 100)), title,
                               "heat map of the confusion matrix of %s, true class by predicted class, in %% of the "
                               "true class; the table below lists the costliest confusions" % title))
    tables = ["<div><h3>%s</h3>%s</div>" % (_escaped(method["name"]), _costliest(report, method, names))
              for method in methods]
    return _section("What is taken for what", _paragraph(
        "Rows are true classes, columns what was decided for; the seeds of a method are added up."), _figures(figures),
        _paragraph("The confusions that cost the most in all, deciding for the most probable class:" if report["D"]
                   else "The most frequent confusions:"), _figures(tables))


def _costliest(report, method, names):
    confusion, costs = np.array(method["evaluation"][PROBABLE]["confusion"]), report["D"] is not None
    D = np.array(report["D"]) if costs else np.ones(confusion.shape)
    paid = confusion * D
    np.fill_diagonal(paid, 0)
    order = [cell for cell in np.argsort(-paid, axis=None, kind="mergesort")[:MOST_COSTLY] if paid.flat[cell]]
    if not order:
        return _paragraph("None: every decision is right.")
    rows = [["true class", _Cell("taken for", "text"), "samples", "of the class"]
            + ["cost of each", "share of all costs"] * costs]
    for cell in order:
        true, decided = np.unravel_index(cell, paid.shape)
        rows.append([names[true], _Cell(names[decided], "text"), int(confusion[true, decided]),
                     "%.1f %%" % (100 * confusion[true, decided] / confusion[true].sum())]
                    + ["%.4g" % D[true, decided], "%.1f %%" % (100 * paid[true, decided] / paid.sum())] * costs)
    return _table(rows, "costliest confusions of " + method["name"])


def _calibration(methods):
    picture = charts.reliability([(method["name"], method["evaluation"][PROBABLE]["bins"]) for method in methods])
    errors = ["%s %s" % (method["name"], _number(
        "%.3f", method["evaluation"][PROBABLE]["scores"]["calibration"]["mean"])) for method in methods]
    return _section("Confidence", _paragraph(
        "Deciding for the most probable class: above the dotted line the net is right more often than it is sure, "
        "below it the net is too sure. A net trained with gains or weights is not meant to be calibrated."),
        _figures([_figure(picture, "Reliability", "fraction of right decisions by confidence; expected calibration "
                          "error " + "; ".join(errors))]))


def _meanings(report, metrics):
    metrics = metrics + [metric for metric in rules.metrics_of_rules(report["top"], report["n_classes"], False)
                         if metric.key == "top_accuracy"]
    meanings = "".join("<dt>%s</dt><dd>%s.</dd>" % (_escaped(metric.title), _escaped(metric.explanation))
                       for metric in metrics)
    if report["D"] is not None:
        meanings += ("<dt>%s</dt><dd>decides for the class k of smallest sum_j p_j D[j, k], p the net's "
                     "probabilities: what is gained by costs at test time alone.</dd>" % DECISIONS[CHEAPEST])
    return _section("What the figures mean", "<dl>%s</dl>" % meanings)


def _which_decision(report):
    """Return the section on the rules to decide by: a table of all, the best in bold, and what is best in words."""
    costs, several = report["D"] is not None, len(report["decisions"]) > 1
    metrics = rules.metrics_of_rules(report["top"], report["n_classes"], costs, report["spatial"])
    deciding = rules.deciding_metric(costs)
    rows = [["method"] * several + ["decision"] + [metric.title for metric in metrics]]
    for decision in report["decisions"]:
        for key in decision["rules"]:
            best = " best" if key == decision["best"] else ""
            cells = [_rule_cell(decision, key, metric, best * (metric.key == deciding.key)) for metric in metrics]
            rows.append([decision["name"]] * several + [_Cell(rules.TITLES[key], "text" + best)] + cells)
    text = ("Other decisions by the probabilities p of the trained net. Class weights w decide for the class k of the "
            "largest w_k p_k, with costs for that of the smallest sum_j w_j p_j D[j, k]. Calibrated: the scores are "
            "divided by a temperature, which is fitted on one half of the test data and applied to the other, both "
            "ways. In the first row the interval stands below each figure, in the others that of the difference from "
            "the first, shaded where it leaves out 0 (blue: better, orange: worse): %s. Bold is the decision of the "
            "best %s, or a simpler one that differs from it by no more than noise; none, if that is so of the first. "
            "As it is chosen on these test data, it may gain a little less on others." % (
                "; ".join(_unique(one["intervals"] for one in report["decisions"])), deciding.title))
    notes = _unique(note for one in report["decisions"] for note in one["notes"])
    ends = ['<p class="headline">%s</p>\n%s' % (_escaped(one["sentence"]), _scrolling(
        "<code>%s</code>" % _escaped(one["command"]), "the command that builds it")) for one in report["decisions"]]
    return _section("Which decision?", _paragraph(text), _table(rows, "scores of each decision"),
                    _paragraph("; ".join(notes)) if notes else None, _paragraph(
                        "The last line builds the decision into the net. A temperature in it is fitted on all test "
                        "data."), *ends)


def _unique(texts):
    return list(collections.OrderedDict.fromkeys(texts))


def _rule_cell(decision, key, metric, kind):
    """Return the cell of a rule and a metric: the score, and its interval or that of the difference from the first."""
    score, difference = decision["scores"][key][metric.key], decision["differences"].get(key)
    if difference is None:
        return _interval_cell(metric.form, score)
    cell = _difference_cell(metric, difference[metric.key])
    detail = cell and cell.detail
    return _Cell(_number(metric.form, score["mean"]), ((cell.kind if cell else "") + kind).strip(), detail)


def _number(form, value):
    return "NaN" if value is None else form % value


# HTML

# A cell of a table. kind: str, its CSS classes. detail: str, a second line, or None.
_Cell = collections.namedtuple("_Cell", "text kind detail")
_Cell.__new__.__defaults__ = ("", None)


def _interval_cell(form, interval, verdict=""):
    ends = [form % interval[end] for end in ("low", "high") if interval[end] is not None]
    return _Cell((_number(form, interval["mean"]) + " " + verdict).strip(), verdict, " to ".join(ends))


def _difference_cell(metric, interval):
    if interval["low"] is None:
        return None
    verdict = verdict_of(Interval(**interval), metric.smaller).replace(NOISE, "")
    return _interval_cell(metric.form.replace("%", "%+"), interval, verdict)


def _section(heading, *parts):
    return "<section>\n<h2>%s</h2>\n%s\n</section>" % (_escaped(heading), "\n".join(filter(None, parts)))


def _paragraph(text):
    return "<p>%s</p>" % _escaped(text)


def _table(rows, label):
    """Return a table whose first row is its head. rows: lists of _Cell, str, number or None."""
    lines = ["<tr>%s</tr>" % "".join(_cell(cell, "td" if i else "th") for cell in row) for i, row in enumerate(rows)]
    return _scrolling("<table>\n<thead>%s</thead>\n<tbody>\n%s\n</tbody></table>"
                      % (lines[0], "\n".join(lines[1:])), label)


def _cell(content, tag):
    content = content if isinstance(content, _Cell) else _Cell(content)
    text = _escaped("\u2013" if content.text in (None, "") else "%s" % content.text)
    if content.detail:
        text += "<small>%s</small>" % _escaped(content.detail)
    kind = ' class="%s"' % content.kind if content.kind else ""
    return "<%s%s%s>%s</%s>" % (tag, ' scope="col"' if tag == "th" else "", kind, text, tag)


def _figures(figures):
    return '<div class="figures">\n%s\n</div>' % "\n".join(figures)


def _figure(png, caption, description):
    width, height = [pixels // 2 for pixels in struct.unpack(str(">II"), png[16:24])]  # of the PNG's header
    least = ' style="min-width: %dpx"' % (LEAST * width) if width > WIDEST else ""
    image = '<img alt="%s" width="%d" height="%d"%s src="data:image/png;base64,%s">' % (
        _escaped(description), width, height, least, base64.b64encode(png).decode("ascii"))
    if least:
        image = _scrolling(image, caption)
    return "<figure><figcaption>%s</figcaption>%s</figure>" % (_escaped(caption), image)


def _scrolling(content, label):
    """Return HTML that scrolls in itself where the page is narrower."""
    return '<div class="scroll" role="region" tabindex="0" aria-label="%s">%s</div>' % (_escaped(label), content)


def _escaped(text):
    return escape(text, {'"': "&quot;", "'": "&#39;"})
