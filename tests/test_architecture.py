"""Which module may import which, and what the packages keep to; DESIGN.md says why."""
from __future__ import division, print_function

import ast
import collections
import io
import os
import re

import pytest

import real_nets

ROOTS = ("layers", "prototxt", "tools", "examples", "tests")
PACKAGES = ("caffe_losses", "caffe_prototxt", "caffe_tools")
OPENINGS = re.compile("(What|Whether|Of|As|How)\\b")
LOSS_TYPES = ("SoftmaxWithLoss", "InfogainLoss")
MOST_MODULES = 9  # in a folder

# A part of a package: the parts that it may import beside itself and those that everybody may.
EVERYBODY = tuple("caffe_losses." + name for name in ("validation", "compat", "errors", "optional_packages")) + (
    "caffe_prototxt",)  # where it lies
ARROWS = {
    "caffe_losses.formats": [],
    "caffe_losses.functional": ["caffe_losses.formats"],
    "caffe_losses.matrices": ["caffe_losses.formats"],
    "caffe_losses.evaluation": ["caffe_losses.matrices", "caffe_losses.functional", "caffe_losses.formats"],
    "caffe_losses.layers": ["caffe_losses.matrices", "caffe_losses.functional", "caffe_losses.formats"],
    "caffe_prototxt.textformat": [],
    "caffe_prototxt.net": ["caffe_prototxt.textformat"],
    "caffe_prototxt.data": ["caffe_prototxt.net", "caffe_prototxt.textformat"],
    "caffe_prototxt.netspec": ["caffe_prototxt.net", "caffe_prototxt.textformat"],
    "caffe_prototxt.training": ["caffe_prototxt.data", "caffe_prototxt.net", "caffe_prototxt.textformat"],
}
ARROWS.update((part, []) for part in EVERYBODY)
for part in ("check", "rewrite"):
    ARROWS["caffe_prototxt." + part] = ["caffe_prototxt." + name for name in (
        "data", "training", "netspec", "net", "textformat")]
HIGHER = {"caffe_losses": ("caffe_prototxt", "caffe_tools"), "caffe_prototxt": ("caffe_tools",), "caffe_tools": ()}

# (a module, a module of ours that a function of it imports): why its head does not.
LATE_IMPORTS = {
    ("prototxt/caffe_prototxt/training/probe.py", "caffe_prototxt.training.net_tally"): "caffe",
    ("prototxt/caffe_prototxt/rewrite/composing.py", "caffe_prototxt.netspec.native_losses"): "caffe",
    ("tools/make_net.py", "caffe_prototxt.netspec.triplet_layers"): "caffe",
}

Import = collections.namedtuple("Import", "module names function line")  # module: its full name


class Module(object):
    """A source file: its name as a program imports it, its tree and what it imports."""

    def __init__(self, path):
        self.path = os.path.relpath(path, real_nets.CHECKOUT).replace(os.sep, "/")
        inside = self.path[:-len(".py")].split("/")
        self.is_package = inside[-1] == "__init__"
        start = [i for i, name in enumerate(inside) if name in PACKAGES]
        self.name = ".".join(inside[start[0]:] if start else inside[-1:])
        if self.is_package:
            self.name = self.name.rpartition(".")[0]
        with io.open(path, "rb") as file:
            self.tree = ast.parse(file.read(), self.path)

    def imports(self, modules):
        """Yield every Import, those inside functions too."""
        def walk(node, function):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Import):
                    for alias in child.names:
                        yield Import(alias.name, [], function, child.lineno)
                elif isinstance(child, ast.ImportFrom):
                    base = child.module or ""
                    if child.level:
                        parts = self.name.split(".")
                        base = ".".join(parts[:len(parts) + self.is_package - child.level] + [base] * bool(base))
                    for alias in child.names:
                        whole = base + "." + alias.name
                        yield Import(whole if whole in modules else base, [alias.name], function, child.lineno)
                for found in walk(child, child.name if isinstance(child, ast.FunctionDef) else function):
                    yield found
        return walk(self.tree, None)

    def docstrings(self):
        """Yield (where, docstring) of the module, its classes and its functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                yield "%s: %s" % (self.path, getattr(node, "name", "module")), ast.get_docstring(node)


def part_of(name):
    """Return the folder of a package, or the module beside the folders, that a module is in."""
    return ".".join(name.split(".")[:2])


def all_modules():
    """Return {path: Module}."""
    found = {}
    for root in ROOTS:
        for folder, _, names in os.walk(os.path.join(real_nets.CHECKOUT, root)):
            for name in names:
                if name.endswith(".py") and "output" not in folder.split(os.sep):
                    module = Module(os.path.join(folder, name))
                    found[module.path] = module
    return found


MODULES = all_modules()
NAMES = set(module.name for module in MODULES.values())
OURS = [module for path, module in sorted(MODULES.items()) if not path.startswith(("examples/", "tests/"))]
IN_PACKAGES = [module for module in OURS if module.name.split(".")[0] in PACKAGES]
IMPORTS = {module.path: list(module.imports(NAMES)) for module in MODULES.values()}


def test_the_modules_are_read():
    assert {"caffe_losses.functional.losses", "caffe_prototxt.net.losses", "make_h"} <= NAMES
    assert any(found.module == "caffe_losses.compat" for found in IMPORTS["prototxt/caffe_prototxt/textformat/scanner.py"])


def test_arrows_point_one_way():
    wrong = set()
    for module in IN_PACKAGES:
        package, part = module.name.split(".")[0], part_of(module.name)
        for found in IMPORTS[module.path]:
            target = part_of(found.module)
            if target.split(".")[0] in HIGHER[package]:
                wrong.add((module.path, found.module))
            elif target.split(".")[0] == package and part in ARROWS and target != part:
                if target not in EVERYBODY and target not in ARROWS[part]:
                    wrong.add((module.path, found.module))
    assert wrong == set()


def test_every_folder_has_its_arrows():
    folders = set(part_of(module.name) for module in IN_PACKAGES if not module.name.startswith("caffe_tools"))
    assert folders - set(PACKAGES) <= set(ARROWS)


def test_the_mathematics_imports_no_caffe():
    for module in IN_PACKAGES:
        if part_of(module.name) in ("caffe_losses.functional", "caffe_losses.matrices", "caffe_losses.evaluation"):
            assert not [found for found in IMPORTS[module.path] if found.module.split(".")[0] == "caffe"], module.path


def test_a_folder_has_few_modules():
    counts = collections.Counter(os.path.dirname(module.path) for module in IN_PACKAGES if not module.is_package)
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_private_names_stay_in_their_module():
    crossing = set()
    for module in [module for path, module in MODULES.items() if not path.startswith("tests/")]:
        known = set()  # what names a module of ours here
        for found in IMPORTS[module.path]:
            top = found.module.split(".")[0]
            if top in PACKAGES or found.module in NAMES:
                known.update(found.names or [found.module.split(".")[-1]])
                crossing.update((module.path, name) for name in found.names if re.match("_[^_]", name))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
                if isinstance(node.value, ast.Name) and node.value.id in known:
                    crossing.add((module.path, node.value.id + "." + node.attr))
    assert crossing == set()


def test_functions_import_our_modules_only_for_a_reason():
    late = set((module.path, found.module) for module in OURS for found in IMPORTS[module.path]
               if found.function and found.module.split(".")[0] in PACKAGES)
    assert late == set(LATE_IMPORTS)


def test_one_module_knows_the_losses_types():
    using = set()
    for module in IN_PACKAGES:
        if module.name.startswith("caffe_prototxt."):
            for node in ast.walk(module.tree):
                if vars(node).get("s", vars(node).get("value")) in LOSS_TYPES:
                    using.add(module.path)
    assert using <= {"prototxt/caffe_prototxt/net/losses.py"}


@pytest.mark.parametrize("root", ROOTS)
def test_docstrings_open_with_a_verb_and_its_object(root):
    wrong = [where for path, module in sorted(MODULES.items()) if path.startswith(root + "/")
             for where, text in module.docstrings() if OPENINGS.match(text)]
    assert wrong == []
