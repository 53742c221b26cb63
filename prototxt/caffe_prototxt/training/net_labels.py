"""Count the labels that a loss gets, in Caffe: as its data layers, Slices, crops and Python layers hand them on."""
from __future__ import division, print_function

import numpy as np

from caffe_losses.compat import to_display
from caffe_prototxt.data.labels import LabelCounts, count_source
from caffe_prototxt.data.records import count_samples
from caffe_prototxt.net import data_layers
from caffe_prototxt.net.graph import INPUT, text_of
from caffe_prototxt.net.losses import python_class
from caffe_prototxt.training import precautions

FILLED_BY_HAND = ("Input", "MemoryData")
UNCOUNTED_BATCHES = 100  # of data whose samples cannot be counted


class Uncountable(ValueError):
    """The labels cannot be looked at; says why."""


def count_net(caffe, data, batches=None, python=True, seconds=None, count=count_source):
    """Count the labels that a net is trained with: its whole source, or some batches in Caffe.

    caffe: caffe_process.Caffe. data: net_source.NetSource. batches: int, that Caffe is to read; None: the source is
    counted where its labels are those that the net gets, else an epoch. python: bool, whether Python layers may run.
    seconds: float, the most that it takes; None: any. count: a function like count_source.
    Returns LabelCounts. Raises as count_source and count_in_caffe.
    """
    if data.whole and batches is None:
        return count(*data.whole, seconds=seconds)
    if batches is None:  # an epoch
        layers = [node.layer for node in data.graph.before(data.loss.makers_in_net()[1:2]) if data_layers.is_data(node)]
        batches = max([-(-(count_samples(layer) or 0) // data_layers.batch_size(layer)) for layer in layers] or [0])
    seconds = float(2 ** 31) if seconds is None else seconds
    return count_in_caffe(caffe, data.graph, data.loss, batches or UNCOUNTED_BATCHES, seconds, python)


def count_in_caffe(caffe, graph, loss, batches, seconds, python=True):
    """Count the labels of a loss by running the layers that they need, and no others.

    caffe: caffe_process.Caffe. graph: graph.Graph. loss: its Node. batches: int, seconds: float, the most that are run.
    python: bool, whether Python layers may run.
    Returns LabelCounts, not complete, whose unit is "label".
    Raises Uncountable, or ValueError for a label that is no whole number.
    """
    maker = loss.makers[1]
    if maker in (None, INPUT):
        raise Uncountable("they come from an input of the net, which whoever runs it fills")
    needed = graph.before([maker])
    reasons = precautions.left_out(graph, python)
    for node in graph.nodes:
        if node in needed and (node in reasons or node.type in FILLED_BY_HAND):
            raise Uncountable("they need layer %s, which %s" % (node.layer.display_name, reasons.get(
                node, "is filled by whoever runs the net")))
    classes = [(node.index,) + tuple(map(to_display, python_class(node.layer))) for node in graph.nodes
               if node in needed and node.type == "Python"]
    end = caffe.run(text_of(graph, needed), graph.state.phase, classes, (loss.bottoms[1], batches, seconds))
    if end.counted is None:
        raise Uncountable(end.no_caffe or (list(end.imports.values()) or [end.message])[0])
    first = ["batch %d" % (batch + 1) for batch in end.counted["first"]]
    values = np.array(end.counted["values"])
    bad = np.flatnonzero((values != np.floor(values)) | (np.abs(values) >= 2 ** 31))
    if len(bad):
        raise ValueError("expected whole numbers as labels, got %g in %s" % (values[bad[0]], first[bad[0]]))
    source = "%s, %d batches as Caffe reads them" % (to_display(loss.bottoms[1]), end.counted["batches"])
    return LabelCounts(values.astype(np.int64), np.array(end.counted["counts"], np.int64), None, "label", first, source,
                       False)
