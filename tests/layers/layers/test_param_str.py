from __future__ import division, print_function

import pytest

from caffe_losses.layers import param_str

KEYS = {
    "n_classes": param_str.integer(param_str.REQUIRED, minimum=1),
    "axis": param_str.integer(1),
    "power": param_str.number(1.0, lambda p: p >= 0, "a number of at least 0"),
    "weights": param_str.choice("balanced", ("balanced", "median")),
    "normalize": param_str.boolean(True),
    "source": param_str.path(None),
}
DEFAULTS = {"n_classes": 7, "axis": 1, "power": 1.0, "weights": "balanced", "normalize": True,
            "source": None}


@pytest.mark.parametrize("text", [
    '{"n_classes": 7}', "{'n_classes': 7}", "{'n_classes': 7,}", " {u'n_classes': 7} \n",
    '{"n_classes": 7, "normalize": true}', "{'n_classes': 7, 'normalize': True}",
])
def test_json_and_python_literals(text):
    assert param_str.parse(text, KEYS) == DEFAULTS


def test_values():
    assert param_str.parse('{"n_classes": 2, "axis": -1, "power": 0, "source": "H.npy"}', KEYS) == dict(
        DEFAULTS, n_classes=2, axis=-1, power=0.0, source="H.npy")


def test_empty_means_defaults():
    keys = {"axis": param_str.integer(1)}
    assert param_str.parse("", keys) == param_str.parse(" ", keys) == {"axis": 1}


@pytest.mark.parametrize("text, message", [
    ("", 'key "n_classes" is missing .*the keys are axis, n_classes, normalize, power, source, weights'),
    ('{"n_clases": 7}', 'unknown key "n_clases" in param_str; the keys are axis, n_classes'),
    ('{"n_classes": 7, "n_classes": 8}', 'key "n_classes" stands twice'),
    ("{'n_classes': 7, 'n_classes': 8}", 'key "n_classes" stands twice'),
    ('{"n_classes": 0}', 'key "n_classes" in param_str: expected a whole number in 1..2147483647, got 0'),
    ('{"n_classes": 7.0}', "expected a whole number"),
    ('{"n_classes": true}', "expected a whole number"),
    ('{"n_classes": "7"}', 'expected a whole number in 1..2147483647, got "7"'),
    ('{"n_classes": null}', "expected a whole number"),
    ('{"n_classes": 7, "power": -1}', "expected a number of at least 0, got -1"),
    ('{"n_classes": 7, "power": NaN}', "expected a number of at least 0"),
    ('{"n_classes": 7, "power": 1e999}', "expected a number of at least 0"),
    ('{"n_classes": 7, "power": 1%s}' % ("0" * 400), "expected a number of at least 0"),
    ('{"n_classes": 7, "weights": "Balanced"}', 'expected one of "balanced", "median", got "Balanced"'),
    ('{"n_classes": 7, "weights": ["balanced"]}', "expected one of"),
    ('{"n_classes": 7, "weights": {}}', "expected one of"),
    ('{"n_classes": 7, "normalize": 1}', "expected true or false, got 1"),
    ('{"n_classes": 7, "source": ""}', "expected the name of a file"),
    ("{7: 7}", "unknown key 7"),
    ("{(1, 2): 7}", "unknown key"),
    ("7", "expected a JSON object"),
    ("[1]", "expected a JSON object"),
    ("n_classes: 7", "expected a JSON object"),
    ("dict(n_classes=7)", "expected a JSON object"),
    ("__import__('os').system('false')", "expected a JSON object"),
    ("{'n_classes': 7", "expected a JSON object"),
    ("[" * 100000, "expected a JSON object"),
    ("{'a':" * 3000, "expected a JSON object"),
    ("\0", "expected a JSON object"),
    (u"{\u00e9}", "expected a JSON object"),
])
def test_errors_name_the_key(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        param_str.parse(text, KEYS)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("opening", ["-", "~", "(", "[", "{", '{"a":', "{'a': ", "not ", "1+", "a.", "lambda:"])
@pytest.mark.parametrize("length", [param_str.MAX_LITERAL, 10 ** 5])
def test_what_would_end_the_process(opening, length):
    for text in (opening * (length // len(opening)), "{'a': " + opening * (length // len(opening) - 10) + "1}"):
        with pytest.raises(ValueError, match="^param_str: expected a JSON object such as "):
            param_str.read_object(text)


def test_a_long_literal():
    text = "{'source': '%s'}" % ("x" * 4096)  # the longest path of Linux
    assert param_str.read_object(text) == {"source": "x" * 4096}
    assert param_str.read_object('{"source": "%s"}' % ("x" * 10 ** 5)) == {"source": "x" * 10 ** 5}
