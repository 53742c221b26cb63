"""A .caffemodel is read, changed and added to; damaged ones are errors."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import real_nets
from caffe_losses.formats.caffemodel import CaffeModel, same_shape

caffe = pytest.importorskip("caffe")


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "net.caffemodel")
    real_nets.net(real_nets.input_layer(data=(2, 3)) + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" '
                  'inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }').save(path)
    return path


def test_numbers_and_layers(path, tmp_path):
    model = CaffeModel(path)
    assert [blob.shape for blob in model.layers[b"fc"]] == [(4, 3), (4,)] and model.layers[b"input"] == []
    model.numbers(b"fc", 1)[:] = [1, 2, 3, 4]
    model.add(b"extra", b"Scale", np.arange(6).reshape(2, 3))
    with open(path, "rb") as file:
        before = file.read()
    with open(str(tmp_path / "new"), "wb") as file:
        model.write(file)
    with open(path, "rb") as file:
        assert file.read() == before  # the file itself stays
    net = caffe.proto.caffe_pb2.NetParameter()
    with open(str(tmp_path / "new"), "rb") as file:
        net.ParseFromString(file.read())
    by_name = {layer.name: layer for layer in net.layer}
    assert list(by_name["fc"].blobs[1].data) == [1, 2, 3, 4]
    assert by_name["extra"].type == "Scale" and list(by_name["extra"].blobs[0].shape.dim) == [2, 3]
    assert list(by_name["extra"].blobs[0].data) == [0, 1, 2, 3, 4, 5]


def test_shapes_of_the_old_form(path):
    blob = CaffeModel(path).layers[b"fc"][0]
    assert same_shape(blob, (4, 3)) and not same_shape(blob, (1, 1, 4, 3))
    old = blob._replace(shape=(1, 1, 4, 3), is_legacy=True)
    assert same_shape(old, (4, 3)) and same_shape(old, (1, 1, 4, 3)) and not same_shape(old, (3, 4))


def test_damaged_files(path, tmp_path):
    with open(path, "rb") as file:
        content = bytearray(file.read())
    random = np.random.RandomState(0)
    for number in range(300):
        damaged = content[:random.randint(len(content))] if number % 2 else bytearray(content)
        for at in random.randint(0, max(1, len(damaged)), number % 3):
            damaged[at:at + 1] = bytearray([random.randint(256)])
        damaged_path = str(tmp_path / "damaged")
        with open(damaged_path, "wb") as file:
            file.write(bytes(damaged))
        try:
            model = CaffeModel(damaged_path)
            for name, blobs in model.layers.items():
                for i in range(len(blobs)):
                    model.numbers(name, i)
        except ValueError as error:
            assert str(error).startswith(damaged_path + ": expected a .caffemodel, got ")
    with pytest.raises(IOError, match="cannot be read"):
        CaffeModel(str(tmp_path / "nowhere"))
    with pytest.raises(IOError, match="cannot be read"):
        CaffeModel(os.path.dirname(path))
