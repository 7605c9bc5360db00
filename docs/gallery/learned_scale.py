"""Learn the scale with the weights (LSQ): from far too small and far too large, it finds its way."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import fq

QMIN, QMAX, STEPS = -2, 1, 300
x, labels = load_digits(return_X_y=True)
x, targets = (x / 16).astype(np.float32), np.eye(10, dtype=np.float32)[labels]
start = np.random.default_rng(0).normal(0, 0.1, (64, 10)).astype(np.float32)
best = fq.calibrate(start, bits=2, symmetric=True, method="mse").scale


def trained(factor, rate=4.0):
    """Scales and losses at each step of gradient descent, from a scale so many times the calibrated one."""
    weights, log_scale, found = start.copy(), np.log(factor * best), []
    size = fq.scale_gradient_factor(weights.size, QMAX)
    for _ in range(STEPS):
        scale = np.float32(np.exp(log_scale))  # by its logarithm it stays positive
        scores = x @ fq.fake_quantize(weights, scale, 0, QMIN, QMAX)
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        found.append((scale, -np.mean(np.log(p[targets == 1]))))
        dy = x.T @ (p - targets) / len(x)
        dw, dscale, _ = fq.backward_learnable(dy, weights, scale, 0, QMIN, QMAX)
        weights -= 0.5 * dw
        log_scale -= rate * size * dscale * scale
    return np.array(found)


fixed = trained(1, rate=0)[-1, 1]
figure = Figure(figsize=(6, 5), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True)
ends = []
for factor, style, colour in (
    (0.25, "-", "#0072B2"),
    (0.5, "--", "#009E73"),
    (2, "-.", "#E69F00"),
    (8, ":", "#D55E00"),
):
    scales, losses = trained(factor).T
    above.plot(scales, style, color=colour, label=f"from {factor} times the calibrated scale")
    below.plot(losses, style, color=colour)
    ends.append((scales[-1], losses[-1]))
below.axhline(fixed, color="#999999", linewidth=3, alpha=0.5, label="scale fixed where it was calibrated")
above.set(ylabel="scale", yscale="log")
below.set(xlabel="step", ylabel="loss", yscale="log")
above.legend()
below.legend()
figure.savefig("learned_scale.svg")
(low, high), (least, most) = [(min(values), max(values)) for values in zip(*ends, strict=True)]
print(f"scales end at {low:.2f} to {high:.2f}, losses at {least:.2f} to {most:.2f}; with a fixed scale {fixed:.2f}")
