"""Make the net of the dense example, the same in every run but for its loss, and its solver.

Fully convolutional: a score of each class for each pixel. Coarse features, which see a whole garment, go up
to the pixels by a bilinear Deconvolution, and fine ones, which see its edges, are added.

One file serves training and use: `caffe train` takes the data and the loss, and the stage "deploy" takes an
input and gives probabilities.
"""
from __future__ import division, print_function

from caffe import layers as L, params as P, NetSpec, TRAIN
from caffe.proto import caffe_pb2

import canvases
from image_input import DEPLOYED, from_caller, from_lmdbs

BATCH = 8

CHANNELS = (16, 32, 96, 96)  # of the coarse convolutions


def train_val(name, loss, images, label_images):
    """Return the net as a NetParameter.

    loss: a NetParameter, the layers from "score" and "label" on, each with
    exclude { stage: "deploy" } (tools/make_net.py prints them).
    images, label_images: paths of the LMDBs to train with.
    """
    net = caffe_pb2.NetParameter(name=name)
    net.MergeFrom(from_lmdbs(images, label_images, BATCH, dict(phase=TRAIN)))
    net.MergeFrom(from_caller(canvases.SIDE))
    net.MergeFrom(trunk())
    net.MergeFrom(loss)
    net.MergeFrom(probability())
    return net


def trunk():
    n = NetSpec()
    n.data = L.Input()  # stands for what comes before
    halved = _pooled(_normalised(_convolution(n.data, CHANNELS[0], kernel_size=5, pad=2, stride=2)))
    halved = _pooled(_normalised(_convolution(halved, CHANNELS[1], kernel_size=3, pad=1)))
    coarse = _normalised(_convolution(halved, CHANNELS[2], kernel_size=3, pad=1))
    coarse = _normalised(_convolution(coarse, CHANNELS[3], kernel_size=3, pad=1))
    n.coarse_score = _convolution(coarse, canvases.N_CLASSES, kernel_size=1)
    n.upsampled = L.Deconvolution(  # eight times the side
        n.coarse_score, param=dict(lr_mult=0, decay_mult=0), convolution_param=dict(
            num_output=canvases.N_CLASSES, group=canvases.N_CLASSES, kernel_size=16, stride=8, pad=4, bias_term=False,
            weight_filler=dict(type="bilinear")))
    fine = L.ReLU(_convolution(n.data, 8, kernel_size=3, pad=1), in_place=True)
    n.fine_score = _convolution(fine, canvases.N_CLASSES, kernel_size=1)
    n.score = L.Eltwise(n.upsampled, n.fine_score, operation=P.Eltwise.SUM)
    net = n.to_proto()
    del net.layer[0]
    return net


def _convolution(bottom, channels, **window):
    return L.Convolution(bottom, num_output=channels, weight_filler=dict(type="msra"), **window)


def _normalised(convolution):
    # Caffe's default fraction remembers a thousand iterations, and so more than all of these.
    normal = L.BatchNorm(convolution, moving_average_fraction=.95, in_place=True)
    return L.ReLU(L.Scale(normal, bias_term=True, in_place=True), in_place=True)


def _pooled(bottom):
    return L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)


def probability():
    n = NetSpec()
    n.probability = L.Softmax(bottom="score", include=DEPLOYED)
    return n.to_proto()


def solver(net, snapshot_prefix, rate, iterations, seed, gpu=False):
    """Return the solver as a SolverParameter; the net is saved once, at the end.

    net, snapshot_prefix: paths. rate: the first learning rate; it falls to 0.
    """
    # Not Adam, which divides the gradients by their size: it would hide what the scale of class weights does.
    return caffe_pb2.SolverParameter(
        net=net, base_lr=rate, lr_policy="poly", power=1, momentum=0.9, max_iter=iterations, random_seed=seed,
        display=100, snapshot_prefix=snapshot_prefix, solver_mode="GPU" if gpu else "CPU")
