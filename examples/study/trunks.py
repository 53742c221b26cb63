"""Make the two nets of the study, from the images to the scores."""
from __future__ import division, print_function

from caffe import layers as L, NetSpec

from net import hidden_layer


def convolutions():
    """Return two convolutions that halve the image each, and a hidden layer."""
    n = NetSpec()
    n.conv1 = L.Convolution(bottom="data", num_output=8, kernel_size=5, stride=2, pad=2,
                            weight_filler=dict(type="msra"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.conv2 = L.Convolution(n.relu1, num_output=16, kernel_size=3, stride=2, pad=1, weight_filler=dict(type="msra"))
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.hidden = L.InnerProduct(n.relu2, num_output=64, weight_filler=dict(type="xavier"))
    n.relu3 = L.ReLU(n.hidden, in_place=True)
    n.score = L.InnerProduct(n.relu3, num_output=10, weight_filler=dict(type="xavier"))
    return n.to_proto()


# In the words of tables and sentences: name of the net, then the layers.
TITLES = {"mlp": "one hidden layer", "conv": "convolutions"}
TRUNKS = {"mlp": hidden_layer, "conv": convolutions}
