"""Where the tests find what they import, and how hypothesis runs."""
from __future__ import division, print_function

import os
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TIME_LIMIT = 300  # seconds, for a test; the longest takes about 10
ROOTS = [os.path.join(os.path.dirname(HERE), name) for name in ("layers", "prototxt", "tools")]

sys.path[:0] = ROOTS + [HERE]
import counts  # noqa: E402
from caffe_tools import cli  # noqa: E402, F401
# Ctrl-C is pytest's, and not a command's that is being imported. A shell in the background and nohup have these signals
# ignored, and whatever a test starts would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
for name in ("SIGHUP", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
# What a test runs (caffe train, the commands) finds the packages too.
os.environ["PYTHONPATH"] = os.pathsep.join(ROOTS + [p for p in [os.environ.get("PYTHONPATH")] if p])
os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe logs every layer it makes
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("CAFFE_LOSSES_WITHIN", None)  # the commands' "next:" lines are those of a place with Caffe

try:
    import hypothesis
except ImportError:
    pass
else:
    # The same nets and texts on every machine; other ones each time only where there is time to look into a failure.
    hypothesis.settings.register_profile("ours", deadline=None, database=None, derandomize=not counts.ALL,
                                         suppress_health_check=list(hypothesis.HealthCheck))
    hypothesis.settings.load_profile("ours")

# Where there is a Caffe to test in, a test that lacks it must fail and not be skipped.
if not os.environ.get("NO_CAFFE"):
    try:
        import caffe, h5py, hypothesis, lmdb, matplotlib, PIL, tqdm  # noqa: E401, F401
        try:
            import plyvel  # noqa: F401
        except ImportError:
            import leveldb  # noqa: F401
    except ImportError as error:
        raise ImportError("%s; NO_CAFFE=1 skips the tests that need Caffe and what comes with it" % error)


def pytest_configure(config):
    """Make numpy's warnings of NaN and overflow errors, but not those of how a library was built."""
    config.addinivalue_line("filterwarnings", "error::RuntimeWarning")
    config.addinivalue_line("filterwarnings",
                            "ignore:.* size changed, may indicate binary incompatibility:RuntimeWarning")
    config.addinivalue_line("markers", "scores: needs a Caffe whose InfogainLoss takes scores")


def pytest_runtest_setup(item):
    from caffe_prototxt.net.losses import is_classic
    if item.get_closest_marker("scores") and is_classic():
        pytest.skip("this Caffe's InfogainLoss takes probabilities, as before April 2017")


@pytest.fixture(autouse=True)
def time_limit():
    """Fail a test that waits for what never comes, so that the others run; a child process does not inherit it."""
    def fail(*_):
        raise AssertionError("expected an end within %d s" % TIME_LIMIT)
    signal.signal(signal.SIGALRM, fail)
    signal.alarm(0 if counts.ALL else TIME_LIMIT)
    yield
    signal.alarm(0)


@pytest.fixture
def classic_caffe(monkeypatch):
    """A caffe_pb2 whose InfogainLossParameter has no axis, as a classic Caffe's."""
    caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")

    class Descriptor(object):
        fields_by_name = {"source": None}

    class Parameter(object):
        DESCRIPTOR = Descriptor
    monkeypatch.setattr(caffe_pb2, "InfogainLossParameter", Parameter)
