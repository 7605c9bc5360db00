"""fq.floats in plain NumPy, by frexp, rint and ldexp: fq.reference.floats."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["backward_recompute", "fake_quantize", "forward", "forward_packed", "round_to"]

Array = NDArray[Any]


def round_to(q: Array, mantissa_bits: ArrayLike, min_exponent: ArrayLike) -> Array:
    """The numbers of a float format nearest to q, half to even, as if the format had no largest one.

    Parameters
    ----------
    q : array of float32 or float64
    mantissa_bits, min_exponent
        As for `fq.floats.forward`.

    Returns
    -------
    r : array of the type of q
        With the sign of q. NaN and infinities stay.

    Examples
    --------
    >>> round_to(np.array([0.3, 5.1, -7.0]), 1, 0)
    array([ 0.5,  6. , -8. ])
    """
    _, exponent = np.frexp(q)
    spacing = np.maximum(exponent.astype(np.int64) - 1, min_exponent) - np.asarray(mantissa_bits)
    steps = np.rint(np.ldexp(q, -spacing))
    return np.where(np.isfinite(q), np.ldexp(steps, spacing), q)


def forward(
    x: ArrayLike,
    scale: ArrayLike,
    mantissa_bits: ArrayLike,
    min_exponent: ArrayLike,
    max: ArrayLike,
    signed_zero: ArrayLike,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The nearest point of the grid, and the mask.

    Parameters
    ----------
    x, scale, mantissa_bits, min_exponent, max, signed_zero
        As for `fq.floats.forward`.

    Returns
    -------
    y : array or scalar of the type of x
    mask : array of bool
    """
    from fq.reference import _native, _type_computed_in

    x = _native(x)
    compute = _type_computed_in(x)
    with np.errstate(all="ignore"):
        scale, largest = _real("scale", scale, compute), _real("max", max, compute)
        _check(scale, mantissa_bits, min_exponent, largest, signed_zero)
        q = x.astype(compute) / scale
        r = round_to(q, mantissa_bits, min_exponent)
        mask = abs(r) <= largest
        y = (np.clip(r, -largest, largest) * scale).astype(x.dtype)
        y = np.where(signed_zero, np.copysign(y, x), y + x.dtype.type(0)).astype(x.dtype)
        return y[()], mask


def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    mantissa_bits: ArrayLike,
    min_exponent: ArrayLike,
    max: ArrayLike,
    signed_zero: ArrayLike,
) -> NDArray[Any]:
    """The nearest point of the grid.

    Parameters
    ----------
    x, scale, mantissa_bits, min_exponent, max, signed_zero
        As for `fq.floats.fake_quantize`.

    Returns
    -------
    y : array or scalar of the type of x
    """
    return forward(x, scale, mantissa_bits, min_exponent, max, signed_zero)[0]


def forward_packed(
    x: ArrayLike,
    scale: ArrayLike,
    mantissa_bits: ArrayLike,
    min_exponent: ArrayLike,
    max: ArrayLike,
    signed_zero: ArrayLike,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The nearest point of the grid, and the mask packed along its last axis.

    Parameters
    ----------
    x, scale, mantissa_bits, min_exponent, max, signed_zero
        As for `fq.floats.forward_packed`.

    Returns
    -------
    y : array of the type of x
    bits : array of uint8
    """
    if not np.ndim(x):
        raise ValueError("x must have an axis, the last one being packed")
    format = (mantissa_bits, min_exponent, max, signed_zero)
    inner = [np.asarray(one)[..., np.newaxis] if np.ndim(one) else one for one in format]
    y, mask = forward(x, scale, *inner)
    if mask.shape[-1] != np.shape(x)[-1]:
        raise ValueError(f"the last axis of scale must be 1 or that of x, {np.shape(x)[-1]}, got {np.shape(scale)[-1]}")
    return y, np.packbits(mask, axis=-1, bitorder="little")


def backward_recompute(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    mantissa_bits: ArrayLike,
    min_exponent: ArrayLike,
    max: ArrayLike,
    signed_zero: ArrayLike,
) -> NDArray[Any]:
    """The straight-through gradient, with the mask worked out again.

    Parameters
    ----------
    dy, x, scale, mantissa_bits, min_exponent, max, signed_zero
        As for `fq.floats.backward_recompute`.

    Returns
    -------
    dx : array or scalar of the type of x
    """
    from fq.reference import _dy_like, backward

    dy, x = _dy_like(dy, x)
    with np.errstate(all="ignore"):
        dy = dy.astype(x.dtype)
    return backward(dy, forward(x, scale, mantissa_bits, min_exponent, max, signed_zero)[1])


def _real(name: str, given: ArrayLike, compute: Any) -> Array:
    """In the type computed in."""
    array = np.asarray(given)
    if not np.can_cast(array.dtype, compute, "same_kind"):
        raise TypeError(f"{name} must be a real number or an array of them, got {array.dtype}")
    return array.astype(compute)


def _check(scale: Array, mantissa_bits: Any, min_exponent: Any, largest: Array, signed_zero: Any) -> None:
    """TypeError or ValueError, as of fq.floats."""
    bits, least = np.asarray(mantissa_bits), np.asarray(min_exponent)
    if not all(np.can_cast(one.dtype, np.int64, "same_kind") for one in (bits, least)):
        raise TypeError("mantissa_bits and min_exponent must be integers")
    if np.asarray(signed_zero).dtype != np.bool_:
        raise TypeError("signed_zero must be bool")
    info = np.finfo(largest.dtype)
    if not np.all((scale > 0) & np.isfinite(scale)):
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if np.any((bits < 0) | (bits > 10)):
        raise ValueError(f"mantissa_bits must lie within [0, 10], got {bits}")
    if np.any((least < info.minexp) | (least > info.maxexp - 1)):
        raise ValueError(f"min_exponent must lie within [{info.minexp}, {info.maxexp - 1}], got {least}")
    if not np.all((largest > 0) & np.isfinite(largest) & (round_to(largest, bits, least) == largest)):
        raise ValueError(f"max must be a positive number of the format, got {largest}")
    if np.any(largest >= np.ldexp(1.0, (info.maxexp - 1 - info.nmant) + bits)):
        raise ValueError(f"max must be less than 2**({info.maxexp - 1 - info.nmant} + mantissa_bits), got {largest}")
