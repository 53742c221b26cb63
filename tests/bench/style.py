"""Set the look of the pictures, made to be read at 900 pixels wide."""
from __future__ import division, print_function

import matplotlib
matplotlib.use("Agg")

# Okabe and Ito's colours: they differ for colour-blind eyes too.
BLUE, ORANGE, GREEN, PURPLE, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A8A8A", "#222222"

STYLE = {
    "font.size": 9.5, "axes.titlesize": 11, "axes.labelcolor": INK,
    "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": "#BBBBBB", "axes.spines.top": False, "axes.spines.right": False,
    "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False,
}


def set_title(axes, title, pad=8):
    axes.set_title(title, loc="left", fontweight="bold", pad=pad)
