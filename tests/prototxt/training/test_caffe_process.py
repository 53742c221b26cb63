"""The child process with Caffe: what ends in it ends nothing else, and nothing is left of it."""
from __future__ import division, print_function

import os

import numpy as np
import pytest

import real_nets
import training

pytest.importorskip("caffe")
pytest.importorskip("h5py")
from caffe_prototxt.training import probe  # noqa: E402
from caffe_prototxt.training.caffe_process import Caffe  # noqa: E402

OPTIONS = dict(iterations=None, default_iterations=None, score=None, label=None, python=True, gpu=None, n_names=None,
               top=5)
# A layer in Python that runs a line of code in its forward pass.
LAYER = """import caffe, os, time
class Odd(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(1)
    def forward(self, bottom, top): %s
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("trained"))
    assert training.train(folder) == 0
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([trained, os.environ["PYTHONPATH"]]))
    return trained


def tally(caffe, on_batch=lambda n_batches: None, definition="train_val.prototxt", D=None, **options):
    return caffe.tally(definition, "snap_iter_20.caffemodel", os.getcwd(), D, on_batch, **dict(OPTIONS, **options))


def odd_net(module, line):
    """Write a net with a layer that runs a line of code."""
    with open(module + ".py", "w") as file:
        file.write(LAYER % line)
    with open(module + ".prototxt", "w") as file:
        file.write(training.NET % (training.LOSS + real_nets.python_layer("Odd", ("score",), ("odd",), module=module)))
    return module + ".prototxt"


def is_running(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def test_a_net_is_run(folder):
    batches = []
    with Caffe() as caffe:
        arrays = tally(caffe, batches.append, D=1 - np.eye(3))
        shorter = tally(caffe, iterations=1)
    assert batches == [3, 3, 3] and int(arrays["n_classes"]) == 3 and not arrays["spatial"]
    assert arrays["source"].item() == "all 50 samples of test.txt" and arrays["left_out"].tolist() == []
    assert arrays["probable_confusion"].sum() == arrays["cheapest_confusion"].sum() == training.N_TEST
    assert shorter["probable_confusion"].sum() == 20 and "cheapest_confusion" not in shorter


@pytest.mark.parametrize("module, line, message", [
    ("ends", "os._exit(7)", "it ended with status 7"), ("aborts", "os.abort()", "it ended with status -6"),
    ("raises", "raise RuntimeError('one\\n two')", "one two"), ("prints", "print('status 0')", None),
    ("fails", "os.write(2, b'F1125 10:00:00.0 1 odd.cpp:7] Check failed: 1 == 2\\nof this\\n'); os.abort()",
     "Check failed: 1 == 2 of this")])
def test_what_ends_the_net_ends_nothing_else(folder, module, line, message):
    with Caffe() as caffe:
        definition = odd_net(module, line)
        if message is None:
            assert tally(caffe, definition=definition)
        else:
            with pytest.raises(ValueError) as error:
                tally(caffe, definition=definition)
            assert str(error.value).startswith(message)
        assert tally(caffe)["probable_confusion"].sum() == training.N_TEST


def test_a_caffe_that_prints_and_fails_when_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "caffe.py").write_text(u"print('Failed to include caffe_pb2, things might go wrong!')\n"
                                       u"raise TypeError('duplicate file name caffe.proto')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Caffe() as caffe:
        assert caffe.run("", "TRAIN", []).no_caffe == "TypeError: duplicate file name caffe.proto"


def test_time(folder):
    with Caffe() as caffe:
        tally(caffe, iterations=1)
        caffe.seconds = 1
        with pytest.raises(ValueError) as error:
            tally(caffe, definition=odd_net("sleeps", "time.sleep(60)"))
        assert str(error.value) == "Caffe took longer than 1 s; --timeout sets more"


def test_nothing_is_left_after_an_interrupt(folder):
    pids = []

    def interrupt(n_batches):
        pids.extend([caffe._process.pid, caffe._worker])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with Caffe(seconds=None) as caffe:
            tally(caffe, interrupt,
                  definition=odd_net("slow", "time.sleep(10 ** 6 * hasattr(self, 'late')); self.late = True"))
    assert len(pids) == 2 and not any(map(is_running, pids)) and not os.path.exists(caffe.folder)


def test_no_caffe(folder, monkeypatch, tmp_path):
    (tmp_path / "caffe.py").write_text(u"raise ImportError('no caffe')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Caffe() as caffe:
        with pytest.raises(ValueError) as error:
            tally(caffe)
    assert str(error.value) == "ImportError: no caffe"


def test_the_lines_of_nvidia_s_caffe(monkeypatch):
    """Its 0.16 and 0.17 print layers and shapes in other words."""
    log = """%s
I1029 14:52:46.795838 1 net.cpp:103] Created Layer @1 (1)
I1029 14:52:46.795838 1 net.cpp:250] Setting up @1
I1029 14:52:46.795838 1 net.cpp:257] TRAIN Top shape for layer 1 '@1' 20 3 (60)
I1029 14:52:46.795838 1 net.cpp:103] Created Layer @2 (2)
""" % probe.MARK

    def request(self, request, on_batch):
        with open(request["log"], "w") as file:
            file.write(log)
        return 1, False
    monkeypatch.setattr(Caffe, "_request", request)
    with Caffe() as caffe:
        end = caffe.run("", "TRAIN", ())
    assert end.shapes == {1: [(20, 3)]} and end.stopped_at == 2
