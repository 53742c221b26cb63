"""The shapes of blobs by a net's text: what is known is what Caffe makes, and the number of classes is known."""
from __future__ import division, print_function

import pytest

import real_nets
from caffe_prototxt.net.nets import Net

DATA = ('layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 6 dim: 4 dim: 8 dim: 10 } } }\n'
        'layer { name: "c" type: "DummyData" top: "cont" top: "order" dummy_data_param { shape { dim: 6 dim: 4 } shape { dim: 2 } } }\n')
CONVOLUTION = ('type: "Convolution" convolution_param { num_output: 18 kernel_size: 1 weight_filler { type: "xavier" } }')
POOL = 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }'
SCORES = 'type: "InnerProduct" inner_product_param { num_output: 84 weight_filler { type: "xavier" } }'


def reshape(dims, more=""):
    return 'type: "Reshape" reshape_param { shape { %s } %s }' % (" ".join("dim: %d" % dim for dim in dims), more)


def net_of(layers, data=DATA):
    """Return the text of layers one after the other, and the blob that comes out."""
    text, blob = data, "x"
    for number, layer in enumerate(layers):
        text += 'layer { name: "b%d" bottom: "%s" top: "b%d" %s }\n' % (number, blob, number, layer)
        blob = "b%d" % number
    return text + 'layer { name: "end" type: "Silence" bottom: "%s" }\n' % blob, blob


CHAINS = [  # layers, class axis, number of classes
    ([CONVOLUTION, reshape([0, 2, -1, 0])], 1, 2),  # a region proposal network
    ([CONVOLUTION, reshape([0, 2, -1, 0]), 'type: "Softmax"', reshape([0, 18, -1, 0])], 1, 18),
    ([CONVOLUTION, reshape([0, -1, 0, 0])], 1, 18), ([CONVOLUTION, reshape([0, 0, -1])], 1, 18),
    ([CONVOLUTION, POOL, 'type: "Flatten"'], 1, 18), ([CONVOLUTION, POOL, reshape([0, -1])], 1, 18),
    ([CONVOLUTION, POOL, reshape([0, 0])], 1, 18), ([POOL, CONVOLUTION, 'type: "Flatten"'], -1, 18),
    ([CONVOLUTION, 'type: "Flatten" flatten_param { axis: 2 }'], -2, 18),
    ([SCORES, reshape([-1, 21])], 1, 21), ([SCORES, reshape([0, -1, 21])], 2, 21), ([SCORES, reshape([0, 4, -1])], 2, 21),
    ([SCORES, reshape([2, 3, -1])], -1, 84), ([SCORES, reshape([3, -1])], 1, 168),
    ([SCORES, 'top: "other" type: "Slice" slice_param { slice_point: 21 }'], 1, 21),
    ([SCORES, 'top: "other" type: "Slice" slice_param { axis: -1 }'], 1, 42),
    ([SCORES, 'type: "Concat" bottom: "b0"'], 1, 168), ([SCORES, 'type: "Concat" bottom: "b0" concat_param { axis: 0 }'], 1, 84),
    ([SCORES, 'type: "Eltwise" bottom: "b0"'], 1, 84),
    ([reshape([6, 4, 80]), SCORES.replace("num_output", "axis: 2 num_output"), 'type: "ReLU"'], 2, 84),
    ([CONVOLUTION, 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', "type: 'LRN'"], 1, 18),
]


@pytest.mark.parametrize("layers, axis, n_classes", CHAINS)
def test_what_is_known_is_what_caffe_makes(layers, axis, n_classes):
    pytest.importorskip("caffe")
    text, blob = net_of(layers)
    layer = Net(text).layers[-1]
    shape, made = layer.net.shape(layer, blob), real_nets.net(text).blobs[blob].data.shape
    assert layer.net.n_classes(layer, blob, axis) == n_classes == made[axis]
    assert shape.whole and len(shape.sizes) == len(made) and all(size in (None, real) for size, real in zip(shape.sizes, made))


@pytest.mark.parametrize("data", ['layer { type: "Python" top: "x" }\n', 'input: "x"\n', 'layer { type: "HDF5Data" top: "x" }\n'])
@pytest.mark.parametrize("layers, axis, n_classes", [
    ([CONVOLUTION, reshape([0, 2, -1, 0])], 1, 2), ([CONVOLUTION, reshape([0, 0, -1])], 1, 18), ([SCORES, reshape([0, -1, 21])], 2, 21),
    ([SCORES, "type: 'Flatten'"], 1, 84), ([CONVOLUTION, "type: 'Flatten'"], 1, None), ([CONVOLUTION, reshape([0, -1])], 1, None),
    ([CONVOLUTION.replace("Convolution", "DepthwiseConvolution")], 1, 18),
    ([CONVOLUTION, "type: 'Interp'", "type: 'BN'"], 1, 18), ([CONVOLUTION, "type: 'ROIPooling'"], 1, None),
    ([CONVOLUTION, 'type: "Python" python_param { module: "own" layer: "ReLU" }'], 1, None),
    ([CONVOLUTION, 'type: "Reshape" reshape_param { shape { dim: x } }'], 1, None), ([CONVOLUTION, "type: 'Reshape'"], 1, None),
    ([SCORES, 'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 5 } }'], 1, None),  # 84 is no multiple of 5
])
def test_data_of_unknown_shape(layers, axis, n_classes, data):
    text, blob = net_of(layers, data)
    layer = Net(text).layers[-1]
    assert layer.net.n_classes(layer, blob, axis) == n_classes


def test_phases_that_differ():
    text = "".join('layer { type: "InnerProduct" bottom: "x" top: "s" inner_product_param { num_output: %d } include { phase: %s } }\n' % of
                   for of in ((3, "TRAIN"), (4, "TEST"))) + 'layer { type: "Silence" bottom: "s" }\n'
    layer = Net(text).layers[-1]
    assert layer.net.n_classes(layer, "s") is None and Net(text.replace("4", "3")).n_classes(layer, "s") == 3


def test_a_net_of_many_layers():
    layers = [SCORES] + ['type: "ReLU"'] * 3000
    text, blob = net_of(layers)
    layer = Net(text).layers[-1]
    assert layer.net.n_classes(layer, blob) == 84
