"""The specification: the formula of every function in plain NumPy. Slow, short, and what all else is tested against.

::

    q_unclamped = rint(x / scale) + zero_point
    mask        = qmin <= q_unclamped <= qmax
    y           = (clamp(q_unclamped, qmin, qmax) - zero_point) * scale
    dx          = dy * mask

Below, zero_point is subtracted from the levels in place of being added to x / scale: the same comparison, and exact
however large x is. Each function takes ``arithmetic="divide"`` (x / scale) or ``"reciprocal"`` (x * (1 / scale)), and
those that round take ``rounding="half_even"`` or another rule. ``floats``, ``blocks`` and
``stochastic`` in it are those of the modules of these names.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fq import _reference_blocks, _reference_floats, _reference_stochastic
from fq._errors import in_memory

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "backward_residual",
    "backward_residual_packed",
    "dequantize",
    "dequantize_packed",
    "fake_quantize",
    "forward",
    "forward_packed",
    "forward_residual",
    "forward_residual_packed",
    "pack",
    "quantize",
    "quantize_packed",
    "unpack",
]

Array = NDArray[Any]

blocks = _reference_blocks
floats = _reference_floats
stochastic = _reference_stochastic


def _half_up(q: Array) -> Array:
    down = np.floor(q)
    return down + (q - down >= 0.5)


_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "half_even": np.rint,
    "half_away": lambda q: np.copysign(_half_up(abs(q)), q),
    "half_up": _half_up,
    "floor": np.floor,
    "ceil": np.ceil,
    "toward_zero": np.trunc,
}

_TYPES = "float16", "bfloat16", "float32", "float64"
_TYPE_NAMES = f"{', '.join(_TYPES[:-1])} or {_TYPES[-1]}"


def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
    rounding: str = "half_even",
) -> NDArray[Any]:
    """The nearest point of the grid.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.fake_quantize`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).
    rounding : {"half_even", "half_away", "half_up", "floor", "ceil", "toward_zero"}
        How the quotient is rounded.

    Returns
    -------
    y : array or scalar of the type of x
    """
    return forward(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic, rounding=rounding)[0]


def forward(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
    rounding: str = "half_even",
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The nearest point of the grid, and the mask.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).
    rounding : {"half_even", "half_away", "half_up", "floor", "ceil", "toward_zero"}
        How the quotient is rounded.

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
        rounded = _ROUNDINGS[rounding](_quotient(x.astype(compute), scale, arithmetic))
        mask = (lowest <= rounded) & (rounded <= highest)
        level = np.clip(rounded, lowest, highest)
        y = (level * scale).astype(x.dtype) + x.dtype.type(0)  # y is never -0.0
        return y[()], mask


def backward(dy: ArrayLike, mask: ArrayLike) -> NDArray[Any]:
    """The straight-through gradient.

    Parameters
    ----------
    dy, mask
        As for `fq.backward`.

    Returns
    -------
    dx : array or scalar of the type of dy
    """
    dy, mask = _native(dy), _array(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must be an array of bool, got {mask.dtype}")
    compute = _type_computed_in(dy)
    with np.errstate(all="ignore"):
        return (dy.astype(compute) * mask.astype(compute)).astype(dy.dtype)[()]


def backward_recompute(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
    rounding: str = "half_even",
) -> NDArray[Any]:
    """The straight-through gradient, the mask worked out again.

    Parameters
    ----------
    dy, x, scale, zero_point, qmin, qmax
        As for `fq.backward_recompute`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).
    rounding : {"half_even", "half_away", "half_up", "floor", "ceil", "toward_zero"}
        How the quotient is rounded.

    Returns
    -------
    dx : array or scalar of the type of x
    """
    dy, x = _dy_like(dy, x)
    with np.errstate(all="ignore"):
        dy = dy.astype(x.dtype, copy=False)
    return backward(dy, forward(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic, rounding=rounding)[1])


def forward_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
    rounding: str = "half_even",
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The nearest point of the grid, and the mask, a bit per element.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward_packed`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).
    rounding : {"half_even", "half_away", "half_up", "floor", "ceil", "toward_zero"}
        How the quotient is rounded.

    Returns
    -------
    y : array of the type of x
    bits : array of uint8
    """
    if not np.ndim(x):
        raise ValueError("x must have an axis, the last one being packed")
    ends = (np.asarray(end)[..., np.newaxis] if np.ndim(end) else end for end in (qmin, qmax))  # one for a whole row
    y, mask = forward(x, scale, zero_point, *ends, arithmetic=arithmetic, rounding=rounding)
    if y.shape[-1] != np.shape(x)[-1]:
        raise ValueError(f"the last axis of scale and zero_point must be 1 or that of x, {np.shape(x)[-1]}")
    return y, _bits(mask)


def backward_packed(dy: ArrayLike, bits: ArrayLike) -> NDArray[Any]:
    """The straight-through gradient from packed bits.

    Parameters
    ----------
    dy, bits
        As for `fq.backward_packed`.

    Returns
    -------
    dx : array of the type of dy
    """
    dy, bits = _array(dy), _array(bits)
    if bits.dtype != np.uint8:
        raise TypeError(f"bits must be an array of uint8, got {bits.dtype}")
    if not dy.ndim or not bits.ndim:
        raise ValueError("dy and bits must have an axis, the last one being packed")
    n = dy.shape[-1]
    if bits.shape[-1] != -(-n // 8):
        raise ValueError(f"the last axis of bits must be {-(-n // 8)} for {n} elements, got {bits.shape[-1]}")
    return backward(dy, _mask(bits, n))


def backward_learnable(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
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
    _check_broadcast_into(x.shape, scale, lowest, highest)
    with np.errstate(all="ignore"):
        x, dy = x.astype(compute), dy.astype(dx.dtype).astype(np.float64)
        rounded = np.rint(_quotient(x, scale, arithmetic))
        below, above = rounded < lowest, rounded > highest  # a NaN is neither: it makes the residual NaN
        residual, unit = _residual(x, np.clip(rounded, lowest, highest), scale)
        inside = np.where(below | above, 0.0, dy * residual)
        ends = np.where(below, dy * lowest, np.where(above, dy * highest, 0.0))
        unit = np.asarray(unit).reshape(of_scale)
        dscale = _sum_to(of_scale, ends) - _sum_to(of_scale, inside) / unit
        dzero_point = _sum_to(of_zero_point, np.where(below | above, -dy * scale, 0.0))
        return dx, dscale.astype(compute)[()], dzero_point.astype(compute)[()]


def forward_residual(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """The nearest point of the grid, and the residuals as codes of 8 bits.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward_residual`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    y : array or scalar of the type of x
    residual : array or scalar of int8

    Examples
    --------
    >>> forward_residual(np.array([0.2, 9.0]), 0.25, 0, -8, 7)
    (array([0.25, 1.75]), array([ 50, 127], dtype=int8))
    """
    y = forward(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic)[0]
    return y, _codes(x, scale, zero_point, qmin, qmax, arithmetic, 8)[()]


def forward_residual_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The nearest point of the grid, and the residuals as codes of 4 bits.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fq.forward_residual_packed`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    y : array of the type of x
    residual : array of uint8
    """
    ends = [np.asarray(end)[..., np.newaxis] if np.ndim(end) else end for end in (qmin, qmax)]
    y, _ = forward_packed(x, scale, zero_point, qmin, qmax, arithmetic=arithmetic)
    return y, pack(_codes(x, scale, zero_point, ends[0], ends[1], arithmetic, 4), 4)


def backward_residual(
    dy: ArrayLike,
    residual: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The gradients of x, scale and zero_point from codes of 8 bits.

    Parameters
    ----------
    dy, residual, scale, zero_point, qmin, qmax
        As for `fq.backward_residual`.
    arithmetic : {"divide", "reciprocal"}
        Whether 1 / scale must be finite too.

    Returns
    -------
    dx, dscale, dzero_point : array or scalar
        Of the shapes of dy, scale and zero_point.

    Examples
    --------
    >>> backward_residual(np.ones(2), np.int8([50, 127]), 0.25, 0, -8, 7)
    (array([1., 0.]), np.float64(7.198412698412699), np.float64(-0.25))
    """
    dy, codes = _native(dy), _array(residual)
    if codes.dtype != np.int8:
        raise TypeError(f"residual must be int8, got {codes.dtype}")
    return _backward_codes(dy, codes, (scale, zero_point, qmin, qmax), arithmetic, 8)


def backward_residual_packed(
    dy: ArrayLike,
    residual: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The gradients of x, scale and zero_point from codes of 4 bits.

    Parameters
    ----------
    dy, residual, scale, zero_point, qmin, qmax
        As for `fq.backward_residual_packed`.
    arithmetic : {"divide", "reciprocal"}
        Whether 1 / scale must be finite too.

    Returns
    -------
    dx, dscale, dzero_point : array or scalar
        Of the shapes of dy, scale and zero_point.
    """
    dy, packed = _native(dy), _array(residual)
    if packed.dtype != np.uint8:
        raise TypeError(f"residual must be uint8, got {packed.dtype}")
    if not dy.ndim or packed.shape != (*dy.shape[:-1], -(-dy.shape[-1] // 2)):
        raise ValueError(f"residual must have half the last axis of dy, {dy.shape}, got {packed.shape}")
    ends = (np.asarray(end)[..., np.newaxis] if np.ndim(end) else end for end in (qmin, qmax))
    return _backward_codes(dy, unpack(packed, 4, dy.shape[-1]), (scale, zero_point, *ends), arithmetic, 4)


def quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    arithmetic: str = "divide",
) -> Any:
    """The level of each element; that of NaN is zero_point.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, dtype
        As for `fq.quantize`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    q : array or scalar of dtype

    Examples
    --------
    >>> quantize(np.array([0.2, 9.0, np.nan]), 0.25, 0, -8, 7)
    array([1, 7, 0], dtype=int8)
    """
    x = _native(x)
    compute = _type_computed_in(x)
    steps, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, arithmetic)
    ends = [int(end) for one in (qmin, qmax) for end in np.ravel(one)]
    stored = np.dtype(next((one for one in _STORED if _holds(np.dtype(one), ends)), None) if dtype is None else dtype)
    if not _holds(stored, ends):
        raise ValueError(f"{stored} does not hold qmin {qmin!r} and qmax {qmax!r}")
    with np.errstate(all="ignore"):
        level = np.clip(np.rint(_quotient(x.astype(compute), steps, arithmetic)), lowest, highest)
        level = np.where(np.isnan(level), 0, level).astype(np.int64) + np.asarray(zero_point, np.int64)
    return level.astype(stored)[()]


def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike = np.float32) -> Any:
    """The value of each level.

    Parameters
    ----------
    q, scale, zero_point, dtype
        As for `fq.dequantize`.

    Returns
    -------
    y : array or scalar of dtype

    Examples
    --------
    >>> dequantize(np.array([1, 7], np.int8), 0.25, 0)
    array([0.25, 1.75], dtype=float32)
    """
    stored = np.dtype(dtype).newbyteorder("=")
    compute = _type_computed_in(np.zeros((), stored))
    scale, _, _ = _checked(scale, zero_point, zero_point, zero_point, compute, "divide")
    difference = _widened(_array(q)).astype(np.int64) - np.asarray(zero_point, np.int64)
    with np.errstate(all="ignore"):
        return ((difference.astype(compute) * scale).astype(stored) + stored.type(0))[()]  # y is never -0.0


def pack(q: ArrayLike, bits: int) -> Array:
    """The last axis packed, low bits first.

    Parameters
    ----------
    q, bits
        As for `fq.pack`.

    Returns
    -------
    packed : array of uint8

    Examples
    --------
    >>> pack([-8, -1, 0, 3], 4)
    array([248,  48], dtype=uint8)
    """
    levels = _widened(_array(q)).astype(np.int64)
    if not levels.ndim:
        raise ValueError("q must have an axis, the last one being packed")
    low = -(2 ** (bits - 1)) if levels.min(initial=0) < 0 else 0
    if levels.min(initial=0) < low or levels.max(initial=0) >= low + 2**bits:
        raise ValueError(f"an integer does not fit {bits} bits")
    each = levels[..., np.newaxis] >> np.arange(bits) & 1
    each = each.reshape(*levels.shape[:-1], levels.shape[-1] * bits)
    return _bits(each.astype(np.bool_))


def unpack(packed: ArrayLike, bits: int, n: int, signed: bool = True) -> Array:
    """The integers that share bytes.

    Parameters
    ----------
    packed, bits, n, signed
        As for `fq.unpack`.

    Returns
    -------
    q : array of int8 or uint8

    Examples
    --------
    >>> unpack(np.array([248, 48], np.uint8), 4, 4)
    array([-8, -1,  0,  3], dtype=int8)
    """
    packed = _array(packed)
    if packed.shape[-1] != -(-n * bits // 8):
        raise ValueError(f"the last axis of packed must be {-(-n * bits // 8)}, got {packed.shape[-1]}")
    each = _mask(packed, n * bits).reshape(*packed.shape[:-1], n, bits)
    weights = 1 << np.arange(bits)
    weights[-1] *= -1 if signed else 1
    levels: Array = (each * weights).sum(axis=-1).astype(np.int8 if signed else np.uint8)
    return levels


def quantize_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    bits: int = 4,
    *,
    arithmetic: str = "divide",
) -> Array:
    """The level of each element, packed.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, bits
        As for `fq.quantize_packed`.
    arithmetic : {"divide", "reciprocal"}
        Whether to compute x / scale, or x * (1 / scale).

    Returns
    -------
    packed : array of uint8
    """
    pack(np.concatenate([np.ravel(qmin), np.ravel(qmax)]), bits)  # which every level must fit
    return pack(quantize(x, scale, zero_point, qmin, qmax, np.int32, arithmetic=arithmetic), bits)


def dequantize_packed(
    packed: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    bits: int,
    n: int,
    signed: bool = True,
    dtype: DTypeLike = np.float32,
) -> Array:
    """The value of each level that is packed.

    Parameters
    ----------
    packed, scale, zero_point, bits, n, signed, dtype
        As for `fq.dequantize_packed`.

    Returns
    -------
    y : array of dtype
    """
    return np.asarray(dequantize(unpack(packed, bits, n, signed), scale, zero_point, dtype))


_STORED = "int8", "uint8", "int16", "uint16", "int32"


def _holds(stored: np.dtype[Any], levels: list[int]) -> bool:
    bits = int(stored.name.removeprefix("u").removeprefix("int"))
    low = 0 if stored.name.startswith("u") else -(2 ** (bits - 1))
    return all(low <= level < low + 2**bits for level in levels)


def _widened(q: Array) -> Array:
    """Integers of a type that NumPy knows."""
    return q if q.dtype.kind in "iu" else q.astype(np.int8)


def _residual(x: Array, level: Array, scale: Array) -> tuple[Array, Array]:
    """x - level * scale in float64, exact for elements in range, and the scale in its unit.

    In float64 the unit is a power of two near scale, for which no part of a product is lost.
    """
    if x.dtype == np.float32:
        return (x - level.astype(np.float64) * scale).astype(np.float32).astype(np.float64), scale.astype(np.float64)
    exponent = np.clip(np.frexp(scale)[1] - 1, -1023, 1022)  # both powers are numbers of float64
    x, scale = np.ldexp(x, -exponent), np.ldexp(scale, -exponent)
    product = level * scale
    return (x - product) - _product_error(level, scale, product), scale


def _product_error(a: Array, b: Array, product: Array) -> Array:
    """a * b - product, exactly, from halves of the factors (Dekker)."""
    a1, b1 = _upper_half(a), _upper_half(b)
    a2, b2 = a - a1, b - b1
    error: Array = ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
    return error


def _upper_half(v: Array) -> Array:
    shifted = v * (2.0**27 + 1)
    return shifted - (shifted - v)


def _bits(mask: Array) -> Array:
    """The last axis as bits, low bits first."""
    # As rows: np.packbits stops at 32 axes, where arrays have up to 64.
    rows = mask.reshape(math.prod(mask.shape[:-1]), mask.shape[-1])
    bits = np.packbits(rows, axis=-1, bitorder="little")
    return bits.reshape(*mask.shape[:-1], bits.shape[-1])


def _mask(bits: Array, n: int) -> Array:
    """n elements of the last axis from `_bits`."""
    rows = bits.reshape(math.prod(bits.shape[:-1]), bits.shape[-1])
    mask = np.unpackbits(rows, axis=-1, count=n, bitorder="little").astype(np.bool_)
    return mask.reshape(*bits.shape[:-1], n)


def _codes(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, qmin: ArrayLike, qmax: ArrayLike, arithmetic: str, bits: int
) -> Array:
    """The residuals as codes, of int8."""
    x = _native(x)
    compute, last = _type_computed_in(x), 2 ** (bits - 1) - 2
    scale, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, arithmetic, residual=True)
    with np.errstate(all="ignore"):
        quotient = _quotient(x.astype(compute), scale, arithmetic)
        rounded = np.rint(quotient)
        code = np.rint((np.clip(rounded, lowest, highest) - quotient) * compute(2 * last))
        code = np.where((lowest <= rounded) & (rounded <= highest), code, np.copysign(last + 1, quotient))
        codes: Array = np.where(np.isnan(x), -last - 2, code).astype(np.int8)
        return codes


def _backward_codes(
    dy: Array, codes: Array, qparams: tuple[Any, ...], arithmetic: str, bits: int
) -> tuple[Array, Array, Array]:
    if dy.shape != codes.shape:
        raise ValueError(f"dy and residual must have one shape, got {dy.shape} and {codes.shape}")
    last, of_scale, of_zero_point = 2 ** (bits - 1) - 2, np.shape(qparams[0]), np.shape(qparams[1])
    compute = _type_computed_in(dy)
    scale, zero_point, qmin, qmax = qparams
    scale, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, arithmetic, residual=True)
    dx = backward(dy, abs(codes.astype(np.int16)) <= last)
    _check_broadcast_into(dy.shape, scale, lowest, highest)
    with np.errstate(all="ignore"):
        wide = dy.astype(np.float64)
        below, above, is_nan = codes == -last - 1, codes == last + 1, codes == -last - 2
        inside = np.where(below | above, 0.0, wide * np.where(is_nan, np.nan, codes))
        ends = np.where(below, wide * lowest, np.where(above, wide * highest, 0.0))
        dscale = _sum_to(of_scale, ends) + _sum_to(of_scale, inside) / (2 * last)
        dzero_point = _sum_to(of_zero_point, np.where(below | above, -wide * scale, 0.0))
        return dx, dscale.astype(compute)[()], dzero_point.astype(compute)[()]


def _check_broadcast_into(shape: tuple[int, ...], *grid: Array) -> None:
    try:
        for one in grid:
            np.broadcast_to(one, shape)
    except ValueError:
        shapes = [one.shape for one in grid]
        raise ValueError(f"scale, zero_point, qmin and qmax must broadcast into x, {shape}, got {shapes}") from None


def _sum_to(shape: tuple[int, ...], terms: Array) -> Array:
    """The sums of terms over the axes along which an array of this shape is broadcast."""
    lengths = (1,) * (terms.ndim - len(shape)) + tuple(shape)
    kept = [axis for axis in range(terms.ndim) if lengths[axis] != 1]
    each = math.prod(length for axis, length in enumerate(terms.shape) if axis not in kept)
    rows = np.moveaxis(terms, kept, range(len(kept))).reshape(math.prod(shape), each)
    return np.array([_exact_sum(row) for row in rows], np.float64).reshape(shape)


def _exact_sum(row: Array) -> Any:
    """Exact, but where a part of it overflows or both infinities meet: there as NumPy adds."""
    try:
        return math.fsum(row)
    except (OverflowError, ValueError):
        return np.sum(row)


def _array(given: ArrayLike) -> Array:
    return np.asarray(in_memory(given))


def _native(x: ArrayLike) -> Array:
    """An array of the machine's byte order, as every ufunc gives."""
    x = _array(x)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _dy_like(dy: ArrayLike, x: ArrayLike) -> tuple[Array, Array]:
    """dy and x as arrays, where dy can be cast to the type of x."""
    dy, x = _native(dy), _native(x)
    if dy.dtype.name not in _TYPES:
        raise TypeError(f"dy must be {_TYPE_NAMES}, got {dy.dtype}")
    if not np.can_cast(dy.dtype, x.dtype, "same_kind"):
        raise TypeError(f"dy of {dy.dtype} is not cast to {x.dtype}, the type of x, whose range is smaller")
    return dy, x


def _type_computed_in(x: Array) -> type[np.floating[Any]]:
    if x.dtype.name not in _TYPES:
        raise TypeError(f"x must be {_TYPE_NAMES}, got {x.dtype}")
    return np.float64 if x.dtype == np.float64 else np.float32


def _quotient(x: Array, scale: Array, arithmetic: str) -> Array:
    return x * (scale.dtype.type(1) / scale) if arithmetic == "reciprocal" else x / scale


def _checked(
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    compute: type[np.floating[Any]],
    arithmetic: str,
    residual: bool = False,
) -> tuple[Array, Array, Array]:
    """scale, qmin - zero_point and qmax - zero_point in the type computed in, or a TypeError or ValueError."""
    levels = np.asarray(zero_point), np.asarray(qmin), np.asarray(qmax)
    if not all(np.can_cast(level.dtype, np.int64, "same_kind") for level in levels):
        raise TypeError("zero_point, qmin and qmax must be integers")
    if any(np.any(level > np.iinfo(np.int64).max) for level in levels if level.dtype.kind == "u"):
        raise ValueError("zero_point, qmin and qmax must be levels of int64")
    zero_point, qmin, qmax = (level.astype(np.int64) for level in levels)
    exact = (2**53 if compute is np.float64 else 2**24) >> 9 * residual
    beyond = f"at most {exact} for a residual: keep x" if residual else "exact"
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
            raise ValueError(f"every level minus zero_point must be {beyond}, got {qmin}, {zero_point}, {qmax}")
        return scale, (qmin - zero_point).astype(compute), (qmax - zero_point).astype(compute)


def _distance(high: Array, low: Array) -> Array:
    """high - low without overflow."""
    return high.astype(np.uint64) - low.astype(np.uint64)
