"""tests/bench/bench_peers.py runs without Caffe, where PyTorch is; no leg of CI has its gigabytes."""
from __future__ import division, print_function

import json
import os
import sys

import pytest

import real_nets

pytest.importorskip("pytorch_metric_learning", reason="pip install torch pytorch-metric-learning runs it")

sys.path.insert(0, os.path.join(real_nets.CHECKOUT, "tests", "bench"))

import bench_peers  # noqa: E402
import timing  # noqa: E402


def test_ours_and_theirs_agree(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 1e-4)
    monkeypatch.setattr(bench_peers, "LEAD", 0)
    figures = json.loads(json.dumps(bench_peers.figures([(4, 3), (2, 3, 2, 2)], 1, [(20, 2)])))  # which compares first
    assert bench_peers.part(figures).tables
    found = bench_peers.all_ratios(figures)
    assert found and all(0 < low <= middle <= high for low, middle, high in (ratio.spread for ratio in found))
