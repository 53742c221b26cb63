"""The settings that `study.py --validate` found best on validation images."""
from __future__ import division, print_function

import collections
import json
import os

import numpy as np

# How many training images of each class are kept for validation.
N_VALIDATION = 100

HERE = os.path.dirname(os.path.abspath(__file__))


def validation():
    """validation.json: what every setting was worth."""
    with open(os.path.join(HERE, "validation.json")) as file:
        return json.load(file)


def rates(found):
    """{cell name: the learning rate with the highest mean recall}; of equal ones the lower."""
    best = {}
    for one in sorted(found["rates"], key=lambda one: one["rate"]):
        best[one["cell"]] = max(best.get(one["cell"], (-1, 0)), (np.mean(one["accuracy"]), -one["rate"]))
    return {cell: -rate for cell, (_, rate) in best.items()}


def tau(found):
    """The tau with the lowest mean cost, averaged over the cells."""
    costs = collections.defaultdict(list)
    for one in found["taus"]:
        costs[one["tau"]] += one["cost"]
    return min(sorted(costs), key=lambda tau: np.mean(costs[tau]))
