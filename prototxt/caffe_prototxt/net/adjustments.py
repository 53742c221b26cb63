"""Logit adjustment in a net: a Bias layer that adds the log prior of the classes to the scores of a loss, in TRAIN."""
from __future__ import division, print_function

import collections

from caffe_losses.compat import to_display
from caffe_losses.layers import param_str
from caffe_prototxt.net.losses import python_class
from caffe_prototxt.net.matrix_sources import MODULE

LOG_PRIOR = "LogPrior"
# The ending of the name of a Bias layer, which has the log prior in its weights if it takes none.
PLUS_LOG_PRIOR = "_plus_log_prior"

# scores: the blob that the log prior is added to. adding: the Bias layers. priors: the LogPrior layers that they take;
# none: the log prior is in their weights. passing: the layers that pass the scores on elsewhere than in TRAIN.
Adjustment = collections.namedtuple("Adjustment", "scores adding priors passing")


def adjustment(layer, blob):
    """Return the Adjustment by which a blob is made that a layer of a net comes after, or None."""
    makers = layer.net.makers(layer, blob)
    adding = [maker for maker in makers if is_adding(maker)]
    passing = [maker for maker in makers if maker.type == "Split" and len(maker.tops) == 1]
    scores = set(maker.bottoms[0] for maker in adding + passing if maker.bottoms)
    if not adding or len(scores) != 1 or len(adding + passing) < len(makers):
        return None
    return Adjustment(scores.pop(), adding, [prior for maker in adding for prior in priors(maker)], passing)


def scores_alone(layer, blob):
    """Return the blob with the scores that a loss gets, without the log prior that is added to them in TRAIN."""
    found = adjustment(layer, blob)
    return found.scores if found else blob


def is_adding(layer):
    """Return whether a layer adds a log prior."""
    return bool(priors(layer)) or has_prior_in_weights(layer)


def has_prior_in_weights(layer):
    """Return whether a layer adds a log prior that is in its weights."""
    return layer.type == "Bias" and len(layer.bottoms) == 1 and layer.name.endswith(PLUS_LOG_PRIOR)


def priors(layer):
    """Return the LogPrior layers that a Bias layer takes."""
    if layer.type != "Bias" or len(layer.bottoms) != 2:
        return []
    return [maker for maker in layer.net.makers(layer, layer.bottoms[1]) if is_log_prior(maker)]


def is_log_prior(layer):
    """Return whether a layer is of the class LogPrior."""
    return python_class(layer) == (MODULE, LOG_PRIOR)


def keys(prior):
    """Return the keys in the param_str of a LogPrior layer, unchecked; of one that cannot be read none."""
    try:
        return param_str.read_object(to_display(prior.value_in("python_param", "param_str", "")))
    except ValueError:
        return {}
