"""Write the results as tables, and in sentences that follow from the figures."""
from __future__ import division, print_function

import tables
from caffe_losses.evaluation.comparison import Metric
from tables import Part, Table, cell, comparison

METRICS = [Metric("neighbours", "5 nearest", "%.4f", False), Metric("centroid", "nearest centroid", "%.4f", False)]
HEAD = [""] + [metric.title for metric in METRICS]


def as_text(results):
    """Return the report for a terminal."""
    return tables.as_text(parts(results))


def as_markdown(results):
    """Return the report as a markdown document."""
    return tables.as_markdown("Fashion-MNIST: embeddings trained on triplets", parts(results))


def parts(results):
    return [test_part(results), tried_part(results)]


def test_part(results):
    introduction = (
        "%d training images; an embedding of 64 dimensions; %d seeds; mean and standard deviation over the seeds, on "
        "%d test images. 5 nearest: the share of test images that have the label of most of their 5 nearest training "
        "images (of several labels that of the nearest); nearest centroid: that of the class whose mean is nearest. "
        "The settings were chosen on a part of the training images (below). In the picture: the first %d test images, "
        "in the plane that linear discriminant analysis of the training images finds."
        % (results["n_train"], results["seeds"], results["n_test"], len(results["shown"])))
    scores = results["scores"]
    rows = [HEAD + ["trunk; loss; learning rate; iterations"],
            ["pixels"] + [metric.form % scores["pixels"][metric.key][0] for metric in METRICS] + [""]]
    rows += [[title] + [cell(metric, scores[name][metric.key]) for metric in METRICS] + [setting]
             for name, title, setting in results["methods"]]
    return Part("Neighbours in the embedding", introduction, [Table("The test images", rows)],
                list(findings(results)))


def findings(results):
    """Yield what the test images show, in sentences."""
    scores = results["scores"]
    pixels = {key: values * results["seeds"] for key, values in scores["pixels"].items()}
    for name, title, _ in results["methods"]:
        yield "%s against the pixels. %s" % (title, comparison(METRICS, pixels, scores[name]))
    first = results["methods"][0]
    for name, title, _ in results["methods"][1:]:
        yield "%s against %s. %s" % (first[1], title, comparison(METRICS, scores[name], scores[first[0]]))


def tried_part(results):
    introduction = (
        "All settings that were tried, trained with one seed on 50000 of the training images and scored on the other "
        "10000, neighbours and centroids from the 50000. hardest, semi_hard, all and random are TripletSelect's "
        "strategies, on batches of 128; mse and log the forms of TripletSoftmaxLoss; softmax a classifier.")
    rows = [HEAD] + [[title] + [metric.form % scores[metric.key][0] for metric in METRICS]
                     for title, scores in results["tried"]]
    return Part("What was tried", introduction, [Table("The validation part", rows)], [])
