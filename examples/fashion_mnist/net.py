"""Make the net of the example, the same in every run but for its loss, and its solver.

One file serves training, validation and use: `caffe train` takes the layers of
its phase, and the stage "deploy" takes an input and gives probabilities.
"""
from __future__ import division, print_function

from caffe import layers as L, NetSpec, TRAIN, TEST
from caffe.proto import caffe_pb2

from image_input import DEPLOYED, from_caller, from_lmdb

BATCH = 64
VALIDATION_BATCH = 100
HIDDEN = 128


def train_val(name, loss, train, validation=None, trunk=None):
    """Return the net as a NetParameter.

    loss: a NetParameter, the layers from "score" and "label" on, each with
    exclude { stage: "deploy" } (tools/make_net.py prints them).
    train, validation: paths of LMDBs; without validation there is no TEST phase.
    trunk: a NetParameter, the layers from "data" to "score" (default: hidden_layer()).
    """
    net = caffe_pb2.NetParameter(name=name)
    net.MergeFrom(from_lmdb(train, BATCH, dict(phase=TRAIN)))
    if validation:
        net.MergeFrom(from_lmdb(validation, VALIDATION_BATCH, VALIDATING))
    net.MergeFrom(from_caller())
    net.MergeFrom(trunk or hidden_layer())
    net.MergeFrom(loss)
    net.MergeFrom(outputs())
    return net


VALIDATING = dict(phase=TEST, not_stage="deploy")


def hidden_layer():
    n = NetSpec()
    n.hidden = L.InnerProduct(bottom="data", num_output=HIDDEN, weight_filler=dict(type="xavier"))
    n.relu = L.ReLU(n.hidden, in_place=True)
    n.score = L.InnerProduct(n.hidden, num_output=10, weight_filler=dict(type="xavier"))
    return n.to_proto()


def outputs():
    n = NetSpec()
    n.accuracy = L.Accuracy(bottom=["score", "label"], include=VALIDATING)
    n.probability = L.Softmax(bottom="score", include=DEPLOYED)
    return n.to_proto()


def solver(net, snapshot_prefix, iterations, seed, n_validation=0, gpu=False, rate=.03):
    """Return the solver as a SolverParameter; the net is saved once, at the end.

    net, snapshot_prefix: paths. rate: the first learning rate; it falls to 0.
    n_validation: how many images the validation LMDB holds; 0: there is none.
    """
    # The rate falls to 0, as at a constant one the last iterations' noise is as big as what
    # the losses differ by: SoftmaxWithLoss gets .789 +- .005 of the validation images right
    # over 10 seeds, and .770 +- .012 at a constant rate.
    parameter = caffe_pb2.SolverParameter(
        net=net, base_lr=rate, lr_policy="poly", power=1, momentum=0.9, max_iter=iterations,
        random_seed=seed, display=100, snapshot_prefix=snapshot_prefix,
        solver_mode="GPU" if gpu else "CPU")
    if n_validation:
        parameter.test_iter.append(n_validation // VALIDATION_BATCH)
        parameter.test_interval = max(iterations // 3, 1)
        parameter.test_initialization = False
    return parameter
