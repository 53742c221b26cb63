"""Make the net of the example, an embedding of 64 dimensions, and its solver.

One file serves training and use: `caffe train` takes the data and the loss, and
the stage "deploy" takes an input and gives the embedding.
"""
from __future__ import division, print_function

from caffe import layers as L, NetSpec, TRAIN
from caffe.proto import caffe_pb2
from caffe_prototxt.netspec.loss_layers import EXCLUDE
from caffe_prototxt.netspec.triplet_layers import triplet_fragment
from google.protobuf import text_format

from image_input import from_caller, from_lmdb

BATCH = 128
WIDTH = 64
FILLER = dict(type="xavier")


def train_val(name, setting, train, seed=0):
    """Return the net as a NetParameter.

    setting: a settings.Setting. train: path of an LMDB. seed: of random triplets.
    """
    net = caffe_pb2.NetParameter(name=name)
    net.MergeFrom(from_lmdb(train, BATCH, dict(phase=TRAIN)))
    net.MergeFrom(from_caller())
    net.MergeFrom(embedding(TRUNKS[setting.trunk]))
    net.MergeFrom(softmax_loss() if setting.strategy is None else triplet_loss(setting, seed))
    return net


def fully_connected(data):
    return L.ReLU(L.InnerProduct(data, num_output=256, weight_filler=FILLER), in_place=True)


def convolutional(data):
    hidden = L.ReLU(L.Convolution(data, num_output=16, kernel_size=5, stride=2, weight_filler=FILLER), in_place=True)
    return L.ReLU(L.Convolution(hidden, num_output=32, kernel_size=5, stride=2, weight_filler=FILLER), in_place=True)


TRUNKS = {"mlp": fully_connected, "conv": convolutional}


def embedding(trunk):
    n = NetSpec()
    n.data = L.Input()  # stands for what comes before
    n.embedding = L.InnerProduct(trunk(n.data), num_output=WIDTH, weight_filler=FILLER)
    net = n.to_proto()
    del net.layer[0]
    return net


def triplet_loss(setting, seed):
    """Return the layers that choose the triplets of a batch, and their loss."""
    select = dict(strategy=setting.strategy, max_triplets=setting.max_triplets, seed=seed, count=True)
    return text_format.Merge(triplet_fragment(embedding="embedding", label="label", select=select, form=setting.form),
                             caffe_pb2.NetParameter())


def softmax_loss():
    """Return the control's layers: the embedding is the last hidden layer of a classifier."""
    n = NetSpec()
    n.score = L.InnerProduct(bottom="embedding", num_output=10, weight_filler=FILLER, exclude=EXCLUDE)
    n.loss = L.SoftmaxWithLoss(n.score, bottom="label", exclude=EXCLUDE)
    return n.to_proto()


def solver(net, snapshot_prefix, setting, seed, gpu=False):
    """Return the solver as a SolverParameter; the net is saved once, at the end. net, snapshot_prefix: paths."""
    return caffe_pb2.SolverParameter(
        net=net, base_lr=setting.rate, lr_policy="poly", power=1, momentum=0.9, max_iter=setting.iterations,
        random_seed=seed, display=100, snapshot_prefix=snapshot_prefix, solver_mode="GPU" if gpu else "CPU")
