"""Logs of caffe train, of many versions, whole and broken."""
from __future__ import division, print_function

import codecs
import io
import math
import os

import pytest

from caffe_prototxt.training import logs

# Lines as they stand in logs of their time: 2013, 2014, 1.0.
OLDEST = b"""I0317 21:52:49.309447 2008298256 solver.cpp:47] Solving CIFAR10_quick_train
I0317 21:53:12.179772 2008298256 solver.cpp:208] Iteration 100, lr = 0.001
I0317 21:53:12.185698 2008298256 solver.cpp:65] Iteration 100, loss = 1.73643
I0317 21:54:41.150030 2008298256 solver.cpp:87] Iteration 500, Testing net
I0317 21:54:47.129461 2008298256 solver.cpp:114] Test score #0: 0.5504
I0317 21:54:47.129500 2008298256 solver.cpp:114] Test score #1: 1.27805
I0317 22:12:25.587262 2008298256 solver.cpp:130] Snapshotting to cifar10_quick_iter_5000
I0317 22:12:25.590215 2008298256 solver.cpp:137] Snapshotting solver state to cifar10_quick_iter_5000.solverstate
I0317 22:12:25.592813 2008298256 solver.cpp:81] Optimization Done.
"""
OLD = b"""I1117 21:57:18.176666 33463 solver.cpp:247] Iteration 3000, Testing net (#0)
I1117 21:57:47.454730 33463 solver.cpp:298]     Test net output #0: accuracy = 0.5853
I1117 21:57:47.454778 33463 solver.cpp:298]     Test net output #1: loss = 1.1544 (* 1 = 1.1544 loss)
I1117 21:57:48.058338 33463 solver.cpp:191] Iteration 3000, loss = 1.30168
I1117 21:57:48.058384 33463 solver.cpp:206]     Train net output #0: loss = 1.30168 (* 1 = 1.30168 loss)
I1117 21:57:48.058395 33463 solver.cpp:403] Iteration 3000, lr = 0.001
"""
NEW = b"""Log file created at: 2017/10/29 14:52:40
Running on machine: gpu1
I1029 14:52:40.120000 25829 solver.cpp:45] Initializing solver from parameters:
test_iter: 10
test_iter: 20
test_interval: 100
max_iter: 200
snapshot_prefix: "out/s\\303\\251"
random_seed: 7
net: "train_val.prototxt"
train_state {
  level: 0
  stage: ""
}
I1029 14:52:40.120100 25829 solver.cpp:102] Creating training net from net file: train_val.prototxt
I1029 14:52:40.120200 25829 net.cpp:53] Initializing net from parameters:
name: "train"
layer {
  name: "data"
}
I1029 14:52:40.120300 25829 net.cpp:86] Creating Layer data
I1029 14:52:40.120400 25829 solver.cpp:190] Creating test net (#0) specified by net file: train_val.prototxt
I1029 14:52:40.120500 25829 net.cpp:53] Initializing net from parameters:
name: "test"
state {
  phase: TEST
}
layer {
  name: "data"
  python_param {
    param_str: "{\\"a\\": 1}"
  }
}
I1029 14:52:40.120600 25829 solver.cpp:190] Creating test net (#1) specified by test_net file: other.prototxt
I1029 14:52:44.000000 25829 solver.cpp:330] Iteration 0, Testing net (#0)
I1029 14:52:44.493000 25829 solver.cpp:397]     Test net output #0: per_class = 0.5
I1029 14:52:44.493100 25829 solver.cpp:397]     Test net output #1: per_class = 0.25
I1029 14:52:44.493200 25829 solver.cpp:330] Iteration 0, Testing net (#1)
I1029 14:52:46.712065 25829 solver.cpp:397]     Test net output #0: accuracy = 0.747
I1029 14:52:46.795838 25829 solver.cpp:218] Iteration 0 (-1.2e-05 iter/s, 18.8844s/200 iters), loss = 0.745292
I1029 14:52:46.796061 25829 solver.cpp:237]     Train net output #0: loss = 0.745 (* 1 = 0.745 loss)
I1029 14:52:46.796069 25829 sgd_solver.cpp:105] Iteration 0, lr = 0.01
I1029 14:52:47.000000 25832 data_layer.cpp:73] Restarting data prefetching from start.
I1029 14:53:46.795838 25829 solver.cpp:218] Iteration 100 (10.5908 iter/s, 18.8844s/200 iters), loss = 0.5
I1029 14:53:47.000000 25829 solver.cpp:447] Snapshotting to binary proto file out/s_iter_200.caffemodel
I1029 14:53:47.100000 25829 sgd_solver.cpp:273] Snapshotting solver state to binary proto file out/s_iter_200.solverstate
I1029 14:53:47.200000 25829 solver.cpp:447] Snapshotting to HDF5 file out/s_iter_200.caffemodel.h5
I1029 14:53:47.300000 25829 solver.cpp:310] Iteration 200, loss = 0.4
I1029 14:53:47.400000 25829 solver.cpp:315] Optimization Done.
I1029 14:53:47.500000 25829 caffe.cpp:259] Optimization Done.
"""
LINE = b"I1029 14:52:46.795838 %d solver.cpp:218] Iteration %d, loss = %s\n"


def line(iteration, loss, thread=25829):
    return LINE % (thread, iteration, loss)


@pytest.fixture
def read(tmp_path):
    def write(*contents):
        paths = []
        for i, content in enumerate(contents):
            paths.append(str(tmp_path / ("%d.log" % i)))
            with open(paths[-1], "wb") as file:
                file.write(content)
        return logs.read_log(paths)
    return write


def points(series):
    return list(zip(series.iterations, series.values))


def test_the_oldest(read):
    log = read(OLDEST)
    assert points(log.loss) == [(100, 1.73643)] and points(log.rate) == [(100, .001)]
    assert {name: points(series) for name, series in log.test[0].items()} == {
        "score #0": [(500, .5504)], "score #1": [(500, 1.27805)]}
    assert log.snapshots == ["cifar10_quick_iter_5000"] and log.status() == "done"
    assert log.iterations() == (100, 500)


def test_before_1_0(read):
    log = read(OLD)
    assert points(log.loss) == [(3000, 1.30168)] and points(log.rate) == [(3000, .001)]
    assert points(log.train["loss"]) == [(3000, 1.30168)]
    assert {name: points(series) for name, series in log.test[0].items()} == {
        "accuracy": [(3000, .5853)], "loss": [(3000, 1.1544)]}
    assert log.status().startswith("cut off")


def check_new(log):
    assert points(log.loss) == [(0, .745292), (100, .5), (200, .4)]
    assert {net: {name: points(series) for name, series in outputs.items()} for net, outputs in log.test.items()} == {
        0: {"per_class[0]": [(0, .5)], "per_class[1]": [(0, .25)]}, 1: {"accuracy": [(0, .747)]}}
    assert points(log.train["loss"]) == [(0, .745)] and points(log.rate) == [(0, .01)]
    assert log.snapshots == ["out/s_iter_200.caffemodel.h5", "out/s_iter_200.caffemodel"]  # the second may not be whole
    assert log.solver["random_seed"] == ["7"] and log.solver["test_iter"] == ["10", "20"]
    assert log.solver["snapshot_prefix"] == [u"out/s\xe9"] and "level" not in log.solver
    assert log.test_nets[0].file == "train_val.prototxt" and log.test_nets[0].text.startswith('name: "test"\nstate {')
    assert log.test_nets[0].text.endswith("}\n}\n") and "a" in log.test_nets[0].text
    assert log.test_nets[1] == (None, "other.prototxt")
    assert log.status() == "done" and log.diverged() is None and not log.notes


def test_1_0(read):
    check_new(read(NEW))


@pytest.mark.parametrize("change", [
    lambda text: text.replace(b"\n", b"\r\n"),
    lambda text: codecs.BOM_UTF16_LE + text.decode("ascii").encode("utf-16-le"),
    lambda text: text.replace(b"I1029", b"\xff\xfe \x00\x80\nI1029"),
    lambda text: text + b"I1029 14:53:48.000000 25829 solver.cpp:218] Iteration 300, loss = 0.",
    lambda text: text + b"\n" * 100 + b"x" * 2 ** 21,
    lambda text: text.replace(b"0.5\n", b"0.5\nI1029 14:53:46.79 2 solver.cpp:218] Iteration 1I1029 14:53: 25 x\n"),
    lambda text: b"".join(b"caffe_1  | %s\n" % line for line in text.splitlines()),
], ids=["CRLF", "UTF-16", "other bytes", "cut off in a number", "a long line", "a torn line", "docker's prefix"])
def test_what_happens_to_logs(read, change):
    check_new(read(change(NEW)))


def test_a_cut_off_line_that_is_whole_counts(read):
    assert points(read(OLD[:OLD.index(b"I1117 21:57:48")].strip()).test[0]["loss"]) == [(3000, 1.1544)]


def test_without_prefixes(read):
    text = b"\n".join(line.rpartition(b"] ")[2] if line.startswith(b"I1") else line for line in NEW.splitlines())
    check_new(read(text + b"\n"))


@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks(read, monkeypatch, size):
    monkeypatch.setattr(logs, "BLOCK", size)
    check_new(read(NEW))


def test_every_cut_gives_the_start_of_the_whole(read):
    whole = points(read(NEW).loss)
    start = NEW.index(b"Iteration 0")
    for end in range(start, len(NEW), 7):
        found = points(read(NEW[:end]).loss)
        assert found == whole[:len(found)]


def test_a_fork_with_epochs_and_ranks_in_brackets(read):
    log = read(b"I0321 17:37:29.796532 14186 solver.cpp:342]     [0.0] Iteration 4900 (145.463 iter/s, 0.6s/100 iter), "
               b"4.3/10ep, loss = 0.0093\nI0321 17:37:29.796571 14186 solver.cpp:356]     [0.0] Train net output #0: "
               b"loss = 0.0094 (* 1 = 0.0094 loss)\n")
    assert points(log.loss) == [(4900, .0093)] and points(log.train["loss"]) == [(4900, .0094)]


@pytest.mark.parametrize("value", [b"nan", b"-nan", b"inf", b"1.#QNAN", b"-1.#IND", b"1.#INF"])
def test_diverged(read, value):
    log = read(line(0, b"2.3") + line(20, b"9e+30") + line(40, value) + line(60, value))
    assert log.diverged() == 40 and log.status() == "diverged: NaN or infinity from iteration 40 on"
    assert not math.isnan(log.loss.values[1]) and len(log.loss) == 4


def test_a_metric_that_is_nan_is_no_divergence(read):
    log = read(OLD.replace(b"accuracy = 0.5853", b"accuracy = nan"))
    assert log.diverged() is None
    assert read(OLD.replace(b"1.1544 (* 1", b"nan (* 1")).diverged() == 3000


def test_the_loss_that_hides_a_divergence(read):
    log = read(line(0, b"2.3") + line(20, b"87.3365") + line(40, b"87.3365"))
    assert "87.3365 from iteration 20 on" in log.status()
    assert read(line(0, b"87.3365") + line(20, b"2.3")).clipped() is None


FATAL = (b"F1029 14:52:47.0 25832 data_layer.cpp:12] Check failed: mdb_status == 0 (2 vs. 0) No such file\n"
         b"*** Check failure stack trace: ***\n    @     0x7f  google::LogMessage::Fail()\n")


def test_a_training_that_failed(read):
    start = NEW[:NEW.index(b"I1029 14:53:46")]
    log = read(start + FATAL)
    assert log.status() == "failed: Check failed: mdb_status == 0 (2 vs. 0) No such file"
    assert points(log.loss) == [(0, .745292)]
    assert read(b"caffe_1  | " + FATAL).status().startswith("failed: Check failed")
    assert read(FATAL).status().startswith("failed: Check failed") and read(FATAL).iterations() is None
    assert read(start + b"terminate called after throwing an instance of 'error_already_set'\n").status().startswith(
        "failed: terminate called")
    trace = b'Traceback (most recent call last):\n  File "base.py", line 28\nValueError: LabelCheck: got 255\n'
    for end in (b"terminate called after throwing an instance of 'error_already_set'\n", b""):  # of Python 2 the second
        log = read(start + trace + end)
        assert log.status() == "failed: ValueError: LabelCheck: got 255" and points(log.loss) == [(0, .745292)]
    assert read(start + trace + line(0, b"2.3")).status().startswith("cut off")  # it went on
    assert read(start + b"I1029 14:53:46.0 25832 caffe.cpp:259] Optimization Done.\n" + trace).status() == "done"


def solver_start(thread=25829):
    return line(0, b"", thread).split(b"Iteration")[0] + b"Initializing solver from parameters:\nbase_lr: 0.1\n"


def resuming(thread):
    return solver_start(thread) + line(0, b"", thread).split(b"Iteration")[0] + (
        b"Restoring previous solver status from s_iter_40.solverstate\n")


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("thread", [25829, 99])
def test_a_resumed_training_goes_on(read, thread, separate):
    first = solver_start() + line(0, b"2.5") + line(20, b"2.0") + line(40, b"1.9") + line(60, b"1.8")
    second = resuming(thread) + line(40, b"1.7", thread) + line(60, b"1.6", thread)
    log = read(first, second) if separate else read(first + second)
    assert points(log.loss) == [(0, 2.5), (20, 2.0), (40, 1.7), (60, 1.6)]
    assert log.resumed == "s_iter_40.solverstate" and log.notes == ["resumed at iteration 40"]


def test_of_two_trainings_in_a_log_the_last_counts(read):
    log = read(solver_start() + line(0, b"2.5") + line(20, b"2.0") + solver_start(9) + line(0, b"2.4", 9))
    assert points(log.loss) == [(0, 2.4)]
    assert log.notes == ["the log holds 2 trainings from the start: the last one is shown"]
    log = read(line(0, b"2.5") + line(20, b"2") + line(0, b"2.4"))  # lines alone, as grep leaves them
    assert points(log.loss) == [(0, 2.4)]


def test_a_second_process_that_starts_while_the_first_trains(read):
    log = read(solver_start(7) + line(0, b"2.5", 7) + line(20, b"2", 7) + solver_start(9) + line(0, b"3.5", 9)
               + line(40, b"1.5", 7) + line(20, b"3", 9) + line(60, b"1.25", 7))
    assert points(log.loss) == [(0, 3.5), (20, 3)]
    assert log.notes == ["the log holds 2 trainings from the start: the last one is shown"]


def test_a_later_start_that_failed_is_noted(read):
    log = read(solver_start() + line(0, b"2.5") + solver_start(9) + FATAL)
    assert points(log.loss) == [(0, 2.5)] and log.notes[0].startswith("a later start failed: Check failed")


def test_ranks_that_print_into_one_another(read):
    text = solver_start(1) + solver_start(2)
    for i in range(0, 60, 20):
        text += line(i, b"2", 1) + line(i, b"3", 2)
    log = read(text)
    assert [value for _, value in points(log.loss)] == [2, 2, 2]
    assert log.notes == ["several ranks print into the log: the first with losses is shown"]


def test_two_processes_in_one_line(read):
    log = read(line(0, b"2", 7) + line(20, b"1.5", 7)[:-1] + line(20, b"9", 8) + b"\n" + line(40, b"1", 7))
    assert points(log.loss) == [(0, 2), (40, 1)]


def test_processes_that_print_into_one_another_without_prefixes(read):
    text = b"".join(b"Iteration %d, loss = 2\nIteration %d, loss = 3\n" % (i, i) for i in range(0, 60, 20))
    (note,) = read(text).notes
    assert note.startswith("several losses stand for one iteration")


def test_a_net_that_glog_cut_off_is_not_taken_for_whole(read):
    at = NEW.index(b'name: "test"')
    layers = b"".join(b'layer {\n  name: "%d"\n}\n' % i for i in range(3000))
    log = read(NEW[:at] + layers[:30000] + NEW[NEW.index(b"\nI1029 14:52:40.120600"):])
    assert log.test_nets[0].text is None and log.test_nets[0].file == "train_val.prototxt"
    log = read(NEW.replace(b"  python_param {\n", b""))
    assert log.test_nets[0].text is None


@pytest.mark.parametrize("content, expected", [
    (b"", "an empty file"), (b"hello\nworld\n", "one without a line"), (bytes(bytearray(range(256))) * 50, "one without"),
    (b"\n" * 1000, "one without")])
def test_no_log(read, content, expected):
    with pytest.raises(ValueError) as raised:
        read(content)
    assert "0.log: expected the log of a training, got " + expected in str(raised.value)


def test_no_file(tmp_path):
    for path in (str(tmp_path / "missing.log"), str(tmp_path)):
        with pytest.raises(IOError) as raised:
            logs.read_log([path])
        assert str(raised.value).startswith(path + ": cannot be read: ")


def test_a_large_log_takes_little_memory(tmp_path):
    resource = pytest.importorskip("resource")
    path = str(tmp_path / "large.log")
    other = b"I1029 14:52:47.000000 25832 data_layer.cpp:73] Restarting data prefetching from start.\n" * 1000
    with io.open(path, "wb") as file:
        for i in range(300):
            file.write(other)
            file.write(line(i, b"1.5"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(logs.read_log([path]).loss) == 300
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < os.path.getsize(path)


def test_progress_is_told_in_bytes(tmp_path):
    path = str(tmp_path / "a.log")
    with open(path, "wb") as file:
        file.write(NEW)
    told = []
    logs.read_log([path], told.append)
    assert sum(told) == len(NEW)
