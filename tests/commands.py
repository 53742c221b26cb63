"""The commands of tools/, run in the process of the tests: they start at once, and print what a process prints.

Commands with the same PYTHONPATH share one child process with Caffe.
"""
from __future__ import division, print_function

import atexit
import contextlib
import io
import os
import sys
import warnings

import real_nets
from caffe_prototxt.training import caffe_process

_modules = {}
_caffes = {}  # by PYTHONPATH; one at most


def run_main(name, *arguments, **options):
    """Run the main function of a command. Returns (exit status, standard output, standard error).

    name: str, the command's file. options: cwd: str, the folder to run in; env: dict, the whole environment.
    """
    status, out, err = run_main_bytes(name, *arguments, **options)
    return status, _str(out), _str(err)


def run_main_bytes(name, *arguments, **options):
    """Run a command as `run_main` does, and return its output as bytes."""
    path = os.path.join(real_nets.CHECKOUT, "tools", name)
    kept = os.getcwd(), sys.argv, sys.stdout, sys.stderr, list(sys.path), dict(os.environ)
    caffe_class, caffe_process.Caffe = caffe_process.Caffe, _shared_caffe
    sys.argv = [path] + [str(argument) for argument in arguments]
    outputs = [io.BytesIO(), io.BytesIO()]
    sys.stdout, sys.stderr = [_file(output) for output in outputs]
    try:
        os.chdir(str(options.get("cwd", kept[0])))
        if "env" in options:
            _set_environment(options["env"])
        with warnings.catch_warnings():
            _print_warnings()
            module = module_of(name)
            status = _status(module.cli.run, module.main)
        return (status,) + tuple(_content(file, output) for file, output in zip((sys.stdout, sys.stderr), outputs))
    finally:
        caffe_process.Caffe = caffe_class
        os.chdir(kept[0])
        sys.argv, sys.stdout, sys.stderr, sys.path[:] = kept[1:5]
        _set_environment(kept[5])


@contextlib.contextmanager
def _shared_caffe(seconds=120, make=caffe_process.Caffe):
    path = os.environ.get("PYTHONPATH")
    if path not in _caffes:
        _close_caffes()
        _caffes[path] = make()
    _caffes[path].seconds = seconds
    yield _caffes[path]


@atexit.register
def _close_caffes():
    while _caffes:
        _caffes.popitem()[1].__exit__()


def module_of(name, folder="tools"):
    """Return the module of a command. Not by its plain name, as the examples have modules of the same."""
    path = os.path.join(real_nets.CHECKOUT, folder, name)
    module_name = "command_" + os.path.join(folder, name)[:-len(".py")].replace(os.sep, "_")
    if module_name not in _modules:
        try:
            from importlib import util
            spec = util.spec_from_file_location(module_name, path)
            module = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        except ImportError:  # Python 2
            import imp
            module = imp.load_source(module_name, path)
        _modules[module_name] = module
    return _modules[module_name]


def _status(run, main):
    try:
        run(main)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _print_warnings():
    """Have warnings printed as a process prints them; pytest would keep them for itself."""
    warnings.simplefilter("always")
    hidden = [DeprecationWarning, PendingDeprecationWarning, ImportWarning]
    for category in hidden + ([] if str is bytes else [ResourceWarning]):
        warnings.simplefilter("ignore", category)
    warnings.showwarning = lambda *warning: sys.stderr.write(warnings.formatwarning(*warning[:4]))


def _set_environment(environment):
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)


def _file(output):
    return output if str is bytes else io.TextIOWrapper(output, encoding="utf-8", write_through=True)


def _content(file, output):
    file.flush()
    return output.getvalue()


def _str(content):
    return content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
