"""Chooses scale and zero_point for a range of values."""

from typing import NamedTuple

import numpy as np

__all__ = ["QParams", "choose_qparams"]

_MAX_BITS = 16
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # the smallest whose reciprocal float32 holds too


class QParams(NamedTuple):
    """The grid of a quantizer, in the order in which every function takes it: ``fq.forward(x, *qparams)``.

    Attributes
    ----------
    scale : float or ndarray
        Width of a step.
    zero_point : int or ndarray
        The level of 0.0.
    qmin, qmax : int
        The first and last level.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    qmin: int
    qmax: int


def choose_qparams(xmin, xmax, bits=8, *, signed=True, symmetric=False, narrow_range=False):
    """Choose the grid of so many bits that covers the range of values from xmin to xmax.

    The range is widened to contain 0.0, which is always a level: zero_point's.

    Parameters
    ----------
    xmin, xmax : array_like of real numbers
        The smallest and largest value: scalars for one grid, arrays (that broadcast) for one per channel.
    bits : int
        1 to 16.
    signed : bool
        Levels from -2**(bits-1), otherwise from 0.
    symmetric : bool
        The range is made symmetric about 0.0 and zero_point is the middle level: 0 if signed, 2**(bits-1) if not.
        scale is then ``2 * max(|xmin|, |xmax|) / (qmax - qmin)``, otherwise ``(xmax - xmin) / (qmax - qmin)``.
    narrow_range : bool
        Leave out the lowest level, so that a signed grid is symmetric too: -127 to 127. Needs 2 bits.

    Returns
    -------
    QParams
        scale (float32, or float64 if xmin or xmax is) and zero_point (int64) of the broadcast shape, qmin and qmax.
        scale is at least the smallest normal float32 number, and 1.0 where xmin and xmax are both 0.

    Raises
    ------
    TypeError
        If xmin or xmax is not real, or bits is not an integer.
    ValueError
        If xmin or xmax is NaN or infinite, xmin exceeds xmax, bits is impossible, or the scale would overflow.

    References
    ----------
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (2018); the formulas are those of PyTorch's MinMaxObserver.

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.choose_qparams(np.float32(-1.0), np.float32(2.0), bits=4, signed=False)
    QParams(scale=np.float32(0.2), zero_point=np.int64(5), qmin=0, qmax=15)
    >>> weights = np.float32([[0.5, -1.0], [0.25, 0.125]])
    >>> qparams = fq.choose_qparams(weights.min(1, keepdims=True), weights.max(1, keepdims=True), 4, symmetric=True)
    >>> qparams.scale.shape, qparams.qmin, qparams.qmax
    ((2, 1), -8, 7)
    """
    qmin, qmax = _levels(bits, signed, narrow_range)
    low, high, dtype = _range(xmin, xmax)
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    # Divided before they are subtracted, so that the widest range does not overflow.
    with np.errstate(over="ignore"):
        scale = high / (qmax - qmin) - low / (qmax - qmin)
        scale = np.where((low == 0) & (high == 0), 1.0, np.maximum(scale, _SMALLEST_SCALE)).astype(dtype)
    if not np.all(np.isfinite(scale)):
        raise ValueError(f"the range from {xmin} to {xmax} is too wide for a scale in {scale.dtype} at {bits} bits")
    if symmetric:
        zero_point = np.full(scale.shape, (qmin + qmax + 1) // 2)
    else:
        zero_point = np.clip(qmin - np.rint(low / scale.astype(np.float64)), qmin, qmax)
    return QParams(scale[()], zero_point.astype(np.int64)[()], qmin, qmax)


def _levels(bits, signed, narrow_range):
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
        raise TypeError(f"bits must be an integer, got {bits!r}")
    fewest = 2 if narrow_range else 1
    if not fewest <= bits <= _MAX_BITS:
        raise ValueError(f"bits must be {fewest} to {_MAX_BITS}{' for a narrow range' * narrow_range}, got {bits}")
    qmin = -(2 ** (int(bits) - 1)) if signed else 0
    return qmin + bool(narrow_range), qmin + 2 ** int(bits) - 1


def _range(xmin, xmax):
    """The range widened to contain 0.0, in float64, and the type for the scale."""
    xmin, xmax = np.asarray(xmin), np.asarray(xmax)
    for name, value in (("xmin", xmin), ("xmax", xmax)):
        if not np.can_cast(value.dtype, np.float64, "same_kind"):
            raise TypeError(f"{name} must be real, got {value.dtype}")
    dtype = np.float64 if np.float64 in (xmin.dtype, xmax.dtype) else np.float32
    with np.errstate(over="ignore"):
        low, high = xmin.astype(np.float64), xmax.astype(np.float64)
    for name, value in (("xmin", low), ("xmax", high)):
        if not np.all(np.isfinite(value)):
            raise ValueError(f"{name} must be finite, got {value}")
    if np.any(low > high):
        raise ValueError(f"xmin must not exceed xmax, got {xmin} and {xmax}")
    return np.minimum(low, 0.0), np.maximum(high, 0.0), dtype
