"""The layer types of Caffe's old syntax, `layers { type: SOFTMAX_LOSS }`."""
from __future__ import division, print_function

# Those that are not just spelt in another way, as INNER_PRODUCT is InnerProduct (Caffe's upgrade_proto.cpp).
# A type may be its number in caffe.proto, too; one that matters is that of the layer that writes.
_NAMES = {"10": "HDF5Output", "ABSVAL": "AbsVal", "ARGMAX": "ArgMax", "BNLL": "BNLL", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
          "LRN": "LRN", "MVN": "MVN", "RELU": "ReLU", "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH"}


def present_type(old):
    """A layer's type as the present syntax has it."""
    return _NAMES.get(old) or "".join(word.capitalize() for word in old.split("_"))
