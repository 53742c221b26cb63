"""The layers that are kept for a state are those that Caffe keeps."""
from __future__ import division, print_function

import pytest

caffe = pytest.importorskip("caffe")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

from counts import examples  # noqa: E402
from caffe_prototxt.net import graph, states  # noqa: E402
from caffe_prototxt.net.nets import Net  # noqa: E402

STAGES = ["train", "val", "deploy"]
DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" %s }\n'
SCORE = 'layer { name: "score" type: "InnerProduct" bottom: "data" top: "score" }\n'
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" %s }\n'
ACCURACY = 'layer { name: "acc" type: "Accuracy" bottom: "score" bottom: "label" top: "acc" include { phase: TEST } }\n'
TRAIN, TEST = "include { phase: TRAIN }", "include { phase: TEST }"
BOTH = [("TRAIN", ()), ("TEST", ())]


@pytest.mark.parametrize("net, written", [
    (DATA % "" + SCORE + LOSS % "", BOTH),
    (DATA % TRAIN + DATA % TEST + SCORE + LOSS % "", BOTH),
    (DATA % TRAIN + SCORE + LOSS % "", BOTH[:1]),
    (DATA % TEST + SCORE + LOSS % "", BOTH[1:]),
    (DATA % TEST + SCORE + ACCURACY, BOTH[1:]),
    (DATA % "exclude { phase: TRAIN }" + SCORE, BOTH[1:]),
    (DATA % TRAIN + SCORE + LOSS % "" + ACCURACY, BOTH),  # a layer for TEST, without data
    (DATA % TEST + SCORE.replace('"data"', '"dat"') + LOSS % "", BOTH[1:]),  # a fault, and data for TEST only
    (DATA % "" + SCORE.replace('"data"', '"dat"') + LOSS % "" + ACCURACY, BOTH),
    (DATA % 'include { stage: "train" }' + DATA % 'include { stage: "val" }' + SCORE + LOSS % "",
     [("TRAIN", ("train",)), ("TRAIN", ("val",)), ("TEST", ("train",)), ("TEST", ("val",))]),
    (DATA % 'include { phase: TRAIN stage: "a" stage: "b" }' + SCORE + LOSS % "", [("TRAIN", ("a", "b"))])])
def test_the_states_that_a_net_is_written_for(net, written):
    found = graph.written_states(Net(net))
    assert [(state.phase, state.stages) for state in found] == written
    for phase in states.PHASES:
        asked = [(state.phase, state.stages) for state in graph.written_states(Net(net), [phase])]
        assert asked == [state for state in written if state[0] == phase] or not set(state[0] for state in written) & {phase}


def test_a_level_that_is_needed():
    net = Net(DATA % "include { min_level: 2 }" + SCORE + LOSS % "")
    assert graph.written_states(net) == [states.State(phase, 2) for phase in states.PHASES]
    assert graph.written_states(net, level=1, stages=("a",)) == [states.State(phase, 1, ("a",)) for phase in states.PHASES]


RULE = st.lists(st.one_of(
    st.sampled_from(["phase: TRAIN", "phase: TEST", "phase: 0", "phase: 1"]), st.integers(-1, 2).map("min_level: {}".format),
    st.integers(-1, 2).map("max_level: {}".format), st.sampled_from(STAGES).map('stage: "{}"'.format),
    st.sampled_from(STAGES).map('not_stage: "{}"'.format)), max_size=3, unique_by=lambda field: field.split()[0]).map(" ".join)
RULES = st.tuples(st.sampled_from(["include", "exclude"]), st.lists(RULE, max_size=2)).map(
    lambda rules: " ".join("%s { %s }" % (rules[0], rule) for rule in rules[1]))
STATE = st.builds(states.State, st.sampled_from(states.PHASES), st.integers(-1, 2),
                  st.lists(st.sampled_from(STAGES), max_size=2, unique=True).map(tuple))


@hypothesis.settings(max_examples=examples(100))
@hypothesis.given(st.lists(RULES, min_size=1, max_size=6), STATE)
def test_the_layers_that_caffe_keeps(tmp_path_factory, rules, state):
    text = "".join('layer { name: "%d" type: "Input" top: "%d" %s input_param { shape { dim: 1 } } }\n' % (number, number, rule)
                   for number, rule in enumerate(rules))
    path = tmp_path_factory.mktemp("states") / "net.prototxt"
    path.write_text(u"%s" % text)
    kept = [node.layer.name for node in graph.Graph(Net(text), state).nodes]
    net = caffe.Net(str(path), getattr(caffe, state.phase), level=state.level, stages=list(state.stages))
    assert kept == list(net._layer_names)
