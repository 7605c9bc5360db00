"""The specification: the formula of every function in plain NumPy. Slow, short, and what all else is tested against.

::

    q_unclamped = rint(x / scale) + zero_point
    mask        = qmin <= q_unclamped <= qmax
    y           = (clamp(q_unclamped, qmin, qmax) - zero_point) * scale
    dx          = dy * mask

Below, zero_point is subtracted from the levels in place of being added to x / scale: the same comparison, and exact
however large x is. Each function takes ``arithmetic="divide"`` (x / scale) or ``"reciprocal"`` (x * (1 / scale)).
"""

import math

import numpy as np

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "fake_quantize",
    "forward",
    "forward_packed",
]

_TYPES = "float16", "bfloat16", "float32", "float64"
_TYPE_NAMES = f"{', '.join(_TYPES[:-1])} or {_TYPES[-1]}"


def fake_quantize(x, scale, zero_point, qmin, qmax, *, arithmetic="divide"):
    """The nearest point of the grid.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.fake_quantize`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    y : array or scalar of the type of x
    """
    return forward(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic)[0]


def forward(x, scale, zero_point, qmin, qmax, *, arithmetic="divide"):
    """The nearest point of the grid, and the mask.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    y : array or scalar of the type of x
    mask : array of bool

    Examples
    --------
    >>> forward(np.array([0.2, 9.0]), 0.25, 0, -8, 7)
    (array([0.25, 1.75]), array([ True, False]))
    """
    x = _native(x)
    compute = _type_computed_in(x)
    scale, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, arithmetic)
    with np.errstate(all="ignore"):
        rounded = np.rint(_quotient(x.astype(compute), scale, arithmetic))
        mask = (lowest <= rounded) & (rounded <= highest)
        level = np.clip(rounded, lowest, highest)
        y = (level * scale).astype(x.dtype) + x.dtype.type(0)  # y is never -0.0
        return y[()], mask


def backward(dy, mask):
    """The straight-through gradient.

    Parameters
    ----------
    dy, mask
        As for `fq.backward`.

    Returns
    -------
    dx : array or scalar of the type of dy
    """
    dy, mask = _native(dy), np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must be an array of bool, got {mask.dtype}")
    compute = _type_computed_in(dy)
    with np.errstate(all="ignore"):
        return (dy.astype(compute) * mask.astype(compute)).astype(dy.dtype)[()]


def backward_recompute(dy, x, scale, zero_point, qmin, qmax, *, arithmetic="divide"):
    """The straight-through gradient, the mask worked out again.

    Parameters
    ----------
    dy, x, scale, zero_point, qmin, qmax
        As for `fq.backward_recompute`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    dx : array or scalar of the type of dy
    """
    dy, x = _native(dy), _native(x)
    if dy.dtype != x.dtype:
        raise TypeError(f"dy and x must have one type, got {dy.dtype} and {x.dtype}")
    return backward(dy, forward(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic)[1])


def forward_packed(x, scale, zero_point, qmin, qmax, *, arithmetic="divide"):
    """The nearest point of the grid, and the mask, a bit an element.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward_packed`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    y : array of the type of x
    bits : array of uint8
    """
    if not np.ndim(x):
        raise ValueError("x must have an axis, the last one being packed")
    ends = (np.asarray(end)[..., np.newaxis] if np.ndim(end) else end for end in (qmin, qmax))  # one for a whole row
    y, mask = forward(x, scale, zero_point, *ends, arithmetic=arithmetic)
    if y.shape[-1] != np.shape(x)[-1]:
        raise ValueError(f"the last axis of scale and zero_point must be 1 or that of x, {np.shape(x)[-1]}")
    return y, np.packbits(mask, axis=-1, bitorder="little")


def backward_packed(dy, bits):
    """The straight-through gradient from packed bits.

    Parameters
    ----------
    dy, bits
        As for `fq.backward_packed`.

    Returns
    -------
    dx : array of the type of dy
    """
    dy, bits = np.asarray(dy), np.asarray(bits)
    if bits.dtype != np.uint8:
        raise TypeError(f"bits must be an array of uint8, got {bits.dtype}")
    if not dy.ndim or not bits.ndim:
        raise ValueError("dy and bits must have an axis, the last one being packed")
    n = dy.shape[-1]
    if bits.shape[-1] != -(-n // 8):
        raise ValueError(f"the last axis of bits must be {-(-n // 8)} for {n} elements, got {bits.shape[-1]}")
    return backward(dy, np.unpackbits(bits, axis=-1, count=n, bitorder="little").astype(np.bool_))


def backward_learnable(dy, x, scale, zero_point, qmin, qmax, *, arithmetic="divide"):
    """The gradients of x, scale and zero_point, with sums that are exact until they are stored.

    Parameters
    ----------
    dy, x, scale, zero_point, qmin, qmax
        As for `fq.backward_learnable`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    dx, dscale, dzero_point : array or scalar
        Of the shapes of x, scale and zero_point.

    Examples
    --------
    >>> dy = np.array([1.0, 1.0])
    >>> backward_learnable(dy, np.array([0.2, 9.0]), 0.25, 0, -8, 7)
    (array([1., 0.]), np.float64(7.2), np.float64(-0.25))
    """
    dy, x = _native(dy), _native(x)
    if dy.shape != x.shape:
        raise ValueError(f"dy and x must have one shape, got {dy.shape} and {x.shape}")
    dx = backward_recompute(dy, x, scale, zero_point, qmin, qmax, arithmetic=arithmetic)
    compute = _type_computed_in(x)
    of_scale, of_zero_point = np.shape(scale), np.shape(zero_point)
    scale, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, arithmetic)
    if dx.shape != x.shape:
        raise ValueError(f"scale, zero_point, qmin and qmax must broadcast into x, {x.shape}, but give {dx.shape}")
    with np.errstate(all="ignore"):
        quotient = _quotient(x.astype(compute), scale, arithmetic)
        rounded = np.rint(quotient)
        inside = (lowest <= rounded) & (rounded <= highest)
        slope = np.clip(rounded, lowest, highest) - np.where(inside, quotient, compute(0))
        dy = dy.astype(np.float64)
        dscale = _sum_to(of_scale, dy * slope)
        dzero_point = _sum_to(of_zero_point, np.where(inside, 0.0, -dy * scale))
        return dx, dscale.astype(compute)[()], dzero_point.astype(compute)[()]


def _sum_to(shape, terms):
    """The sums of terms over the axes along which an array of this shape is broadcast."""
    lengths = (1,) * (terms.ndim - len(shape)) + tuple(shape)
    kept = [axis for axis in range(terms.ndim) if lengths[axis] != 1]
    each = math.prod(length for axis, length in enumerate(terms.shape) if axis not in kept)
    rows = np.moveaxis(terms, kept, range(len(kept))).reshape(math.prod(shape), each)
    return np.array([_exact_sum(row) for row in rows], np.float64).reshape(shape)


def _exact_sum(row):
    """Exact, but where a part of it overflows or both infinities meet: there as NumPy adds."""
    try:
        return math.fsum(row)
    except (OverflowError, ValueError):
        return np.sum(row)


def _native(x):
    """An array of the machine's byte order, as every ufunc gives."""
    x = np.asarray(x)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _type_computed_in(x):
    if x.dtype.name not in _TYPES:
        raise TypeError(f"x must be {_TYPE_NAMES}, got {x.dtype}")
    return np.float64 if x.dtype == np.float64 else np.float32


def _quotient(x, scale, arithmetic):
    return x * (scale.dtype.type(1) / scale) if arithmetic == "reciprocal" else x / scale


def _checked(scale, zero_point, qmin, qmax, compute, arithmetic):
    """scale, qmin - zero_point and qmax - zero_point in the type computed in, or a TypeError or ValueError."""
    levels = np.asarray(zero_point), np.asarray(qmin), np.asarray(qmax)
    if not all(np.can_cast(level.dtype, np.int64, "same_kind") for level in levels):
        raise TypeError("zero_point, qmin and qmax must be integers")
    zero_point, qmin, qmax = (level.astype(np.int64) for level in levels)
    exact = 2**53 if compute is np.float64 else 2**24
    scale = np.asarray(scale)
    if not np.can_cast(scale.dtype, compute, "same_kind"):
        raise TypeError(f"scale must be a real number or an array of them, got {scale.dtype}")
    with np.errstate(all="ignore"):
        scale = scale.astype(compute)
        if not np.all((scale > 0) & np.isfinite(scale)):
            raise ValueError(f"scale must be positive and finite, got {scale}")
        if arithmetic == "reciprocal" and not np.all(np.isfinite(compute(1) / scale)):
            raise ValueError(f"1 / scale must be finite, got scale {scale}")
        if np.any(qmin > qmax):
            raise ValueError(f"qmin must not exceed qmax, got {qmin} and {qmax}")
        if np.any((zero_point < qmin) | (zero_point > qmax)):
            raise ValueError(f"zero_point must lie within [{qmin}, {qmax}], got {zero_point}")
        if np.any(_distance(zero_point, qmin) > exact) or np.any(_distance(qmax, zero_point) > exact):
            raise ValueError(f"every level minus zero_point must be exact, got {qmin}, {zero_point}, {qmax}")
        return scale, (qmin - zero_point).astype(compute), (qmax - zero_point).astype(compute)


def _distance(high, low):
    """high - low without overflow."""
    return high.astype(np.uint64) - low.astype(np.uint64)
