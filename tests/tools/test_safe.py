"""The commands that make nets, on nets that would write files, or run code that nobody asked for."""
from __future__ import division, print_function

import json
import os
import re
import sys

import numpy as np
import pytest

import real_nets
from commands import run_main
import training

pytest.importorskip("caffe")
from caffe_losses.formats.matrix_files import write_matrix  # noqa: E402
from caffe_prototxt.net.graph import Graph  # noqa: E402
from caffe_prototxt.net.nets import Net  # noqa: E402
from caffe_prototxt.net.states import State  # noqa: E402
from caffe_prototxt.training import precautions  # noqa: E402

KEPT = b"what must stay"
BUILTINS = "builtins" if sys.version_info[0] > 2 else "__builtin__"
INPUT = "input" if sys.version_info[0] > 2 else "raw_input"

SCORE = ('layer { name: "score" type: "InnerProduct" bottom: "%s" top: "score" inner_product_param { num_output: 3 '
         'weight_filler { type: "xavier" } } }\n')
DUMP = 'layer { name: "dump" type: "HDF5Output" bottom: "score" bottom: "label" hdf5_output_param { file_name: "kept" } }'
SHAPES = real_nets.input_layer(data=(2, 4), label=(2,))
NEW = SHAPES + SCORE % "data" + training.LOSS + "\n"
OLD = ('layers { name: "data" type: HDF5_DATA top: "data" top: "label" hdf5_data_param { source: "test.txt" batch_size: 20 } }\n'
       'layers { name: "score" type: INNER_PRODUCT bottom: "data" top: "score" inner_product_param { num_output: 3 } }\n'
       'layers { name: "loss" type: SOFTMAX_LOSS bottom: "score" bottom: "label" top: "loss" }\n'
       'layers { name: "dump" type: %s bottom: "score" bottom: "label" hdf5_output_param { file_name: "kept" } }\n')
# A module that says that it is imported, with things that say that they are called.
MODULE = """import caffe, io
def mark(*_):
    io.open(%r, "w").close()
class Called(object):
    __init__ = mark
class Old:
    __init__ = mark
class Layer(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data
%s
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training, and the net of its log with a layer that writes; Caffe's own ends at its second batch."""
    folder = str(tmp_path_factory.mktemp("safe"))
    assert training.train(folder) == 0
    with open(os.path.join(folder, "caffe.log")) as file:
        before, accuracy, after = file.read().rpartition('layer {\n  name: "accuracy"')
    assert accuracy
    with open(os.path.join(folder, "caffe.log"), "w") as file:
        file.write(before + DUMP + "\n" + accuracy + after)
    return folder


@pytest.fixture
def folder(trained, monkeypatch):
    monkeypatch.chdir(trained)
    with open("kept", "wb") as file:
        file.write(KEPT)
    for name in ("marker", "net.prototxt"):
        if os.path.exists(name):
            os.remove(name)
    return trained


def is_kept():
    with open("kept", "rb") as file:
        return file.read() == KEPT


def write(name, text):
    if os.path.dirname(name) and not os.path.isdir(os.path.dirname(name)):
        os.makedirs(os.path.dirname(name))
    with open(name, "w") as file:
        file.write(text)


# Files that a net writes

HDF5 = [
    NEW + DUMP, NEW + DUMP.replace('"HDF5Output"', '"HDF5" "Output"'), NEW + DUMP.replace('"HDF5Output"', "'\\x48DF5Output'"),
    NEW + 'layer: [ %s, { name: "other" type: "Silence" bottom: "data" } ]' % DUMP[len("layer "):],
    OLD % "HDF5_OUTPUT", OLD % "10", OLD % "0xA", OLD % "012"]


@pytest.mark.parametrize("net", HDF5, ids=list(map(str, range(len(HDF5)))))
def test_caffe_itself_writes(folder, net):
    real_nets.net(net)
    assert not is_kept()


@pytest.mark.parametrize("net", HDF5[1::2])
def test_check_net_does_not_write(folder, net):
    write("net.prototxt", net)
    status, out, err = run_main("check_net.py", "net.prototxt")
    assert status == 0 and not err and is_kept()
    line = 1 + net[:net.index("dump")].count("\n")
    assert "not checked: layer dump, line %d: HDF5Output writes kept, and was left out\n" % line in out
    assert out.endswith("\n0 errors, 0 warnings, %d not checked\n" % (1 + ("Input" in net)))  # and its labels


@pytest.mark.parametrize("net", HDF5[::4])
def test_make_deploy_does_not_write(folder, net):
    write("net.prototxt", net)
    status, _, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt", "--shape", "data=1,4")
    assert status == 0 and not err and is_kept()


def test_make_deploy_with_an_output_that_is_kept(folder):
    """Caffe would stop at the top only after it has emptied the file."""
    write("net.prototxt", NEW + DUMP.replace("hdf5", 'top: "dumped" hdf5', 1))
    status, _, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt", "--blob", "dumped")
    assert status == 0 and is_kept()
    assert err == "make_deploy.py: note: not checked: layer dump: HDF5Output writes kept, and was left out\n"


@pytest.mark.parametrize("run", ["log", "net", "old syntax", "old number"])
def test_report_does_not_write(folder, run):
    arguments = ["net.prototxt,snap_iter_20.caffemodel"]
    if run == "log":
        arguments = ["caffe.log"]
    elif run == "net":
        write("net.prototxt", training.NET % (training.LOSS + DUMP))
    else:
        write("net.prototxt", OLD % ("HDF5_OUTPUT" if run == "old syntax" else "10"))
    status, out, err = run_main("report.py", "--json", *arguments)
    assert status == 0 and not err and is_kept()
    (result,) = json.loads(out)["runs"]
    assert result["notes"] == ["not evaluated with it: layer dump: HDF5Output writes kept, and was left out"]
    assert result["evaluation"] and result["n_classes"] == 3


def test_report_says_what_was_left_out(folder):
    status, out, err = run_main("report.py", "caffe.log")
    assert status == 0 and not err and is_kept()
    assert "caffe, seed 1: done; not evaluated with it: layer dump: HDF5Output writes kept, and was left out\n" in out


@pytest.mark.parametrize("layer, reason", [
    ('type: "HDF5Output" hdf5_output_param { file_name: "a" file_name: "b" }', "HDF5Output writes files, and was left out"),
    ('type: "HDF5Output"', "HDF5Output writes files, and was left out"),
    ('type: "MatWrite" mat_write_param { prefix: "a/" }', "MatWrite writes a/, and was left out"),
    ('type: "ImgWriter" writer_param { folder: "a" }', "ImgWriter writes a, and was left out"),
    ('type: "FLOWriter"', "FLOWriter writes files, and was left out"),
    ('type: "FloatWriter" writer_param { folder: "a" }', "FloatWriter writes a, and was left out"),
    ('type: "DetectionOutput" detection_output_param { save_output_param { output_directory: "a" } }',
     "DetectionOutput writes a, and was left out"),
    ('type: "DetectionOutput" detection_output_param { save_output_param { } }', None), ('type: "DetectionOutput"', None),
    ('type: "DetectionOutput" detection_output_param: 3', None), ('type: "Silence"', None),
    ('type: "HDF5Data" hdf5_data_param { source: "a" }', None)])
def test_layers_that_write(layer, reason):
    net = Net('layer { name: "other" type: "ReLU" bottom: "x" top: "y" }\nlayer { bottom: "y" %s }' % layer)
    graph = Graph(net, State("TEST"))
    assert {node.index: why for node, why in precautions.left_out(graph).items()} == ({1: reason} if reason else {})


# Modules that a net names

def net_of(module, name):
    """A net whose scores need a Python layer; its data are there."""
    layer = real_nets.python_layer(name, ("data",), ("odd",), module=module)
    return (training.NET % training.LOSS).replace('layer { name: "score"', layer + 'layer { name: "score"').replace(
        'type: "InnerProduct" bottom: "data"', 'type: "InnerProduct" bottom: "odd"')


COMMANDS = {"check_net.py": ["net.prototxt"], "make_deploy.py": ["net.prototxt", "--shape", "data=1,4", "-o", "deploy.prototxt"],
            "report.py": ["net.prototxt,snap_iter_20.caffemodel"]}


def run(command, path, *options, **how):
    """(exit status, standard output, standard error) of a command. path: PYTHONPATH, with ROOTS for what it is here."""
    environment = dict(os.environ, PYTHONPATH=path.replace("ROOTS", os.environ["PYTHONPATH"]))
    return how.get("start", run_main)(command, *(COMMANDS[command] + list(options)), env=environment)


def fault_of(command, result):
    """The one line in which a command says what is wrong with the net."""
    status, out, err = result
    if command == "check_net.py":
        (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
        assert status == 1 and not err
        return line
    assert len(err.splitlines()) == 1
    if command == "make_deploy.py":  # the net is written, as another Caffe may have the layer
        assert status == 0 and "note: not checked: " in err
    else:
        assert status == 2 and not out
    return err


@pytest.mark.parametrize("command, path, module", [
    ("check_net.py", "ROOTS:", "odd_layers"), ("check_net.py", ":ROOTS", "odd_package.layers"),
    ("check_net.py", "ROOTS:.", "odd_layers"), ("make_deploy.py", "ROOTS::", "odd_layers"),
    ("report.py", "ROOTS:", "odd_package.layers"), ("report.py", "./:ROOTS", "odd_layers")])
def test_no_module_of_the_current_folder(folder, command, path, module):
    write("odd_layers.py", MODULE % (os.path.abspath("marker"), "mark()"))
    write("odd_package/__init__.py", MODULE % (os.path.abspath("marker"), "mark()"))
    write("odd_package/layers.py", "from odd_package import Layer\n")
    write("net.prototxt", net_of(module, "Layer"))
    # A process of its own has the empty entries of PYTHONPATH on its path.
    line = fault_of(command, run(command, path, start=real_nets.tool if module == "odd_layers" else run_main))
    assert not os.path.exists("marker")
    assert "its module %s cannot be imported: " % module in line and "export PYTHONPATH=$PWD" in line


@pytest.mark.parametrize("command, path", [
    ("check_net.py", "ROOTS:%s"), ("make_deploy.py", "%s/:ROOTS:"), ("report.py", "ROOTS:%s")])
def test_the_current_folder_named_in_full(folder, command, path):
    write("odd_layers.py", MODULE % (os.path.abspath("marker"), "mark()"))
    write("net.prototxt", net_of("odd_layers", "Layer"))
    status, _, err = run(command, path.replace("%s", folder))
    assert status == 0 and not err and os.path.exists("marker")


@pytest.mark.parametrize("command, options", [("check_net.py", []), ("report.py", ["--folder"])])
def test_layers_of_ours_from_the_current_folder(folder, monkeypatch, command, options):
    """cd layers; PYTHONPATH=$PWD."""
    guard = real_nets.python_layer("LabelCheck", ("label",), ("checked",), {"n_classes": 3})
    write("net.prototxt", training.NET % (training.LOSS + guard))
    (arguments,) = COMMANDS[command]
    arguments = [",".join(os.path.join(folder, name) for name in arguments.split(","))] + options + [folder] * len(options)
    layers, rest = os.environ["PYTHONPATH"].split(os.pathsep, 1)
    monkeypatch.chdir(layers)
    status, out, err = run_main(command, *arguments, env=dict(os.environ, PYTHONPATH=":" + layers + ":" + rest))
    assert status == 0 and not err and "not evaluated" not in out and "cannot be imported" not in out


NO_LAYERS = [
    (BUILTINS, INPUT), ("os.path", "exists"), ("odd_layers", "mark"), ("odd_layers", "Called"), ("odd_layers", "Old"),
    ("odd_layers", "caffe"), ("odd_package.layers", "mark"), ("odd_package.layers", "layer")]


@pytest.fixture
def odd(folder, tmp_path):
    """PYTHONPATH with modules that are no layers' alone."""
    write(str(tmp_path / "odd_layers.py"), MODULE % (os.path.abspath("marker"), ""))
    write(str(tmp_path / "odd_package" / "__init__.py"), "")
    write(str(tmp_path / "odd_package" / "layers.py"), "from odd_layers import *\nlayer = lambda param: Layer(mark())\n")
    return "ROOTS:%s" % tmp_path


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"check_net.py"}))
@pytest.mark.parametrize("module, name", [NO_LAYERS[0], NO_LAYERS[-1]])
def test_what_is_no_layer_is_not_called(odd, command, module, name):
    write("net.prototxt", net_of(module, name))
    line = fault_of(command, run(command, odd))
    assert "layer odd" in line and line.strip().endswith("%s of its module %s is no caffe.Layer" % (name, module))
    assert not os.path.exists("marker")


def test_check_net_names_each_that_is_no_layer(odd):
    write("net.prototxt", NEW + "".join(
        real_nets.python_layer(name, ("data",), ("odd%d" % i,), module=module) for i, (module, name) in enumerate(NO_LAYERS)))
    status, out, err = run("check_net.py", odd)
    assert status == 1 and not err and not os.path.exists("marker")
    for module, name in NO_LAYERS:
        assert "%s of its module %s is no caffe.Layer\n" % (name, module) in out
    assert out.endswith("\n%d errors, 0 warnings, 1 not checked\n" % len(NO_LAYERS))  # labels of an Input


def test_paths():
    assert precautions.named_path(":/a::.:./:b:../c:") == "/a:b:../c"
    assert precautions.named_path("") == precautions.named_path(":") == precautions.named_path(".") == ""


@pytest.mark.parametrize("path, stays", [("", False), (".:/elsewhere", False), ("%s", True), (":%s/", True)])
def test_drop_current_folder(monkeypatch, tmp_path, path, stays):
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    monkeypatch.setenv("PYTHONPATH", path.replace("%s", here))
    monkeypatch.setattr(sys, "path", ["", here, "/elsewhere", "relative"])
    precautions.drop_current_folder()
    assert sys.path == (["", here] if stays else []) + ["/elsewhere", "relative"]


def test_readme_names_no_current_folder():
    with open(os.path.join(real_nets.CHECKOUT, "README.md")) as file:
        (line,) = re.findall("export PYTHONPATH=.*", file.read())
    for before, after in ((None, "/here/layers"), ("", "/here/layers"), ("/a:/b", "/here/layers:/a:/b")):
        environment = {"PYTHONPATH": before} if before is not None else {}
        _, out, _ = real_nets.run(["sh", "-c", 'PWD=/here; %s; printf %%s "$PYTHONPATH"' % line], env=environment)
        assert out == after


# --no-python

def ours(more=""):
    write_matrix("H.npy", np.eye(3))
    return real_nets.python_layer("SoftmaxWithInfogainLoss", ("score", "label"), ("loss",), {"source": "H.npy"},
                                  "loss_weight: 1") + more


@pytest.fixture
def marking(folder, tmp_path):
    """PYTHONPATH with a module that says that it is imported."""
    write(str(tmp_path / "odd_layers.py"), MODULE % (os.path.abspath("marker"), "mark()"))
    return "ROOTS:%s" % tmp_path


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_python(folder, marking, command):
    write("net.prototxt", net_of("odd_layers", "Layer"))
    status, out, err = run(command, marking, "--no-python")
    assert not os.path.exists("marker")
    if command == "check_net.py":
        assert status == 0 and not err
        assert "not checked: layer odd, line 6: is a Python layer, and was left out with --no-python\n" in out
        assert "it depends on what is left out, and is, too; the same of loss, accuracy\n" in out
    elif command == "make_deploy.py":
        assert status == 0 and err == "make_deploy.py: note: not checked: layer odd: is a Python layer, and was left out with "\
            "--no-python; nor is what depends on it\n"
    else:
        assert status == 2 and not out and len(err.splitlines()) == 1
        assert "not evaluated: blob score: depends on layer odd, which is a Python layer, and was left out with" in err
    status, _, _ = run(command, marking)
    assert status == 0 and os.path.exists("marker")


def test_no_python_data(folder, marking):
    data = real_nets.python_layer("Layer", (), ("data", "label"), module="odd_layers")
    write("net.prototxt", data + SCORE % "data" + training.LOSS)
    status, out, _ = run("check_net.py", marking, "--no-python", "--shape", "data=2,4")
    assert status == 0 and not os.path.exists("marker")
    assert "layer data, line 1: is a Python layer, and was left out with --no-python; inputs stand for it, data of 2 x 4" in out
    assert out.endswith("0 errors, 0 warnings, 1 not checked\n")


def evaluated(layers, *options):
    write("net.prototxt", training.NET % layers)
    status, out, err = run("report.py", "ROOTS", "--json", *options)
    return json.loads(out)["runs"][0] if status == 0 else err


@pytest.mark.scores
def test_no_python_in_a_report(folder):
    """Our loss and what makes its H tell where scores and labels are, and need not run."""
    plain = evaluated(training.LOSS)
    assert evaluated(ours())["evaluation"] == plain["evaluation"]
    without = evaluated(ours(), "--no-python")
    assert without["evaluation"] == plain["evaluation"]
    assert without["notes"] == ["not evaluated with it: layer loss: is a Python layer, and was left out with --no-python"]
    computed = (real_nets.python_layer("ComputeH", ("label",), ("H",), {"n_classes": 3})
                + 'layer { name: "loss" type: "InfogainLoss" bottom: "score" bottom: "label" bottom: "H" top: "loss" }\n')
    without = evaluated(computed, "--no-python")
    assert without["evaluation"] == plain["evaluation"]
    assert without["notes"] == ["not evaluated with it: layer H: is a Python layer, and was left out with --no-python"]


def test_no_python_where_labels_need_it(folder):
    guard = real_nets.python_layer("LabelCheck", ("label",), ("checked",), {"n_classes": 3})
    loss = guard + training.LOSS.replace('"label"', '"checked"')
    assert evaluated(loss)["evaluation"]
    assert "not evaluated: blob checked: depends on layer checked, which is a Python layer" in evaluated(loss, "--no-python")
    assert evaluated(loss, "--no-python", "--label", "label", "--score", "score")["evaluation"]
    in_place = real_nets.python_layer("LabelCheck", ("label",), ("label",), {"n_classes": 3}, name="guard") + training.LOSS
    assert "not evaluated: blob label: depends on layer guard, which is a Python layer" in evaluated(in_place, "--no-python")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_says_that_python_layers_run(command):
    status, out, _ = run_main(command, "--help")
    assert status == 0
    said = r"Python layers that (the net|it) names are run (then )?\(--no-python leaves them out\)"
    assert re.search(said, " ".join(out.split()))
