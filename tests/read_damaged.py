#!/usr/bin/env python
"""Read a good matrix file, then damaged ones, and print the results as JSON.

    read_damaged.py [--as-caffe] GOOD DAMAGED...

Run as a child process, so that a crash is seen and the memory is its own.
--as-caffe: compare with the matrix that Caffe's protobuf reads.
"""
from __future__ import division, print_function

import json
import resource
import sys
import warnings

import numpy as np

from caffe_losses.formats import matrix_files


def matrix_of_caffe(path):
    """Return the matrix that protobuf reads in the file, or None."""
    from caffe.proto import caffe_pb2
    message = caffe_pb2.BlobProto() if path.endswith(".binaryproto") else caffe_pb2.NetParameter()
    try:
        with open(path, "rb") as file:
            message.ParseFromString(file.read())
    except Exception:
        return None
    if not path.endswith(".binaryproto"):
        layers = [layer for layer in message.layer if layer.name == "H"] or [l for l in message.layer if l.blobs]
        message = layers[0].blobs[0]
    legacy = ("num", "channels", "height", "width")
    dims = list(message.shape.dim)
    if any(message.HasField(name) for name in legacy):
        dims = [getattr(message, name) for name in legacy]
    numbers = np.array(message.double_data, "f8") if message.double_data else np.array(message.data, "f4")
    return numbers.reshape(dims[-2:])


def same_bits(a, b):
    """Compare all bits but those of a NaN, which Python's protobuf does not keep."""
    a, b = (np.where(np.isnan(x), x.dtype.type(np.nan), x) for x in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def peak_memory():
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main():
    arguments = sys.argv[1:]
    as_caffe = "--as-caffe" in arguments[:1]
    paths = arguments[as_caffe:]
    matrix_files.read_matrix(paths[0])  # imports what it needs
    if as_caffe:
        import caffe.proto.caffe_pb2  # noqa: F401
    warnings.simplefilter("error")  # what numpy only warns of must not pass either
    results = {"errors": [], "matrices": 0, "wrong": [], "memory": 0}
    for path in paths[1:]:
        try:
            before = peak_memory()
            matrix = matrix_files.read_matrix(path)
        except (ValueError, IOError) as error:
            results["errors"].append(str(error))
            if not str(error).startswith(path + ": ") or "\n" in str(error) or len(str(error)) > len(path) + 300:
                results["wrong"].append("error: %r" % error)
            continue
        finally:
            results["memory"] += peak_memory() - before
        results["matrices"] += 1
        if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiub":
            results["wrong"].append("%s: shape %s of %s" % (path, matrix.shape, matrix.dtype))
        expected = matrix_of_caffe(path) if as_caffe else None
        if expected is not None and not same_bits(expected, matrix):
            results["wrong"].append("%s: %s, and protobuf reads %s" % (path, matrix, expected))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
