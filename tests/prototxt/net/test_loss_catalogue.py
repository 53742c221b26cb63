"""The catalogue of losses: what is a loss on labels of classes."""
from __future__ import division, print_function

from caffe_prototxt.net import losses
from caffe_prototxt.net.graph import Graph
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State

SSD = 'layer { name: "mbox" type: "MultiBoxLoss" bottom: "l" bottom: "c" bottom: "p" bottom: "g" top: "m" loss_weight: 1 }\n'
OTHER = 'layer { name: "loss" type: "%s" bottom: "s" bottom: "g" top: "loss" }\n'


def on_labels(text):
    return [node.layer.name for node in losses.on_labels(Graph(Net(text), State("TRAIN")))]


def test_losses_on_labels():
    assert on_labels(SSD) == [] and on_labels(SSD + OTHER % "SoftmaxWithLoss") == ["loss"]
    assert on_labels(SSD + OTHER % "SomeLoss") == ["loss"] and on_labels(OTHER % "EuclideanLoss") == []
    assert losses.find_losses(Net(SSD)) == [] and [layer.name for layer in losses.other_losses(Net(SSD))] == ["mbox"]
