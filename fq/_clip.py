"""The range to clip to, found in the distribution of what was observed, for many sets at once."""

import numpy as np
from numpy.typing import NDArray

from fq import _core
from fq._seen import Seen, bins_with_ends
from fq.qparams import check_bits

__all__ = ["METHODS", "check_method", "clip_range"]

METHODS = "minmax", "percentile", "mse", "entropy"

Ends = NDArray[np.float64]


def check_method(method: str, bits: int, narrow_range: bool, p: float) -> None:
    """Refuse a method that is none, and what it cannot do."""
    check_bits(bits, narrow_range)
    if method not in METHODS:
        listed = ", ".join(map(repr, METHODS[:-1])) + f" or {METHODS[-1]!r}"
        raise ValueError(f"method must be {listed}, got {method!r}")
    if method == "percentile":
        if isinstance(p, bool) or not isinstance(p, int | float | np.integer | np.floating):
            raise TypeError(f"p must be a real number, got {p!r}")
        if not 0 < p <= 100:
            raise ValueError(f"p must be a percentage, above 0 and up to 100, got {p}")
    if method == "entropy" and bits > 8:
        raise ValueError(f"method 'entropy' is for at most 8 bits, got {bits}; with more, 'mse' finds what to clip")


def clip_range(
    seen: Seen,
    low: Ends,
    high: Ends,
    *,
    bits: int,
    signed: bool,
    symmetric: bool,
    narrow_range: bool,
    method: str,
    p: float = 99.99,
) -> tuple[Ends, Ends]:
    """The clipped range of each set, of its distribution, between its smallest and largest value low and high.

    Every range is one for `choose_qparams` with these bits, signed, symmetric and narrow_range. It is the same to the
    last bit for the same bins.

    "percentile": for a symmetric grid both ends are the size that p percent of the sizes of x do not exceed, otherwise
    ``(100 - p) / 2`` percent of x are left out at either end. The k-th of n values is meant, with k = n p / 100
    rounded up; in a bin of several values, the place that it would have if they were even. The range holds 0.

    "mse": the range whose grid has the least error of fake quantization, summed over the bins. The ends are levels of
    that grid, so they may lie beyond low and high by less than a level, and choose_qparams makes the same grid of them.

    "entropy": the threshold of least divergence: src/entropy.c has the definition and its source. A range that is not
    symmetric is cut at the threshold on both sides, where it reaches so far.
    """
    check_method(method, bits, narrow_range, p)
    low, high = np.array(low, np.float64), np.array(high, np.float64)
    if method == "minmax":
        return low, high
    steps = 2**bits - 1 - bool(narrow_range)
    share = p / 100 if symmetric else (1 + p / 100) / 2
    _core._clip_range(method, seen.dtype, bins_with_ends(seen), low, high, steps, bool(symmetric), float(share))
    return low, high
