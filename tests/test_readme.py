"""README.md and the pages that it links: their commands run, their figures are those that the examples made."""
from __future__ import division, print_function

import collections
import io
import json
import os
import re
import shlex
import shutil
import sys

import numpy as np
import pytest

import caffe_losses
import commands
import real_nets
import user_files
from caffe_losses.evaluation.comparison import BETTER, NOISE, WORSE, compare
from caffe_losses.formats.matrix_files import write_matrix

caffe = pytest.importorskip("caffe")

PAGES = ("README.md", "layers/README.md", "tools/README.md", "examples/README.md")
TOOLS = "check_net|compare|inspect_h|make_deploy|make_h|make_net|report|use_loss"
# The blocks of commands, the texts of layers, and the commands with arguments in the text.
BLOCK = re.compile(r"```sh\n(?P<sh>.*?)```|```\n(?P<text>.*?)```|`(?P<inline>(?:(?:%s)\.py|docker) [^`]+)`" % TOOLS, re.S)

Command = collections.namedtuple("Command", "line output")  # output: the lines that it is said to print


def read(*path):
    with io.open(os.path.join(real_nets.CHECKOUT, *path), encoding="utf-8") as file:
        return file.read()


def commands_of(page):
    """Return the Commands of a page, in its order."""
    found = []
    for block in BLOCK.finditer(read(page)):
        inline = " ".join((block.group("inline") or "").split())  # may be wrapped
        for line in [line.strip() for line in (block.group("sh") or inline).splitlines()]:
            if line.startswith("# "):
                found[-1].output.append(line[2:])
            elif line:
                found.append(Command(re.split("  +#", line)[0], []))
    return found


ALL = [command.line for page in PAGES for command in commands_of(page)]
MAKE = [line for line in ALL if line.startswith("make ")]
DOCKER = [line for line in ALL if line.startswith("docker ")]
PIP = [line for line in ALL if line.startswith("pip ")]
SEVERAL_GPUS = [line for line in ALL if " -gpu all " in line or " --gpus 0 1 " in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: a net and data with unbalanced classes, two trainings, and the other files of the pages."""
    folder = str(tmp_path_factory.mktemp("user"))
    user_files.write(folder)
    user_files.write_unbalanced(folder)
    write_matrix(os.path.join(folder, "infogainH.binaryproto"), np.eye(3) + .125)
    with open(os.path.join(folder, "before.prototxt"), "w") as file:
        file.write(user_files.UNBALANCED_SOLVER.replace('"snap"', '"before"'))
    for solver, log in (("before", "before.log"), ("solver", "caffe.log")):
        status, out, err = real_nets.run(["sh", "-c", "caffe train -solver %s.prototxt > %s 2>&1" % (solver, log)],
                                         cwd=folder, env=dict(os.environ, GLOG_minloglevel="0"))
        assert status == 0, err
    return folder


@pytest.fixture
def home(folder, tmp_path):
    """A home with the checkout, under the name that the pages give it, and the user's folder."""
    home = str(tmp_path / "my home")
    for name in ("layers", "prototxt", "tools", "examples"):
        shutil.copytree(os.path.join(real_nets.CHECKOUT, name), os.path.join(home, "caffe-losses", name),
                        ignore=shutil.ignore_patterns("output", "__pycache__", "*_lmdb*", "*.caffemodel"))
    shutil.copytree(folder, os.path.join(home, "net"))
    os.mkdir(os.path.join(home, "bin"))
    os.symlink(sys.executable, os.path.join(home, "bin", "python"))  # "python" is the one that has Caffe
    return home


@pytest.mark.parametrize("page", PAGES)
def test_every_command(page, home, monkeypatch):
    monkeypatch.chdir(os.path.join(home, "net"))
    path = [os.path.join(home, "bin"), os.environ["PATH"], os.path.join(home, "caffe-losses", "tools")]
    environment = dict(os.environ, HOME=home, GLOG_minloglevel="0",
                       PATH=os.pathsep.join(path[:2 if page == "README.md" else 3]))
    for line, expected in commands_of(page):
        if line in MAKE + DOCKER + PIP + SEVERAL_GPUS:
            continue
        name = line.startswith("export ") and line[len("export "):line.index("=")]
        if name:
            line += '; printf %%s "$%s"' % name
        words = shlex.split(line)
        if re.match(r"(%s)\.py$" % TOOLS, words[words[0] == "with_caffe.sh"]):
            words = words[words[0] == "with_caffe.sh":]
            status, out, err = commands.run_main(words[0], *words[1:])
        else:
            status, out, err = real_nets.run(["sh", "-c", line], env=environment)
        assert status == 0, (line, err[-2000:])
        if name:
            environment[name] = out
        shown = [_masked(line, text) for text in out.splitlines()]
        assert [text for text in expected if _masked(line, text) not in shown] == [], (line, out)
    assert environment["PATH"] == os.pathsep.join(path)


def _masked(command, text):
    """Return a line of output; of a report without its figures, which are not the same everywhere."""
    return re.sub(r"\d\.\d+", "0", text) if "report.py" in command else text


@pytest.mark.parametrize("page", PAGES)
def test_the_layers_that_are_shown_run(page, home, monkeypatch):
    monkeypatch.chdir(os.path.join(home, "net"))
    for layers in [block.group("text") for block in BLOCK.finditer(read(page)) if block.group("text")]:
        net = real_nets.net(user_files.net(3, layers))
        net.forward()
        assert net.blobs["loss"].data > 0


def test_the_keys_of_the_layers():
    rows = dict(re.findall(r"^\| (\w+) \| .* \| (.*) \|$", read("layers/README.md").split("## ")[0], re.M))
    assert {name: keys.split(", ") for name, keys in rows.items() if name != "layer"} == {
        name: sorted(getattr(caffe_losses, name).KEYS) for name in caffe_losses.LAYERS}


def test_every_command_and_layer_is_in_readme():
    names = re.findall(r"\w+\.py|\w+", " ".join(re.findall(r"^\| ([^|]*) \|", read("README.md"), re.M)))
    assert set(caffe_losses.LAYERS) | {tool + ".py" for tool in TOOLS.split("|")} <= set(names)


def test_the_pip_commands_name_what_setup_offers():
    (extras,) = re.findall(r"caffe-losses\[(.*)\]", " ".join(PIP))
    assert all('"%s": [' % extra in read("setup.py") for extra in extras.split(","))


def test_the_make_commands_are_what_the_tests_run():
    assert sorted(set(MAKE)) == ["make real", "make study", "make test", "make train", "make triplets"]
    status, out, _ = real_nets.run(["make", "-n", "train", "test", "triplets", "study"], cwd=real_nets.CHECKOUT)
    assert status == 0
    for script in ("sh examples/fashion_mnist/compare.sh", "sh examples/long_tail/compare.sh",
                   "examples/triplets/train.py", "examples/study/study.py", "examples/study/real_data.py"):
        assert "tools/with_caffe.sh " + script in out
    assert "-m pytest" in out


def test_the_docker_commands_name_what_there_is():
    """They cannot run here; make test-image runs what they would."""
    dockerfile = read("Dockerfile")
    (folder,) = re.findall(r"^WORKDIR (.*)$", dockerfile, re.M)
    assert "ARG BASE_IMAGE=bvlc/caffe:gpu\n" in dockerfile
    builds, runs = [sorted(set(c for c in DOCKER if c.startswith("docker " + verb))) for verb in ("build ", "run ")]
    assert len(builds) == 2 and len(runs) == 3
    for command in builds:
        assert command.split()[-1] == "." and set(re.findall(r"--build-arg (\w+)=", command)) <= {"BASE_IMAGE"}
    for command in runs:
        inside = command.split(" caffe-losses ")[1].split()
        if inside[0] == "make":
            status, out, err = real_nets.run(["make", "-n"] + inside[1:], cwd=real_nets.CHECKOUT)
            assert status == 0, err
            assert ("--gpu 0" in out) == ("GPU=0" in inside)
    for path in re.findall(re.escape(folder) + r"/([\w/]+)", " ".join(DOCKER)):
        assert os.path.dirname(path) == "examples/fashion_mnist" and path in dockerfile


def test_the_commands_for_several_gpus_name_nets_of_the_examples():
    python_layers = {}
    for command in SEVERAL_GPUS:
        (net,) = re.findall('^net: "(.*)"$', read(re.search(r"examples/\w+/\w+\.prototxt$", command).group()), re.M)
        python_layers[command.split()[0]] = '"Python"' in read(net)
    assert python_layers == {"caffe": False, "python": True}


# Where the figures of each section come from, and numbers elsewhere: versions, years, devices, defaults.
STUDY = ["examples/study/RESULTS.md", "examples/study/REAL.md"]
FIGURES = {
    ("README.md", "Which remedy"): STUDY,
    ("README.md", "Evidence"): STUDY,
    ("examples/README.md", "Choosing"): STUDY,
}
NOT_MEASURED = {"0", "1.0", "2", "2.7", "3.0", "3.6", "3.9", "4", "6", "8", "11", "2017"}


def sections(page):
    """{heading: text} of a page, without code."""
    text = re.sub(r"```.*?```", "", read(page), flags=re.S)
    parts = re.split(r"^#+ (.*)$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def numbers(text):
    """The numbers in markdown, with their signs, but those of code and links."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", text)
    return set(re.findall(r"(?<![\w.,])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)", text))


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_from_results_that_a_command_made(page):
    assert set(heading for of_page, heading in FIGURES if of_page == page) <= set(sections(page))
    for heading, text in sections(page).items():
        known = set(NOT_MEASURED).union(*[numbers(read(results)) for results in FIGURES.get((page, heading), [])])
        assert numbers(text) <= known, (heading, sorted(numbers(text) - known))


def test_the_remedies_name_the_data_on_which_they_helped(monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(real_nets.CHECKOUT, "examples", "study"))
    import real_report
    results, study = [json.loads(read("examples", "study", name)) for name in ("real_results.json", "results.json")]
    evidence = {title: real_report.evidence(by_data) for of_family in real_report.verdicts(results, study).values()
                for title, by_data in of_family.items()}
    text = sections("README.md")["Which remedy"]
    rows = re.findall(r"^\| [^|]* \| ([^|]*) \| ([^|]*) \|$", text, re.M)[2:]
    assert len(rows) == 6
    for remedy, words in rows:
        assert words == evidence[max([title for title in evidence if remedy.startswith(title)], key=len)]
    for name, size in real_report.all_sizes(results, study)["rare"].items():
        assert name + size in " ".join(text.split())


def test_what_is_said_of_choosing_on_real_data(monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(real_nets.CHECKOUT, "examples", "study"))
    import real_report
    data = {of["name"]: of for of in json.loads(read("examples", "study", "real_results.json"))["data"]}
    ways = {(name, way["title"]): way for name in data for way in data[name]["rare"]}
    verdicts = real_report.verdicts({"data": list(data.values())}, {"cells": []})

    def verdict(name, before, after, metric=real_report.RECALL):
        return compare(metric, *[ways[name, title]["scores"][metric.key] for title in (before, after)])[1]

    def gain(name, title):
        return np.subtract(*[np.mean(ways[name, of]["scores"]["recall"]) for of in (title, "SoftmaxWithLoss")])
    weights, roots = "class weights", "square roots of class weights"
    assert {name: way["setting"][0] for name in data for way in data[name]["costs"]
            if way["title"] == "H from distances"} == {"Satellite": .1, "Vehicle": .75}
    assert verdicts["costs"]["H from distances"]["Satellite"][0][1] == NOISE
    costs = {way["title"]: way["scores"]["cost"] for way in data["Vehicle"]["costs"]}
    for control, verdict_of_h in (("label smoothing", BETTER), ("H from distances, classes shuffled", BETTER),
                                  ("SoftmaxWithLoss", NOISE)):
        assert compare(real_report.COST, costs[control], costs["H from distances"])[1] == verdict_of_h
    assert verdict("Shuttle", weights, roots) == NOISE and gain("Satellite", roots) > .7 * gain("Satellite", weights)
    for name in ("Shuttle", "Satellite"):
        assert verdict(name, weights, roots, real_report.ACCURACY) == BETTER
        for title in (weights, roots, "effective numbers"):
            assert verdict(name, title + " at test time", title + " at test time, calibrated") != BETTER
    assert verdict("Shuttle", "SoftmaxWithLoss", "class weights, limited to a factor of 20") != BETTER
    rates = {title: {rate: recall for metric, of, _, rate, recall in data["Shuttle"]["tried"]
                     if of == title and metric == "recall"} for title in ("SoftmaxWithLoss", weights)}
    assert rates[weights][max(rates["SoftmaxWithLoss"], key=rates["SoftmaxWithLoss"].get)] < .2
    assert max(rates[weights], key=rates[weights].get) == .004
    assert ways["Satellite", weights]["setting"][1] == ways["Satellite", "SoftmaxWithLoss"]["setting"][1]
    for title in (weights, "logit adjustment"):
        assert ways["Shuttle", title + ", at the rate of SoftmaxWithLoss"]["setting"][1] == ways[
            "Shuttle", "SoftmaxWithLoss"]["setting"][1]
    assert verdict("Shuttle", "SoftmaxWithLoss", "logit adjustment, at the rate of SoftmaxWithLoss") == BETTER
    for name in ("Shuttle", "Satellite"):
        assert verdict(name, "logit adjustment", weights) == BETTER
    assert np.mean(ways["Shuttle", weights]["scores"]["recall"]) == max(
        np.mean(way["scores"]["recall"]) for (name, title), way in ways.items()
        if name == "Shuttle" and "decay" not in title)
    assert min(of[4] for of in data["Shuttle"]["tried"] if of[1] == "logit adjustment") > .4
    for name in data:
        assert verdict(name, "SoftmaxWithLoss", "class weights, shuffled") != BETTER
    for title in ("SoftmaxWithLoss", weights, "logit adjustment"):
        assert verdict("Shuttle", title, title + ", weight decay") == (WORSE if title == "logit adjustment" else NOISE)


def test_what_is_said_of_fashion_mnist(monkeypatch):
    monkeypatch.syspath_prepend(os.path.join(real_nets.CHECKOUT, "examples", "study"))
    import claims
    cells = {cell["name"]: cell for cell in json.loads(read("examples", "study", "results.json"))["cells"]}
    tails = [cell for cell in cells.values() if cell["data"] == "tail"]
    assert all(cell["weighted_rate"] < cell["rate"] for cell in tails)
    assert all(1 / 4 < cell["adjusted_rate"] / cell["rate"] < 4 for cell in tails)  # at most the next of those tried

    def verdicts(before, after, metric=claims.ACCURACY, of=tails):
        return [claims.difference(cell, claims.Claim(None, None, before, after), metric)[1] for cell in of]
    assert sorted(verdicts(claims.WEIGHTS, claims.ADJUSTED)) == [BETTER] * 7 + [NOISE]
    assert sorted(verdicts(claims.WEIGHTED, claims.ADJUSTED)) == [BETTER] * 2 + [NOISE] * 6
    assert verdicts(claims.NONE, claims.WEIGHTS).count(BETTER) == 7
    for name, cell in cells.items():
        if cell["data"] == "balanced":
            helps = sum(cell["counts"]) in (1000, 3000)
            assert verdicts(claims.NONE, claims.TREE, claims.COST, [cell]) == [BETTER if helps else NOISE]
            assert cell["tau"] == (.75 if helps else .1)
        else:
            assert cell["tau"] in ((.3, .5) if sum(cell["counts"]) <= 3000 else (.1,))


@pytest.mark.parametrize("page", PAGES + tuple("examples/%s/README.md" % name for name in (
    "fashion_mnist", "long_tail", "segmentation", "triplets", "study")))
def test_links(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read(page)):
        path = os.path.normpath(os.path.join(os.path.dirname(page), target)) if target else page
        assert os.path.exists(os.path.join(real_nets.CHECKOUT, path)), target
        if anchor:
            assert anchor in [re.sub("[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
                              for heading in sections(path)], (target, anchor)
