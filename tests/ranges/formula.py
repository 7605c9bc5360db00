"""The formula of choose_qparams in NumPy: the oracle for src/choose.c, equal to the last bit."""

import numpy as np

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
MARGIN = 2.0**-21


def choose(xmin, xmax, bits, signed=True, symmetric=False, narrow_range=False, formula="cover", eps=None):
    """(scale, zero_point, qmin, qmax) of a good range."""
    qmin = (-(2 ** (bits - 1)) if signed else 0) + narrow_range
    qmax = (-(2 ** (bits - 1)) if signed else 0) + 2**bits - 1
    xmin, xmax = np.asarray(xmin), np.asarray(xmax)
    dtype = np.float64 if np.float64 in (xmin.dtype.type, xmax.dtype.type) else np.float32
    low, high = np.minimum(xmin.astype(np.float64), 0.0), np.maximum(xmax.astype(np.float64), 0.0)
    least = SMALLEST_SCALE if eps is None else max(float(eps), SMALLEST_SCALE)
    usable = dtype, least, 1.0 if eps is None else least
    with np.errstate(over="ignore"):
        if symmetric:
            scale, below = of_symmetric(np.maximum(-low, high), qmax - qmin, usable, formula == "cover")
        else:
            scale, below = of_affine(low, high, qmax - qmin, usable, formula == "cover")
    return scale[()], (below + qmin).astype(np.int64)[()], qmin, qmax


def of_symmetric(most, steps, usable, cover):
    exact = most / steps * 2
    if cover and steps % 2:
        exact = exact * (1 + 2 * MARGIN)
    scale = rounded(exact, most == 0, *usable)
    return scale, np.full(scale.shape, float((steps + 1) // 2))


def of_affine(low, high, steps, usable, cover):
    exact = high / steps - low / steps
    scale = rounded(exact, low == high, *usable)
    if not cover:
        return scale, np.rint(-low / scale)
    below, tight = levels_below(low, high, steps, scale)
    if tight.any():
        scale = rounded(np.where(tight, exact * (1 + 2 * MARGIN), exact), low == high, *usable)
        below, _ = levels_below(low, high, steps, scale)
    return scale, below


def levels_below(low, high, steps, scale):
    margin, down, up = steps * MARGIN, -low / scale, high / scale
    below = np.rint(down + margin)
    return below, np.maximum(down - below, up - (steps - below)) > 0.5 - margin


def rounded(exact, nothing, dtype, least, of_zero):
    return np.where(nothing, of_zero, np.maximum(exact, least)).astype(dtype)
