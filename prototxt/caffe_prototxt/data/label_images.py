"""Read images whose values are labels."""
from __future__ import division, print_function

import os
import warnings

import numpy as np

from caffe_losses.optional_packages import optional

ENDINGS = (".png", ".bmp", ".gif", ".pgm", ".tif", ".tiff", ".jpg", ".jpeg")
_REMEDY = "write it as one channel (in PIL: Image.fromarray(labels.astype('uint8')).save('labels.png'))"
MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F")


def read_image(file, palette=True):
    """Return the labels in an image file, H x W.

    file: str or file object. An image with a palette (PASCAL VOC's) is read as its indices, if `palette` accepts one.
    One whose three channels are the same is read as one of them, unless `palette` is false: a Datum has them all.
    Raises ValueError for what is no image, has other channels, or is a JPEG, which does not keep values as they are.
    """
    optional("PIL", "images")
    from PIL import Image
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(file)
            if image.format == "JPEG":
                raise ValueError("expected a format that keeps labels as they are (PNG), got JPEG")
            if image.mode not in MODES + ("RGB",) * palette or image.mode == "P" and not palette:
                raise ValueError("expected an image of one channel whose values are labels, got mode %s%s; %s" % (
                    image.mode, ", of which Caffe makes three channels" * (image.mode == "P"), _REMEDY))
            image.load()  # np.array alone hides what fails
            return _one_channel(np.array(image))
        except (ValueError, MemoryError):
            raise
        except Exception as error:  # whatever the reader of its format fails with
            raise ValueError("cannot be read as an image: %s" % (getattr(error, "strerror", None) or error))


def _one_channel(values):
    """Return the labels in an image's values, H x W, or H x W x 3 of channels that are the same."""
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise ValueError("expected an image of one channel whose values are labels, got mode RGB with colours; "
                             "give each colour its class number, and " + _REMEDY)
        values = values[:, :, 0]
    return values


def folder_images(folder):
    """Return the paths of the images in a folder, sorted. Raises ValueError if there are none."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(ENDINGS) and not name.startswith("."))
    if not names:
        raise ValueError("expected label images (%s), got none in this folder (a text file can list those of others)"
                         % ", ".join(ENDINGS[:6]))
    return [os.path.join(folder, name) for name in names]
