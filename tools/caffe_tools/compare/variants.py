"""The variants of a net that are compared: other losses and matrices, made as make_h.py and use_loss.py make them."""
from __future__ import division, print_function

import collections
import os
import shlex
import subprocess
import sys

from caffe_losses.compat import from_display, to_display, to_str
from caffe_losses.formats.matrix_files import write_matrix
from caffe_losses.matrices.class_weights import class_weights
from caffe_losses.matrices.costs import shuffled_costs
from caffe_losses.matrices.gains import equal_smoothing, gain_from_costs, smoothed_identity, weighted_gain
from caffe_prototxt.net import losses
from caffe_prototxt.net.adjustments import LOG_PRIOR, adjustment
from caffe_prototxt.net.matrix_sources import FileMatrix, LayerMatrix
from caffe_prototxt.net.nets import Net
from caffe_prototxt.rewrite import plan, verify
from caffe_tools import cli

# title: as tables show it. gain: a function of a Setting and a seed that gives H before the weights, or None.
# weighted: whether class weights are in H. like: the Variant whose setting it takes, or None: its own is chosen.
# words: options of use_loss.py for a variant without a matrix of ours, or None: the net as it is. adjusted: whether
# use_loss.py --logit-adjust makes it.
Variant = collections.namedtuple("Variant", "title gain weighted like words adjusted")
Variant.__new__.__defaults__ = (False,)

# tau, power: of the matrix, None where the variant has none. lr: what base_lr is multiplied by. strength: of logit
# adjustment, or None.
Setting = collections.namedtuple("Setting", "tau power lr strength")


class Change(object):
    """A change of a net's losses, as use_loss.py makes it. text: str, of the net, one character a byte.

    names: of losses; every: whether all of them change. loss: name of the Kind that they become, or None.
    Raises ValueError for a net without such losses.
    """

    def __init__(self, text, names, every, loss):
        self.text, self._names, self._every, self._loss = text, names, every, loss
        self._net = Net(text, losses.is_classic())
        layers = losses.find_losses(self._net)
        if not layers:
            raise ValueError("expected a loss that use_loss.py can change, got none")
        selected = losses.select(layers, names, every)
        if selected is None:
            raise ValueError("expected --layer NAME or --all, as there are %d losses: %s" % (
                len(layers), ", ".join(to_display(layer.name) for layer in layers)))
        self._losses = list(map(losses.read_loss, selected))

    def check_classes(self, what, n_classes):
        """Raise ValueError where the scores have another number of classes than what a user gave."""
        for loss in self._losses:
            expected = loss.n_classes()
            if expected not in (None, n_classes):
                raise ValueError("%s: expected %d classes, as the scores of %s have, got %d"
                                 % (what, expected, loss.layer, n_classes))

    def title(self):
        """Return in words what the losses are without a change."""
        return self._losses[-1].kind.name + ", logit-adjusted" * self.is_adjusted()

    def is_adjusted(self):
        """Return whether the net has logit adjustment already."""
        return any(adjustment(loss.layer, loss.scores) for loss in self._losses)

    def which(self):
        """Return the options of use_loss.py that say which losses change."""
        return sum((["--layer", to_display(name)] for name in self._names), []) + ["--all"] * self._every

    def options(self):
        """Return the options of use_loss.py that say which losses become what."""
        return self.which() + (["--loss", self._loss] if self._loss else [])

    def with_matrix(self, path):
        """Return the text of the net with H of a file."""
        request = plan.Request(losses.KINDS.get(self._loss), FileMatrix(from_display(path)), None)
        return self._written(plan.plan(self._net, self._losses, request))

    def with_log_prior(self, counts, strength=1):
        """Return the text of the net with logit adjustment. counts: samples of each class, a list."""
        prior = plan.Prior(LayerMatrix("Python", None, LOG_PRIOR, {"counts": counts, "strength": strength}), None)
        return self._written(plan.plan_adjustments(self._net, [(loss, prior) for loss in self._losses]))

    def _written(self, planned):
        after = plan.write(self.text, planned)
        verify.verify(self._net, after, planned)
        return after


class Variants(object):
    """The variants of a net, in the order of tables, and the nets and matrices that they are trained with.

    path: str, the file of the net. folder: str, where nets and matrices go. change: Change.
    D: C x C costs, or None. cost_options: the options that name them.
    weights: training weights, or None: a dict with counts or weights, and the options of make_h.py that give them.
    adjusted: whether there is one with logit adjustment. others: list of (title, options of use_loss.py).
    """

    def __init__(self, path, folder, change, D, cost_options, weights, adjusted, others):
        self.path, self.folder, self.change, self.D = path, folder, change, D
        self.cost_options, self.weights, self._made = cost_options, weights, {}
        for what, of_classes in ((" ".join(cost_options), D), ("--class-weights", weights and weights["weights"])):
            if of_classes is not None:
                change.check_classes(what, len(of_classes))
        if adjusted and change.is_adjusted():
            raise ValueError("--logit-adjust: expected a net without logit adjustment to compare with, got one with "
                             "it; take it away: %s" % cli.command_line("use_loss.py", path, "--logit-adjust", "0"))
        self.listed = [Variant(change.title(), None, False, None, None)]
        if D is not None:
            H = Variant("H", self._gain, False, None, None)
            self.listed += [H, Variant("label smoothing", self._smoothing, False, H, None),
                            Variant("H, classes shuffled", self._shuffled, False, H, None)]
        if weights is not None:
            self.listed.append(Variant("class weights", None, True, None, None))
        if D is not None and weights is not None:
            self.listed.append(Variant("class weights and H", self._gain, True, None, None))
        self.listed += [Variant("logit adjustment", None, False, None, None, True)] * adjusted
        for title, words in others:
            if slug(title) in [slug(variant.title) for variant in self.listed]:
                raise ValueError("--variant %s: expected a name of its own, got that of another variant" % title)
            self.listed.append(Variant(title, None, False, None, words))

    def n_parts(self):
        """Return {title: the number of ways in which a variant differs from the net as it is}."""
        return {variant.title: bool(variant.gain) + variant.weighted + variant.adjusted + bool(variant.words)
                for variant in self.listed}

    def can_be_set(self, variant, chosen):
        """Return whether the settings that a variant takes from others are chosen. chosen: {title: Setting}."""
        needed = [variant.like.title] if variant.like else ["H", "class weights"] * bool(
            variant.gain and variant.weighted)
        return all(title in chosen for title in needed)

    def settings(self, variant, taus, powers, strengths, rates, chosen):
        """Return the Settings that a variant is to be tried with. chosen: {title: Setting} of the variants before."""
        if variant.like is not None:
            return [chosen[variant.like.title]]
        if variant.weighted and self.weights["counts"] is None:  # given weights are taken as they are
            powers = [1.]
        if variant.gain and variant.weighted:  # tau and power are those that are best alone
            taus, powers = [chosen["H"].tau], [chosen["class weights"].power]
        return [Setting(tau, power, rate, strength) for tau in (taus if variant.gain else [None])
                for power in (powers if variant.weighted else [None])
                for strength in (strengths if variant.adjusted else [None]) for rate in rates]

    def net_of(self, variant, setting, seed):
        """Return the text of a variant's net, one character a byte."""
        matrix = self._matrix(variant, setting, seed)
        if matrix is not None:
            return self.change.with_matrix(matrix)
        words = self._words(variant, setting)
        if words is None:
            return self.change.text
        name = slug(variant.title) + ("" if setting.strength is None else "_strength%g" % setting.strength)
        if name not in self._made:
            output = os.path.join(self.folder, name + ".prototxt")
            _run_tool("use_loss.py", [self.path, "-o", output] + words)
            self._made[name] = cli.read_net(output)
        return self._made[name]

    def _words(self, variant, setting):
        """Return the options of use_loss.py that make a variant without a matrix of ours, or None."""
        if variant.adjusted:
            return ["--logit-adjust", "%g" % setting.strength] + self.change.which()
        return variant.words

    def matrix_lines(self, variant, setting, output):
        """Return (the options of make_h.py that make a variant's H, those of use_loss.py that put it into the net)."""
        words = []
        if variant.title == "label smoothing":
            words = ["--smoothing", "%.6g" % equal_smoothing(self._gain(setting, 0)), "--n-classes", str(len(self.D))]
        elif variant.gain:
            words = self.cost_options + ["--tau", "%g" % setting.tau]
        if variant.weighted:
            words += self.weights["options"]
            words += [] if self.weights["counts"] is None else ["--power", "%g" % setting.power]
        return words and words + ["-o", output], self._words(variant, setting) or (
            ["--source", output] + self.change.options())

    def _matrix(self, variant, setting, seed):
        """Write the matrix of a variant, and return its file, or None if it has none."""
        if not variant.gain and not variant.weighted:
            return None
        H = variant.gain and variant.gain(setting, seed)
        if variant.weighted:
            H = weighted_gain(self._class_weights(setting.power), H)
        name = "_".join([slug(variant.title)] + ["%s%g" % pair for pair in zip(("tau", "power"), setting)
                                                 if pair[1] is not None]
                        + ["seed%d" % seed] * (variant.gain == self._shuffled))
        path = os.path.join(self.folder, name + ".binaryproto")
        if path not in self._made:
            write_matrix(path, H)
            self._made[path] = True
        return path

    def _class_weights(self, power):
        if self.weights["counts"] is None:
            return self.weights["weights"]
        return class_weights(self.weights["counts"], "balanced", power=power, scale="sample")

    def _gain(self, setting, _):
        return gain_from_costs(self.D, tau=setting.tau)

    def _smoothing(self, setting, seed):
        return smoothed_identity(len(self.D), equal_smoothing(self._gain(setting, seed)))

    def _shuffled(self, setting, seed):
        return gain_from_costs(shuffled_costs(self.D, seed), tau=setting.tau)


def other_variant(argument):
    """Return (title, options of use_loss.py) of NAME=OPTIONS. Raises ValueError."""
    title, _, options = argument.partition("=")
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise ValueError("--variant %s: expected options of use_loss.py (%s)" % (argument, error))
    if not title.strip() or not words:
        raise ValueError("--variant %s: expected NAME=OPTIONS, options of use_loss.py" % argument)
    return title.strip(), words


def slug(title):
    """Return a title as a part of a file's name."""
    return "".join(char if char.isalnum() or char in "-." else "_" for char in to_str(title))


def _run_tool(name, words):
    """Run another of the commands. Returns its standard output. Raises ValueError with its own message."""
    process = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)]
                               + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    out, err = process.communicate()
    if process.returncode:
        raise ValueError("%s: %s" % (cli.command_line(name, *words), (err.strip().splitlines() or ["failed"])[-1]))
    return out
