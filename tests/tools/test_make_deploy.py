"""make_deploy.py: what it writes, says and refuses."""
from __future__ import division, print_function

import json
import os

import numpy as np
import pytest

import real_nets
from commands import run_main

caffe = pytest.importorskip("caffe")

DATA = 'layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 5 } shape { dim: 4 } } }\n'
SCORE = '''layer { name: "score" type: "InnerProduct" bottom: "%s" top: "score"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
'''
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
NET = DATA + SCORE % "data" + LOSS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("net.prototxt", NET)
    return tmp_path


def write(name, text):
    with open(name, "w") as file:
        file.write(text)


def read(name):
    with open(name) as file:
        return file.read()


def refused(*arguments, **options):
    """Return the one line with which the command ends; it has written nothing."""
    before = sorted(os.listdir("."))
    status, out, err = run_main("make_deploy.py", *arguments, **options)
    assert status == 2 and not out and len(err.splitlines()) == 1 and sorted(os.listdir(".")) == before, (status, out, err)
    return err


def test_what_it_says(folder):
    status, out, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt", "--batch", "1")
    assert status == 0 and not err
    assert out.splitlines() == ["deploy.prototxt: takes data 1 x 5; gives prob (Softmax of score)",
                                "next: caffe.Net('deploy.prototxt', 'your.caffemodel', caffe.TEST)"]
    status, out, err = run_main("make_deploy.py", "net.prototxt", "--batch", "1")
    assert status == 0 and not err and out == read("deploy.prototxt")
    status, out, err = run_main("make_deploy.py", "net.prototxt", "--json", "-o", "again.prototxt", "--batch", "1")
    said = json.loads(out)
    assert status == 0 and not err and read("again.prototxt") == read("deploy.prototxt") and said == {
        "output": "again.prototxt", "net": None, "notes": [], "transforms": {}, "caffemodel": None,
        "weights": None, "counts": None, "inputs": [{"blob": "data", "shape": [1, 5]}],
        "outputs": [{"blob": "prob", "meaning": "Softmax of score"}]}


def test_what_it_refuses(folder):
    write("bad.prototxt", NET.replace("num_output: 3", "num_output: 3 axis: 5"))
    assert ("expected a net that Caffe makes when its losses are gone, got one at which it stops: layer score: Caffe stops"
            in refused("bad.prototxt", "-o", "deploy.prototxt"))
    assert refused("nowhere") == "make_deploy.py: error: nowhere: cannot be read: No such file or directory\n"
    assert "expected an input of the deployed net (data), got dat" in refused("net.prototxt", "--shape", "dat=1,5")
    os.symlink("net.prototxt", "link")
    os.link("net.prototxt", "hard")
    for output in ("net.prototxt", "./net.prototxt", "link", "hard"):
        assert "expected a file that is not read, got the input net.prototxt" in refused("net.prototxt", "-o", output)
    assert read("net.prototxt") == NET


@pytest.mark.parametrize("layer, message", [
    (real_nets.python_layer("Layer", ("data",), ("x",), module="nowhere_to_be_found"), "cannot be imported"),
    ('layer { name: "x" type: "ConvolutionDepthwise" bottom: "data" top: "x" }\n', "of type ConvolutionDepthwise, which this Caffe"),
    ('layer { name: "x" type: "Lstm" bottom: "data" top: "x" }\n', "of type Lstm, which this Caffe"),
    ('layer { name: "x" type: "ReLU" bottom: "data" top: "x" relu_param { negative_slop: 1 } }\n', "has negative_slop, which this"),
    ('layer { name: "x" type: "ReLU" bottom: "data" top: "x" fork_param { a: 1 } }\n', "has fork_param, which this Caffe"),
    ('layer { name: "x" type: "Softmax" bottom: "data" top: "x" softmax_param { engine: FORK } }\n', "has engine: FORK, which this Caffe"),
    ('fork_field: true\n' + SCORE.replace("score", "x") % "data", "has fork_field, which this Caffe")])
def test_what_this_caffe_lacks_is_written_and_not_checked(folder, layer, message):
    write("net.prototxt", DATA + layer + SCORE % "x" + LOSS)
    status, _, err = run_main("make_deploy.py", "net.prototxt", "-o", "deploy.prototxt")
    assert status == 0 and layer.strip() in read("deploy.prototxt")
    assert len(err.splitlines()) == 1 and "note: not checked: " in err and message in err
    assert layer.startswith("fork_field") or "layer x: " in err and ("fork's?" in err) == ("nor is what depends" in err)



@pytest.fixture
def trained(folder):
    caffe.Net("net.prototxt", caffe.TEST).save("trained.caffemodel")
    np.savetxt("D.csv", 1 - np.eye(3), delimiter=",")
    np.savetxt("D4.csv", 1 - np.eye(4), delimiter=",")
    np.savetxt("H.csv", np.eye(3), delimiter=",")
    write("tree.txt", "all: 3\n  tops: 1\n    shirt\n    dress\n  boot\n")
    write("labels.txt", "a.jpg 0\nb.jpg 0\nc.jpg 1\nd.jpg 0\n")
    return folder


def test_weights_of_another_net(trained):
    nets = {"other.prototxt": NET.replace('"score"', '"fc"'), "size.prototxt": NET.replace("dim: 5", "dim: 6"),
            "classes.prototxt": NET.replace("num_output: 3", "num_output: 4"),
            "no_bias.prototxt": NET.replace("num_output: 3", "num_output: 3 bias_term: false")}
    write("caffe.py", "raise ImportError")
    no_caffe = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=os.pathsep.join([os.getcwd(), os.environ["PYTHONPATH"]]))
    for name, text in sorted(nets.items()):
        write(name, text)
        for env in [os.environ] + [no_caffe] * (name != "size.prototxt"):  # this only Caffe knows
            assert "trained.caffemodel: expected the weights of this net, with blobs of layer " in refused(
                name, "--weights", "trained.caffemodel", "-o", "out.prototxt", env=dict(env))
    options = ["net.prototxt", "--weights", "trained.caffemodel", "-o", "out.prototxt", "--distances", "D.csv"]
    status, _, err = run_main("make_deploy.py", *options, env=no_caffe)
    assert status == 0 and "note: not checked: what Caffe itself says, as there is none here" in err
    assert caffe.Net("out.prototxt", "out.caffemodel", caffe.TEST).params["score_2"][0].data.tolist() == (np.eye(3) - 1).tolist()


@pytest.mark.parametrize("options, message", [
    (["--distances", "D4.csv"], "net.prototxt: the costs of D4.csv: expected 3 classes, as the scores of loss have, got 4"),
    (["--class-weights", "1,2"], "the class weights 1,2: expected 3 classes, as the scores of loss have, got 2\n"),
    (["--class-weights", "1,-2,3"], "class weights: expected numbers of at least 0, got -2 for class 1"),
    (["--class-weights", "none.txt"], "class weights: expected at least one above 0, got no numbers"),
    (["--class-weights", "0,0,0"], "class weights: expected at least one above 0"),
    (["--class-weights", "1,nan,3"], "class weights: expected numbers of at least 0, got nan"),
    (["--class-weights", "1,2", "--distances", "D4.csv"], "classes, as the scores of loss have, got 2"),
    (["--counts", "9", "3,", "1"], "--counts: expected numbers with commas between them, got blanks; write --counts 9,3,1"),
    (["--counts", "0,0,0"], "class weights: expected at least one above 0"),
    (["--class-weights", "1e38,1,1", "--distances", "D1e3.csv"], "whose products float32 can hold"),
    (["--distances", "H.csv"], "a cost matrix, with 0 on the diagonal"),
    (["--temperature", "0"], "--temperature: expected a number above 0"),
    (["--temperature", "-1"], "--temperature: expected a number above 0"),
    (["--temperature", "nan"], "--temperature: expected a number above 0"),
    (["--class-weights", "1,2,3", "--counts", "1,2,3"], "expected one of --class-weights, --counts, got"),
    (["--distances", "D.csv", "--tree", "tree.txt"], "expected one of --distances, --tree, got"),
    (["--power", "2"], "--power: expected with --counts or --labels only"),
    (["--counts", "1,2,3", "--power", "-2"], "power: expected a number of at least 0"),
    (["--pixels"], "--pixels: expected with --labels only"),
    (["--dataset", "species"], "--dataset: expected with --labels only"),
    (["--distances", "nowhere.csv"], "nowhere.csv: cannot be read"),
    (["--blob", "score", "--decide"], "expected a net that gives probabilities"),
    (["-o", "trained.prototxt"], "expected a file that is not read, got the input trained.caffemodel"),
    (["-o", "D.csv", "--distances", "D.csv"], "expected a file that is not read, got the input D.csv"),
    (["-o", "out.caffemodel"], "--output: expected the name of a prototxt")])
def test_bad_decisions(trained, options, message):
    write("none.txt", "")
    np.savetxt("D1e3.csv", 1e3 - 1e3 * np.eye(3), delimiter=",")
    more = [] if "-o" in options else ["-o", "out.prototxt"]
    assert message in refused("net.prototxt", "--weights", "trained.caffemodel", *(options + more))


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x89HDF\r\n\x1a\n" + b"\0" * 100])
def test_weights_that_are_none(folder, content):
    with open("trained.caffemodel", "wb") as file:
        file.write(content)
    err = refused("net.prototxt", "--weights", "trained.caffemodel", "-o", "out.prototxt")
    assert "trained.caffemodel: expected a .caffemodel, got " in err


def test_a_decision_needs_weights(trained):
    for option, value in (("--class-weights", "1,2,3"), ("--counts", "3,2,1"), ("--labels", "labels.txt"),
                          ("--distances", "D.csv"), ("--tree", "tree.txt")):
        err = refused("net.prototxt", option, value, "-o", "out.prototxt")
        assert "%s: expected with --weights FILE.caffemodel, as its numbers become blobs" % option in err
    status, out, _ = run_main("make_deploy.py", "net.prototxt", "--temperature", "2", "--decide")  # these have no numbers
    assert status == 0 and 'type: "ArgMax"' in out and "scale: 0.5" in out


def test_weights_from_counts_and_labels(trained):
    def run(*options):
        status, out, err = run_main("make_deploy.py", "net.prototxt", "--weights", "trained.caffemodel", "-o", "out.prototxt",
                                    "--json", *options)
        assert status == 0 and not err
        return json.loads(out)

    said = run("--labels", "labels.txt")
    assert said["counts"] == [3, 1, 0] and said["weights"] == [pytest.approx(2 / 3), 2, 0] and said["caffemodel"] == "out.caffemodel"
    assert said["notes"] == ["class weights: class 2 has weight 0, and is never decided for"]
    assert said["outputs"] == [{"blob": "score_2", "meaning": "Scale of prob"}]
    assert "balanced class weights from the labels of labels.txt" in read("out.prototxt")
    h5py = pytest.importorskip("h5py")
    with h5py.File("labels.h5", "w") as file:
        file["species"] = [0., 0., 1., 2.]
    assert run("--labels", "labels.h5", "--dataset", "species")["counts"] == [2, 1, 1]
    said = run("--counts", "16,4,1", "--power", "0.5")
    assert np.allclose(np.array(said["weights"]) / said["weights"][0], [1, 2, 4])
    assert said["outputs"] == [{"blob": "prob", "meaning": "Softmax of score, with the class weights in the bias of its layer"}]
    write("names.txt", "boot\nshirt\ndress\n")
    run("--tree", "tree.txt", "--names", "names.txt")
    blob = caffe.Net("out.prototxt", "out.caffemodel", caffe.TEST).params["score_2"][0]
    assert blob.data.tolist() == [[0, -3, -3], [-3, 0, -1], [-3, -1, 0]]


def test_without_a_name_it_writes_deploy_beside(trained):
    status, out, _ = run_main("make_deploy.py", "net.prototxt", "--weights", "trained.caffemodel", "--distances", "D.csv")
    assert status == 0 and "deploy.prototxt: takes data 4 x 5; gives score_2 (InnerProduct of prob)" in out
    assert "next: caffe.Net('deploy.prototxt', 'deploy.caffemodel', caffe.TEST)" in out
    assert "expected -o FILE, as deploy.prototxt is there already" in refused(
        "net.prototxt", "--weights", "trained.caffemodel", "--distances", "D.csv")


CONV = '''layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } shape { dim: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "xavier" } } }
'''


def test_the_classification_example_of_caffe_ranks_by_it(tmp_path, monkeypatch):
    """Caffe's own C++ program sorts the net's one output."""
    program = next((os.path.join(folder, name) for folder in os.environ["PATH"].split(os.pathsep)
                    for name in ("classification", "classification.bin") if os.path.exists(os.path.join(folder, name))), None)
    if program is None:
        pytest.skip("this Caffe has no classification example")
    monkeypatch.chdir(tmp_path)
    from PIL import Image
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (4, 4, 3)).astype(np.uint8)).save("image.png")
    write("names.txt", "shirt\ndress\nboot\n")
    write("net.prototxt", CONV + SCORE % "conv" + LOSS)
    caffe.set_random_seed(1)
    caffe.Net("net.prototxt", caffe.TEST).save("trained.caffemodel")
    mean = caffe.proto.caffe_pb2.BlobProto(num=1, channels=3, height=4, width=4, data=[128] * 48)
    with open("mean.binaryproto", "wb") as file:
        file.write(mean.SerializeToString())
    np.savetxt("D.csv", [[0, 1, 5], [2, 0, 3], [1, 4, 0]], delimiter=",")
    pixels = np.asarray(Image.open("image.png"), np.float32)[:, :, ::-1].transpose(2, 0, 1) - 128
    for options in (["--distances", "D.csv"], ["--class-weights", "1,9,3", "--temperature", "30"]):
        status, _, err = run_main("make_deploy.py", "net.prototxt", "--weights", "trained.caffemodel", "-o", "out.prototxt", *options)
        assert status == 0, err
        net = caffe.Net("out.prototxt", "out.caffemodel", caffe.TEST)
        net.blobs["data"].data[...] = pixels
        (scores,) = net.forward().values()
        status, out, err = real_nets.run([program, "out.prototxt", "out.caffemodel", "mean.binaryproto", "names.txt", "image.png"])
        ranked = [line.split('"')[1] for line in out.splitlines() if '"' in line]
        assert status == 0 and ranked == [["shirt", "dress", "boot"][k] for k in np.argsort(-scores[0])], err
