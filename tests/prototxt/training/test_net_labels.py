"""The labels that a loss gets, counted in the real Caffe; and what check_net.py and make_h.py make of them."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import sources

caffe = pytest.importorskip("caffe")

from caffe_prototxt.check import check as check_net, text_checks  # noqa: E402
from caffe_prototxt.net.graph import Graph  # noqa: E402
from caffe_prototxt.net.nets import Net  # noqa: E402
from caffe_prototxt.net.states import State  # noqa: E402
from caffe_prototxt.training import caffe_process  # noqa: E402
from caffe_prototxt.training.net_labels import count_in_caffe  # noqa: E402
from commands import run_main  # noqa: E402

TRAIN = State("TRAIN")
MASK = np.array([[0, 1, 2, 255]] * 4, np.uint8)
DATA = """layer { name: "images" type: "Data" top: "data" data_param { source: "images" batch_size: 2 backend: LMDB } }
"""
MASKS = """layer { name: "masks" type: "Data" top: "label" data_param { source: "masks" batch_size: 2 backend: LMDB } %s }
"""
SCORE = """layer { name: "score" type: "Convolution" bottom: "data" top: "score" convolution_param { num_output: 3 kernel_size: 1
        weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" %s }
"""
IGNORED = "loss_param { ignore_label: 255 }"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources.write_lmdb("images", [sources.datum(shape=(3, 4, 4))] * 4)
    sources.write_lmdb("masks", [sources.datum(shape=(1, 4, 4), image=MASK.tobytes())] * 4)
    return str(tmp_path)


@pytest.fixture(scope="module")
def process():
    with caffe_process.Caffe(30) as process:
        yield process


def check(text, process, **options):
    """{level: messages} and the lines on labels, in TRAIN."""
    report = check_net.check(Net(text), [TRAIN], process, **options)
    messages = {}
    for fault, _ in report.faults:
        messages.setdefault(fault.level, []).append(fault.message)
    return messages, report.labels.get(TRAIN, [])


def test_label_images_of_a_second_lmdb(folder, process):
    messages, _ = check(DATA + MASKS % "" + SCORE % "", process)
    assert messages == {"error": ["has labels that it has no class for: masks: expected labels 0..2, got 255 in 16 pixels "
                                  "(the first: record 0)"]}
    messages, lines = check(DATA + MASKS % "" + SCORE % IGNORED, process)
    assert not messages and lines == ["labels of loss: 64 counted (all pixels of masks)"]


def test_labels_that_are_transformed_are_counted_in_caffe(folder, process):
    """A crop leaves some labels out, and a scale makes others."""
    messages, lines = check(DATA.replace("}", "} transform_param { crop_size: 1 }", 1) + MASKS % "transform_param { crop_size: 1 }"
                            + SCORE % IGNORED, process, label_seconds=1)
    assert "error" not in messages and lines[0].startswith("labels of loss: 2000 counted (label, 1000 batches as Caffe reads them)")
    messages, _ = check(DATA + MASKS % "transform_param { scale: 2 }" + SCORE % IGNORED, process, label_seconds=1)
    assert messages["error"][0].startswith("has labels that it has no class for: label, ")
    assert "expected labels 0..2 or ignore_label 255, got 4 in " in messages["error"][0]


PYTHON = """import caffe, numpy as np
class Data(caffe.Layer):
    def setup(self, bottom, top):
        top[0].reshape(2, 3, 4, 4)
        top[1].reshape(2, 1, 4, 4)
    def reshape(self, bottom, top): pass
    def forward(self, bottom, top):
        top[1].data[...] = 2
        top[1].data[0, 0, 0, 0] = 7
    def backward(self, *_): pass
"""


def test_labels_of_a_python_layer(folder, monkeypatch):
    with open("voc_layers.py", "w") as file:
        file.write(PYTHON)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.environ["PYTHONPATH"]]))
    net = ('layer { name: "data" type: "Python" top: "data" top: "label" python_param { module: "voc_layers" layer: "Data" } }\n'
           + SCORE % "")
    with caffe_process.Caffe(30) as process:
        messages, _ = check(net, process)
        assert "expected labels 0..2, got 7 in 1000 labels (the first: batch 1)" in messages["error"][0]
        messages, lines = check(net, process, python=False)
    assert "error" not in messages and not lines and "so the labels of loss are not checked" in messages["not checked"][0]


def test_labels_through_a_slice(folder, process):
    sources.write_hdf5("data.h5", np.array([[0, 5], [1, 6]], np.float32), "both")
    import h5py
    with h5py.File("data.h5", "a") as file:
        file["data"] = np.zeros((2, 3, 1, 1), np.float32)
    sources.write_text("list.txt", ["data.h5"])
    net = """layer { name: "d" type: "HDF5Data" top: "data" top: "both" hdf5_data_param { source: "list.txt" batch_size: 2 } }
    layer { name: "s" type: "Slice" bottom: "both" top: "label" top: "fine" slice_param { axis: 1 } }
    """
    messages, lines = check(net + SCORE % "" + 'layer { type: "Silence" bottom: "fine" }', process)
    assert not messages and lines == ["labels of loss: 2000 counted (label, 1000 batches as Caffe reads them); none of class 2"]
    messages, _ = check(net + (SCORE % "").replace('"label"', '"fine"') + 'layer { type: "Silence" bottom: "label" }', process)
    assert "expected labels 0..2, got 5 in 1000 labels" in messages["error"][0]


@pytest.mark.parametrize("images, masks, kinds", [
    ("crop_size: 2", "crop_size: 2", ["apart"]), ("mirror: true", "", ["apart"]), ("", "mirror: true", ["apart"]),
    ("scale: 2 mean_value: 3", "", []), ("mirror: false", "mirror: false", []), ("", "scale: 2", ["scaled_labels"]),
    ("", "mean_value: 1", ["scaled_labels"])])
def test_label_images_that_are_transformed_by_themselves(images, masks, kinds):
    text = (DATA.replace("}", "} transform_param { %s }" % images, 1) + MASKS % ("transform_param { %s }" % masks)
            + SCORE % IGNORED)
    faults = text_checks.state_faults(Graph(Net(text), TRAIN))
    assert [(fault.level, fault.kind, fault.layer.name) for fault in faults] == [("warning", kind, "loss") for kind in kinds]
    assert not text_checks.state_faults(Graph(Net(text), State("TEST")))


def test_what_cannot_be_looked_at_is_said(folder, process):
    inputs = ('layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } '
              'shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }\n')
    messages, _ = check(inputs + SCORE % "", process)
    assert messages == {"not checked": ["labels of loss: they need layer in, which is filled by whoever runs the net"]}
    with open("slow.py", "w") as file:
        file.write(PYTHON.replace("top[1].data[...] = 2", "import time; time.sleep(60)"))
    os.environ["PYTHONPATH"], path = os.pathsep.join([folder, os.environ["PYTHONPATH"]]), os.environ["PYTHONPATH"]
    try:
        with caffe_process.Caffe() as slow:
            check(inputs + SCORE % "", slow)  # the child process has started: only its data are slow
            slow.seconds = 4
            messages, _ = check('layer { name: "data" type: "Python" top: "data" top: "label" '
                                'python_param { module: "slow" layer: "Data" } }\n' + SCORE % "", slow)
    finally:
        os.environ["PYTHONPATH"] = path
    assert messages == {"not checked": ["labels of loss: Caffe took longer than 4 s; --timeout sets more"]}


@pytest.mark.skipif("ImageData" not in caffe.layer_type_list(), reason="this Caffe has no OpenCV")
def test_palettes_are_counted_as_caffe_reads_them(folder, process):
    """Colours, made grey, and not the indices of the palette."""
    from PIL import Image
    image = Image.fromarray(MASK, "P")
    image.putpalette(([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0, 0, 0] * 253)[:768])
    for i in range(3):
        image.save("%d.png" % i)
    sources.write_text("list.txt", ["%d.png 0" % i for i in range(3)])
    net = ('layer { name: "masks" type: "ImageData" top: "label" top: "no" image_data_param { source: "list.txt" batch_size: 1 '
           'is_color: false } }\n' + DATA + SCORE % "")
    graph = Graph(Net(net), TRAIN)
    counts = count_in_caffe(process, graph, graph.nodes[-1], 3, 10)
    assert counts.values.tolist() == [0, 38, 75]  # .299 and .587 of 128; the indices 0 and 255 are black
    with open("net.prototxt", "w") as file:
        file.write(net.replace("num_output: 3", "num_output: 100"))
    status, out, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "H.npy", "--n-classes", "100", cwd=folder)
    assert status == 0 and not err and "label, 3 batches as Caffe reads them: 48 labels of 100 classes" in out


def test_make_h_counts_batches(folder):
    with open("net.prototxt", "w") as file:
        file.write(DATA + MASKS % "" + SCORE % IGNORED)
    status, out, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "H.npy", cwd=folder)
    assert status == 0 and not err and "masks: 48 pixels of 3 classes (16 ignored)\n" in out
    status, out, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "H.npy", "--batches", "1", cwd=folder)
    assert status == 0 and not err and "label, 1 batches as Caffe reads them: 24 labels of 3 classes (8 ignored)\n" in out
    status, _, err = run_main("make_h.py", "--net", "net.prototxt", "-o", "H.npy", "--batches", "0", cwd=folder)
    assert status == 2 and "--batches: expected at least 1, got 0" in err


def test_labels_that_are_no_whole_numbers(folder, process):
    messages, _ = check(DATA + MASKS % "transform_param { scale: .5 }" + SCORE % IGNORED, process, label_seconds=1)
    assert messages["error"] == ["has labels that it has no class for: expected whole numbers as labels, got 0.5 in batch 1"]
