"""Make scenes of several garments on a canvas, with a label for each pixel, of Fashion-MNIST."""
from __future__ import division, print_function

import numpy as np

import data

SIDE = 64
N_GARMENTS = (1, 3)  # on a canvas: at least, at most
NOISE = 64  # the background's intensities are below
THRESHOLD = 32  # a garment's pixels are those of at least this intensity
RIM = 1  # pixels around a garment that are neither garment nor background
BACKGROUND, IGNORED = 0, 255
N_CLASSES = 1 + data.N_CLASSES

# How often each garment is drawn: the first class 10 times as often as the last.
SHARES = 10 ** -(np.arange(data.N_CLASSES) / (data.N_CLASSES - 1))
SHARES /= SHARES.sum()

# Of every class of the training images: how many for training canvases, how many others for validation.
N_TRAIN, N_VALIDATION = 5000, 1000


def class_names():
    """Return the names of the classes of the pixels, by label."""
    return ["background"] + data.class_names()


def sources(train):
    """Return the images and labels of training canvases and those of validation canvases: no image is in both.

    train: all training images and their labels.
    """
    images, labels = train
    return [(images[chosen], labels[chosen]) for chosen in data.split(labels, N_TRAIN, N_VALIDATION)]


def canvases(images, labels, n, rng):
    """Make n scenes of 1 to 3 garments, as often of each class as SHARES says; a later garment hides an earlier one.

    images: N x 28 x 28, uint8. labels: N integers 0..9, of which every class occurs.
    rng: a numpy.random.RandomState; it alone says what comes out.
    Returns two uint8 arrays, n x SIDE x SIDE: images, and their labels: 0 where the background is, 1 + k
    where a garment of class k is, 255 on the rim around each garment.
    """
    of_class = [np.flatnonzero(labels == k) for k in range(data.N_CLASSES)]
    scenes = rng.randint(0, NOISE, (n, SIDE, SIDE)).astype(np.uint8)
    truths = np.full((n, SIDE, SIDE), BACKGROUND, np.uint8)
    for scene, truth in zip(scenes, truths):
        for k in rng.choice(data.N_CLASSES, rng.randint(N_GARMENTS[0], N_GARMENTS[1] + 1), p=SHARES):
            _paste(images[rng.choice(of_class[k])], 1 + k, scene, truth, rng)
    return scenes, truths


def paths(prefix):
    """Return the paths of the LMDBs of scenes and of their label images."""
    return prefix + "_images", prefix + "_labels"


def write(prefix, scenes, truths):
    """Write scenes and their label images as two LMDBs, in place of what is there."""
    for path, images in zip(paths(prefix), (scenes, truths)):
        data.write_lmdb(path, images)


def _paste(garment, label, scene, truth, rng):
    """Put a garment, its rim included, somewhere into a scene and its label image."""
    garment = np.pad(garment, RIM, mode="constant")
    top, left = rng.randint(0, SIDE - len(garment) + 1, 2)
    place = np.s_[top:top + len(garment), left:left + len(garment)]
    inside = garment >= THRESHOLD
    scene[place][inside] = garment[inside]
    truth[place][_grown(inside)] = IGNORED
    truth[place][inside] = label


def _grown(mask):
    """Return a mask with all pixels at most RIM rows and columns from one of it."""
    padded = np.pad(mask, RIM, mode="constant")
    rows, columns = mask.shape
    return np.any([padded[i:i + rows, j:j + columns]
                   for i in range(2 * RIM + 1) for j in range(2 * RIM + 1)], axis=0)
