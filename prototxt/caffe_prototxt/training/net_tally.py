"""A trained net run on its test data, its decisions added up. Runs in the child process."""
from __future__ import division, print_function

import json
import os

import numpy as np

from caffe_losses.compat import to_str, to_unicode, unicode_type
from caffe_losses.evaluation.rules import IGNORED, Trial
from caffe_losses.evaluation.tally import Tally
from caffe_losses.functional.losses import softmax_parts
from caffe_prototxt.data.labels import count_source
from caffe_prototxt.training.predictions import Evaluation


def write_tally(settings, on_batch):
    """Run a net on its test data, and save n_classes, spatial, source, left_out and the arrays of its Tally as .npz.

    And comparable, JSON: "tested", {top: mean} of the solver's test after n_tests others, "accuracies" (tops),
    "n_tested" (the images of a test, or None), "n_images", and "is_epoch", whether they are each once.

    And trial, JSON: Trial.results, with "no_weights": str, why class weights do not fit the net, or None; "loss": the
    loss that has the scores, where the net has several, or None.

    settings: dict as JSON holds it, with paths of one character a byte.
        definition, snapshot, iterations, default_iterations, score, label, python: the arguments of Evaluation.
        n_tests: int, or None. gpu: int, or None for the CPU. n_names: int, the number of class names, or None.
        costs: a .npy with D; missing: no costs. top: int, as of Tally. output: the file to save.
        class_weights: a .npy; missing: none. are_given: bool, whether they are the user's, which must fit.
    on_batch: called with the number of all batches after each.
    Raises ValueError or IOError: the reason why the net cannot be evaluated.
    """
    import caffe
    paths = {key: _path(settings[key]) for key in ("definition", "snapshot", "costs", "class_weights", "output")
             if key in settings}
    settings = {key: to_str(value) if isinstance(value, unicode_type) else value for key, value in settings.items()}
    settings.update(paths)
    if settings["gpu"] is not None:
        caffe.set_device(settings["gpu"])
        caffe.set_mode_gpu()
    evaluation = Evaluation(*[settings[key] for key in (
        "definition", "snapshot", "iterations", "default_iterations", "score", "label", "python")],
        folder=os.path.dirname(settings["output"]))
    if settings["n_names"] not in (None, evaluation.n_classes):
        raise ValueError("--names: expected %d class names, as the net has, got %d"
                         % (evaluation.n_classes, settings["n_names"]))
    D = np.load(settings["costs"], allow_pickle=False) if "costs" in settings else None
    if D is not None and len(D) != evaluation.n_classes:
        raise ValueError("--distances or --tree: expected costs of %d classes, as the net has, got %d"
                         % (evaluation.n_classes, len(D)))
    weights, no_weights = _class_weights(settings, evaluation.n_classes)
    tally = Tally(evaluation.n_classes, D, settings["top"])
    n_images = evaluation.n_samples or evaluation.n_iterations * evaluation.batch
    trial = Trial(evaluation.n_classes, n_images, D, weights, settings["top"])
    for images, of_images in evaluation.images():
        scores, labels = evaluation.rows(images, of_images)
        if not evaluation.are_probabilities:
            _, e, s = softmax_parts(scores)
            scores = e / s[:, None]
        if len(labels):
            tally.add(scores, labels)
        trial.add(*_for_trial(evaluation, images, of_images))
        on_batch(evaluation.n_iterations)
    if not tally.n_samples():
        raise ValueError("%s: expected labels that are not ignored, got none" % evaluation.label_name)
    iterations, n_tests = settings["default_iterations"], settings.get("n_tests")
    comparable = {"tested": {} if n_tests is None else evaluation.tested(n_tests, iterations),
                  "accuracies": evaluation.accuracies(), "n_tested": (iterations or 0) * evaluation.batch or None,
                  "n_images": n_images, "is_epoch": bool(evaluation.n_samples)}
    np.savez(settings["output"], n_classes=evaluation.n_classes, spatial=evaluation.spatial,
             source=np.array(to_unicode(evaluation.source)), comparable=np.array(to_unicode(json.dumps(comparable))),
             trial=np.array(to_unicode(json.dumps(dict(trial.results(), no_weights=no_weights,
                                                       loss=evaluation.loss_name())))),
             left_out=np.array([to_unicode(note) for note in evaluation.left_out], dtype=u"U"), **tally.arrays)


def write_labels(settings):
    """Count the labels of a data set, and save the parts of LabelCounts as .npz.

    settings: dict as JSON holds it, with paths of one character a byte: source, dataset, pixels, root_folder and
    seconds, the arguments of count_source, and output, the file to save. Raises as count_source.
    """
    source, dataset, root_folder, output = [_path(settings[key]) for key in (
        "source", "dataset", "root_folder", "output")]
    counts = count_source(source, dataset, settings["pixels"], root_folder, settings["seconds"])
    np.savez(output, values=counts.values, counts=counts.counts, unit=np.array(to_unicode(counts.unit)),
             first=np.array([to_unicode(first) for first in counts.first], dtype=u"U"), complete=counts.complete)


def _class_weights(settings, n_classes):
    """Return (class weights or None, why those of the training data do not fit the net, or None)."""
    if "class_weights" not in settings:
        return None, None
    weights = np.load(settings["class_weights"], allow_pickle=False)
    if settings["are_given"] and len(weights) != n_classes:
        raise ValueError("--class-weights: expected %d numbers, as the net has classes, got %d"
                         % (n_classes, len(weights)))
    if len(weights) > n_classes:
        return None, "expected labels of %d classes, as the net has, got %d" % (n_classes, len(weights))
    return np.append(weights, np.zeros(n_classes - len(weights))), None  # classes that no training label is of


def _for_trial(evaluation, scores, labels):
    """Return what Evaluation.images yields as Trial takes it."""
    if evaluation.are_probabilities:
        scores = np.log(np.maximum(scores, 1e-30))
    if evaluation.ignore_label is not None:
        labels = np.where(labels == evaluation.ignore_label, IGNORED, labels)
    return scores, labels.astype(np.int64)


def _path(text):
    """Return the path, as this Python has it, of a text of one character a byte."""
    path = text.encode("latin-1")
    return path if isinstance(path, str) else os.fsdecode(path)
