"""The outcome of a comparison: which variant and decision helped, in a sentence, and the tables in markdown."""
from __future__ import division, print_function

import collections

from caffe_losses.evaluation import comparison, rules
from caffe_losses.evaluation.intervals import PERCENT
from caffe_losses.evaluation.tally import PROBABLE, metric_list
from caffe_tools.report import summary

# A variant and a rule to decide by. values: {seed: value of the deciding metric}. difference: Interval, to the first
# way. verdict: of comparison.
Way = collections.namedtuple("Way", "method rule values difference verdict")


def ways_of(results, metric):
    """Return the Ways of results, each compared with the first, which decides by PROBABLE, in the seeds of both.

    Empty where the first variant was not evaluated.
    """
    values = collections.OrderedDict()
    for run in results:
        for key in run["decisions"]["rules"] if run["decisions"] else ():
            mean = run["decisions"]["scores"][key][metric.key]["mean"]
            if mean is not None:
                values.setdefault((run["name"], key), {})[run["seed"]] = mean
    first = values.get((results[0]["name"], PROBABLE))
    if not first:
        return []
    both = {way: sorted(set(first) & set(of_way)) for way, of_way in values.items()}
    return [Way(way[0], way[1], of_way, *comparison.compare(metric, *[[of[seed] for seed in both[way]]
                                                                    for of in (first, of_way)]))
            for way, of_way in values.items() if both[way]]


def rows(report, ways, metric, missing):
    """Return the rows of a table with a head: of each way its change, its verdict and its figures.

    Without the decisions of a variant that are no better than its PROBABLE one. missing: names of variants of which a
    seed at least was not evaluated.
    """
    metrics = [listed for listed in metric_list(report["top"], report["D"] is not None, report["spatial"])
               if listed.key in ("accuracy", "balanced", "cost", "mean_iu")]
    found = [[u"variant", u"change in %s" % metric.title, u"verdict"] + [listed.title for listed in metrics]]
    methods = {method["name"]: method["evaluation"] for method in report["methods"] if method["evaluation"]}
    of_rules = {decision["name"]: decision["scores"] for decision in report["decisions"]}
    for way in ways:
        probable = next(other for other in ways if other[:2] == (way.method, PROBABLE))
        if way.rule != PROBABLE and not (way.verdict == comparison.BETTER and _is_better(way, probable, metric)):
            continue
        scores = methods[way.method][PROBABLE]["scores"] if way.rule == PROBABLE else of_rules[way.method][way.rule]
        n_seeds = u"" if way.method not in missing else u", %d of %d seeds" % (len(way.values), len(ways[0].values))
        found.append([_name(way), _change(way, metric), _verdict_in_words(way) + n_seeds] + [
            summary.number(listed.form, scores[listed.key]["mean"]) if listed.key in scores else u""
            for listed in metrics])
    found[1][1:3] = [u"", u""]
    return found + [[name, u"", u"not evaluated"] + [u""] * len(metrics) for name in missing if name not in methods]


def remarks(ways):
    """Return what is to be known of the comparisons, a list of str."""
    if not ways:
        return []
    found = ["compared on the test data, with %s in %d ways: of so many about %.2g would be better by chance alone"
             % (ways[0].method, len(ways) - 1, (len(ways) - 1) * (1 - PERCENT / 100) / 2)]
    values = list(ways[0].values.values())
    if len(values) > 1 and len(set(values)) == 1:
        found.append("all seeds of %s gave the same: where nothing is drawn (all weights come from a file, and "
                     "the data are in the same order) they are copies of one, and say nothing of the noise" % ways[0].method)
    return found


def _verdict_in_words(way):
    return way.verdict if len(way.values) > 1 else "one seed"


def best_way(ways, metric, n_parts):
    """Return the Way that helped most, or None if none is better than the first by more than noise.

    Of those that are better, and of which no other is better by more than noise than the one of the best mean, the one
    of the fewest parts: a decision at test time before a training with another loss, and each before both.

    n_parts: as of Variants.n_parts.
    """
    better = sorted([way for way in ways if way.verdict == comparison.BETTER],
                    key=lambda way: _mean(way) * (1 if metric.smaller else -1))
    as_good = [way for way in better if way is better[0] or _verdict(way, better[0], metric) == comparison.NOISE]
    return min(as_good, key=lambda way: (n_parts[way.method] + _n_parts(way.rule), way.method != ways[0].method)
               ) if as_good else None


def _verdict(before, after, metric):
    seeds = sorted(set(before.values) & set(after.values))
    return comparison.compare(metric, *[[way.values[seed] for seed in seeds] for way in (before, after)])[1]


def _n_parts(key):
    rule = next(rule for rule in rules.RULES if rule.key == key)
    return rule.weights + rule.costs + rule.calibrated


def sentence(ways, best, metric, controls):
    """Return what helped, and by how much, or that nothing did. controls: names of the variants that are so for H."""
    if not ways:
        return "no comparison: the net as it is was not evaluated"
    title, first = metric.title, ways[0]
    n_seeds = len(first.values)
    if best is None and n_seeds == 1:
        return "one seed says nothing of the noise, and so not what helps: --seeds 3 or more"
    if best is None:
        return "nothing helped: of %d variants and decisions none has a better %s than %s (%s) by more than noise%s" % (
            len(ways) - 1, title, first.method, metric.form % _mean(first),
            "" if n_seeds > 5 else "; more seeds make the noise smaller: --seeds 10")
    words = "%s helped: %s %s, %s than the %s of %s" % (
        _name(best), title, metric.form % _mean(best), _size(best, metric), metric.form % _mean(first), first.method)
    rivals = [way for way in ways if way.verdict == comparison.BETTER and _is_better(way, best, metric)]
    if rivals:
        rival = min(rivals, key=lambda way: _mean(way) * (1 if metric.smaller else -1))
        words += "; %s (%s) is better by no more than noise" % (_name(rival), metric.form % _mean(rival))
    others = [way for way in ways if way.method in controls and way.rule == best.rule] if best.method == "H" else []
    return words + "; the controls: %s" % ", ".join(
        "%s %s" % (way.method, metric.form % _mean(way)) for way in others) * bool(others)


def _is_better(way, other, metric):
    return _mean(way) != _mean(other) and (_mean(way) < _mean(other)) == metric.smaller


def _change(way, metric):
    form, (mean, low, high, _) = metric.form.replace("%", "%+"), way.difference
    return form % mean + ("" if low is None else " (%s to %s)" % (form % low, form % high))


def _mean(way):
    return sum(way.values.values()) / len(way.values)


def _name(way):
    return way.method if way.rule == PROBABLE else "%s with the decision by %s" % (way.method, rules.TITLES[way.rule])


def _size(way, metric):
    low, high = sorted(map(abs, (way.difference.low, way.difference.high)))
    return "%s (%s to %s) %s" % (tuple(metric.form % size for size in (abs(way.difference.mean), low, high))
                                 + ("less" if way.difference.mean < 0 else "more",))


def markdown(report):
    """Return the outcome and the tables of a report as markdown, unicode."""
    outcome, lines = report["outcome"], [u"# " + report["title"], u""]
    lines += outcome["sentences"] + [u""]
    for rows_of_one in (outcome["rows"], summary.scores(report), summary.recalls(report)) if outcome["rows"] else ():
        lines += [u"| %s |" % u" | ".join(cell.replace(u"|", u"\\|") for cell in row) for row in
                  [rows_of_one[0], [u"---"] + [u"---:"] * (len(rows_of_one[0]) - 1)] + rows_of_one[1:]] + [u""]
    return u"\n".join(lines + [u"- " + remark for remark in outcome["remarks"]]) + u"\n"
