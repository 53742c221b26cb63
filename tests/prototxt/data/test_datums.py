from __future__ import division, print_function

import collections
import struct
import warnings

import numpy as np
import pytest

caffe_pb2 = pytest.importorskip("caffe.proto.caffe_pb2")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

from caffe_prototxt.data import datums
from counts import examples


def varint(value, padding=0):
    """A varint, with `padding` bytes more than it needs."""
    encoded = bytearray()
    value &= 2 ** 64 - 1
    while value > 127 or padding > 0:
        padding -= value <= 127
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded + bytearray([value]))


def tag(number, wire):
    return varint(number << 3 | wire)


INT32 = st.one_of(st.integers(0, 300), st.integers(-2 ** 31, 2 ** 31 - 1))
UINT64 = st.integers(0, 2 ** 64 - 1)
NUMBERS = st.one_of(st.integers(1, 20), st.integers(1, 2 ** 29 - 1))


def field(number, wire, payload):
    return st.tuples(number, payload).map(lambda pair: tag(pair[0], wire) + pair[1])


def as_varint(values):
    return st.builds(lambda value, padding: varint(value, padding if value < 2 ** 28 else 0), values, st.integers(0, 4))


def sized(payload):
    return payload.map(lambda content: varint(len(content)) + content)


LABEL = field(st.just(5), 0, as_varint(INT32))
DATA = field(st.just(4), 2, sized(st.binary(max_size=300)))
FLOATS = st.lists(st.binary(min_size=4, max_size=4), max_size=5)
FIELDS = st.one_of(
    LABEL, DATA, field(st.sampled_from([1, 2, 3, 7]), 0, as_varint(INT32)),
    field(st.just(6), 2, sized(FLOATS.map(b"".join))), FLOATS.map(lambda floats: b"".join(tag(6, 5) + f for f in floats)),
    field(NUMBERS, 0, as_varint(UINT64)), field(NUMBERS, 1, st.binary(min_size=8, max_size=8)),
    field(NUMBERS, 5, st.binary(min_size=4, max_size=4)),
    field(NUMBERS.filter(lambda n: n != 6), 2, sized(st.binary(max_size=20))))
GROUPS = st.tuples(NUMBERS, st.lists(FIELDS, max_size=3)).map(
    lambda pair: tag(pair[0], 3) + b"".join(pair[1]) + tag(pair[0], 4))
RECORDS = st.lists(st.one_of(FIELDS, GROUPS), max_size=12).map(b"".join)


def parsed(record):
    """The label, None if there is none, or ValueError: by protobuf itself."""
    datum = caffe_pb2.Datum()
    with warnings.catch_warnings(record=True) as garbage:  # some protobufs only warn of it
        warnings.simplefilter("always")
        try:
            if datum.ParseFromString(record) not in (None, len(record)) or garbage:
                return ValueError
        except Exception:
            return ValueError
    return datum.label if datum.HasField("label") else None


def walked(record):
    try:
        return datums.label(record)
    except ValueError:
        return ValueError


def batch(records):
    data = np.frombuffer(b"".join(records) + b" ", np.uint8)[:-1]
    sizes = np.array([len(record) for record in records], np.int64)
    return data, np.cumsum(sizes) - sizes, sizes


@settings(max_examples=examples(400))
@given(RECORDS)
def test_the_walk_finds_what_protobuf_finds(record):
    assert walked(record) == parsed(record)


@settings(max_examples=examples(400))
@given(RECORDS, st.data())
def test_the_walk_refuses_what_protobuf_refuses(record, data):
    record = bytearray(record)
    for _ in range(data.draw(st.integers(0, 3))):
        if record:
            record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    record = bytes(record[:data.draw(st.integers(0, len(record)))])
    assert walked(record) == parsed(record)


# Datums as programs write them, those of a few shapes many times, and any others among them.
USUAL = st.builds(
    lambda shape, label, image, encoded: caffe_pb2.Datum(
        channels=shape[0], height=shape[1], width=shape[2], label=label, encoded=encoded,
        data=image[:10 + shape[1]]).SerializeToString(),
    st.sampled_from([(1, 28, 28), (3, 2, 200), (3, 1, 1)]), INT32, st.binary(min_size=300, max_size=300),
    st.sampled_from([None, False, True]))
ENCODED = st.builds(lambda label, image: caffe_pb2.Datum(label=label, data=image, encoded=True).SerializeToString(),
                    st.integers(0, 999), st.binary(max_size=300))


@settings(max_examples=examples(150))
@given(st.lists(st.lists(st.one_of(USUAL, ENCODED, RECORDS), max_size=30), max_size=4))
def test_of_many_records_each_label_is_counted(batches):
    expected = [parsed(record) for records in batches for record in records]
    bad = [i for i, label in enumerate(expected) if label in (None, ValueError)]
    counts, first = collections.Counter(), {}
    try:
        for label, count, record in datums.labels(batch(records) for records in batches):
            counts[label] += count
            first.setdefault(label, record)
    except ValueError as error:
        assert bad and str(error).startswith("expected Datums with a label, got something else in record ")
        assert int(str(error).split()[-1]) == bad[0]
    else:
        assert not bad
        assert counts == collections.Counter(expected)
        assert first == {label: expected.index(label) for label in counts}


def test_values_by_hand():
    assert datums.label(b"\x28\x07") == 7
    assert datums.label(b"\x28\x07\x28\x02") == 2  # the last one wins
    assert datums.label(b"\x22\x02\x28\x01") is None  # that is the image
    assert datums.label(b"\x28" + b"\xff" * 9 + b"\x01") == -1
    assert datums.label(b"") is None
    assert parsed(b"\x80\xff\xff\xff\x80\x0b+") is ValueError  # a tag of six bytes
    assert walked(b"\x80\xff\xff\xff\x80\x0b+") is ValueError
    many_floats = b"".join(b"\x35" + struct.pack("<f", i) for i in range(5000))
    assert datums.label(b"\x28\x03" + many_floats) == 3 and datums.label(many_floats + b"\x28\x03") == 3
