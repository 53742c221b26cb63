"""The program that answers requests in Caffe, each in a forked process: what Caffe stops at ends only that.

`caffe_process` starts it as `python probe.py` and writes each request in a line of JSON: "folder", to run in, one
character a byte; "log" and "answer", files to write; and either

    net: a file, with its "phase" and "python", [index, module, class] of its Python layers. The net is made.
        With "count", [blob, batches, seconds], it is also run, and the values of that blob are counted.
    tally: the settings of net_tally.write_tally, with "roots", the folders of the packages. The net is run. Or
    labels: those of net_tally.write_labels, with "roots".

It prints "pid N" of the fork, "batches N" after each batch of the tally's N, and when the fork has ended "status N".
(Where there is no fork it ends itself after one request, and prints neither pid nor status.) The answer is JSON:

    no_caffe: the reason why this Python has no Caffe; with a Caffe
    types: its layer types. fields: {message: its fields}, of caffe.proto. enums: {field: the values of its enum}.
    train_py: whether pycaffe's train.py lies beside it.
    classic: whether its InfogainLoss is that of before April 2017.
    imports: {index: the reason why that Python layer's class cannot be imported}, or
    raised: [the exception's class, its message, whether it is one of files], or
    made: true; with "count" also values, counts and first (the batch each came in first), and batches; without it
        weights, {layer: the shapes of its blobs}.

Without the last three Caffe has ended the process, and the log has the reason.
"""
from __future__ import division, print_function

import importlib
import json
import os
import sys
import time

MOST_VALUES = 10 ** 5  # of a blob; labels of classes have fewer
MARK = "-- the net"  # the line of the log before those of the net


def main():
    # The folder of this file is not on the path of `caffe train`, and its modules are not meant.
    here = os.path.dirname(os.path.abspath(__file__))
    # An empty entry would be the current folder, from which nobody asked to import.
    sys.path[:] = [folder for folder in sys.path if folder and os.path.abspath(folder) != here]
    # What Caffe and layers print must not go where the answers go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    caffe, known = _import_caffe()

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
        _answer(caffe, known, request, lambda n_batches: say("batches %d" % n_batches))
        sys.stderr.flush()
        os._exit(0)  # at once: what Caffe reads ahead is not waited for


def _import_caffe():
    """Return (caffe or None, the part of every answer that is about this Caffe)."""
    try:
        import caffe
        from caffe.proto import caffe_pb2
        messages = list(caffe_pb2.DESCRIPTOR.message_types_by_name.values())
        return caffe, {
            "classic": "axis" not in caffe_pb2.InfogainLossParameter.DESCRIPTOR.fields_by_name,
            "fields": {message.full_name: sorted(message.fields_by_name)
                       for message in messages},
            "enums": _enum_values(messages),
            "train_py": os.path.exists(os.path.join(os.path.dirname(caffe.__file__), os.pardir, "train.py")),
            "types": list(getattr(caffe, "layer_type_list", list)())}
    except BaseException as error:  # a Caffe that is not for this Python fails in its own ways
        return None, {"no_caffe": u"%s: %s" % (type(error).__name__, _text(error))}


def _enum_values(messages):
    """Return {name of a field: the values that an enum of some message has for it}."""
    values = {}
    for field in [field for message in messages for field in message.fields if field.enum_type]:
        values[field.name] = sorted(set(values.get(field.name, [])) | set(field.enum_type.values_by_name))
    return values


def _answer(caffe, known, request, on_batch):
    def answer(**more):
        with open(request["answer"], "w") as file:
            json.dump(dict(known, **more), file)

    if caffe is None:
        return answer()
    answer()  # now, as a module may end the process, or take for ever
    faults = [(index, class_fault(caffe, module, name)) for index, module, name in request.get("python", [])]
    failed = {index: fault for index, fault in faults if fault}
    if failed:
        return answer(imports=failed)
    sys.stderr.write("\n%s\n" % MARK)
    sys.stderr.flush()
    try:
        net = _run(caffe, request, on_batch)
        counted = _count(net, *request["count"]) if "count" in request else {}
        if "net" in request and not counted:
            counted["weights"] = {name: [blob.data.shape for blob in blobs] for name, blobs in net.params.items()}
    except BaseException as error:
        return answer(raised=[type(error).__name__, _text(error), isinstance(error, EnvironmentError)])
    answer(made=True, **counted)
    del net  # not before, as Caffe may crash at it


def _run(caffe, request, on_batch):
    """Make the net of a request, run it on its test data, or count labels. Returns the net made."""
    if "roots" in request:
        sys.path[:0] = request["roots"]
        from caffe_prototxt.training import net_tally
        if "labels" in request:
            return net_tally.write_labels(request["labels"])
        return net_tally.write_tally(request["tally"], on_batch)
    path = request["net"]
    return caffe.Net(path if isinstance(path, str) else path.encode("utf-8"), getattr(caffe, request["phase"]))


def _count(net, blob, batches, seconds):
    """Run a net, and count the values of a blob: for a number of batches, and at most for some seconds."""
    import numpy as np
    names = [name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape") for name in net.blobs]
    data = list(net.blobs.values())[names.index(blob.encode("latin-1"))]
    counts, first, started, batch = {}, {}, time.time(), 0
    while batch < batches and len(counts) <= MOST_VALUES and (not batch or time.time() - started < seconds):
        net.forward()
        values, n = np.unique(data.data, return_counts=True)
        for value, count in zip(values.tolist(), n.tolist()):
            counts[value] = counts.get(value, 0) + count
            first.setdefault(value, batch)
        batch += 1
    values = sorted(counts)
    return {"values": values, "counts": [counts[value] for value in values],
            "first": [first[value] for value in values], "batches": batch}


def class_fault(caffe, module, name):
    """Return why a module has no layer class of a name, or None. Imports the module, and calls nothing in it.

    Caffe calls whatever has that name, and a function may do anything then: `input` of `builtins` never ends.
    """
    try:
        found = importlib.import_module(module)
    except BaseException as error:
        return u"its module %s cannot be imported: %s: %s%s" % (
            module, type(error).__name__, _text(error), _remedy(module))
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
        text = str(error)
    except UnicodeError:
        text = repr(error)
    return text if isinstance(text, type(u"")) else text.decode("utf-8", "replace")


if __name__ == "__main__":
    main()
