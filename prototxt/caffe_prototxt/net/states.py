"""Caffe's FilterNet (net.cpp, with StateMeetsRule): which layers it keeps, by their rules of phase, level and stage."""
from __future__ import division, print_function

import collections

PHASES = ("TRAIN", "TEST")

# The state a net is made for. phase: "TRAIN" or "TEST"; level: int; stages: tuple of str.
State = collections.namedtuple("State", "phase level stages")
State.__new__.__defaults__ = (0, ())

# An include { } or exclude { }, with None for what it leaves open. stages, not_stages: frozensets of str.
Rule = collections.namedtuple("Rule", "phase min_level max_level stages not_stages")
RULE_FIELDS = ("phase", "min_level", "max_level", "stage", "not_stage")  # as a net's text has them


def read_rules(values):
    """Return the Rules of include or exclude fields as Message.values gives them; what is no message is passed over."""
    return [_read_rule(fields) for fields in values if isinstance(fields, dict)]


def _read_rule(fields):
    def last(name):
        return fields[name][-1] if fields.get(name) else None

    def level(name):
        return last(name) if isinstance(last(name), int) else None

    def names(name):
        return frozenset(str(value) for value in fields.get(name, ()))

    return Rule(phase_name(last("phase")), level("min_level"), level("max_level"), names("stage"), names("not_stage"))


def phase_name(phase):
    """Return "TRAIN" or "TEST" for a phase given as a word or as its number."""
    return PHASES[phase] if phase in (0, 1) else phase if phase is None else str(phase)


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
        return frozenset(PHASES)
    phases_alone = [Rule(phase, None, None, frozenset(), frozenset()) for phase in PHASES]
    return frozenset(rule.phase for rule in phases_alone if rule not in exclude)
