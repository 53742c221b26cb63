"""param_str: the parameters of a Python layer, read and checked."""
from __future__ import division, print_function

import ast
import collections
import json
import math

REQUIRED = object()

# One parameter: its default (or REQUIRED), a check that returns the value as
# the layer uses it or raises ValueError, and what the check expects, in words.
Key = collections.namedtuple("Key", "default check expected")


def integer(default, minimum=-2 ** 31, maximum=2 ** 31 - 1):
    """A Key for a whole number from `minimum` to `maximum`."""
    def check(value):
        if isinstance(value, bool) or not isinstance(value, (int, type(2 ** 64))):
            raise ValueError
        if not minimum <= value <= maximum:
            raise ValueError
        return int(value)
    limits = "" if minimum == -2 ** 31 else " in %d..%d" % (minimum, maximum)
    return Key(default, check, "a whole number" + limits)


def number(default, within, expected):
    """A Key for a finite number for which within(number) holds."""
    def check(value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if math.isinf(value) or math.isnan(value) or not within(value):
            raise ValueError
        return float(value)
    return Key(default, check, expected)


def choice(default, options):
    """A Key for one of a few words."""
    def check(value):
        if value not in options:
            raise ValueError
        return str(value)
    return Key(default, check, "one of " + ", ".join('"%s"' % o for o in options))


def boolean(default):
    """A Key for true or false."""
    def check(value):
        if not isinstance(value, bool):
            raise ValueError
        return value
    return Key(default, check, "true or false")


def path(default):
    """A Key for the name of a file."""
    def check(value):
        if not isinstance(value, (str, type(u""))) or not value:
            raise ValueError
        return value if isinstance(value, str) else value.encode("utf-8")  # JSON on Python 2
    return Key(default, check, "the name of a file, as a string")


def parse(param_str, keys):
    """The parameters in `param_str`, checked and with defaults filled in.

    param_str: a JSON object or a Python dict literal; empty means {}.
    keys: dict from name to Key.
    Returns a dict with a value for every name in `keys`.
    Raises ValueError, naming the key and the keys there are.
    """
    given = read_object(param_str)
    known = "the keys are " + ", ".join(sorted(keys)) if keys else "there are no keys"
    for name in given:
        if name not in keys:
            raise ValueError("unknown key %s in param_str; %s" % (_quote(name), known))
    return {name: _value(name, key, given, known) for name, key in keys.items()}


def _value(name, key, given, known):
    if name not in given:
        if key.default is REQUIRED:
            raise ValueError('key "%s" is missing from param_str: expected %s; %s'
                             % (name, key.expected, known))
        return key.default
    try:
        return key.check(given[name])
    except (ValueError, TypeError, OverflowError):
        raise ValueError('key "%s" in param_str: expected %s, got %s; %s'
                         % (name, key.expected, _quote(given[name]), known))


def read_object(param_str):
    """Return the dict in a param_str, its values as they stand. Raises ValueError."""
    text = param_str.strip()
    if not text:
        return {}
    for read in (_read_json, _read_literal):
        try:
            value = read(text)
        except _Duplicate as duplicate:
            raise ValueError("key %s stands twice in param_str" % _quote(duplicate.args[0]))
        # Whatever a parser makes of a text that is not in its language.
        except (ValueError, SyntaxError, TypeError, MemoryError, RuntimeError):
            continue
        if isinstance(value, dict):
            return value
    raise ValueError('param_str: expected a JSON object such as {"n_classes": 7}, got %s'
                     % _quote(text))


class _Duplicate(Exception):
    pass


def _read_json(text):
    return json.loads(text, object_pairs_hook=_unique)


def _read_literal(text):
    value = ast.literal_eval(text)
    if isinstance(value, dict):
        keys = ast.parse(text, mode="eval").body.keys
        _unique([(ast.literal_eval(key), None) for key in keys])
    return value


def _unique(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Duplicate(next(name for name in names if names.count(name) > 1))
    return found


def _quote(value):
    """`value` as JSON writes it where it can, cut to a readable length."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RuntimeError):
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
