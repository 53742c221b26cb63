"""Layers as people write them by hand for their own nets, to compare ours with.

Of each loss two: one whose name ends in Loop goes through the positions (or samples, or
triplets) one by one, with numpy for the classes of one; one whose name ends in Numpy takes
the batch as an array, with a new array for every step, and float64 from the product with
the matrix on, as numpy.load gives it. All keep p from forward for backward, clip the log
as Caffe does, and check nothing.

param_str: a .npy file with H, D or, for class weights, one weight for each class.
"""
from __future__ import division, print_function

import caffe
import numpy as np

SMALLEST = 1e-20  # of a probability in a log: kLOG_THRESHOLD of Caffe


class Empty(caffe.Layer):
    """A layer that does nothing: it costs what any layer in Python does."""

    def setup(self, bottom, top):
        top[0].reshape()

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass

    def backward(self, top, propagate_down, bottom):
        pass


def softmax(x):
    """Return the softmax of one position, or of rows of them."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def clipped_log(p):
    return np.log(np.maximum(p, SMALLEST))


class _Loss(caffe.Layer):

    def setup(self, bottom, top):
        self.matrix = np.load(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        x = np.rollaxis(bottom[0].data, 1, bottom[0].data.ndim)  # the classes last
        self.shape = x.shape
        labels = bottom[1].data.astype(int).reshape(-1)
        loss, self.gradient = self.batch(x.reshape(-1, x.shape[-1]), labels)
        top[0].data[0] = loss / len(labels)

    def backward(self, top, propagate_down, bottom):
        gradient = self.gradient * top[0].diff[0] / len(self.gradient)
        gradient = gradient.reshape(self.shape)
        bottom[0].diff[...] = np.rollaxis(gradient, gradient.ndim - 1, 1)


class _Loop(_Loss):

    def batch(self, x, labels):
        loss, gradient = 0, np.zeros_like(x)
        for i in range(len(x)):
            value, gradient[i] = self.position(x[i], labels[i])
            loss += value
        return loss, gradient


# -sum_j H[l, j] log p_j

class InfogainOfScoresLoop(_Loop):
    def position(self, x, l):
        p = softmax(x)
        return -np.dot(self.matrix[l], clipped_log(p)), p * self.matrix[l].sum() - self.matrix[l]


class InfogainOfScoresNumpy(_Loss):
    def batch(self, x, labels):
        p = softmax(x)
        gain = self.matrix[labels]
        return -(gain * clipped_log(p)).sum(), p * gain.sum(axis=1, keepdims=True) - gain


class InfogainLoop(_Loop):
    def position(self, p, l):
        p = np.maximum(p, SMALLEST)
        return -np.dot(self.matrix[l], np.log(p)), -self.matrix[l] / p


class InfogainNumpy(_Loss):
    def batch(self, p, labels):
        gain = self.matrix[labels]
        return -(gain * clipped_log(p)).sum(), -gain / np.maximum(p, SMALLEST)


# Class weights: -w_l log p_l

class WeightedSoftmaxLoop(_Loop):
    def position(self, x, l):
        p = softmax(x)
        loss = -self.matrix[l] * clipped_log(p[l])
        p[l] -= 1
        return loss, self.matrix[l] * p


class WeightedSoftmaxNumpy(_Loss):
    def batch(self, x, labels):
        p = softmax(x)
        rows, w = np.arange(len(x)), self.matrix[labels]
        loss = -(w * clipped_log(p[rows, labels])).sum()
        p[rows, labels] -= 1
        return loss, w[:, np.newaxis] * p


# -D[l, argmax x] log p_l

class CostScaledLoop(_Loop):
    def position(self, x, l):
        p = softmax(x)
        cost = self.matrix[l, p.argmax()]
        loss = -cost * clipped_log(p[l])
        p[l] -= 1
        return loss, cost * p


class CostScaledNumpy(_Loss):
    def batch(self, x, labels):
        p = softmax(x)
        rows, cost = np.arange(len(x)), self.matrix[labels, p.argmax(axis=1)]
        loss = -(cost * clipped_log(p[rows, labels])).sum()
        p[rows, labels] -= 1
        return loss, cost[:, np.newaxis] * p


# sum_j D[l, j] p_j

class ExpectedCostLoop(_Loop):
    def position(self, x, l):
        p = softmax(x)
        loss = np.dot(self.matrix[l], p)
        return loss, p * (self.matrix[l] - loss)


class ExpectedCostNumpy(_Loss):
    def batch(self, x, labels):
        p = softmax(x)
        cost = self.matrix[labels]
        loss = (cost * p).sum(axis=1, keepdims=True)
        return loss.sum(), p * (cost - loss)


# H from the labels: for the classes that are there max count / count, divided by their sum

class _ComputeH(caffe.Layer):
    """param_str: how many classes there are."""

    def setup(self, bottom, top):
        self.n_classes = int(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(1, 1, self.n_classes, self.n_classes)

    def forward(self, bottom, top):
        weights = self.weights(bottom[0].data)
        top[0].data[0, 0] = np.diag(weights / weights.sum())

    def backward(self, top, propagate_down, bottom):
        pass


class ComputeHLoop(_ComputeH):
    def weights(self, labels):
        counts = [0] * self.n_classes
        for label in labels.flat:
            counts[int(label)] += 1
        return np.array([max(counts) / n if n else 0 for n in counts])


class ComputeHNumpy(_ComputeH):
    def weights(self, labels):
        classes, counts = np.unique(labels, return_counts=True)
        weights = np.zeros(self.n_classes)
        weights[classes.astype(int)] = counts.max() / counts
        return weights


# The softmax ratio of triplets: d+^2, d+ = e^a / (e^a + e^b)

class _Triplets(caffe.Layer):

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        loss, self.gradients = self.batch(*[bottom[i].data for i in range(3)])
        top[0].data[0] = loss / len(self.gradients[0])

    def backward(self, top, propagate_down, bottom):
        for i, gradient in enumerate(self.gradients):
            bottom[i].diff[...] = gradient * top[0].diff[0] / len(gradient)


class TripletSoftmaxLoop(_Triplets):
    def batch(self, anchor, positive, negative):
        loss, gradients = 0, [np.zeros_like(x) for x in (anchor, positive, negative)]
        for i in range(len(anchor)):
            a, b = np.linalg.norm(anchor[i] - positive[i]), np.linalg.norm(anchor[i] - negative[i])
            d_plus = np.exp(a) / (np.exp(a) + np.exp(b))
            loss += d_plus ** 2
            slope = 2 * d_plus ** 2 * (1 - d_plus)
            to_positive = slope * (anchor[i] - positive[i]) / a
            to_negative = slope * (anchor[i] - negative[i]) / b
            gradients[0][i] = to_positive - to_negative
            gradients[1][i] = -to_positive
            gradients[2][i] = to_negative
        return loss, gradients


class TripletSoftmaxNumpy(_Triplets):
    def batch(self, anchor, positive, negative):
        a = np.sqrt(((anchor - positive) ** 2).sum(axis=1, keepdims=True))
        b = np.sqrt(((anchor - negative) ** 2).sum(axis=1, keepdims=True))
        d_plus = np.exp(a) / (np.exp(a) + np.exp(b))
        slope = 2 * d_plus ** 2 * (1 - d_plus)
        to_positive = slope * (anchor - positive) / a
        to_negative = slope * (anchor - negative) / b
        return (d_plus ** 2).sum(), [to_positive - to_negative, -to_positive, to_negative]
