"""Commands run side by side: their number, their logs, what ends them."""
from __future__ import division, print_function

import io
import os
import sys

import pytest

import processes
from caffe_prototxt.training import jobs
from caffe_prototxt.training.logs import read_log

RUN_ONE = "from caffe_prototxt.training import jobs; jobs.run([jobs.Job(%r, %r)], [[]], lambda job, status: None)"


def python(code):
    return [sys.executable, "-c", code]


def test_a_job_that_fails_ends_the_others_where_on_end_raises(tmp_path):
    mark, ended = str(tmp_path / "mark"), []
    waiting = jobs.Job(python("import time; time.sleep(60)") + [mark], str(tmp_path / "0.log"))
    failing = jobs.Job(python("print('a reason'); raise SystemExit(7)"), str(tmp_path / "1.log"))

    def on_end(*job_and_status):
        ended.append(job_and_status)
        raise ValueError
    with pytest.raises(ValueError):
        jobs.run([waiting, failing], [[], []], on_end)
    assert ended == [(failing, 7)] and io.open(failing.log).read() == "a reason\n"
    assert not processes.running_with(mark)


def test_the_log_of_caffe_has_the_cause_and_its_status_is_not_the_stack_trace(tmp_path):
    pytest.importorskip("caffe")
    job = jobs.Job(["caffe", "train", "-solver", str(tmp_path / "none")], str(tmp_path / "log"))
    jobs.run([job], [[]], lambda job, status: None)
    words = read_log([job.log]).status()
    assert "File not found" in words and "google::LogMessage" not in words


def test_all_jobs_run_each_in_a_slot(tmp_path):
    logs, done = [str(tmp_path / ("%d.log" % i)) for i in range(5)], []
    jobs.run([jobs.Job(python("import os, sys; print(os.environ['WORD'], sys.argv[1])"), log) for log in logs],
             [["a"], ["b"]], lambda job, status: done.append((job.log, status)), {"WORD": "hello"})
    assert sorted(done) == [(log, 0) for log in logs]
    said = [io.open(log).read() for log in logs]
    assert said[0] != said[1] and set(said) <= {"hello a\n", "hello b\n", "('hello', 'a')\n", "('hello', 'b')\n"}


def test_jobs_end_with_a_parent_that_is_killed(tmp_path):
    mark, log = str(tmp_path / "mark"), tmp_path / "log"
    job = python("import os, time; os.write(1, b'started'); time.sleep(600)") + [mark]
    parent = processes.start(python(RUN_ONE % (job, str(log))))
    processes.wait_until(lambda: log.exists() and log.read_bytes() == b"started")
    parent.kill()
    parent.communicate()
    processes.wait_until(lambda: not processes.running_with(mark))


ENDLESS = """net_param {
  layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 } } }
  layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
  layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "y" top: "loss" }
}
base_lr: 1e-9 lr_policy: "fixed" max_iter: 2000000000 solver_mode: CPU snapshot_prefix: "%s"
"""


def test_an_interrupt_ends_the_jobs_and_caffe_saves_nothing(tmp_path):
    pytest.importorskip("caffe")
    solver, log = tmp_path / "endless.solver", tmp_path / "log"
    solver.write_bytes((ENDLESS % (tmp_path / "snapshot")).encode("utf-8"))
    process = processes.start(python(RUN_ONE % (["caffe", "train", "-solver", str(solver)], str(log))),
                              GLOG_minloglevel="0")
    processes.interrupt(process, lambda: log.exists() and b"Starting Optimization" in log.read_bytes())
    assert process.communicate()[1].splitlines()[-1] == b"KeyboardInterrupt"
    assert not processes.running_with(str(solver))
    assert sorted(os.listdir(str(tmp_path))) == ["endless.solver", "log"]
