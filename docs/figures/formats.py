"""Draws the numbers of each float format beside a grid of 16 levels, and how the rule of a block's scale chooses."""

import numpy as np
from matplotlib.figure import Figure

import fq
from benchmarks.plot import BLUE, ORANGE, SKY, VERMILION

SHOWN = "e2m1fn", "e2m3fn", "e3m2fn", "e4m3fn", "e5m2"
RULES = {"floor": VERMILION, "up": SKY, "fit": BLUE}


def numbers(grid):
    """All positive numbers of a format."""
    fine = np.geomspace(2.0**-40, grid.max, 200_000)
    return np.unique(fq.floats.fake_quantize(fine, 1, *grid))


def picture():
    """The grids in their range, and the largest number of a block beside what amax becomes."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _grids(left)
    _rules(right)
    return figure


def _grids(axes):
    axes.plot(np.arange(8) / 7, np.zeros(8), "|", color=ORANGE, markersize=18)
    for row, name in enumerate(SHOWN, 1):
        grid = getattr(fq.formats, name)
        found = numbers(grid) / grid.max
        alpha = 0.8 if len(found) < 40 else 0.5
        axes.plot(found, np.full(len(found), row), "|", color=BLUE, markersize=18, alpha=alpha)
    axes.set_yticks(range(len(SHOWN) + 1), ["int4", *SHOWN])
    axes.set(xlabel="positive numbers, as parts of the largest one", xlim=(-0.02, 1.02))
    axes.invert_yaxis()
    axes.set_title("Float formats are dense at 0")
    axes.spines[["top", "right"]].set_visible(False)


def _rules(axes):
    amax = np.linspace(4, 8, 801)[:-1]
    for rule, colour in RULES.items():
        format = fq.formats.mxfp4._replace(rule=rule)
        scales = fq.blocks.quantize(amax[:, None].astype(np.float32), format).scales.astype(int).ravel()
        axes.step(amax, 6 * 2.0 ** (scales - 127), color=colour, where="post", label=rule, linewidth=2)
    axes.plot(amax, amax, color="gray", linestyle=":", label="amax")
    axes.set(xlabel="largest magnitude of a block (amax)", ylabel="largest number of mxfp4 with its scale")
    axes.set_title("Three rules for a scale")
    axes.legend(fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
