#!/usr/bin/env python
"""Make the net to deploy of one that is trained.

Of the layers for TEST, those stay that the losses' scores need, as they are written,
comments too. Inputs come for the data layers, and for each loss on classes a Softmax
with their probabilities, unless the net has one. The shape of the data is its
crop_size, what its first record has, or what --shape says. The result takes the
weights of the training. Caffe makes it as a check: the Python layers that it names are
run then (--no-python leaves them out).

A decision other than for the most probable class goes into the net, out of Caffe's own
layers: class weights w, costs D[true class, predicted class], a temperature T. After
prob = softmax(scores / T) come

  score     bigger is better: w_k prob_k, or with costs -sum_j w_j prob_j D[j, k]
  decision  with --decide: the class of the biggest score

Class weights alone need no layer where the layer of the scores has a bias, to which log w
is added: prob is weighted then. The numbers go into a .caffemodel beside the net, in
which every other blob stays as it was trained (--weights).

examples:
  make_deploy.py train_val.prototxt -o deploy.prototxt
  make_deploy.py train_val.prototxt --shape data=1,3,227,227 -o deploy.prototxt
  make_deploy.py train_val.prototxt --blob score --batch 10
  make_deploy.py train_val.prototxt --weights clothes_iter_20.caffemodel --counts 900,90,10 -o rare.prototxt
  make_deploy.py train_val.prototxt --weights clothes_iter_20.caffemodel --distances D.csv --decide -o cost.prototxt
"""
from __future__ import division, print_function

import os

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

from caffe_losses.compat import from_display, to_bytes, to_display
from caffe_losses.errors import naming
from caffe_losses.formats.atomic import atomic_write, write_all
from caffe_losses.formats.caffemodel import CaffeModel
from caffe_losses.validation import shape_text
from caffe_prototxt.net.states import State
from caffe_prototxt.rewrite.decision import check_weights
from caffe_prototxt.rewrite.deploy import Deployment
from caffe_prototxt.training import caffe_process, precautions
from caffe_tools.deploy_check import check_deployed
from caffe_tools.options import class_files, decision_options


def main():
    parser = _parser()
    class_files.refuse_blanks(parser, ("--counts", "--class-weights"))
    args = parser.parse_args()
    precautions.drop_current_folder()
    if args.batch is not None and not 0 < args.batch < 2 ** 31:
        parser.error("--batch: expected a positive number, got %d" % args.batch)
    decides = decision_options.check_together(parser, args)
    model_path = _model_path(parser, args)
    for output in (args.output, model_path):
        cli.refuse_overwriting(parser, output, [args.net] + decision_options.files_read(args))
    model = None if args.weights is None else CaffeModel(args.weights)
    wanted = counts = None
    with caffe_process.Caffe() as caffe:
        caffe.start()
        deployment = _deployment(args)
        if decides:
            wanted, counts = decision_options.read_decision(args, deployment.n_classes)
        with naming(args.net):
            made = deployment.make(wanted, model, _shapes(caffe, args))
            checked = check_deployed(caffe, made.text, not args.no_python)
    if model is not None:
        check_weights(made.nodes, model, checked.weights)
    weights = wanted and wanted.weights
    notes = made.notes + decision_options.weight_notes(weights) + checked.notes
    _write(made, model, args, model_path)
    if args.json:
        cli.say_json(dict(_summary(made, notes, args), caffemodel=model_path,
                          weights=None if weights is None else weights.tolist(),
                          counts=None if counts is None else [float(count) for count in counts]))
        return
    for note in notes:
        cli.note(note)
    if args.output is not None:
        _report(made, args, model_path)


def _model_path(parser, args):
    """Return where the .caffemodel goes, or None; the net goes to deploy.prototxt then where no name is given."""
    if args.weights is None:
        return None
    if args.output is None:
        args.output = "deploy.prototxt"
        if os.path.exists(args.output):
            parser.error("expected -o FILE, as %s is there already, got none" % args.output)
    stem, ending = os.path.splitext(args.output)
    if ending == ".caffemodel":
        parser.error("--output: expected the name of a prototxt, got %s; the .caffemodel goes beside it" % args.output)
    return stem + ".caffemodel"


def _deployment(args):
    state = None if args.stage is None else State("TEST", 0, cli.stages(args.stage))
    content = cli.read_net(args.net)
    with naming(args.net):
        return Deployment(content, state, dict(args.shape), args.batch,
                          list(map(from_display, args.loss)), list(map(from_display, args.blob)))


def _shapes(caffe, args):
    """Return a function of a blob: its shape in the net without a decision, which Caffe makes once that is asked."""
    shapes = []

    def shape_of(blob):
        if not shapes:
            shapes.append(check_deployed(caffe, _deployment(args).make().text, not args.no_python).shapes)
        return shapes[0].get(blob)
    return shape_of


def _write(made, model, args, model_path):
    text = to_bytes(made.text)
    if model is not None:
        write_all([(args.output, atomic_write, lambda file: file.write(text)), (model_path, atomic_write, model.write)])
    elif args.output is not None or not args.json:
        cli.write(text, args.output)


def _summary(made, notes, args):
    """Return what was made, for JSON."""
    return {"output": args.output, "net": to_display(made.text) if args.output is None else None,
            "inputs": [{"blob": to_display(top), "shape": list(shape)} for top, shape in made.inputs],
            "outputs": [{"blob": to_display(top), "meaning": meaning} for top, meaning in made.outputs],
            "transforms": {to_display(top): to_display(done) for top, done in made.transforms.items()}, "notes": notes}


def _report(made, args, model_path):
    inputs = ", ".join("%s %s" % (to_display(top), shape_text(shape)) for top, shape in made.inputs)
    outputs = ", ".join("%s (%s)" % (to_display(top), meaning) for top, meaning in made.outputs)
    cli.say("%s: takes %s; gives %s" % (args.output, inputs, outputs))
    for top, transform in made.transforms.items():
        cli.say("%s went through %s in training: do the same" % (to_display(top), to_display(transform)))
    if model_path is not None:
        cli.say("%s: the weights of %s for it" % (model_path, args.weights))
    cli.say("next: caffe.Net(%r, %r, caffe.TEST)" % (args.output, model_path or "your.caffemodel"))


def _parser():
    parser = cli.Parser(description=__doc__)
    parser.add_argument("net", metavar="NET", help="the prototxt that is trained")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the net goes (default: it is printed; with "
                        "--weights deploy.prototxt)")
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
    decision_options.add_options(parser)
    return parser


if __name__ == "__main__":
    cli.run(main)
