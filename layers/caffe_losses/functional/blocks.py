"""Apply a loss to a batch in blocks that fit the processor's cache; numpy lets several threads have one each."""
from __future__ import division, print_function

import collections
import multiprocessing
import os

import numpy as np

try:
    import _thread
except ImportError:  # Python 2
    import thread as _thread

from caffe_losses.functional.losses import check_scores, multiply
from caffe_losses.validation import label_index

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")

# Scores in a block: with the arrays made of them 6 to 8 MB, and more work than it takes to start a thread.
BLOCK = 2 ** 19

# index: the class of every position, 0 where ignored. valid: which are not ignored; None: all. count: how many.
Labels = collections.namedtuple("Labels", "index valid count")


def read_labels(labels, shape, ignore_label=None, name="label"):
    """Check labels held as floats and return them as Labels, of the shape of the scores without C.

    labels: one for each position, in an array of any shape. shape: of the scores, outer x C or outer x C x inner.
    name: str, for an error. Raises ValueError, naming the first bad label and its position.
    """
    index, valid = label_index(labels, shape[1], ignore_label, name)
    index = index.reshape(shape[:1] + shape[2:])
    if valid is None:
        return Labels(index, None, index.size)
    return Labels(index, valid.reshape(index.shape), int(np.count_nonzero(valid)))


def normalizer(normalization, labels):
    """Return what the sum over a batch is divided by, at least 1.

        FULL        all positions, outer * inner
        VALID       those not ignored
        BATCH_SIZE  outer
        NONE        1

    Source: Caffe, softmax_loss_layer.cpp, get_normalizer.
    """
    if normalization == "VALID":
        return max(1, labels.count)
    return max(1, {"FULL": labels.index.size, "BATCH_SIZE": len(labels.index), "NONE": 1}[normalization])


def batch_loss(loss, x, labels, matrix, gradient=None, p=None, name="score", factor=None):
    """Sum a loss over the positions of a batch that are not ignored.

    loss: a function of `losses`. x: scores, outer x C or outer x C x inner. labels: Labels. matrix: Matrix.
    gradient, p: arrays like x to write into, or None; the gradient is 0 where ignored. name: str, for an error.
    factor: array like the labels, where the loss leaves one (losses.leaves_factor), by which `scaled` multiplies.
    Returns the sum, a float of float64 precision. Raises ValueError for a bad score, naming the first and its position.
    """
    total = _total(loss, x, labels, matrix, gradient, p, factor, False)
    if total != total:  # NaN: of a bad score, or of a gain of 0 for a masked class
        check_scores(loss, x, name)
        total = _total(loss, x, labels, matrix, gradient, p, factor, True)
    return total


def _total(loss, x, labels, matrix, gradient, p, factor, masked):
    if x.size <= BLOCK:
        return float(_block_loss(loss, x, labels.index, labels.valid, matrix, gradient, p, factor, masked))

    def of_block(block):
        scores = (block[0], slice(None)) + block[1:]
        return _block_loss(loss, x[scores], labels.index[block],
                           None if labels.valid is None else labels.valid[block], matrix,
                           None if gradient is None else gradient[scores], None if p is None else p[scores],
                           None if factor is None else factor[block], masked)
    return float(sum(_map(of_block, _blocks(x.shape))))


def _block_loss(loss, x, index, valid, matrix, gradient, p, factor, masked):
    factors = () if factor is None else (factor,)
    values = loss(x, index, matrix, gradient, p, masked, *factors)
    total = np.add.reduce(values, None, np.float64)
    if valid is None or total != total:
        return total
    if factor is not None:
        factor *= valid
    elif gradient is not None:
        gradient *= valid[:, None]
    return values[valid].sum(dtype=np.float64)


def scaled(gradient, scale, out, factor=None):
    """Write scale * gradient to out, an array of as many numbers.

    scale: a Python float. factor: None, or a number for each row of gradient by which it is to be multiplied, too.
    """
    if factor is not None:
        factor, out = factor * factor.dtype.type(scale), out.reshape(gradient.shape)
        _map(lambda block: multiply(gradient[block], factor[block], out[block]), _blocks(gradient.shape))
        return
    size = 2 * BLOCK  # more than in a loss: a thread takes longer to start than to scale a BLOCK
    if gradient.size <= size:
        np.multiply(gradient, scale, out.reshape(gradient.shape))
        return
    gradient, out = gradient.reshape(-1), out.reshape(-1)
    _map(lambda part: np.multiply(gradient[part], scale, out[part]),
         [slice(i, i + size) for i in range(0, gradient.size, size)])


def _blocks(shape):
    """Return index tuples that cut outer x inner into blocks of about BLOCK scores."""
    outer, n_classes = shape[:2]
    inner = shape[2] if len(shape) == 3 else 1
    width = max(1, BLOCK // n_classes)
    if width < inner:
        width = _even_share(inner, width)
        return [(slice(o, o + 1), slice(i, i + width)) for o in range(outer) for i in range(0, inner, width)]
    height = outer if outer <= width // inner else _even_share(outer, max(1, width // inner))
    rest = (slice(None),) * (len(shape) - 2)
    return [(slice(o, o + height),) + rest for o in range(0, outer, height)]


def _even_share(total, size):
    """Return a size near `size` that gives every thread as many parts of `total`."""
    parts = -(-total // size)
    parts += -parts % thread_count()
    return -(-total // parts)


def _map(function, items):
    """Return [function(item) for item in items], computed by threads where there are several items."""
    results = [None] * len(items)
    waiting = iter(list(enumerate(items)))  # a list's iterator may be shared by threads
    errors = []

    def work(done):
        try:
            for i, item in waiting:
                results[i] = function(item)
        except Exception as error:
            errors.append(error)
        finally:
            done.release()

    # A threading.Thread takes twice as long, as its start is waited for.
    ends = [_thread.allocate_lock() for _ in range(min(thread_count(), len(items)))]
    for i, end in enumerate(ends):
        end.acquire()
        if i:
            _thread.start_new_thread(work, (end,))
    work(ends[0])
    for end in ends:
        end.acquire()
    if errors:
        raise errors[0]
    return results


def thread_count():
    """Return how many threads to use: OMP_NUM_THREADS, as BLAS has it, or at most 4."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(stated)) if stated.isdigit() else min(4, multiprocessing.cpu_count())
