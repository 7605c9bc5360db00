"""Draws the staircase with its mask, and the straight-through gradient below it."""

import numpy as np
from matplotlib.figure import Figure

import fq
from benchmarks.plot import BLACK, BLUE, SKY, VERMILION

_BITS, _ENDS = 3, (-2.4, 3.0)


def picture():
    """y over x above, dx / dy below."""
    qparams = fq.choose_qparams(-1.0, 1.5, bits=_BITS)
    x = np.linspace(*_ENDS, 4001, dtype=np.float32)
    y, mask = fq.forward(x, *qparams)
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _stairs(above, x, y, mask)
    _gradient(below, x, mask)
    return figure


def _stairs(axes, x, y, mask):
    axes.plot(x, x, color=BLACK, linewidth=1, linestyle=":", label="x")
    axes.plot(x, y, color=BLUE, linewidth=2.5, label="y")
    inside = x[mask]
    axes.text(inside.mean(), 2.1, "mask True:\nthe gradient passes", ha="center", fontsize=12)
    for beside in ((_ENDS[0] + inside[0]) / 2, (inside[-1] + _ENDS[1]) / 2):
        axes.text(beside, 0.2, "mask False:\nclamped", ha="center", fontsize=12)
    _shade(axes, x, mask)
    axes.set(ylabel="y", xlim=_ENDS, ylim=(-2, 2.8), title=f"y, mask = fq.forward(x, ...) at {_BITS} bits")
    axes.legend(loc="lower right", frameon=False, fontsize=12)


def _gradient(axes, x, mask):
    axes.plot(x, fq.backward(np.ones_like(x), mask), color=VERMILION, linewidth=2.5)
    _shade(axes, x, mask)
    axes.set(xlabel="x", ylabel="dx / dy", ylim=(-0.2, 1.5), yticks=[0, 1], title="dx = fq.backward(dy, mask)")


def _shade(axes, x, mask):
    across = axes.get_xaxis_transform()
    axes.fill_between(x, 0, 1, where=mask, transform=across, color=SKY, alpha=0.25, linewidth=0)
