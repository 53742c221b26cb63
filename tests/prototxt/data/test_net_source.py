from __future__ import division, print_function

import os
import re

import numpy as np
import pytest

caffe = pytest.importorskip("caffe")
pytest.importorskip("h5py")

import real_nets
import sources
from caffe_prototxt.data.labels import count_source
from caffe_prototxt.data.net_source import net_source

DATA = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        data_param { source: "train_lmdb" batch_size: 2 backend: LMDB } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST }
        data_param { source: "test_lmdb" batch_size: 2 backend: LMDB } }
"""
SCORE = """
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" inner_product_param { num_output: 7 } }
layer { name: "relu" type: "ReLU" bottom: "score" top: "score" }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }'
IMAGES = """layer { name: "images" type: "ImageData" top: "data" top: "label"
                   image_data_param { source: "list.txt" root_folder: "images/" batch_size: 1 } }"""
HDF5 = 'layer { name: "hdf5" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 1 } }'


def replaced(text, *pairs):
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources.write_lmdb("train_lmdb", [sources.datum(i % 3, (1, 4, 4)) for i in range(10)])
    for name in ("test_lmdb", "train_leveldb"):
        os.mkdir(name)
    sources.write_hdf5("labels.h5", np.arange(4))
    sources.write_text("list.txt", ["labels.h5"])
    return tmp_path


def found(text, **options):
    sources.write_text("net.prototxt", [text])
    return net_source("net.prototxt", **options)


def test_a_net_as_people_write_it(here):
    source = found(DATA + SCORE + LOSS)
    assert source[2:] == ("train", ("train_lmdb", "label", False, ""), 7, None, "label") and source.loss.layer.name == "loss"
    assert count_source(*source.whole).counts.tolist() == [4, 3, 3]
    real_nets.net(replaced(DATA, ("test_lmdb", "train_lmdb")) + SCORE + LOSS)  # the real Caffe takes it


def test_the_old_syntax(here):
    text = replaced(DATA + SCORE + LOSS, ("layer {", "layers {"), ('type: "Data"', "type: DATA"),
                    ('type: "InnerProduct"', "type: INNER_PRODUCT"), ('type: "ReLU"', "type: RELU"),
                    ('type: "Accuracy"', "type: ACCURACY"), ('type: "SoftmaxWithLoss"', "type: SOFTMAX_LOSS"),
                    ("backend: LMDB", ""), ("train_lmdb", "train_leveldb"))
    assert found(text)[2:] == ("train", ("train_leveldb", "label", False, ""), 7, None, "label")


def test_image_lists_and_hdf5(here):
    assert found(IMAGES + SCORE + LOSS)[2:4] == ("images", ("list.txt", "label", False, "images/"))
    text = replaced(HDF5 + SCORE + LOSS, ('"label"', '"truth"'))
    sources.write_hdf5("labels.h5", np.arange(4), "truth")
    assert found(text)[2:4] == ("hdf5", ("list.txt", "truth", False, ""))
    sources.write_hdf5("labels.h5", np.zeros((4, 1, 3, 3)), "truth")
    source = found(text)
    assert source.whole.pixels
    assert count_source(*source.whole).counts.tolist() == [36]


def test_labels_of_pixels(here):
    text = """
    layer { name: "data" type: "Data" top: "data" data_param { source: "train_lmdb" batch_size: 1 backend: LMDB } }
    layer { name: "masks" type: "Data" top: "label" data_param { source: "train_lmdb" batch_size: 1 backend: LMDB } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 9 kernel_size: 1 } }
    layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up" convolution_param { num_output: 21 kernel_size: 1 } }
    layer { name: "crop" type: "Crop" bottom: "up" bottom: "data" top: "score" }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" loss_param { ignore_label: 255 } }
    """
    source = found(text)
    assert (source.layer, source.whole.pixels, source.n_classes, source.ignore_label) == ("masks", True, 21, 255)
    real_nets.net(text)


@pytest.mark.parametrize("loss, ignored", [
    ('type: "InfogainLoss" bottom: "H" loss_param { ignore_label: 3 }', 3),
    ('type: "MultinomialLogisticLoss"', None), ('type: "HingeLoss"', None),
    ("""type: "Python" python_param { module: "caffe_losses" layer: "SoftmaxWithInfogainLoss"
        param_str: '{"ignore_label": 4}' } loss_weight: 1""", 4),
    ("""type: "Python" python_param { module: "caffe_losses" layer: "ExpectedCostLoss"
        param_str: "{'ignore_label': 5, }" } loss_weight: 1""", 5),
    ('type: "Python" python_param { module: "mine" layer: "Mine" param_str: "a=1" } loss_weight: 1', None),
    ('type: "SoftmaxWithFocalLoss"', None),
])
def test_other_losses(here, loss, ignored):
    source = found(DATA + SCORE + 'layer { name: "loss" bottom: "score" bottom: "label" %s }' % loss)
    assert (source.whole.source, source.n_classes, source.ignore_label) == ("train_lmdb", 7, ignored)


def test_labels_looked_up_through_layers_that_pass_them_on(here):
    check = """layer { name: "check" type: "Python" bottom: "label" top: "checked" python_param {
                       module: "caffe_losses" layer: "LabelCheck" param_str: '{"n_classes": 7}' } }
               layer { name: "flat" type: "Flatten" bottom: "checked" top: "flat" }"""
    source = found(DATA + SCORE + check + LOSS.replace('"label"', '"flat"'))
    assert (source.layer, source.label_blob, source.whole.pixels) == ("train", "flat", False)


RULES = ["include { phase: TRAIN }", "include { phase: TEST }", "exclude { phase: TRAIN }", "exclude { phase: TEST }",
         'include { stage: "a" }', 'include { phase: TRAIN stage: "a" stage: "b" }', 'include { not_stage: "a" }',
         'exclude { stage: "b" }', "include { min_level: 1 }", "include { max_level: 0 }", "exclude { min_level: 2 }",
         'include { phase: TEST } include { stage: "b" }', ""]


@pytest.mark.parametrize("stages, level", [((), 0), (("a",), 0), (("a", "b"), 1), (("b",), 2)])
def test_layers_are_kept_as_caffe_keeps_them(here, stages, level):
    for rule in RULES:
        text = 'layer { name: "in" type: "Input" top: "x" } layer { name: "maybe" type: "Silence" bottom: "x" %s }' % rule
        sources.write_text("net.prototxt", [text])
        kept = "maybe" in caffe.Net("net.prototxt", caffe.TRAIN, level=level, stages=list(stages))._layer_names
        text = replaced(DATA, ("include { phase: TRAIN }", rule)) + SCORE + LOSS
        try:
            assert (found(text, stages=stages, level=level).layer == "train") == kept, rule
        except ValueError as error:
            assert not kept and "expected a data layer that makes the blob label, got none" in str(error), rule


def test_names_that_are_not_ascii(here):
    label, layer, folder = [str(text if str is not bytes else text.encode("utf-8"))
                            for text in (u"l\u00e4bel", u"tr\u00e4in", u"tr\u00e4in_lmdb")]
    os.rename("train_lmdb", folder)
    text = replaced(DATA + SCORE + LOSS, ('"label"', '"%s"' % label), ('"train"', '"%s"' % layer), ('"train_lmdb"', '"%s"' % folder))
    for chosen in (None, label):
        source = found(text, label=chosen)
        assert (source.whole.source, source.layer, source.label_blob) == (folder, layer, label)
        assert "%s %s" % (source.whole.source, source.layer) == "%s %s" % (folder, layer)  # bytes and unicode do not mix
    other = replaced(LOSS, ('"label"', '"%s"' % label), ('name: "loss"', 'name: "loss2"'), ('"%s"' % label, '"data"'))
    os.rmdir("test_lmdb")
    for broken in (text + other, replaced(text, ("Data", "Input")), replaced(text, (folder, folder + "x"))):
        with pytest.raises((IOError, ValueError)) as error:
            found(broken)
        assert label in str(error.value) or layer in str(error.value)


def test_several_losses(here):
    two = LOSS + replaced(LOSS, ('name: "loss"', 'name: "loss2"'))
    assert found(DATA + SCORE + two).label_blob == "label"
    other = LOSS + replaced(LOSS, ('name: "loss"', 'name: "loss2"'), ('bottom: "label"', 'bottom: "coarse"'))
    with pytest.raises(ValueError, match=r"expected one blob of labels, got label \(SoftmaxWithLoss\) of loss loss, "
                       r"coarse \(SoftmaxWithLoss\) of loss loss2 \(--label-blob NAME: which one\)"):
        found(DATA + SCORE + other)
    assert found(DATA + SCORE + other, label="label").layer == "train"
    differing = LOSS + replaced(LOSS, ('top: "loss"', 'top: "l2" loss_param { ignore_label: 9 }'))
    with pytest.raises(ValueError, match="expected losses that ignore the same label, got .*, ignoring 9"):
        found(DATA + SCORE + differing)


@pytest.mark.parametrize("text, message", [
    ("", "expected a net, got an empty file"),
    ("layer {", 'line 2, column 1: expected the name of a field or "}", got the end of the text'),
    (DATA + SCORE, "expected a loss that takes labels, got none among the layers of phase TRAIN"),
    (SCORE + LOSS, "expected a data layer that makes the blob label, got none of phase TRAIN .--labels SOURCE"),
    ('layer { name: "in" type: "Input" top: "data" top: "label" }' + SCORE + LOSS,
     "expected labels from a data layer, got label from layer in of type Input"),
    ('layer { name: "m" type: "MemoryData" top: "data" top: "label" }' + SCORE + LOSS, "from layer m of type MemoryData"),
    (DATA.replace("train_lmdb", "missing_lmdb") + SCORE + LOSS,
     "layer train: its source 'missing_lmdb' is not there .a path is relative to where caffe runs."),
    (DATA.replace("include { phase: TRAIN }", "include { phase: TRAIN } exclude { phase: TEST }") + SCORE + LOSS,
     "layer train: expected rules of one kind, got include and exclude"),
])
def test_nets_whose_labels_are_not_found(here, text, message):
    with pytest.raises((IOError, ValueError)) as raised:
        found(text)
    assert re.match("net.prototxt: .*%s" % message, str(raised.value)), raised.value


@pytest.mark.parametrize("text", [
    'layer { name: "mine" type: "Python" top: "label" python_param { module: "m" layer: "L" } }' + SCORE + LOSS,
    DATA + 'layer { name: "both" type: "Concat" bottom: "label" bottom: "label" top: "label" }' + SCORE + LOSS,
    IMAGES.replace('top: "data" top: "label"', 'top: "label" top: "no"') + SCORE + LOSS,
    DATA.replace('top: "data" top: "label"', 'top: "label"').replace(" include", " transform_param { crop_size: 2 } include") + SCORE + LOSS,
])
def test_labels_of_which_only_caffe_knows(here, text):
    assert found(text).whole is None


def test_files_that_are_no_net(here):
    with pytest.raises(IOError, match="^missing.prototxt: No such file or directory"):
        net_source("missing.prototxt")
    sources.write_text("solver.prototxt", ['net: "net.prototxt" base_lr: 0.1'])
    with pytest.raises(ValueError, match="^solver.prototxt: expected a net.*this is a solver's file|no field named"):
        net_source("solver.prototxt")
    with open("net.caffemodel", "wb") as file:
        file.write(b"\x0a\xff\xfe\x00")
    with pytest.raises(ValueError, match="^net.caffemodel: line 2, column 1: expected the name of a field"):
        net_source("net.caffemodel")


def test_what_only_a_fork_knows_does_not_matter(here):
    fork = 'layer { name: "own" type: "Own" bottom: "data" top: "own" own_param { size: 3 } }'
    assert found(DATA + SCORE + fork + LOSS).n_classes == 7


def test_the_number_of_classes_where_it_is_unclear(here):
    reshaped = 'layer { name: "r" type: "Reshape" bottom: "score" top: "r" }' + LOSS.replace('"score"', '"r"')
    assert found(DATA + SCORE + reshaped).n_classes is None
    assert found(DATA + LOSS.replace('"score"', '"data"')).n_classes is None
