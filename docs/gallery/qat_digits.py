"""Train a network on handwritten digits at 8 to 2 bits, in NumPy alone."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import fq

BITS = (8, 4, 3, 2)
x, labels = load_digits(return_X_y=True)
x = (x / 16).astype(np.float32)
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1200], order[1200:]
rng = np.random.default_rng(1)
start = [rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in ((64, 32), (32, 10))]


def quantized(array, bits, **options):
    """The array on its grid of the least error, and a bit per element for the gradient."""
    grid = fq.calibrate(array, bits, method="mse", **options)
    return fq.forward_packed(array, *grid)


def forward(weights, images, bits):
    """Scores, and what the backward pass needs. Weights have a scale for each output."""
    (a, a_bits), (b, b_bits) = [(w, None) if bits is None else quantized(w, bits, axis=1) for w in weights]
    hidden = np.maximum(images @ a, 0)
    h, h_bits = (hidden, None) if bits is None else quantized(hidden, bits, signed=False)
    return h @ b, (a_bits, b, b_bits, hidden, h, h_bits)


def trained(weights, bits, epochs=12, rate=0.15):
    """The weights after steps of plain gradient descent, straight through the grids."""
    weights, rng = [w.copy() for w in weights], np.random.default_rng(2)
    for rows in np.concatenate([rng.permutation(train).reshape(-1, 40) for _ in range(epochs)]):
        scores, (a_bits, b, b_bits, hidden, h, h_bits) = forward(weights, x[rows], bits)
        p = np.exp(scores - scores.max(1, keepdims=True))
        dy = (p / p.sum(1, keepdims=True) - np.eye(10, dtype=np.float32)[labels[rows]]) / len(rows)
        dh, db = dy @ b.T, h.T @ dy
        if bits is not None:
            dh, db = fq.backward_packed(dh, h_bits), fq.backward_packed(db, b_bits)
        da = x[rows].T @ (dh * (hidden > 0))
        da = da if bits is None else fq.backward_packed(da, a_bits)
        for w, dw in zip(weights, (da, db), strict=True):
            w -= rate * dw
    return weights


def accuracy(weights, bits):
    return float(np.mean(forward(weights, x[test], bits)[0].argmax(1) == labels[test]))


network = trained(start, None)
longer = trained(network, None)
after = [accuracy(longer, bits) for bits in BITS]
aware = [accuracy(trained(network, bits), bits) for bits in BITS]

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.axhline(accuracy(longer, None), color="#777777", linestyle=":", label="float")
axes.plot(BITS, aware, "o-", color="#0072B2", label="trained with fq")
axes.plot(BITS, after, "s--", color="#D55E00", label="quantized after training")
axes.set(xlabel="bits", ylabel="accuracy on 597 digits", xticks=BITS)
axes.invert_xaxis()
axes.legend()
figure.savefig("qat_digits.svg")
print(f"2 bits: {after[-1]:.1%} quantized after training, {aware[-1]:.1%} trained with fq")
