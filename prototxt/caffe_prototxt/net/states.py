"""Which layers of a net Caffe keeps: its rules of phase, level and stage.

Caffe's Net::FilterNet and Net::StateMeetsRule, once for nets as text (messages.Message)
and for those that protobuf has read.
"""
from __future__ import division, print_function

import collections

PHASES = ("TRAIN", "TEST")

# What a net is made for. phase: "TRAIN" or "TEST"; level: int; stages: tuple of str.
State = collections.namedtuple("State", "phase level stages")
State.__new__.__defaults__ = (0, ())

# An include or exclude { }; None where it says nothing. stages, not_stages: sets of str.
Rule = collections.namedtuple("Rule", "phase min_level max_level stages not_stages")


def rule_of_text(fields):
    """The Rule of an include { } or exclude { } as messages.read gives it: a dict of lists."""
    def last(name):
        return fields[name][-1] if fields.get(name) else None

    def level(name):
        return last(name) if isinstance(last(name), int) else None

    return Rule(phase_name(last("phase")), level("min_level"), level("max_level"),
                _strings(fields.get("stage", ())), _strings(fields.get("not_stage", ())))


def rule_of_message(rule):
    """The Rule of a caffe_pb2.NetStateRule."""
    def given(name):
        return getattr(rule, name) if rule.HasField(name) else None
    return Rule(phase_name(given("phase")), given("min_level"), given("max_level"),
                frozenset(rule.stage), frozenset(rule.not_stage))


def phase_name(phase):
    """"TRAIN" or "TEST", of a word or of its number."""
    return PHASES[phase] if phase in (0, 1) else phase if phase is None else str(phase)


def meets(state, rule):
    """Whether a state meets a rule: its phase, its level, all of its stages and none of its not_stages."""
    return (rule.phase in (None, state.phase)
            and (rule.min_level is None or state.level >= rule.min_level)
            and (rule.max_level is None or state.level <= rule.max_level)
            and rule.stages <= set(state.stages) and not rule.not_stages & set(state.stages))


def keeps(state, include, exclude):
    """Whether Caffe keeps a layer with these Rules, of which it allows only one kind."""
    if include:
        return any(meets(state, rule) for rule in include)
    return not any(meets(state, rule) for rule in exclude)


def _strings(values):
    return frozenset(str(value) for value in values)
