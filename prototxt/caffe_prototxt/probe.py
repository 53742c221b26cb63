"""The program that makes nets in Caffe, each in a process of its own: what Caffe stops at ends only that.

`caffe_run` starts it as `python probe.py` and writes a request in a line of JSON:
"folder", to run in, one character a byte; "net", a file; "phase"; "python", [number, module,
class] of its Python layers; "log" and "answer", files to write. It prints "pid N", and when
that process has ended "status N".
(Where there is no fork it ends itself after one request, and prints nothing more.) The
answer, in JSON, has one of

    no_caffe: why this Python has none.
    imports: {number: why that Python layer's class is not to be had}.
    raised: [the exception's class, its message, whether it is one of files].
    made: true.

or none of them if Caffe has ended the process; the log says why, and how the net was made.
And, if there is a Caffe, types: the layer types it has; fields: {message: its fields}, of
caffe.proto; classic: whether its InfogainLoss is that of before April 2017.
"""
from __future__ import division, print_function

import importlib
import json
import os
import sys

MARK = "-- the net"  # what the log says of it stands after this line


def main():
    # The folder of this file is not on the path of `caffe train`, and its modules are not meant.
    here = os.path.dirname(os.path.abspath(__file__))
    # An empty entry would be the current folder, from which nobody asked to import.
    sys.path[:] = [folder for folder in sys.path if folder and os.path.abspath(folder) != here]
    caffe, known = _import_caffe()
    # What layers print must not go where the answers go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def say(text):
        answers.write(text + "\n")
        answers.flush()

    for line in iter(sys.stdin.readline, ""):
        pid = os.fork() if hasattr(os, "fork") else 0
        if pid:
            say("pid %d" % pid)
            say("status %d" % os.waitpid(pid, 0)[1])
            continue
        request = json.loads(line)
        os.dup2(os.open(request["log"], os.O_WRONLY | os.O_CREAT, 0o600), 2)
        os.chdir(request["folder"].encode("latin-1"))
        _make(caffe, known, request)
        sys.stderr.flush()
        os._exit(0)  # at once: what Caffe reads ahead is not waited for


def _import_caffe():
    """(caffe or None, what it knows or why there is none)."""
    try:
        import caffe
        from caffe.proto import caffe_pb2
        return caffe, {
            "classic": "axis" not in caffe_pb2.InfogainLossParameter.DESCRIPTOR.fields_by_name,
            "fields": {message.full_name: sorted(message.fields_by_name)
                       for message in caffe_pb2.DESCRIPTOR.message_types_by_name.values()},
            "types": list(getattr(caffe, "layer_type_list", list)())}
    except BaseException as error:  # a Caffe that is not for this Python fails in its own ways
        return None, {"no_caffe": u"%s: %s" % (type(error).__name__, _text(error))}


def _make(caffe, known, request):
    def answer(**more):
        with open(request["answer"], "w") as file:
            json.dump(dict(known, **more), file)

    if caffe is None:
        return answer()
    answer()  # now, as a module may end the process, or take for ever
    reasons = ((number, class_fault(caffe, module, name)) for number, module, name in request["python"])
    failed = {number: reason for number, reason in reasons if reason}
    if failed:
        return answer(imports=failed)
    sys.stderr.write("\n%s\n" % MARK)
    sys.stderr.flush()
    path = request["net"]
    try:
        net = caffe.Net(path if isinstance(path, str) else path.encode("utf-8"), getattr(caffe, request["phase"]))
    except BaseException as error:
        return answer(raised=[type(error).__name__, _text(error), isinstance(error, EnvironmentError)])
    answer(made=True)
    del net


def class_fault(caffe, module, name):
    """Return why a module has no layer class of a name, or None. Imports the module, and calls nothing in it.

    Caffe calls whatever has that name, and a function may do anything then: `input` of `builtins` never ends.
    """
    try:
        found = importlib.import_module(module)
    except BaseException as error:
        return u"its module %s cannot be imported: %s: %s%s" % (module, type(error).__name__, _text(error), _remedy(module))
    try:
        layer = getattr(found, name)
    except BaseException:
        return u"its module %s (%s) has no class %s" % (module, getattr(found, "__file__", "built in"), name)
    if not isinstance(layer, type) or not issubclass(layer, caffe.Layer):
        return u"%s of its module %s is no caffe.Layer" % (name, module)
    return None


def _remedy(module):
    """Return how to make a module importable that the current folder has, or nothing."""
    name = module.partition(".")[0]
    if os.getcwd() in sys.path or not {name, name + ".py"} & set(os.listdir(u".")):
        return u""
    return u"; the current folder has it, and PYTHONPATH does not name that in full: export PYTHONPATH=$PWD"


def _text(error):
    try:
        said = str(error)
    except UnicodeError:
        said = repr(error)
    return said if isinstance(said, type(u"")) else said.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
