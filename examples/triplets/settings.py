"""List the settings that the example trains: those that were tried, and those that are compared in the end."""
from __future__ import division, print_function

import collections

# trunk: a name of embedding_net.TRUNKS. strategy: of TripletSelect, or None for a classifier's
# SoftmaxWithLoss. form: of TripletSoftmaxLoss. max_triplets: of TripletSelect. rate: the first
# learning rate; it falls to 0.
Setting = collections.namedtuple("Setting", "trunk strategy form max_triplets rate iterations")


def _setting(trunk, strategy, rate=.05, iterations=2000, form="mse", max_triplets=None):
    return Setting(trunk, strategy, form, max_triplets, rate, iterations)


# Chosen from these: trained on 50,000 of the training images, scored on the other 10,000.
TRIED = [
    _setting("mlp", "random"),
    _setting("mlp", "random", .2),
    _setting("mlp", "random", .1, form="log"),
    _setting("mlp", "random", .1, 5000, form="log"),
    _setting("mlp", "all", .1, max_triplets=2000),
    _setting("mlp", "all", .1, form="log", max_triplets=2000),
    _setting("mlp", "hardest"),
    _setting("mlp", "hardest", .01),
    _setting("mlp", "hardest", form="log"),
    _setting("mlp", "semi_hard", .02),
    _setting("mlp", "semi_hard"),
    _setting("mlp", "semi_hard", .1),
    _setting("mlp", "semi_hard", form="log"),
    _setting("mlp", "semi_hard", .1, form="log"),
    _setting("mlp", "semi_hard", .2, form="log"),
    _setting("mlp", "semi_hard", .1, 5000, form="log"),
    _setting("conv", "semi_hard"),
    _setting("conv", "semi_hard", .1, form="log"),
    _setting("conv", "semi_hard", .1, 4000, form="log"),
    _setting("mlp", None),
    _setting("mlp", None, .05, 5000),
    _setting("conv", None),
]

# What is compared on the test images, trained on all training images: name, title, Setting.
Method = collections.namedtuple("Method", "name title setting")
METHODS = [
    Method("semi_hard", "semi_hard triplets", _setting("mlp", "semi_hard", .1, 5000, form="log")),
    Method("random", "random triplets", _setting("mlp", "random", .1, 5000, form="log")),
    Method("softmax", "control: a classifier", _setting("mlp", None, .05, 5000)),
]


def quick(method):
    """Return the same method with few iterations."""
    return method._replace(setting=method.setting._replace(iterations=30))


def text(setting):
    """Return a setting in words."""
    loss = "softmax" if setting.strategy is None else "%s, %s" % (setting.strategy, setting.form)
    if setting.max_triplets is not None:
        loss += ", at most %d" % setting.max_triplets
    return "%s; %s; rate %g; %d" % (setting.trunk, loss, setting.rate, setting.iterations)
