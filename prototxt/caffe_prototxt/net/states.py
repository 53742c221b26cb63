"""Caffe's FilterNet (net.cpp, with StateMeetsRule): which layers it keeps, by their rules of phase, level and stage."""
from __future__ import division, print_function

import collections

PHASES = ("TRAIN", "TEST")

_ALL = frozenset(PHASES)

# The state a net is made for. phase: "TRAIN" or "TEST"; level: int; stages: tuple of str.
State = collections.namedtuple("State", "phase level stages")
State.__new__.__defaults__ = (0, ())

# An include { } or exclude { }, with None for what it leaves open. stages, not_stages: frozensets of str.
Rule = collections.namedtuple("Rule", "phase min_level max_level stages not_stages")


def read_rules(values):
    """Return the Rules of include or exclude fields as Message.values gives them; what is no message is passed over."""
    return [_read_rule(fields) for fields in values if isinstance(fields, dict)]


def _read_rule(fields):
    last = {name: values[-1] for name, values in fields.items() if values}
    levels = [last.get(name) if isinstance(last.get(name), int) else None for name in ("min_level", "max_level")]
    stages = [frozenset(map(str, fields.get(name, ()))) for name in ("stage", "not_stage")]
    return Rule(phase_name(last.get("phase")), *(levels + stages))


def phase_name(phase):
    """Return "TRAIN" or "TEST" for a phase given as a word or as its number."""
    return PHASES[phase] if phase in (0, 1) else phase if phase is None else str(phase)


def merged(phase, *values):
    """Return the State that Caffe makes of a phase and of NetStates: the last phase and level, and all stages.

    values: {field: its values} of each, as Message.values gives them.
    """
    phases = [phase] + [phase_name(value) for fields in values for value in fields.get("phase", ())]
    levels = [0] + [level for fields in values for level in fields.get("level", ()) if isinstance(level, int)]
    return State(phases[-1], levels[-1], tuple(str(stage) for fields in values for stage in fields.get("stage", ())))


def meets(state, rule):
    """Return whether a state meets a rule: its phase, its levels, all of its stages and none of its not_stages."""
    return (rule.phase in (None, state.phase)
            and (rule.min_level is None or state.level >= rule.min_level)
            and (rule.max_level is None or state.level <= rule.max_level)
            and rule.stages <= set(state.stages) and not rule.not_stages & set(state.stages))


def keeps(state, include, exclude):
    """Return whether Caffe keeps a layer with these Rules, of which it allows one kind."""
    if include:
        return any(meets(state, rule) for rule in include)
    return not any(meets(state, rule) for rule in exclude)


def possible_phases(include, exclude):
    """Return the phases in which a layer with these Rules can be kept, at some level and with some stages."""
    if include:
        return frozenset().union(*(PHASES if rule.phase is None else (rule.phase,) for rule in include))
    if not exclude:
        return _ALL
    return frozenset(phase for phase in PHASES if Rule(phase, None, None, frozenset(), frozenset()) not in exclude)
