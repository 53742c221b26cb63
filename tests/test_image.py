"""The Dockerfile and what it installs, as far as text tells; tests/image_test.sh builds it."""
from __future__ import division, print_function

import io
import os
import re
import sys

import pytest

import real_nets

FOLDER = os.path.join(real_nets.CHECKOUT, "docker")
PINS = ("python2.7.txt", "python3.txt")


@pytest.fixture
def install_missing(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import install_missing
    return install_missing


def read(*path):
    with io.open(os.path.join(real_nets.CHECKOUT, *path), encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("name", PINS)
def test_pins(install_missing, name):
    options, sections = install_missing.parse(read("docker", name), read("tools", "caffe_py27.txt"))
    assert "--only-binary=:all:" in options
    assert sorted(sections) == ["h5py", "hypothesis", "lmdb", "matplotlib", "pytest", "tqdm"]
    for needed, pins in sections.items():
        assert pins[0].startswith(needed + "==")
        for pin in pins:
            assert re.match(r"[\w.-]+==[\w.]+( ; python_version [^\\]*)?( (\\\n    )?--hash=sha256:[0-9a-f]{64})+\n$", pin), pin
            assert not re.match("(numpy|protobuf|scipy)==", pin)


def test_nothing_is_installed_where_nothing_is_missing(install_missing, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install_missing, "is_there", lambda name: True)
    monkeypatch.setattr(install_missing.subprocess, "check_call", None)
    assert install_missing.main(str(tmp_path)) == 0
    assert "missing: nothing" in capsys.readouterr().out


def test_what_is_missing_is_installed_with_all_that_it_needs_and_nothing_else(install_missing, monkeypatch, tmp_path):
    commands = []

    def pip(command):
        with open(command[-1]) as file:
            commands.append((command, file.read()))

    monkeypatch.setattr(install_missing, "is_there", lambda name: name not in ("pytest", "hypothesis"))
    monkeypatch.setattr(install_missing.subprocess, "call", lambda *_, **__: 0)
    monkeypatch.setattr(install_missing.subprocess, "check_call", pip)
    assert install_missing.main(str(tmp_path)) == 0
    (command, pins), = commands
    assert command[:5] == [sys.executable, "-m", "pip", "install", "--target"]
    assert "--no-deps" in command and "--require-hashes" in command
    assert len(re.findall("^pytest==", pins, re.M)) >= 1 and "matplotlib==" not in pins
    assert len(re.findall("^attrs==", pins, re.M)) == 1  # both need it


def test_without_pip_it_says_what_is_missing(install_missing, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(install_missing, "is_there", lambda name: name != "lmdb")
    monkeypatch.setattr(install_missing.subprocess, "call", lambda *_, **__: 1)
    assert install_missing.main(str(tmp_path)) == 2
    out, err = capsys.readouterr()
    assert "missing: lmdb\n" in out and "has no pip" in err


def test_the_base_image_s_paths_are_appended_to():
    text = read("Dockerfile")
    assert "PATH=${PATH}:" in text and "PYTHONPATH=${PYTHONPATH:+${PYTHONPATH}:}" in text
