"""The source of the labels that a net is trained with."""
from __future__ import division, print_function

import collections
import os

from caffe_losses.compat import from_bytes, from_display, to_display
from caffe_losses.errors import naming
from caffe_losses.formats.plain_files import open_plain
from caffe_prototxt.data import databases
from caffe_prototxt.data.labels import is_of_pixels
from caffe_prototxt.net import data_layers, losses
from caffe_prototxt.net.graph import Graph, origin
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State, merged

NetSource = collections.namedtuple("NetSource", "graph loss layer whole n_classes ignore_label label_blob")

# A source whose labels are just those that a net gets: the arguments as `count_source` takes them.
WholeSource = collections.namedtuple("WholeSource", "source dataset pixels root_folder")
WholeSource.__new__.__defaults__ = ("",)


def net_source(path, label=None, stages=(), level=0, last=False):
    """Return the source of the labels that a net is trained with.

    path: str, a net. label: str, the blob of labels; None: the one that all losses on classes take, or with `last` the
    last of them.
    stages, level: of the state, whose phase is TRAIN, that layers are included for.
    Returns NetSource:
        graph: graph.Graph. loss: the Node of the first of the losses. layer: str, that the labels come from.
        whole: WholeSource, relative to where caffe runs; None: only Caffe can tell which labels the loss gets.
        n_classes: int, by the layer that makes the scores; None where that is unclear.
        ignore_label: int, of the losses; None: there is none. label_blob: str.
    Raises IOError if the net cannot be read or the source does not exist, ValueError for a net without labels on the
    disk, or with several blobs of them; all name the net.
    """
    with naming(path):
        graph = _training_graph(path, stages, level)
        nodes = _losses(graph, None if label is None else from_display(label), last)
        ignored = set(losses.read_params(node.layer).ignore_label for node in nodes)
        if len(ignored) > 1:
            raise ValueError("expected losses that ignore the same label, got %s" % _listed(nodes))
        n_classes = set(_n_classes(node) for node in nodes)
        return NetSource(graph, nodes[0], n_classes=n_classes.pop() if len(n_classes) == 1 else None,
                         ignore_label=ignored.pop(),
                         label_blob=to_display(nodes[0].bottoms[1]), **_source(nodes[0]))


def _training_graph(path, stages, level):
    with open_plain(path) as file:
        net = Net(from_bytes(file.read()))
    if not net.layers:
        raise ValueError("expected a net (a train_val.prototxt), got no layers%s"
                         % (" (this is a solver's file: give its net)" * ("base_lr" in net.text)))
    for layer in net.layers:
        if len(layer.rules) == 2:
            raise ValueError("layer %s: expected rules of one kind, got include and exclude" % layer.display_name)
    _, own_level, own_stages = merged("TRAIN", net.state)
    return Graph(net, State("TRAIN", level or own_level, own_stages + tuple(map(from_display, stages))))


def _losses(graph, label, last):
    """Return the nodes of the losses that take the labels."""
    nodes = losses.on_labels(graph)
    label = nodes[-1].bottoms[1] if last and nodes and label is None else label
    nodes = [node for node in nodes if label in (None, node.bottoms[1])]
    if not nodes:
        raise ValueError("expected a loss that takes labels%s, got none among the layers of phase TRAIN"
                         % ("" if label is None else " from the blob %s" % to_display(label)))
    if len(set(node.bottoms[1] for node in nodes)) > 1:
        raise ValueError("expected one blob of labels, got %s (--label-blob NAME: which one)" % _listed(nodes))
    return nodes


def _listed(nodes):
    ignored = [losses.read_params(node.layer).ignore_label for node in nodes]
    return ", ".join("%s (%s) of loss %s%s" % (
        to_display(node.bottoms[1]), to_display(node.type), node.layer.display_name,
        "" if label is None else ", ignoring %d" % label) for node, label in zip(nodes, ignored))


def _n_classes(node):
    axis = losses.read_params(node.layer).axis
    return node.layer.net.n_classes(node.layer, node.bottoms[0], 1 if axis is None else axis)


def _source(node):
    """Return the fields of a NetSource that its data layer has. node: of a loss."""
    label, made_by = to_display(node.bottoms[1]), origin(node, 1)
    if made_by is None:
        raise ValueError("expected a data layer that makes the blob %s, got none of phase TRAIN (--labels SOURCE "
                         "counts labels without a net)" % label)
    layer, name = made_by[0].layer, made_by[0].layer.display_name
    if layer.type in data_layers.MAKE_THEIR_OWN:
        raise ValueError("expected labels from a data layer, got %s from layer %s of type %s (--labels SOURCE counts "
                         "labels without a net)" % (label, name, to_display(layer.type)))
    if not data_layers.source_exists(layer):
        raise IOError("layer %s: its source '%s' is not there (a path is relative to where caffe runs)"
                      % (name, to_display(data_layers.source(layer) or "")))
    check_readable(layer)
    return {"layer": name, "whole": whole_source(*made_by)}


def check_readable(layer):
    """Raise IOError if the source of a data layer may not be read, which Caffe does not say of each."""
    source = to_display(data_layers.source(layer) or "")
    if layer.type in data_layers.PARAMS:
        with naming(source):
            if os.path.isdir(source):
                databases.is_database(source)
            else:
                open_plain(source).close()


def whole_source(node, number):
    """Return the WholeSource of a top of a data layer, or None where Caffe may read other labels than stand there.

    Images of labels that are transformed or decoded by ImageData (which makes colours of a palette) are such, and the
    labels of a fork's, a Python and any other layer. Raises IOError or ValueError for HDF5 that cannot be read.
    """
    layer = node.layer
    source = to_display(data_layers.source(layer) or "")
    if node.type == "HDF5Data":
        dataset = to_display(node.tops[number])
        return WholeSource(source, dataset, is_of_pixels(source, dataset))
    if node.type in ("Data", "ImageData") and number == 1:
        root_folder = layer.value_in(data_layers.PARAMS[layer.type], "root_folder", "")
        return WholeSource(source, "label", False, to_display(root_folder))
    if node.type == "Data" and layer.message("transform_param") is None:
        return WholeSource(source, "label", True)
    return None
