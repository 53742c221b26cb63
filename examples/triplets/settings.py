"""List the settings that were tried, and those that are compared in the end."""
from __future__ import division, print_function

import collections

# trunk: "mlp" or "conv". strategy: of TripletSelect, or None for the classifier. form: of TripletSoftmaxLoss.
# max_triplets: of TripletSelect. rate: the first learning rate; it falls to 0.
Setting = collections.namedtuple("Setting", "trunk strategy form max_triplets rate iterations")

# Chosen from these: trained on 50,000 of the training images, scored on the other 10,000 (train.py --validate).
TRIED = [Setting(*words) for words in (
    ("mlp", "random", "mse", None, .05, 2000),
    ("mlp", "random", "mse", None, .2, 2000),
    ("mlp", "random", "log", None, .1, 2000),
    ("mlp", "random", "log", None, .1, 5000),
    ("mlp", "all", "mse", 2000, .1, 2000),
    ("mlp", "all", "log", 2000, .1, 2000),
    ("mlp", "hardest", "mse", None, .05, 2000),
    ("mlp", "hardest", "mse", None, .01, 2000),
    ("mlp", "hardest", "log", None, .05, 2000),
    ("mlp", "semi_hard", "mse", None, .02, 2000),
    ("mlp", "semi_hard", "mse", None, .05, 2000),
    ("mlp", "semi_hard", "mse", None, .1, 2000),
    ("mlp", "semi_hard", "log", None, .05, 2000),
    ("mlp", "semi_hard", "log", None, .1, 2000),
    ("mlp", "semi_hard", "log", None, .2, 2000),
    ("mlp", "semi_hard", "log", None, .1, 5000),
    ("conv", "semi_hard", "mse", None, .05, 2000),
    ("conv", "semi_hard", "log", None, .1, 2000),
    ("conv", "semi_hard", "log", None, .1, 4000),
    ("mlp", None, None, None, .05, 2000),
    ("mlp", None, None, None, .05, 5000),
    ("conv", None, None, None, .05, 2000))]

# What is compared on the test images, trained on all training images: these are the files NAME_train_val.prototxt.
Method = collections.namedtuple("Method", "name title setting")
METHODS = [
    Method("semi_hard", "semi_hard triplets", Setting("mlp", "semi_hard", "log", None, .1, 5000)),
    Method("random", "random triplets", Setting("mlp", "random", "log", None, .1, 5000)),
    Method("softmax", "control: a classifier", Setting("mlp", None, None, None, .05, 5000)),
]


def text(setting):
    """Return a setting in words."""
    loss = "softmax" if setting.strategy is None else "%s, %s" % (setting.strategy, setting.form)
    if setting.max_triplets is not None:
        loss += ", at most %d" % setting.max_triplets
    return "%s; %s; rate %g; %d" % (setting.trunk, loss, setting.rate, setting.iterations)
