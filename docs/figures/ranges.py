"""Draws a distribution, the clip that each method picks for it, the grid inside, and the error of each."""

import numpy as np
from matplotlib.figure import Figure

import fq
from benchmarks.plot import BLUE, SKY, VERMILION

BITS = 4
METHODS = "minmax", "percentile", "entropy", "mse"


def data():
    """A million values as weights are distributed: narrow, with long tails."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal(1_000_000) * rng.gamma(1.5, 0.6, 1_000_000)).astype(np.float32)


def chosen():
    """Of each method: the grid that it picks for the data, and its signal to quantization noise in dB."""
    x = data()
    seen = fq.Observer().update(x)
    grids = {method: seen.qparams(BITS, method, symmetric=True) for method in METHODS}
    return x, {method: (grid, float(fq.sqnr(x, fq.fake_quantize(x, *grid)))) for method, grid in grids.items()}


def picture():
    """The distribution above, a row for each method below."""
    x, found = chosen()
    most = float(np.abs(x).max())
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.hist(x, bins=400, range=(-most, most), color=SKY, log=True)
    above.set(ylabel="values", title=f"Where to clip a million values at {BITS} bits", xlim=(-most, most))
    for row, (grid, decibels) in enumerate(found.values()):
        levels = (np.arange(grid.qmin, grid.qmax + 1) - grid.zero_point) * float(grid.scale)
        best = decibels == max(noise for _, noise in found.values())
        below.plot(levels, np.full(len(levels), row), "|", color=VERMILION if best else BLUE, markersize=16)
    names = [f"{method}, {decibels:.1f} dB" for method, (_, decibels) in found.items()]
    below.set_yticks(range(len(found)), names)
    below.set(xlabel="x, and the levels of each grid", ylim=(len(found) - 0.4, -0.6))
    return figure
