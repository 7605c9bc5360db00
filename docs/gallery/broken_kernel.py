"""Let fq.testing find what is wrong with a quantizer that looks right."""

import numpy as np
from matplotlib.figure import Figure

import fq
from fq.testing import check


def mine(x, scale, zero_point, qmin, qmax):
    """The usual formula, but x + 0.5 rounded down in place of half to even."""
    level = np.floor(x / scale + np.asarray(0.5, x.dtype)) + zero_point
    return ((np.clip(level, qmin, qmax) - zero_point) * scale).astype(x.dtype)


report = check(mine, ["ordinary values", "ties", "beside ties", "ends", "infinities", "NaN"])
found = {failure.law: failure.counterexample for failure in report.failures}
for law, example in found.items():
    print(f"{law}: x = {example.x[0]}, expected {example.expected[0]}, found {example.found[0]}")

x = np.linspace(-3, 3, 241, dtype=np.float32)
grid = np.float32(1), 0, -8, 7
ties = np.arange(-2.5, 3, dtype=np.float32)
right, wrong = fq.fake_quantize(ties, *grid), mine(ties, *grid)

figure = Figure(figsize=(6, 4.5), layout="constrained")
axes = figure.subplots()
axes.plot(x, fq.fake_quantize(x, *grid), ".", color="#999999", markersize=2)
axes.plot(ties, right, "o", color="#0072B2", label="at ties: fq, half to even")
axes.plot(
    ties[right != wrong], wrong[right != wrong], "X", color="#D55E00", markersize=9, label="mine, where it differs"
)
axes.set(xlabel="x / scale", ylabel="y / scale", yticks=range(-3, 4))
axes.legend()
figure.savefig("broken_kernel.svg")
print(f"{len(found)} of {len(report.results)} laws fail")
