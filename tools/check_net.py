#!/usr/bin/env python
"""Say what is wrong with a net before an hour of training is lost on it.

NET is a train_val.prototxt, or a solver's file, for the nets that it names, also those
that it names from a folder above it. The net is made as Caffe would make it, for the
phases and with the stages that it is written for; the Python layers that it names are
run (--no-python leaves them out), and layers that write files are left out. Data layers
whose data is not there are replaced by inputs of their shape. What is found:

  errors     what Caffe, its parser or a layer of ours stops at, also in the first backward
             pass; a Python loss without loss_weight; labels that the loss has no class for
  warnings   a Softmax before a loss that has its own; layers that no loss depends on; weights
             that a loss is made of, and that a solver does not name

and how the loss is made up. Exit status 1 if there are errors. Names of files are
relative to where caffe runs, so run this there.

examples:
  check_net.py train_val.prototxt
  check_net.py solver.prototxt --gpu 0,1 --json
  check_net.py train_val.prototxt --phase TRAIN --shape data=64,3,227,227
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import argparse
import collections
import os
import sys

from caffe_losses.compat import to_display
from caffe_losses.errors import naming
from caffe_prototxt.check import check, solvers
from caffe_prototxt.check.faults import ERROR, UNCHECKED, WARNING
from caffe_prototxt.net.graph import written_states
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import PHASES, State, merged
from caffe_prototxt.training import caffe_process, precautions


def main():
    parser = _parser()
    args = parser.parse_args()
    precautions.drop_current_folder()
    content = cli.read_net(args.net)
    with naming(args.net):
        is_solver = solvers.is_solver(content)
        if is_solver and (args.phase or args.level is not None or args.stage):
            parser.error("expected --phase, --level and --stage with a net only, as a solver's file says them")
    reports = collections.OrderedDict()
    with caffe_process.Caffe(args.timeout) as caffe:
        caffe = None if args.no_caffe else caffe
        if caffe:
            caffe.start()
        solver = solvers.Solver([(args.net, None)], [], (), None)
        if is_solver:
            known = caffe.run("", PHASES[0], []).known if caffe else {}
            with naming(args.net):
                solver = solvers.read_solver(content, args.net, known)
        if solver.faults:
            reports[args.net] = check.Report([(fault, []) for fault in solver.faults], {}, {})
        if solver.root:
            os.chdir(solver.root)
        for path, states in solver.nets:
            reports[path] = _check(path, states, args, caffe, solver.weights)
    if args.json:
        cli.say_json([_as_json(path, report) for path, report in reports.items()], indent=1)
    else:
        for path, report in reports.items():
            _print(path, report)
    levels = set(fault.level for report in reports.values() for fault, _ in report.faults)
    if is_solver and not (levels & {ERROR, WARNING} or args.json or solver.root):
        cli.say("next: %s 2>&1 | tee caffe.log" % cli.caffe_line("train", "-solver", args.net))
    sys.exit(ERROR in levels)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("net", metavar="NET", help="the prototxt of a net or of a solver")
    parser.add_argument("--phase", choices=PHASES, help="(default: those that the net is written for)")
    parser.add_argument("--level", type=int, metavar="N", help="as caffe train --level (default: the net's, 0)")
    parser.add_argument("--stage", metavar="S,S,...", help="as caffe train --stage (default: those that the net "
                        "is written for)")
    parser.add_argument("--gpu", type=_n_gpus, default=1, metavar="N,N,...|all",
                        help="as caffe train --gpu, to check whether the net runs on several")
    parser.add_argument("--shape", action="append", default=[], type=cli.shape, metavar="TOP=N,C,H,W",
                        help="shape of a data layer's top, for one whose data is not there (repeatable)")
    parser.add_argument("--no-caffe", action="store_true", help="check only what the text tells")
    parser.add_argument("--no-python", action="store_true",
                        help="leave Python layers out of the net, and what depends on them")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS",
                        help="for each time that the net is made (default: %(default)g)")
    parser.add_argument("--label-seconds", type=float, default=10, metavar="SECONDS",
                        help="how long the labels of a data layer are counted; 0: they are not (default: %(default)g)")
    parser.add_argument("--json", action="store_true", help="print all as JSON")
    return parser


def _n_gpus(argument):
    """Return how many GPUs an argument of caffe train means; 2 for all, as more than one is what matters."""
    if argument != "all" and not all(number.isdigit() for number in argument.split(",")):
        raise argparse.ArgumentTypeError("expected numbers of GPUs such as 0,1 or all, got %r" % argument)
    return 2 if argument == "all" else len(argument.split(","))


def _check(path, states, args, caffe, weights):
    content = cli.read_net(path)
    with naming(path):
        net = Net(content)
        if not net.layers:
            raise ValueError("expected a net (a train_val.prototxt), got no layers")
        if states is not None:
            states = [merged(phase, net.state, of_solver) for phase, of_solver in states]
        else:
            stages = None if args.stage is None else cli.stages(args.stage)
            states = written_states(net, [args.phase] if args.phase else PHASES, args.level, stages)
        return check.check(net, states, caffe, args.gpu, dict(args.shape), args.label_seconds, not args.no_python,
                           weights, path)


def _print(path, report):
    cli.say(path)
    if report.losses and list(report.losses) != [State(phase) for phase in PHASES]:
        cli.say("checked in %s" % ", ".join(map(_state_text, report.losses)))
    for fault, states in report.faults:
        layer = "" if fault.layer is None else "layer " + fault.layer.display_name
        where = ", ".join(([layer] if layer else []) + (["line %d" % fault.line] if fault.line else []))
        if len(states) < len(report.losses):
            where += (" in " if where else "in ") + " and ".join(map(_state_text, states)) if states else ""
        cli.say("%s: %s%s" % (fault.level, where + ": " if where else "", fault.message))
    for state, parts in report.losses.items():
        if parts:
            cli.say("loss in %s: %s" % (_state_text(state), " + ".join(
                "%g x %s (%s, line %d)" % (part.weight, to_display(part.top), to_display(part.type), part.layer.line)
                for part in parts)))
        for line in report.labels.get(state, ()):
            cli.say("%s in %s" % (line, _state_text(state)))
    counts = collections.Counter(fault.level for fault, _ in report.faults)
    cli.say(", ".join(["%d %s%s" % (counts[level], level, "s" * (counts[level] != 1)) for level in (ERROR, WARNING)]
                      + ["%d %s" % (counts[UNCHECKED], UNCHECKED)] * bool(counts[UNCHECKED])))


def _state_text(state):
    return " ".join([state.phase] + ["level %d" % state.level] * bool(state.level)
                    + ["stage " + to_display(stage) for stage in state.stages])


def _as_json(path, report):
    def state_json(state):
        return {"phase": state.phase, "level": state.level, "stages": [to_display(stage) for stage in state.stages]}

    def fault_json(fault, states):
        return {"kind": fault.kind, "layer": fault.layer and fault.layer.display_name, "line": fault.line,
                "message": fault.message, "states": [state_json(state) for state in states]}

    levels = {"errors": ERROR, "warnings": WARNING, "not_checked": UNCHECKED}
    result = {key: [fault_json(fault, states) for fault, states in report.faults if fault.level == level]
              for key, level in levels.items()}
    result["net"] = path
    result["loss"] = [dict(state_json(state), parts=[
        {"weight": part.weight, "top": to_display(part.top), "layer": part.layer.display_name, "line": part.layer.line,
         "type": to_display(part.type)} for part in parts]) for state, parts in report.losses.items()]
    result["labels"] = [dict(state_json(state), counted=lines) for state, lines in report.labels.items()]
    return result


if __name__ == "__main__":
    cli.run(main)
