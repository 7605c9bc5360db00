"""Tensors whose distributions are hard to clip, and the best grid for one by trying many."""

import numpy as np

import fq

BITS = 3, 4, 8


def synthetic(n=20_000):
    """{name: tensor of float32}"""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(n)
    outlier = normal.copy()
    outlier[n // 3] = 1000 * np.abs(normal).max()
    found = {
        "normal": normal,
        "laplace": rng.laplace(size=n),
        "relu": np.maximum(normal, 0),
        "uniform": rng.uniform(-1, 3, n),
        "one outlier": outlier,
        "heavy tails": rng.standard_t(2, n),
        "two values": rng.choice([-0.3, 0.7], n),
        "one value": np.full(n, 2.5),
        "negative": -np.abs(rng.laplace(size=n)) - 0.1,
        "on a grid": rng.integers(-100, 101, n) * 0.013,
        "few": rng.standard_normal(30),
        "all zero": np.zeros(n),
        "subnormal": normal * 1e-41,
        "tiny": normal * 1e-36,
        "huge": normal * 1e37,
    }
    with np.errstate(under="ignore"):
        return {name: x.astype(np.float32) for name, x in found.items()}


def error(x, qparams):
    """The sum of the squared errors of fake quantization."""
    y = fq.fake_quantize(x, *qparams)
    return np.square(x.astype(np.float64) - y).sum(axis=-1)


def ranges(x, symmetric, tries):
    """Clipped ranges of x: so many fractions of the largest size, or of each end."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    if symmetric:
        most = max(-low, high) * np.arange(1, tries + 1) / tries
        return -most, most
    side = int(np.sqrt(tries) * 1.5)
    fractions = np.arange(1, side + 1) / side
    lows, highs = (
        end.ravel() for end in np.meshgrid(low * fractions if low else [0.0], high * fractions if high else [0.0])
    )
    return lows, highs


def least_error(x, bits, symmetric, tries=100, **kind):
    """The least error among grids that choose_qparams makes of clipped ranges."""
    lows, highs = ranges(x, symmetric, tries)
    return min(
        error(x, fq.choose_qparams(np.float32(low), np.float32(high), bits, symmetric=symmetric, **kind))
        for low, high in zip(lows, highs, strict=True)
    )
