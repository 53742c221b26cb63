#!/usr/bin/env python
"""Make the net to deploy of one that is trained.

Of the layers for TEST, those stay that the losses' scores need, as they are written,
comments too. Inputs come for the data layers, and for each loss on classes a Softmax
with their probabilities, unless the net has one. The shape of the data is its
crop_size, what its first record has, or what --shape says. The result takes the
weights of the training. Caffe makes it as a check: the Python layers that it names are
run then (--no-python leaves them out).

examples:
  make_deploy.py train_val.prototxt -o deploy.prototxt
  make_deploy.py train_val.prototxt --shape data=1,3,227,227 -o deploy.prototxt
  make_deploy.py train_val.prototxt --blob score --batch 10
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

from caffe_losses.compat import from_display, to_bytes, to_display
from caffe_prototxt.check import check
from caffe_prototxt.check.caffe_checks import shape_text
from caffe_prototxt.check.faults import ERROR, UNCHECKED
from caffe_prototxt.net.nets import Net
from caffe_prototxt.net.states import State
from caffe_prototxt.rewrite import deploy
from caffe_prototxt.training import caffe_process, precautions

# Faults of layers that the Caffe here does not have, and another may have.
NOT_HERE = frozenset(("python", "type", "field"))


def main():
    parser = _parser()
    args = parser.parse_args()
    precautions.drop_current_folder()
    if args.batch is not None and not 0 < args.batch < 2 ** 31:
        parser.error("--batch: expected a positive number, got %d" % args.batch)
    cli.refuse_overwriting(parser, args.output, [args.net])
    content = cli.read_net(args.net)
    state = None if args.stage is None else State("TEST", 0, cli.stages(args.stage))
    try:
        made = deploy.make_deploy(content, state, dict(args.shape), args.batch, list(map(from_display, args.loss)),
                                  list(map(from_display, args.blob)))
        notes = made.notes + _verify(made.text, not args.no_python)
    except ValueError as error:
        raise ValueError("%s: %s" % (args.net, error))
    if args.output is not None or not args.json:
        cli.write(to_bytes(made.text), args.output)
    if args.json:
        cli.say_json(_summary(made, notes, args))
        return
    for note in notes:
        cli.note(note)
    if args.output is not None:
        _report(made, args)


def _summary(made, notes, args):
    """Return what was made, for JSON."""
    return {"output": args.output, "net": to_display(made.text) if args.output is None else None,
            "inputs": [{"blob": to_display(top), "shape": list(shape)} for top, shape in made.inputs],
            "outputs": [{"blob": to_display(top), "meaning": meaning} for top, meaning in made.outputs],
            "transforms": {to_display(top): to_display(done) for top, done in made.transforms.items()}, "notes": notes}


def _report(made, args):
    inputs = ", ".join("%s %s" % (to_display(top), shape_text(shape)) for top, shape in made.inputs)
    outputs = ", ".join("%s (%s)" % (to_display(top), meaning) for top, meaning in made.outputs)
    cli.say("%s: takes %s; gives %s" % (args.output, inputs, outputs))
    for top, transform in made.transforms.items():
        cli.say("%s went through %s in training: do the same" % (to_display(top), to_display(transform)))
    cli.say("next: caffe.Net(%r, 'your.caffemodel', caffe.TEST)" % args.output)


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("net", metavar="NET", help="the prototxt that is trained")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the net goes (default: it is printed)")
    parser.add_argument("--shape", action="append", default=[], type=cli.shape, metavar="TOP=N,C,H,W",
                        help="shape of an input (repeatable)")
    parser.add_argument("--batch", type=int, metavar="N", help="the first number of the inputs' shapes (default: 1)")
    parser.add_argument("--loss", action="append", default=[], metavar="NAME",
                        help="loss whose probabilities to give (repeatable; default: all)")
    parser.add_argument("--blob", action="append", default=[], metavar="BLOB",
                        help="blob to give, in the place of the losses' probabilities (repeatable)")
    parser.add_argument("--stage", metavar="S,S,...", help="stages whose layers are meant (default: none)")
    parser.add_argument("--no-python", action="store_true",
                        help="leave Python layers out of the net that is made as a check")
    parser.add_argument("--json", action="store_true", help="print what was made as JSON")
    return parser


def _verify(content, python):
    """Raise ValueError if Caffe does not make the net; return the parts that could not be checked."""
    with caffe_process.Caffe() as caffe:
        report = check.check(Net(content), [State("TEST")], caffe, python=python)
    notes = []
    for fault, _ in report.faults:
        if fault.level == ERROR and fault.kind not in NOT_HERE:
            raise ValueError("expected a net that Caffe makes when its losses are gone, got one with layer %s: %s"
                             % (fault.layer and fault.layer.display_name, fault.message))
        if fault.level in (ERROR, UNCHECKED):
            notes.append("not checked: %s%s"
                         % ("layer %s " % fault.layer.display_name if fault.layer else "", fault.message))
    return notes


if __name__ == "__main__":
    cli.run(main)
