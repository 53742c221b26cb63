#!/usr/bin/env python
"""Look at H, the gain matrix of an infogain loss: what is in this file?

  show FILE    its size, entries and row sums, the least loss it allows, and for each class
               what its samples weigh, how much of that is for the class itself, and which
               other classes attract them
  plot FILE    a heat map with the names of the classes
  diff A B     where two of them differ by more than the rounding of float32, or a tolerance;
               exit status 0 if nowhere, 1 if somewhere

FILE is any that make_h.py writes; its ending says which.

examples:
  inspect_h.py show infogainH.binaryproto
  inspect_h.py show infogainH.binaryproto --names classes.txt --classes shirt,dress --most 5
  inspect_h.py plot infogainH.binaryproto --names classes.txt -o H.png
  inspect_h.py diff infogainH.binaryproto H.npy --tolerance 1e-6
"""
from __future__ import division, print_function

from caffe_tools import cli  # first, as it puts the checkout's packages on the path

import sys

import numpy as np

from caffe_losses.formats import matrix_files
from caffe_losses.matrices import summary
from caffe_losses.validation import check_square
from caffe_tools.options import class_files
from caffe_tools.report.matrix_plot import matrix_picture

MOST_ROWS = 20


def main():
    parser = _parser()
    args = parser.parse_args()
    if args.what == "plot":
        cli.refuse_overwriting(parser, args.output, [args.file, args.names])
    sys.exit({"show": show, "plot": plot, "diff": diff}[args.what](args))


def _parser():
    parser = cli.Parser(description=__doc__)
    commands = parser.add_subparsers(dest="what", metavar="show|plot|diff")
    commands.required = True

    def add(name, line):
        sub = commands.add_parser(name, description=line, epilog="example: " + _example(name))
        for file in ("a", "b") if name == "diff" else ("file",):
            sub.add_argument(file, metavar=file.upper(), help="a file with H")
        sub.add_argument("--json", action="store_true", help="print all figures as JSON")
        sub.add_argument("--names", metavar="FILE", help="class names, one a line, in the order of the labels")
        return sub

    sub = add("show", "The figures of H, in words.")
    sub.add_argument("--classes", metavar="C,C,...", help="names or labels of the classes to show (default: all "
                     "up to %d, else those with the smallest share for themselves)" % MOST_ROWS)
    sub.add_argument("--most", type=int, default=3, metavar="N", help="how many classes that attract (default: 3)")
    sub = add("plot", "A heat map of H; what it says on 1,000 classes can still be read.")
    sub.add_argument("-o", "--output", required=True, metavar="FILE", help="the picture (.png, .pdf, .svg)")
    sub = add("diff", "Where two matrices differ; exit status 0 if nowhere, 1 if somewhere.")
    sub.add_argument("--tolerance", type=float, metavar="E", help="the largest difference of two entries that counts "
                     "as none (default: what float32 rounds, 2.4e-7 of the larger one)")
    return parser


def _example(name):
    return [line.strip() for line in __doc__.splitlines() if line.startswith("  inspect_h.py %s " % name)][-1]


def _read(path):
    return check_square(matrix_files.read_matrix(path), path)


def _names(args, n_classes):
    """Return the names of the classes, or their numbers."""
    return [str(l) for l in range(n_classes)] if args.names is None else class_files.read_names(args.names, n_classes)


def show(args):
    H = _read(args.file)
    names = _names(args, len(H))
    if args.most < 1:
        raise ValueError("--most: expected at least 1, got %d" % args.most)
    figures, warnings = summary.summarise(H), summary.warnings_about(H)
    sums, least = summary.row_sums(H), summary.least_losses(H)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = H.diagonal() / sums
    rows = [dict(label=int(l), name=names[l], row_sum=sums[l], own=float(own[l]) if np.isfinite(own[l]) else None,
                 least_loss=least[l] if np.isfinite(least[l]) else None,
                 attracted_to=[{"label": k, "name": names[k], "gain": float(H[l, k])}
                               for k in summary.attracted_to(H, l, args.most)])
            for l in _shown(args, names, own)]
    if args.json:
        cli.say_json(dict(figures, file=args.file, warnings=warnings, classes=rows, weights=sums.tolist()))
        return
    cli.say("%s: %s" % (args.file, summary.in_words(figures)))
    for warning in warnings:
        cli.say("warning: %s" % warning)
    cli.say_table([("class", "row sum", "for itself", "least loss", "attracted to")]
                  + [_cells(row, args) for row in rows], left=(0, 4))
    if len(rows) < len(H) and args.classes is None:
        cli.say("(the %d of %d classes with the smallest share for themselves; --classes shows others, --json all)"
                % (len(rows), len(H)))


def _shown(args, names, own):
    if args.classes is not None:
        return [_label(text.strip(), names) for text in args.classes.split(",")]
    if args.json or len(names) <= MOST_ROWS:
        return range(len(names))
    return np.sort(np.argsort(own, kind="mergesort")[:MOST_ROWS])


def _label(text, names):
    if text in names:
        return names.index(text)
    if text.isdigit() and int(text) < len(names):
        return int(text)
    raise ValueError("--classes: expected names or labels 0..%d, got %r" % (len(names) - 1, text))


def _cells(row, args):
    own, least = row["own"], row["least_loss"]
    return (row["name"] if args.names is None else "%d %s" % (row["label"], row["name"]), "%.4g" % row["row_sum"],
            "-" if own is None else "%.1f %%" % (100 * own), "none" if least is None else "%.4g" % least,
            ", ".join("%s: %.3g" % (other["name"], other["gain"]) for other in row["attracted_to"]))


def plot(args):
    H = _read(args.file)
    names = None if args.names is None else _names(args, len(H))
    title = "gain H" if not summary.looks_like_cost(H) else "distances D"
    matrix_files.write_files([(args.output, matrix_picture(args.output, H, names, title))])
    if args.json:
        cli.say_json({"output": args.output, "file": args.file, "n_classes": len(H)})
    else:
        cli.say("%s: %s as a picture, %d x %d" % (args.output, args.file, len(H), len(H)))


def diff(args):
    A, B = _read(args.a), _read(args.b)
    names = _names(args, len(A))
    if args.tolerance is not None and not args.tolerance >= 0:
        raise ValueError("--tolerance: expected a number of at least 0, got %g" % args.tolerance)
    difference = summary.compare(A, B, args.tolerance)
    equal = not difference["different"]
    within = "what float32 rounds" if args.tolerance is None else "%g" % args.tolerance
    row, column = difference["at"]
    if args.json:
        cli.say_json(dict(difference, files=[args.a, args.b], equal=equal, tolerance=args.tolerance))
    elif equal:
        cli.say("%s and %s: equal, %d x %d%s" % (args.a, args.b, len(A), len(A), "" if not difference["largest"] else
              ", but for at most %.4g, within %s, at (%s, %s)" % (
                  difference["largest"], within, names[row], names[column])))
    else:
        cli.say("%s and %s: %d of %d entries differ by more than %s"
              % (args.a, args.b, difference["different"], A.size, within))
        cli.say("by the most, %.4g, at (%s, %s): %.9g and %.9g"
              % (difference["largest"], names[row], names[column], difference["a"], difference["b"]))
        cli.say("by the most in sum, %.4g, in row %s" % (difference["row_difference"], names[difference["row"]]))
    return 0 if equal else 1


if __name__ == "__main__":
    cli.run(main)
