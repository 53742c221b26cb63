"""Choose the settings that `study.py --validate` found best on validation images."""
from __future__ import division, print_function

import collections
import json

import numpy as np

import files

# How many training images of each class are kept for validation.
N_VALIDATION = 100


def validation():
    """Return what every setting was worth, as in validation.json."""
    return json.loads(files.read_text("study", "validation.json"))


def rates(tried):
    """Return {cell name: the learning rate with the highest mean recall}; of equal ones the lower."""
    best = {}
    for one in sorted(tried, key=lambda one: one["rate"]):
        best[one["cell"]] = max(best.get(one["cell"], (-1, 0)), (np.mean(one["accuracy"]), -one["rate"]))
    return {cell: -rate for cell, (_, rate) in best.items()}


def settings(found):
    """Return the rates and taus that were best, {field of a Cell: {cell name: number}}: what cells.grid takes."""
    return dict({field: rates(found[field + "s"]) for field in ("rate", "weighted_rate", "adjusted_rate")},
                tau=taus(found))


def dense_rates(found):
    """Return the learning rates of scenes with the highest mean IU: without weights and with."""
    return [max((np.mean(one["mean_iu"]), -one["rate"], one["rate"]) for one in found["dense_rates"]
                if one["method"] == method)[2] for method in ("none", "median")]


def taus(found):
    """Return {cell name: the tau with the lowest mean cost over the nets of its size}; of equal ones the lower."""
    costs = mean_costs(found)
    return {one["cell"]: min(sorted(costs[group(one["cell"])]), key=costs[group(one["cell"])].get)
            for one in found["taus"]}


def mean_costs(found):
    """Return {group: {tau: mean cost}}."""
    costs = collections.OrderedDict()
    for one in found["taus"]:
        costs.setdefault(group(one["cell"]), {}).setdefault(one["tau"], []).extend(one["cost"])
    return collections.OrderedDict((of, {tau: float(np.mean(values)) for tau, values in of_group.items()})
                                   for of, of_group in costs.items())


def group(cell):
    """Return the name of a cell without that of the net."""
    return cell.rsplit("_", 1)[0]
