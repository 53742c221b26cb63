"""README.md: its commands run, its figures are those that the example made."""
from __future__ import division, print_function

import io
import json
import os
import re
import shlex
import shutil
import sys

import numpy as np
import pytest

import commands
import real_nets
import training
import user_files
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

COMMON = os.path.join(real_nets.CHECKOUT, "examples", "common")
EXAMPLE = os.path.join(real_nets.CHECKOUT, "examples", "fashion_mnist")


def read(*path):
    with io.open(os.path.join(real_nets.CHECKOUT, *path), encoding="utf-8") as file:
        return file.read()


README = read("README.md")
COMMANDS = [line.split("  #")[0].strip() for block in re.findall(r"```sh\n(.*?)```", README, re.S)
            for line in block.splitlines() if line.strip()]
MAKE = [command for command in COMMANDS if command.startswith("make ")]
DOCKER = [command for command in COMMANDS if command.startswith("docker ")]
SEVERAL_GPUS = [command for command in COMMANDS if " -gpu all " in command or " --gpus 0 1 " in command]

SOLVER = 'net: "train_val.prototxt" base_lr: .1 lr_policy: "fixed" max_iter: 3 solver_mode: CPU snapshot_prefix: "s"'


@pytest.fixture
def checkout(tmp_path):
    """A copy of the project, with the files that README takes for granted in a user's folder."""
    top = str(tmp_path / "caffe losses")  # a name with a space, as a user may have
    for name in ("layers", "prototxt", "tools", "examples"):
        shutil.copytree(os.path.join(real_nets.CHECKOUT, name), os.path.join(top, name),
                        ignore=shutil.ignore_patterns("output", "__pycache__"))
    user_files.write(top)
    write_matrix(os.path.join(top, "infogainH.binaryproto"), np.eye(7) + .125)
    for name, text in (("train_val.prototxt", user_files.net(7)), ("solver.prototxt", SOLVER)):
        with open(os.path.join(top, name), "w") as file:
            file.write(text)
    return top


def test_every_command(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    listed = [command for command in COMMANDS if command not in MAKE + DOCKER + SEVERAL_GPUS]
    assert len(listed) > 8
    bin_folder = os.path.join(checkout, "bin")
    os.mkdir(bin_folder)
    os.symlink(sys.executable, os.path.join(bin_folder, "python"))  # "python" is the one that has Caffe
    environment = dict(os.environ, PATH=bin_folder + os.pathsep + os.environ["PATH"])
    for command in listed:
        if command == "tools/report.py caffe.log":  # of a net for which classes.txt and D.csv are
            assert os.path.exists(os.path.join(checkout, "s_iter_3.caffemodel"))
            assert training.train(checkout) == 0
        if command.startswith("tools/"):
            words = shlex.split(command)
            status, _, err = commands.run_main(os.path.basename(words[0]), *words[1:])
        else:
            status, _, err = real_nets.run(["sh", "-c", command], env=environment)
        assert status == 0, (command, err[-2000:])
    assert os.path.exists(os.path.join(checkout, "report.html"))


def test_the_layers_that_are_shown_run(checkout, monkeypatch):
    (layers,) = re.findall(r"```\n(layer.*?)```", README, re.S)
    monkeypatch.chdir(checkout)
    net = real_nets.net(user_files.net(7, layers))
    net.forward()
    assert net.blobs["H"].data.shape == (1, 1, 7, 7) and net.blobs["loss"].data > 0


def test_the_make_commands_are_what_the_tests_run():
    assert sorted(set(MAKE)) == ["make study", "make test", "make train", "make triplets"]
    status, out, _ = real_nets.run(["make", "-n", "train", "test", "triplets", "study"], cwd=real_nets.CHECKOUT)
    assert status == 0
    for script in ("fashion_mnist/train.py", "triplets/train.py", "study/study.py"):
        assert "tools/with_caffe.sh examples/%s" % script in out
    assert "-m pytest" in out


def test_the_docker_commands_name_what_there_is():
    """They cannot run here; make test-image runs what they would."""
    dockerfile = read("Dockerfile")
    (folder,) = re.findall(r"^WORKDIR (.*)$", dockerfile, re.M)
    assert "ARG BASE_IMAGE=bvlc/caffe:gpu\n" in dockerfile
    builds, runs = [[c for c in DOCKER if c.startswith("docker " + verb)] for verb in ("build ", "run ")]
    assert len(builds) == 2 and len(runs) == 3
    for command in builds:
        assert command.split()[-1] == "." and set(re.findall(r"--build-arg (\w+)=", command)) <= {"BASE_IMAGE"}
    for command in runs:
        inside = command.split(" caffe-losses ")[1].split()
        if inside[0] == "make":
            status, out, err = real_nets.run(["make", "-n"] + inside[1:], cwd=real_nets.CHECKOUT)
            assert status == 0, err
            assert ("--gpu 0" in out) == ("GPU=0" in inside)
    for path in re.findall(re.escape(folder) + r"/([\w/]+)", README):
        assert os.path.dirname(path) == "examples/fashion_mnist" and path in dockerfile


def test_the_commands_for_several_gpus_name_nets_of_the_example(monkeypatch):
    monkeypatch.syspath_prepend(COMMON)
    monkeypatch.syspath_prepend(EXAMPLE)
    import experiments
    python_layers = {}
    for command in SEVERAL_GPUS:
        name, seed = re.search(r"fashion_mnist/output/nets/tree_(\w+)_seed(\d+)\.solver\.prototxt$", command).groups()
        (method,) = [method for method in experiments.TREE if method.name == name]
        assert int(seed) in experiments.class_tree(2).seeds
        status, out, err = commands.run_main("make_net.py", *method.loss.format(H="H.binaryproto").split())
        assert status == 0, err
        python_layers[command.split()[0]] = '"Python"' in out
    assert python_layers == {"caffe": False, "python": True}


# Where the figures of each section come from, and numbers elsewhere: versions, years, devices, defaults.
FIGURES = {
    "caffe-losses": [("examples", "study")],
    "When it helps": [("examples", "study")],
    "Triplets": [("examples", "triplets")],
    "How fast": [("tests", "bench")],
    "Our examples": [("examples", "fashion_mnist"), ("examples", "study"), ("examples", "triplets")],
}
NOT_MEASURED = {"1.0", "2", "2.7", "3", "11", "1", "2017", "8", "6", "3.0"}


def sections():
    """{heading: text} of README, without code."""
    text = re.sub(r"```.*?```", "", README, flags=re.S)
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def numbers(text):
    """The numbers in markdown, with their signs, but those of code and links."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)
    return set(re.findall(r"(?<![\w.,])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)", text))


def test_every_number_is_from_results_that_a_command_made():
    assert set(FIGURES) <= set(sections())
    for heading, text in sections().items():
        known = set(NOT_MEASURED).union(*[numbers(read(*(folder + ("RESULTS.md",))))
                                          for folder in FIGURES.get(heading, [])])
        assert numbers(text) <= known, (heading, sorted(numbers(text) - known))


def test_tables_of_figures_are_those_of_the_study():
    results = read("examples", "study", "RESULTS.md").splitlines()
    rows = [line for line in sections()["When it helps"].splitlines() if re.match(r"\|.* / .*\|", line)]
    assert len(rows) > 3
    for row in rows:
        assert row in results, row


def test_results_are_what_the_report_makes_of_the_figures(monkeypatch):
    monkeypatch.syspath_prepend(COMMON)
    monkeypatch.syspath_prepend(EXAMPLE)
    import report
    assert report.as_markdown(json.loads(read("examples", "fashion_mnist", "results.json"))) == read(
        "examples", "fashion_mnist", "RESULTS.md")


def test_links():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert os.path.exists(os.path.join(real_nets.CHECKOUT, target)), target
