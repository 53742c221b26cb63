"""The commands end alike by errors, signals and closed outputs, and refuse the same."""
from __future__ import division, print_function

import os
import re
import signal
import subprocess
import sys

import pytest

import caffe_losses
import real_nets
from caffe_losses.formats.atomic import atomic_write
from caffe_tools import cli
from commands import run_main

TOOLS = os.path.join(real_nets.CHECKOUT, "tools")
MAKE_NET = [sys.executable, os.path.join(TOOLS, "make_net.py"), "--loss", "SoftmaxWithInfogainLoss", "--source",
            "H.npy"]


def status_of(main):
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code


def program(text):
    return [sys.executable, "-c", "import sys\nsys.path[:0] = [%r]\nfrom caffe_tools import cli\n" % TOOLS + text]


def run_program(text):
    return real_nets.run(program(text))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such links")
@pytest.mark.parametrize("output", ["D.csv", "./D.csv", "link", "hard"])
def test_an_output_that_is_an_input_is_refused(output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    open("D.csv", "w").close()
    os.symlink("D.csv", "link")
    os.link("D.csv", "hard")
    parser = cli.Parser(prog="p")
    for names in ([], [None], ["other"], ["no such folder/D.csv"]):
        cli.refuse_overwriting(parser, output, names)
        cli.refuse_overwriting(parser, None, names + ["D.csv"])
    with pytest.raises(SystemExit) as end:
        cli.refuse_overwriting(parser, output, [None, "D.csv"])
    assert end.value.code == 2
    assert capsys.readouterr()[1] == ("p: error: -o %s: expected a file that is not read, got the input D.csv; choose "
                                      "another name (--help shows an example)\n" % output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_temporary_file(number, tmp_path):
    before = signal.getsignal(number)

    def main():
        with atomic_write(str(tmp_path / "H.npy")) as file:
            file.write(b"half")
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)

    assert status_of(main) == 128 + number and not os.listdir(str(tmp_path))
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        cli.run(lambda: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_version():
    status, out, err = run_main("make_h.py", "--version")  # Python 2 prints it to standard error
    assert status == 0 and out + err == "make_h.py (caffe-losses) %s\n" % caffe_losses.__version__


def test_ctrl_c_while_modules_are_imported():
    assert run_program("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('on')") == (130, "", "")


def test_ctrl_c_in_a_command():
    def main():
        os.kill(os.getpid(), signal.SIGINT)
        list(range(10 ** 6))

    assert status_of(main) == 130


@pytest.mark.parametrize("text", ["import no_such.part", "cli.run(lambda: __import__('no_such'))"])
def test_a_missing_package_is_one_line(text):
    status, out, err = run_program(text)
    assert status == 2 and not out
    assert re.match("-c: error: expected the Python package no_such, got none: pip install no_such, or run it by "
                    "tools/with_caffe.sh\n$", err)


@pytest.mark.parametrize("output, says", [("closed", "Bad file descriptor"), ("/dev/full", "No space left on device")])
def test_an_output_that_cannot_be_written_is_one_line(output, says, tmp_path):
    if output != "closed" and not os.path.exists(output):
        pytest.skip("no " + output)
    shell = ['exec "$@" >&-' if output == "closed" else 'exec "$@" >' + output, "sh"]
    status, _, err = real_nets.run(["sh", "-c"] + shell + MAKE_NET, cwd=str(tmp_path))
    assert status == 2 and err.endswith("make_net.py: error: standard output: cannot be written: %s\n" % says)
    assert "Traceback" not in err
    assert real_nets.run(["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh"] + MAKE_NET, cwd=str(tmp_path))[0] == 2


def test_a_closed_pipe_is_silent(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(program("cli.run(lambda: cli.say('x'))"), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert process.communicate()[1] == b"" and process.returncode == 128 + signal.SIGPIPE


def test_a_checkout_with_a_colon(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cli, "CHECKOUT", str(tmp_path / "a:b"))
    cli.run(lambda: None)  # installed beside nothing
    os.makedirs(str(tmp_path / "a:b" / "layers"))
    assert status_of(lambda: None) == 2
    assert re.search(": error: expected a checkout without ':' in its path, which PYTHONPATH cannot hold, got .*/a:b; "
                     "move or rename the folder\n$", capsys.readouterr()[1])
