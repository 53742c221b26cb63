"""Nets of the corpus with parts cut out, doubled, moved or put in: hypothesis strategies."""
from __future__ import division, print_function

import re

from hypothesis import strategies as st

import corpus

TEXTS = {name: corpus.read(name) for name in corpus.NAMES}
PIECES = ["layer {", "}", "{", "<", ">", '"', "'", "#", "\n", "\r\n", "\\", "\0", "\xff", ":", ",", "[", "]", " ", "\t", "-", "1",
          'type: "SoftmaxWithLoss"', 'type: "InfogainLoss"', 'type: "Softmax"', 'bottom: "H"', 'bottom: "label"', 'top: "prob"',
          "loss_param { normalize: true }", "propagate_down: true", "loss_weight: 0.5", "include { phase: TEST }", 'name: "loss"',
          "softmax_param { axis: 2 }", 'infogain_loss_param { source: "H" }', "layers { type: SOFTMAX_LOSS }", "force_backward: true",
          'python_param { module: "caffe_losses" layer: "InfogainLoss" param_str: "{\'axis\': 1}" }', 'type: "Python"',
          'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "a" bottom: "b" }']


@st.composite
def mutated(draw):
    """A net of the corpus with parts cut out, doubled, put elsewhere or put in."""
    text = TEXTS[draw(st.sampled_from(corpus.NAMES))]
    for _ in range(draw(st.integers(0, 4))):
        # mostly at the edges of tokens, where the text may still be a net
        edges = [match.start() for match in re.finditer(r"[\w.]+|\s+|.", text)] + [len(text)] if text else [0]
        start, end, to = sorted(draw(st.sampled_from(edges)) for _ in range(2)) + [draw(st.sampled_from(edges))]
        end = min(end, start + draw(st.sampled_from([1, 10, 200])))
        how = draw(st.sampled_from(["cut", "double", "put", "replace"]))
        if how == "cut":
            text = text[:start] + text[end:]
        elif how == "double":
            text = text[:to] + text[start:end] + text[to:]
        else:
            text = text[:start] + draw(st.sampled_from(PIECES)) + text[end if how == "replace" else start:]
    return text
