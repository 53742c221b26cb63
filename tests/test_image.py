"""The Dockerfile and what it installs, as far as text tells; tests/image_test.sh builds it."""
from __future__ import division, print_function

import io
import os
import re
import sys

import pytest

import real_nets

FOLDER = os.path.join(real_nets.CHECKOUT, "tools", "environment")
PINS = ("image_python2.7.txt", "image_python3.txt")


@pytest.fixture
def image_packages(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import image_packages
    return image_packages


def read(*path):
    with io.open(os.path.join(real_nets.CHECKOUT, *path), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("name", PINS)
def test_pins(image_packages, name):
    options, sections = image_packages.parse(read("tools", "environment", name), read("tools", "environment", "caffe_py27.txt"))
    assert "--only-binary=:all:" in options
    leveldb = "leveldb" if "2.7" in name else "plyvel"  # Caffe's requirements.txt has the former, Debian the latter
    assert sorted(sections) == sorted(["h5py", "hypothesis", "lmdb", leveldb, "matplotlib", "pytest", "tqdm"])
    for needed, pins in sections.items():
        assert pins[0].startswith(needed + "==")
        for pin in pins:
            assert re.match(r"[\w.-]+==[\w.]+( ; python_version [^\\]*)?( (\\\n    )?--hash=sha256:[0-9a-f]{64})+\n$", pin), pin
            assert not re.match("(numpy|protobuf|scipy)==", pin)


def test_nothing_is_installed_where_nothing_is_missing(image_packages, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(image_packages, "is_there", lambda name: True)
    monkeypatch.setattr(image_packages.subprocess, "check_call", None)
    assert image_packages.main(str(tmp_path)) == 0
    assert "missing: nothing" in capsys.readouterr().out


def test_what_is_missing_is_installed_with_all_that_it_needs_and_nothing_else(image_packages, monkeypatch, tmp_path):
    commands = []

    def pip(command):
        with open(command[-1]) as file:
            commands.append((command, file.read()))

    monkeypatch.setattr(image_packages, "is_there", lambda name: name not in ("pytest", "hypothesis"))
    monkeypatch.setattr(image_packages.subprocess, "call", lambda *_, **__: 0)
    monkeypatch.setattr(image_packages.subprocess, "check_call", pip)
    assert image_packages.main(str(tmp_path)) == 0
    (command, pins), = commands
    assert command[:5] == [sys.executable, "-m", "pip", "install", "--target"]
    assert "--no-deps" in command and "--require-hashes" in command
    assert len(re.findall("^pytest==", pins, re.M)) >= 1 and "matplotlib==" not in pins
    assert len(re.findall("^attrs==", pins, re.M)) == 1  # both need it


def test_without_pip_it_says_what_is_missing(image_packages, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(image_packages, "is_there", lambda name: name != "lmdb")
    monkeypatch.setattr(image_packages.subprocess, "call", lambda *_, **__: 1)
    assert image_packages.main(str(tmp_path)) == 2
    out, err = capsys.readouterr()
    assert "missing: lmdb\n" in out and "has no pip" in err


def test_the_base_image_s_paths_are_appended_to():
    text = read("Dockerfile")
    assert "PATH=${PATH}:" in text and "PYTHONPATH=${PYTHONPATH:+${PYTHONPATH}:}" in text


def test_any_user_may_write_what_an_example_makes():
    (folders,) = re.findall("install -d -m 1777 (.*)", read("Dockerfile").replace("\\\n", ""))
    written = set(re.findall(r"tools/with_caffe.sh (?:sh )?(examples/\w+)/\w+\.(?:sh|py)", read("Makefile")))
    assert len(written) == 4
    assert sorted(folders.split()) == sorted([".", "examples/*/"] + [folder + "/output" for folder in written])
