"""Logs of every kind that Caffe and its forks write: each figure that report.py says stands in the log."""
from __future__ import division, print_function

import json
import re

import pytest

from commands import run_main

SOLVER = """Initializing solver from parameters:
test_iter: 100
display: 100
max_iter: 300
"""
NET = """Initializing net from parameters:
name: "net"
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: %d } }
layer { name: "loss" type: "%s" bottom: "fc" bottom: "label" top: "loss" %s }
"""
TESTED = "Iteration %d, Testing net (#0)\n    Test net output #0: accuracy = %s\n    Test net output #1: loss = %s (* 1 = %s loss)\n"
TRAINED = "Iteration %d (10.5 iter/s, 9.5s/100 iters), loss = %s\n    Train net output #0: loss = %s (* 1 = %s loss)\nIteration %d, lr = 0.01\n"
DONE = "Optimization Done.\n"


def a_test(iteration, accuracy, loss):
    return TESTED % (iteration, accuracy, loss, loss)


def a_step(iteration, loss, output=None):
    return TRAINED % (iteration, loss, output or loss, output or loss, iteration)


def glog(text, thread=1234, month=10, form="I%02d29 %s %d solver.cpp:218] %s", time="14:52:46.795838"):
    """The lines of a text as glog prints them; those of a net's or solver's text have no prefix."""
    return "".join(line + "\n" if re.match(r"\w+: |layer|}", line) else form % (month, time, thread, line) + "\n"
                   for line in text.splitlines())


def of_levels(values, classes=10, kind="SoftmaxWithLoss", more=""):
    return glog(SOLVER + "Creating training net from net file: net.prototxt\n" + NET % (classes, kind, more)
                + "".join(a_step(100 * i, value) for i, value in enumerate(values)) + DONE)


PLAIN = SOLVER + a_test(0, "0.1", "2.31") + a_step(0, "2.30259") + a_test(100, "0.75", "0.8") + a_step(100, "0.9") \
    + a_test(200, "0.7", "0.85") + DONE
STUCK = ["2.3049", "2.3031", "2.3019", "2.304", "2.3022", "2.3027"]
TRIPLET = 'python_param { module: "caffe_losses" layer: "TripletSoftmaxLoss"%s }'
WORKER = "Iteration 0, loss = 2.5\nIteration 100 (9 iter/s, 0.6s/100 iter), 4.3/10ep, loss = 0.5\nIteration 100, lr = 0.01, m = 0.9\n" \
    "Iteration 100, Testing net (#0)\n    Test net output #0: accuracy = 0.8\n    Test net output mAP #0: detection_eval = 0.71\n"
MAIN = SOLVER + "Created Layer fc (3)\nTRAIN Top shape for layer 1 'fc' 20 3 (60)\n"
MANY = "".join("    Test net output #%d: per_class = %g\n" % (i, (i % 7) / 8) for i in range(400))

# name: (log, status, last training loss and its iteration, {test output: last, its iteration, best, its iteration})
KINDS = {
    "1.0": (glog(PLAIN), "done", ("0.9", 100), {"test accuracy": (.7, 200, .75, 100), "test loss": (.85, 200, .8, 100)}),
    "without prefixes": (PLAIN, "done", ("0.9", 100), {"test accuracy": (.7, 200, .75, 100)}),
    "glog with years": (glog(PLAIN, form="I2021%02d29 %s %d solver.cpp:218] %s"), "done", ("0.9", 100),
                        {"test accuracy": (.7, 200, .75, 100)}),
    "docker compose": ("".join("caffe_1  | " + line + "\n" for line in glog(PLAIN).splitlines()), "done", ("0.9", 100),
                       {"test accuracy": (.7, 200, .75, 100)}),
    "before 2017": (glog(re.sub(r" \(\d+.*?iters\)", "", PLAIN)), "done", ("0.9", 100), {"test loss": (.85, 200, .8, 100)}),
    "2013": (glog("Iteration 100, lr = 0.001\nIteration 100, loss = 1.73643\nIteration 500, Testing net\nTest score #0: 0.5504\n"
                  "Test score #1: 1.27805\nOptimization Done.\n"), "done", ("1.73643", 100),
             {"test score #0": (.5504, 500, .5504, 500), "test score #1": (1.27805, 500, 1.27805, 500)}),
    "NVIDIA 0.15": (glog(PLAIN, form="I%02d29 %s %d solver.cpp:242] %s"), "done", ("0.9", 100), {}),
    "NVIDIA 0.16": (glog(PLAIN, form="I%02d29 %s %d solver.cpp:342]     [0.0] %s"), "done", ("0.9", 100),
                    {"test accuracy": (.7, 200, .75, 100)}),
    "NVIDIA 0.17 on several GPUs": (
        glog(MAIN, 7) + glog(WORKER, 9) + glog("Root Solver performance on device 0: 5.2\n" + DONE, 7), "done", ("0.5", 100),
        {"test accuracy": (.8, 100, .8, 100), "test detection_eval": (.71, 100, .71, 100)}),
    "NVIDIA 0.17, two trainings with the same threads": (
        glog(MAIN, 7) + glog(WORKER, 9) + glog(MAIN.replace("300", "200"), 7) + glog("Iteration 0, loss = 2.25\n", 9),
        "cut off", ("2.25", 0), {}),
    "several GPUs, tests by the main thread": (
        glog(MAIN, 7) + glog("Iteration 0, loss = 2.5\n", 9)
        + glog("Iteration 0, Testing net (#0)\n[MultiGPU] Test net output #0: accuracy = 0.8\n", 7)
        + glog("Iteration 100, loss = 0.5\n", 9) + glog(DONE, 7), "done", ("0.5", 100), {"test accuracy": (.8, 0, .8, 0)}),
    "ranks that each make their nets": (
        glog(MAIN, 7) + glog(MAIN, 8) + "".join(
            glog("Iteration %d, loss = 0.%d\n" % (i, 9 - i // 100), 8) for i in range(0, 400, 100)) + glog(DONE, 7),
        "done", ("0.6", 300), {}),
    "two ranks": (glog(SOLVER, 7) + glog(SOLVER, 8) + "".join(
        glog("Iteration %d, loss = 0.5\n" % i, 7) + glog("Iteration %d, loss = 0.25\n" % i, 8) for i in (0, 100)),
        "cut off", ("0.5", 100), {}),
    "cut off in a number": (glog(PLAIN[:PLAIN.index("Iteration 200")]) + "I1029 14:52:46.79 1 s.cpp:2] Iteration 200, loss = 0.",
                            "cut off", ("0.9", 100), {"test accuracy": (.75, 100, .75, 100)}),
    "stopped": (glog(PLAIN.replace(DONE, "Optimization stopped early.\n" + DONE)), "stopped early", ("0.9", 100), {}),
    "resumed": (glog(PLAIN[:-len(DONE)]) + glog(
        SOLVER + "Restoring previous solver status from s_iter_100.solverstate\n" + a_step(100, "0.7") + a_test(200, "0.9", "0.4"),
        99), "cut off", ("0.7", 100), {"test accuracy": (.9, 200, .9, 200)}),
    "failed": (glog(PLAIN[:-len(DONE)]) + "F1029 14:52:47.0 25832 syncedmem.cpp:56] Check failed: error == cudaSuccess (2 vs. 0) "
               "out of memory\n*** Check failure stack trace: ***\n", "failed: Check failed", ("0.9", 100), {}),
    "NaN": (glog(SOLVER + a_step(0, "2.3") + a_step(100, "nan")), "diverged: NaN or infinity from iteration 100",
            ("nan", 100), {}),
    "Windows' NaN": (glog(SOLVER + a_step(0, "2.3") + a_step(100, "-1.#IND")).replace("\n", "\r\n"), "diverged: NaN",
                     ("nan", 100), {}),
    "infinity": (glog(SOLVER + a_step(0, "2.3") + a_step(100, "inf")), "diverged: NaN or infinity from iteration 100",
                 ("inf", 100), {}),
    "clipped": (glog(SOLVER + a_step(0, "2.3") + a_step(100, "87.3365")), "diverged: training loss is 87.3365", ("87.3365", 100), {}),
    "clipped under a weight": (
        glog(SOLVER + a_step(0, "46.1", "2.3") + a_step(100, "1746.73", "87.3365").replace("(* 1 ", "(* 20 ")),
        "diverged: training output loss is 87.3365 from iteration 100 on", ("1746.73", 100), {}),
    "clipped among others": (
        glog(SOLVER + "Iteration 100, loss = 27.9\n    Train net output #0: loss1 = 87.3365 (* 0.3 = 26.201 loss)\n"
             "    Train net output #1: loss2 = 1.7 (* 1 = 1.7 loss)\n"), "diverged: training output loss1 is 87.3365", ("27.9", 100), {}),
    "clipped in tests alone": (glog(SOLVER + a_test(0, "0.1", "2.3") + a_test(100, "0.1", "87.3365")),
                               "diverged: test loss is 87.3365 from iteration 100 on", None, {}),
    "average_loss": (glog(SOLVER + "average_loss: 20\n" + a_step(100, "0.612345", "0.5")), "cut off", ("0.612345", 100), {}),
    "iter_size": (glog(SOLVER + "iter_size: 4\n" + a_step(100, "0.6", "0.4")), "cut off", ("0.6", 100), {}),
    "no display": (glog(SOLVER + a_test(0, "0.1", "2.3") + a_test(100, "0.6", "1.1") + DONE), "done", None,
                   {"test accuracy": (.6, 100, .6, 100), "test loss": (1.1, 100, 1.1, 100)}),
    "no test": (glog(SOLVER + a_step(0, "2.3") + a_step(100, "1e-05") + DONE), "done", ("1e-05", 100), {}),
    "two test nets": (
        glog(SOLVER + a_test(100, "0.6", "1.1") + a_test(100, "0.5", "1.3").replace("#0)", "#1)") + DONE), "done", None,
        {"test accuracy (net #0)": (.6, 100, .6, 100), "test accuracy (net #1)": (.5, 100, .5, 100)}),
    "many points": (glog(SOLVER + "".join("Iteration %d, loss = %d\n" % (i, 2500 - i) for i in range(2500))), "cut off", ("1", 2499), {}),
    "many outputs of a top": (glog(SOLVER + "Iteration 5, Testing net (#0)\n" + MANY), "cut off", None, {}),
    "brackets in names": (glog(SOLVER + "Iteration 5, Testing net (#0)\n    Test net output #0: a[0] = 0.5\n"), "cut off", None,
                          {"test a[0]": (.5, 5, .5, 5)}),
    "more than six digits": (glog(SOLVER + "Iteration 5, loss = 0.12345678\n"), "cut off", ("0.12345678", 5), {}),
    "no iteration but a solver": (glog(SOLVER), "no iteration", None, {}),
}


@pytest.fixture
def of_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(text, *options):
        (tmp_path / "caffe.log").write_bytes(text.encode("utf-8"))
        return run_main("report.py", "caffe.log", "--no-evaluation", *options)
    return run


def numbers_of(text):
    return re.findall(r"(?<![\w.#])\d+(?:\.\d+)?(?:e[-+]\d+)?", text)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kinds(of_log, kind):
    log, status, loss, tests = KINDS[kind]
    exit_status, out, err = of_log(log)
    if "no iteration" in status:
        assert exit_status == 2 and "nothing to report: caffe: no iteration" in err
        return
    assert exit_status == 0 and not err
    lines = out.splitlines()
    assert lines[0].startswith("caffe: " + status), lines[0]
    assert ("  training loss %s at iteration %d" % loss in lines) if loss else "training loss" not in out
    for line in lines[1:-1]:
        for number in numbers_of(re.sub(r"\d+ outputs|\[\d+\]|test score #\d+|\(net #\d+\)", "", line)):
            assert number in numbers_of(log), (line, number)
    figures = json.loads(of_log(log, "--json")[1])["runs"][0]["figures"]
    for name, figure in tests.items():
        found = figures[name]
        assert (found["last"], found["iteration"], found["best"], found["best_iteration"]) == figure, name
    assert "several ranks" in out if kind == "two ranks" else "several ranks" not in out


@pytest.mark.parametrize("text, expected", [
    (of_levels(STUCK), "loss stays at log(10) = 2.3026, the loss of equal probabilities: nothing is learned"),
    (of_levels(STUCK, 20), None),
    (of_levels(["2.3", "2.2", "2.0", "1.9", "1.8", "1.7"]), None),
    (of_levels(["1.2", "0.9"] + STUCK), "loss stays at log(10)"),
    (of_levels(["0.695", "0.6935", "0.692", "0.6931", "0.6932"], 2), "loss stays at log(2) = 0.6931"),
    (glog("".join("Iteration %d, loss = %s\n" % (i, value) for i, value in enumerate(STUCK))), "loss stays at log(10)"),
    (glog("".join("Iteration %d, loss = %s\n" % (i, value) for i, value in enumerate(["1.2", "0.9"] + STUCK))), None),
    (of_levels(["0.26", "0.2502", "0.2499", "0.25", "0.2501"], 10, "Python", TRIPLET % ""), "0.25, the loss of triplets whose"),
    (of_levels(["0.7", "0.6932", "0.6931", "0.6929", "0.693"], 10, "Python", TRIPLET % ' param_str: \'{"form": "log"}\''),
     "0.6931, the loss of triplets whose"),
    (of_levels(["0.26", "0.2", "0.12", "0.1", "0.08"], 10, "Python", TRIPLET % ""), None),
    (of_levels(["0.25"] * 6, 10, "EuclideanLoss"), None),
    (of_levels(["0.21", "0.2001", "0.2", "0.2002", "0.2"], 10, "TripletLoss", "triplet_loss_param { margin: 0.2 }"),
     "0.2, the loss of triplets whose"),
])
def test_a_training_that_learns_nothing(of_log, text, expected):
    _, out, _ = of_log(text)
    assert (expected in out) if expected else "nothing is learned" not in out


CSV = {".train": "NumIters,Seconds,LearningRate,loss\r\n0.0,0.5,0.01,2.5\r\n100.0,61.25,0.01,0.5\r\n",
       ".test": "NumIters,Seconds,LearningRate,accuracy,loss\r\n0.0,0.25,0.01,0.1,2.31\r\n100.0,61.0,0.01,0.75,0.8\r\n"}


def test_csv_is_that_of_parse_log(of_log, tmp_path):
    """The same in bytes as of tools/extra/parse_log.py of Caffe 1.0 on this log."""
    parts = [("14:00:00.000000", "Solving net\n"), ("14:00:00.250000", a_test(0, "0.1", "2.31")),
             ("14:00:00.500000", a_step(0, "2.5")), ("14:01:01.000000", a_test(100, "0.75", "0.8")),
             ("14:01:01.250000", a_step(100, "0.5"))]
    status, _, err = of_log("".join(glog(text, time=time) for time, text in parts), "--csv", ".")
    assert status == 0 and not err
    assert {ending: (tmp_path / ("caffe.log" + ending)).read_bytes().decode() for ending in CSV} == CSV


def test_csv_of_what_parse_log_loses(of_log, tmp_path):
    text = SOLVER + a_test(0, "0.1", "2.3") + a_test(0, "0.2", "nan").replace("#0)", "#1)") + "Iteration 0, loss = 2.5\n"
    assert of_log(text, "--csv")[0] == 0
    assert (tmp_path / "caffe.log.test").read_bytes().decode() == (
        "NumIters,Seconds,LearningRate,accuracy,loss,accuracy (net #1),loss (net #1)\r\n0.0,,nan,0.1,2.3,0.2,nan\r\n")
    assert (tmp_path / "caffe.log.train").read_bytes().decode() == "NumIters,Seconds,LearningRate,loss\r\n0.0,,nan,2.5\r\n"


@pytest.mark.parametrize("line", [
    "Iteration %s, loss = 0.5", "Iteration 5, loss = %s", "Iteration 5, Testing net (#%s)", "    Train net output #%s: a = 1",
    "    Train net output #0: %s = 1", "    Train net output #0: a = %s", "test_iter: %s", "random_seed: %s", "Snapshotting to %s"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_line_of_many_digits(of_log, line, digits):
    status, out, err = of_log(glog(SOLVER + line % ("1" * digits) + "\n" + a_step(0, "2.5") + line % ("1" * digits) + "\n"
                                   + a_step(20, "1.5")), "--json")
    assert status == 0 and not err
    assert 1.5 in json.loads(out)["runs"][0]["curves"]["training loss"]["values"]


def test_the_best_value_of_googlenet_s_accuracies(tmp_path):
    (tmp_path / "caffe.log").write_text(u"" + glog(SOLVER + "".join(
        "Iteration %d, Testing net (#0)\n    Test net output #0: loss1/top-1 = %s\n    Test net output #1: loss1/loss1 = %s (* "
        "0.3 = 0.1 loss)\n" % (100 * i, accuracy, loss) for i, (accuracy, loss) in enumerate(
            [("0.2", "2.3"), ("0.9", "0.5"), ("0.8", "0.7")]))))
    status, out, err = run_main("report.py", "caffe.log", "--no-evaluation", cwd=str(tmp_path))
    assert status == 0, err
    assert "test loss1/top-1 0.8 at iteration 200, best 0.9 at iteration 100" in out
    assert "test loss1/loss1 0.7 at iteration 200, best 0.5 at iteration 100" in out
