"""An observer's bins as numbers, in the order of values: the formula in plain NumPy."""

import numpy as np

from fq import _seen
from fq._bins import Bins


def order_of(seen):
    """The places of the bins in the order of values."""
    keys, half = seen.bins[1].astype(np.int64), _seen.keys_of(seen.dtype) // 2
    value = np.where(keys < half, keys, half - 1 - keys)
    return np.argsort(_seen.set_of_bins(seen.bins[0]) * (4 * half) + value + half)


def bins_of(seen):
    parts, cells = _seen.parts_of(seen), seen.bins[2]
    low, high = (end.astype(np.float64)[parts.where] for end in (seen.low, seen.high))
    sign, base, unit, n, s, q = parts[1:]
    with np.errstate(over="ignore", under="ignore"):
        near, far = base, base + unit * 65536
        if cells.shape[1] > 1:
            each, rest = np.divmod(cells[:, 1], cells[:, 0])
            same = (rest == 0) & (cells[:, 2] == cells[:, 1] * each)
            near = np.where(same, base + unit * each, near)
            far = np.where(same, near + unit * ((seen.dtype.itemsize == 8) & (near > 0)), far)
        lower, upper = np.where(sign > 0, near, -far), np.where(sign > 0, far, -near)
        total = sign * (n * base + unit * s)
        square = n * base * base + 2 * base * (unit * s) + unit * (unit * q)
    lower, upper = np.clip(lower, low, high), np.clip(upper, low, high)
    return Bins(seen.bins[0], *(values[order_of(seen)] for values in (lower, upper, n, total, square)))
