# -*- coding: utf-8 -*-
from __future__ import division, print_function

import glob
import os
import random
import re
import subprocess

import pytest

import real_nets
from counts import calls, examples
from caffe_losses.compat import from_bytes, to_bytes
from caffe_prototxt.textformat import scanner as T
from caffe_prototxt.textformat.messages import Item, Message, read

NETS = sorted(glob.glob(os.path.join(real_nets.CHECKOUT, "tests", "nets", "*.prototxt")))

# In Caffe's words; the layer makes a net of it.
VALID = [
    'name: "a"', "name: 'a'", 'name: "a" "b"\n\'c\' # d\n"e"', r'name: "\"\\\'\?\a\b\f\n\r\t\v\101\x41\u0041"', "name: 'a\"b'",
    'name : "a"', 'name\n:\n# c\n"a"', 'name: "a";', 'name: "a" ,', 'name: "a" # c\n;', 'input: ["a", \'b\' "c"] input_dim: [1, 0x1, 1, '
    "1,1,1 , 1,1]", 'input: []', 'state < phase: TRAIN >', "state: { level: -1 }", "state { level: - # c\n 1 stage: ['a'] }",
    "force_backward: t", "force_backward: 1", "debug_info: false#c", "state{}", '# "\n', "", " \t\v\f\r\n",
    'layer [ { name: "b" type: "Silence" bottom: "x" } ]', 'layer { name: "b" type: "Silence" bottom: "x" loss_weight: .5f }',
    'layer { name: "b" type: "Silence" bottom: "x" loss_weight: 1. }',
    'layer { name: "b" type: "Silence" bottom: "x" loss_weight: 1e3 }',
    'layer { type: "Silence" bottom: "x" loss_weight: -inf }',
    'layer { type: "Silence" bottom: "x" loss_weight: nan }', 'layer{type:"Silence"bottom:"x"}']
INVALID = [
    'name "a"', 'name: "a', "name: 'a\"", 'name: "a\n"', r'name: "\q"', "name:", ":", "name", '"a"', "{", "}", "state {", "state }",
    "state { >", "state < }", "state: { level: 1foo }", "state { level: 09 }", "state { level: 0x }", "state { level: 1.2.3 }",
    "state { level: --1 }", "state { phase: -TRAIN }", 'name: "a";;', 'name: "a";,', "input: [,]", 'input: ["a",]', 'input: ["a" , , "b"]',
    'input: ["a"', 'input: ["a";"b"]', "input: [[]]", "name: \xc3\xa9", "\xc3\xa9: 1", 'name: "a"\0', '# a\0b', 'name: "a\0"', "\x01",
    "/* c */", "// c", "state. { }", "a/b: 1", "\xef\xbb\xbf\xef\xbb\xbf", "state { level: 1e }", "=", "name: 'a' 1", "1: 2"]


def read_all(text):
    return [(field.name, text[field.value:field.end]) for field in T.fields(text)]


@pytest.mark.parametrize("text", VALID + INVALID)
def test_reads_what_caffe_reads(tmp_path, text):
    """The C++ parser of the real Caffe is the judge."""
    pytest.importorskip("caffe")
    path = str(tmp_path / "net.prototxt")
    with open(path, "wb") as file:
        file.write(to_bytes('layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } } }\n' + text))
    # Caffe says so if it cannot read a net; what it makes of one that it can does not matter here.
    process = subprocess.Popen(["caffe", "time", "-model", path, "-iterations", "1"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env=dict(os.environ, GLOG_minloglevel="0"))
    said = process.communicate()[0]
    refused = b"Failed to parse NetParameter file" in said
    assert refused == (text in INVALID), said
    if refused:
        with pytest.raises(ValueError, match=r"^line \d+, column \d+: expected .*, got "):
            read_all(text)
    else:
        read_all(text)


def read_or_error(text):
    try:
        return list(T.fields(text))
    except ValueError as error:
        return str(error)


def test_usual_fields_are_those_read_step_by_step(monkeypatch):
    """At once or step by step, a text has the same fields at the same offsets, or the same error."""
    rng = random.Random(0)
    texts = VALID + INVALID + [from_bytes(open(path, "rb").read()) for path in NETS]
    for text in list(texts):
        for _ in range(20):
            at, length = rng.randrange(len(text) + 1), rng.choice((0, 1, 5))
            texts.append(text[:at] + rng.choice(("",) + tuple("#\"'{}<>[]:;,-\n\t a1.\\")) + text[at + length:])
    at_once = list(map(read_or_error, texts))
    monkeypatch.setattr(T, "_USUAL", re.compile("(?!)"))
    assert at_once == list(map(read_or_error, texts))


def test_fields_and_where_they_are():
    text = 'a: 1 # x: 2\nb { c: "d" "e" f < > } ; [g.h/i]: { j: 1 }, k: [1, {l: 2}]'
    fields = list(T.fields(text))
    assert [(field.name, text[field.value:field.end]) for field in fields] == [
        ("a", "1"), ("b", '{ c: "d" "e" f < > }'), ("[g.h/i]", "{ j: 1 }"), ("k", "[1, {l: 2}]")]
    assert [text[field.start:field.stop] for field in fields][1:3] == ['b { c: "d" "e" f < > } ;', "[g.h/i]: { j: 1 },"]
    assert [text[start:end] for start, end in T.values(text, fields[3])] == ["1", "{l: 2}"]
    assert T.comments(text, 0, len(text)) == ["# x: 2"]
    assert T.Lines(text).of(fields[1].start) == 2


@pytest.mark.parametrize("literal, value", [
    ("1", 1), ("0x1F", 31), ("010", 8), ("-3", -3), ("1.5", 1.5), ("1.5f", 1.5), ("2F", 2.0), (".5", .5), ("1e3", 1000.0), ("- 1", -1),
    ("-inf", float("-inf")), ("TRAIN", "TRAIN"), ('"a" \'b"\'', 'ab"'), (r'"\n\x41\101\"\u00e9"', "\nAA\"\xc3\xa9"), ("0", 0)])
def test_values(literal, value):
    text = "a: " + literal
    (field,) = T.fields(text)
    found = read(text, Item(field.value, field.end, field))
    assert found == value and (not isinstance(value, str) or literal == "TRAIN" or T.unquote(T.quote(value), 0, len(T.quote(value))) == value)


@pytest.mark.parametrize("text, message", [
    ("a: 1\nb 2", "line 2, column 3: expected \":\", got '2'"),
    ("a {\n  b: }", "line 2, column 6: expected a value, got '}'"),
    ("a {", 'line 1, column 4: expected the name of a field or "}", got the end of the text'),
    ("a: [1 2]", "line 1, column 7: expected \",\" or \"]\", got '2'"),
])
def test_errors_say_where(text, message):
    with pytest.raises(ValueError) as error:
        read_all(text)
    assert str(error.value) == message


def test_a_field_that_may_be_there_once():
    text = 'a { b: 1 b: 2 }'
    (field,) = T.fields(text)
    message = Message(text, field.value)
    assert message.values("b") == [1, 2] and message.value("c", 3) == 3
    with pytest.raises(ValueError, match="line 1, column 13: expected b once"):
        message.value("b")


def many(size):
    """Texts of about so many bytes, each hard in its own way: (name, text, whether it can be read)."""
    return [
        ("fields", "a:1 " * (size // 4), True), ("deep", "a{" * (size // 3) + "}" * (size // 3), True),
        ("unclosed", "a{" * (size // 2), False), ("comments", "# x\n" * (size // 4), True),
        ("comment in every gap", "a # x\n : # y\n 1 # z\n;" * (size // 22), True), ("strings", 'a: "x"' + ' "\\n"' * (size // 5), True),
        ("list", "a: [" + "1," * (size // 2) + "1]", True), ("deep lists", "a:[{" * (size // 6) + "}]" * (size // 6), True),
        ("one name", "a" * size, False), ("spaces", " " * size + "}", False), ("escapes", 'a: "' + "\\n" * (size // 2) + '"', True),
        ("unclosed string", 'a: "' + "\\n" * (size // 2), False), ("hashes", "a: 1 " + "#" * size, True),
        ("name in brackets", "[a" + ".a" * (size // 2), False), ("string, comment", 'a:"1"#\n' * (size // 7), True),
        ("value, spaces, comment", "a: 1" + " " * size + "# b", True)]


@pytest.mark.parametrize("name", [name for name, _, _ in many(0)])
def test_time_is_linear_and_depth_no_limit(name):
    def scan(size):
        (text, valid), = [(text, valid) for other, text, valid in many(size) if other == name]
        try:
            for _ in T.fields(text):
                pass
            assert valid
        except ValueError:
            assert not valid
    assert calls(scan, 10000) < 11 * calls(scan, 1000)
    scan(300000)  # minutes, were one of the calls quadratic


def test_any_text():
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st
    pieces = st.lists(st.sampled_from(list(" \n\t#:;,.-{}<>[]\"'\\\0\x80e0x1f") + ["layer", "a: 1", '"b"', "{ c: ", "[ d", "inf"]), max_size=30)

    @hypothesis.settings(max_examples=examples(500))
    @hypothesis.given(pieces.map("".join) | st.binary(max_size=40).map(from_bytes))
    def check(text):
        try:
            fields = list(T.fields(text))
        except ValueError as error:
            assert str(error).startswith("line ") and "\n" not in str(error)
            return
        end = 0
        for field in fields:
            assert end <= field.start < field.value < field.end <= field.stop <= len(text)
            assert text[field.start:].startswith(field.name)
            assert not text[end:field.start].strip(" \t\r\n\v\f\xef\xbb\xbf") or "#" in text[end:field.start]
            end = field.stop
            for start, stop in T.values(text, field):
                read(text, Item(start, stop, field))

    check()


@pytest.mark.parametrize("path", NETS, ids=os.path.basename)
def test_bytes_come_back(path):
    with open(path, "rb") as file:
        content = file.read()
    assert to_bytes(from_bytes(content)) == content and isinstance(from_bytes(content), str)


@pytest.mark.parametrize("text, message", [
    ("\xef\xbb\xbfa: 1", "line 1, column 1: expected text as Caffe reads it, got a byte order mark, at which Caffe stops; take it out: sed "),
    ("a: 1 # b\rc: 1\r", "got lines that end in CR alone, where a comment does not end; write LF: tr "),
    ("\xff\xfea\0", "got UTF-16; save it as UTF-8"), ("a\0:\0", "got UTF-16; save it as UTF-8"), ("\0a\0:", "got UTF-16; save it"),
    ("a: \xe2\x80\x9cb\xe2\x80\x9d", "column 4: expected a value, got a curly quote; write \" in its place"),
    ("a: \x93b\x94", "got a curly quote"), ('a: "b\xe2\x80\x9d c: "d"', "after a curly quote; write"),
    ("// b\na: 1", "line 1, column 1: expected the name of a field, got a comment of another language; begin comments with #"),
    ("a: 1 // b", "got a comment of another language"), ("a: 1\n/* b */", "line 2, column 1: expected the name of a field, got a comm"),
    ("a:\xc2\xa01", "got a blank that is not ASCII's; write a plain one"), ("a: \xc3\xa4", "got a character that is not ASCII's"),
    ('a: "C:\\data"', "got a string with a \\ that begins no escape; write / for each \\ of a path"),
    ('a: "b\nc: 1', "got a string without an end on its line; close it with \"")])
def test_what_editors_leave(text, message):
    with pytest.raises(ValueError) as raised:
        list(T.fields(text))
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["a: 1  # \xe2\x80\x9cb\xe2\x80\x9d // c", "a: '\xe2\x80\x9cb\xe2\x80\x9d'", 'a: "//"', r'a: "b\\c"'])
def test_what_may_stand_in_strings_and_comments(text):
    assert len(list(T.fields(text))) == 1
