"""The parameters of a Python layer, read from its param_str and checked.

Caffe's messages have no fields for them, so there is no library that does this.
"""
from __future__ import division, print_function

import ast
import collections
import json
import numbers
import sys

from caffe_losses.compat import to_str, unicode_type

REQUIRED = object()

# The longest Python literal that is read: Python's own parser ends the process at one that is nested too deep.
MAX_LITERAL = 5000

# default: or REQUIRED. accepts: whether a value is right. convert: to what the layer uses. expected: in words.
Key = collections.namedtuple("Key", "default accepts convert expected")


def integer(default, minimum=-2 ** 31, maximum=2 ** 31 - 1):
    """Return a Key for a whole number from `minimum` to `maximum`."""
    limits = "" if minimum == -2 ** 31 else " in %d..%d" % (minimum, maximum)
    return Key(default, lambda value: _is_a(numbers.Integral, value) and minimum <= value <= maximum, int,
               "a whole number" + limits)


def number(default, within, expected):
    """Return a Key for a finite number for which within(number) holds."""
    return Key(default, lambda value: _is_a(numbers.Real, value) and abs(value) <= sys.float_info.max and within(value),
               float, expected)


def number_list(default):
    """Return a Key for a list of finite numbers."""
    one = number(None, lambda value: True, "")
    return Key(default, lambda value: value and isinstance(value, (list, tuple)) and all(map(one.accepts, value)),
               lambda value: list(map(float, value)), "a list of numbers")


def choice(default, options):
    """Return a Key for one of a few words."""
    return Key(default, lambda value: value in options, str, "one of " + ", ".join('"%s"' % o for o in options))


def boolean(default):
    """Return a Key for true or false."""
    return Key(default, lambda value: isinstance(value, bool), bool, "true or false")


def path(default):
    """Return a Key for the name of a file."""
    return Key(default, lambda value: value and isinstance(value, (str, unicode_type)), to_str,
               "the name of a file, as a string")


def _is_a(kind, value):
    return isinstance(value, kind) and not isinstance(value, bool)


def parse(param_str, keys):
    """Return the parameters in `param_str`, checked, with defaults for the missing ones.

    param_str: a JSON object or a Python dict literal; empty means {}.
    keys: dict from name to Key. Returns a dict with a value for every name in `keys`.
    Raises ValueError, naming the key and the known keys.
    """
    stated = read_object(param_str)
    known = "the keys are " + ", ".join(sorted(keys)) if keys else "there are no keys"
    for name in stated:
        if name not in keys:
            raise ValueError("unknown key %s in param_str; %s" % (_quote(name), known))
    return {name: _value(name, key, stated, known) for name, key in keys.items()}


def _value(name, key, stated, known):
    if name not in stated:
        if key.default is REQUIRED:
            raise ValueError('key "%s" is missing from param_str: expected %s; %s' % (name, key.expected, known))
        return key.default
    if not key.accepts(stated[name]):
        raise ValueError('key "%s" in param_str: expected %s, got %s; %s'
                         % (name, key.expected, _quote(stated[name]), known))
    return key.convert(stated[name])


def read_object(param_str):
    """Return the dict in a param_str, its values unchecked. Raises ValueError."""
    text = param_str.strip() or "{}"
    for read in (_json_pairs, _literal_pairs):
        try:
            pairs = read(text)
            stated = dict(pairs)
        except (ValueError, SyntaxError, TypeError, AttributeError, MemoryError, RuntimeError):  # in another language
            continue
        names = [name for name, _ in pairs]
        for name in stated:
            if names.count(name) > 1:
                raise ValueError("key %s stands twice in param_str" % _quote(name))
        return stated
    raise ValueError('param_str: expected a JSON object such as {"n_classes": 7}, got %s' % _quote(text))


def _json_pairs(text):
    pairs = json.loads(text, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple):
        raise ValueError("no object")
    return pairs


def _literal_pairs(text):
    if len(text) > MAX_LITERAL:
        raise ValueError("too long")
    literal = ast.parse(text, mode="eval").body
    return [(ast.literal_eval(key), ast.literal_eval(value)) for key, value in zip(literal.keys, literal.values)]


def _quote(value):
    """Return `value` as JSON writes it, or the name of its type, cut to a readable length."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RuntimeError):
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
