"""A trained net run on its test data, its decisions added up. Runs in the child process."""
from __future__ import division, print_function

import json
import os

import numpy as np

from caffe_losses.compat import to_str, to_unicode, unicode_type
from caffe_losses.evaluation.tally import Tally
from caffe_losses.functional.losses import softmax_parts
from caffe_prototxt.training.predictions import Evaluation


def write_tally(settings, on_batch):
    """Run a net on its test data, and save n_classes, spatial, source, left_out and the arrays of its Tally as .npz.

    And comparable, JSON: "tested", {top: mean} of the solver's test after n_tests others, "accuracies" (tops),
    "n_tested" (the images of a test, or None), "n_images", and "is_epoch", whether they are each once.

    settings: dict as JSON holds it, with paths of one character a byte.
        definition, snapshot, iterations, default_iterations, score, label, python: the arguments of Evaluation.
        n_tests: int, or None. gpu: int, or None for the CPU. n_names: int, the number of class names, or None.
        costs: a .npy with D; missing: no costs. top: int, as of Tally. output: the file to save.
    on_batch: called with the number of all batches after each.
    Raises ValueError or IOError: the reason why the net cannot be evaluated.
    """
    import caffe
    paths = {key: _path(settings[key]) for key in ("definition", "snapshot", "costs", "output") if key in settings}
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
    D = np.load(settings["costs"]) if "costs" in settings else None
    if D is not None and len(D) != evaluation.n_classes:
        raise ValueError("--distances or --tree: expected costs of %d classes, as the net has, got %d"
                         % (evaluation.n_classes, len(D)))
    tally = Tally(evaluation.n_classes, D, settings["top"])
    for scores, labels in evaluation.batches():
        if not evaluation.are_probabilities:
            _, e, s = softmax_parts(scores)
            scores = e / s[:, None]
        if len(labels):
            tally.add(scores, labels)
        on_batch(evaluation.n_iterations)
    if not tally.n_samples():
        raise ValueError("%s: expected labels that are not ignored, got none" % evaluation.label_name)
    iterations, n_tests = settings["default_iterations"], settings.get("n_tests")
    comparable = {"tested": {} if n_tests is None else evaluation.tested(n_tests, iterations),
                  "accuracies": evaluation.accuracies(), "n_tested": (iterations or 0) * evaluation.batch or None,
                  "n_images": evaluation.n_samples or evaluation.n_iterations * evaluation.batch,
                  "is_epoch": bool(evaluation.n_samples)}
    np.savez(settings["output"], n_classes=evaluation.n_classes, spatial=evaluation.spatial,
             source=np.array(to_unicode(evaluation.source)), comparable=np.array(to_unicode(json.dumps(comparable))),
             left_out=np.array([to_unicode(note) for note in evaluation.left_out], dtype=u"U"), **tally.arrays)


def _path(text):
    """Return the path, as this Python has it, of a text of one character a byte."""
    path = text.encode("latin-1")
    return path if isinstance(path, str) else os.fsdecode(path)
