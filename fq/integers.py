"""Real quantization: floats to integers as they are stored, a byte or more each or several to a byte, and back."""

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fq import _core, _errors

__all__ = ["dequantize", "dequantize_packed", "pack", "quantize", "quantize_packed", "unpack"]

Array = np.ndarray[Any, Any]

_STORAGES = _core.storages()
_STORAGE_NAMES = "int8, uint8, int16, uint16, int32, or int2, uint2, int4 or uint4 of ml_dtypes"
_BITS = 1, 2, 4


def quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    dtype: DTypeLike | None = None,
    out: Array | None = None,
) -> Any:
    """Quantize x to integers.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Values to quantize, of any shape.
    scale : array_like of real numbers
        Width of a step: positive and finite, cast to float32, or float64 for float64 x. Broadcasts against x.
    zero_point : array_like of integers
        The level of 0.0, within [qmin, qmax].
    qmin, qmax : array_like of integers
        The first and last level of the grid.
    dtype : dtype, optional
        int8, uint8, int16, uint16 or int32, or int2, uint2, int4 or uint4 of ``ml_dtypes``, which take a byte an
        element, its upper bits 0. None: that of out, or the first of the five NumPy types that holds every qmin and
        qmax.
    out : ndarray, optional
        Where to put q: of its shape and type. An out that lies on x element for element, of elements of the same size,
        is written in place; any other that overlaps an argument is written when all is computed.

    Returns
    -------
    q : ndarray or scalar
        The level of each element, of the broadcast shape: bit for bit the one whose value `fq.fake_quantize` gives.

    See Also
    --------
    dequantize : from levels to floats.
    quantize_packed : several levels to a byte.

    Notes
    -----
    ::

        q = clamp(rint(x / scale), qmin - zero_point, qmax - zero_point) + zero_point

    A NaN gives zero_point, whose value is 0.0; infinities clamp. For all other x,
    ``dequantize(quantize(x), dtype=x.dtype)`` has the bits of `fq.fake_quantize`.

    Raises
    ------
    TypeError
        If x is not of the four types, zero_point, qmin or qmax is not an integer, dtype or out is of another type, or
        an array is masked.
    ValueError
        If a parameter has a value that `fq.fake_quantize` refuses, dtype does not hold a level, shapes do not
        broadcast, or out is of another shape.

    Examples
    --------
    >>> import numpy as np, fq
    >>> x = np.array([-9.0, -0.3, 0.0, 0.2, np.nan, 5.0], np.float32)
    >>> fq.quantize(x, 0.25, 0, -8, 7)
    array([-8, -1,  0,  1,  0,  7], dtype=int8)
    >>> fq.quantize(x, 0.25, 128, 0, 255).dtype
    dtype('uint8')
    """
    return _quantize(x, (scale, zero_point, qmin, qmax), dtype, 0, out, reciprocal=False)


def dequantize(
    q: Array, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike = np.float32, out: Array | None = None
) -> Any:
    """Give the values of levels.

    Parameters
    ----------
    q : array of int8, uint8, int16, uint16 or int32, or of int2, uint2, int4 or uint4 of ``ml_dtypes``
        Levels, as `quantize` gives them.
    scale : array_like of real numbers
        Width of a step: positive and finite, cast to float32, or float64 where dtype is. Broadcasts against q.
    zero_point : array_like of integers
        The level of 0.0: within 2**24 of every level that the type of q holds (2**53 for float64), or among the
        levels of an int32.
    dtype : dtype, optional
        float16, bfloat16, float32 or float64.
    out : ndarray, optional
        Where to put y: of its shape and type. Overlap is treated as by `quantize`.

    Returns
    -------
    y : ndarray or scalar
        (q - zero_point) * scale, of the broadcast shape, rounded once when it is stored. Never -0.0.

    Notes
    -----
    Computed in float32, or float64 where dtype is. The difference is exact, but where an int32 lies further than
    2**24 from zero_point: there it is rounded to float32 first.

    Raises
    ------
    TypeError
        If q is not of the nine types, dtype not of the four, zero_point not an integer, out of another type, or an
        array is masked.
    ValueError
        If scale is not positive and finite, zero_point is too far from a level, shapes do not broadcast, or out is of
        another shape.

    Examples
    --------
    >>> import numpy as np, fq
    >>> q = np.array([-8, -1, 0, 1, 7], np.int8)
    >>> fq.dequantize(q, 0.25, 0)
    array([-2.  , -0.25,  0.  ,  0.25,  1.75], dtype=float32)
    """
    return _dequantize(q, (scale, zero_point), dtype, 0, 0, True, out)


def pack(q: ArrayLike, bits: int, out: Array | None = None) -> Array:
    """Pack integers, several to a byte.

    Parameters
    ----------
    q : array_like of integers
        Of any type of integers; each fits the bits, either with a sign or without one.
    bits : int
        Bits an element: 1, 2 or 4.
    out : ndarray of uint8, optional
        Where to put the result.

    Returns
    -------
    packed : ndarray of uint8
        The last axis packed to ceil(n * bits / 8) bytes, low bits first, the rest of the last byte 0: as ONNX stores
        INT4, UINT4, INT2 and UINT2.

    See Also
    --------
    unpack : the other way.

    Raises
    ------
    TypeError
        If q is not of integers, is masked, or out is no array of uint8.
    ValueError
        If bits is another number, an integer does not fit, q has no axis, or out is of another shape.

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.pack(np.array([-8, -1, 0, 3], np.int8), 4)
    array([248,  48], dtype=uint8)
    """
    bits, given = _checked_bits(bits), _integers("q", q)
    if not given.ndim:
        raise ValueError("q must have an axis, the last one being packed: np.atleast_1d(q)")
    _check_fits(given, bits)
    levels = np.ascontiguousarray(given.astype(np.int8 if given.dtype.kind != "u" else np.uint8))
    shape = (*given.shape[:-1], _bytes_of(given.shape[-1], bits))
    place = _place(out, shape, np.dtype(np.uint8), levels)
    _core._pack(place, levels, given.shape[-1], bits)
    return _placed(place, out)


def unpack(packed: Array, bits: int, n: int, signed: bool = True, out: Array | None = None) -> Array:
    """Unpack integers that share bytes.

    Parameters
    ----------
    packed : array of uint8
        As `pack` gives it.
    bits : int
        Bits an element: 1, 2 or 4.
    n : int
        Elements of a row: packed has ceil(n * bits / 8) bytes along its last axis.
    signed : bool, optional
        Whether the highest bit of an element is its sign.
    out : ndarray, optional
        Where to put the result.

    Returns
    -------
    q : ndarray of int8, or of uint8 where signed is False
        The last axis has n elements.

    See Also
    --------
    pack : the other way.

    Raises
    ------
    TypeError
        If packed is no array of uint8, is masked, or out is of another type.
    ValueError
        If bits is another number, n is negative or does not go with the last axis of packed, packed has no axis, or out
        is of another shape.

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.unpack(np.array([248, 48], np.uint8), 4, 4)
    array([-8, -1,  0,  3], dtype=int8)
    """
    bits, n = _checked_bits(bits), _checked_n(n)
    rows = np.ascontiguousarray(_checked_packed(packed, bits, n))
    place = _place(out, (*rows.shape[:-1], n), np.dtype(np.int8 if signed else np.uint8), rows)
    _core._unpack(place, rows, n, bits, signed)
    return _placed(place, out)


def quantize_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    bits: int = 4,
    out: Array | None = None,
) -> Array:
    """Quantize x to integers of 1, 2 or 4 bits, several to a byte: `quantize` and `pack` in one pass.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `quantize`; x has an axis.
    bits : int, optional
        Bits an element: 1, 2 or 4. Every qmin and qmax fits them, either with a sign or without one.
    out : ndarray of uint8, optional
        Where to put the result.

    Returns
    -------
    packed : ndarray of uint8
        As `pack` gives it.

    Raises
    ------
    TypeError
        As `quantize`.
    ValueError
        As `quantize`, and if bits is another number, a level does not fit the bits, or x has no axis.

    Examples
    --------
    >>> import numpy as np, fq
    >>> x = np.array([-9.0, -0.3, 0.0, 0.7], np.float32)
    >>> fq.quantize_packed(x, 0.25, 0, -8, 7)
    array([248,  48], dtype=uint8)
    """
    packed: Array = _quantize(x, (scale, zero_point, qmin, qmax), None, _checked_bits(bits), out, reciprocal=False)
    return packed


def dequantize_packed(
    packed: Array,
    scale: ArrayLike,
    zero_point: ArrayLike,
    bits: int,
    n: int,
    signed: bool = True,
    dtype: DTypeLike = np.float32,
    out: Array | None = None,
) -> Array:
    """Give the values of levels that share bytes: `unpack` and `dequantize` in one pass.

    Parameters
    ----------
    packed, bits, n, signed
        As for `unpack`.
    scale, zero_point, dtype, out
        As for `dequantize`; they broadcast against rows of n elements.

    Returns
    -------
    y : ndarray
        (q - zero_point) * scale, its last axis of n elements.

    Raises
    ------
    TypeError
        As `dequantize`, and if packed is no array of uint8.
    ValueError
        As `dequantize` and `unpack`.

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.dequantize_packed(np.array([248, 48], np.uint8), 0.25, 0, 4, 4)
    array([-2.  , -0.25,  0.  ,  0.75], dtype=float32)
    """
    bits, n = _checked_bits(bits), _checked_n(n)
    y: Array = _dequantize(packed, (scale, zero_point), dtype, bits, n, bool(signed), out)
    return y


# ---- The C's functions, and what they leave to Python ----


def _quantize(x: Any, qparams: tuple[Any, ...], dtype: Any, bits: int, out: Any, reciprocal: bool) -> Any:
    q = _core._quantize(reciprocal, x, *qparams, dtype, bits, out)
    return _quantize_any(x, qparams, dtype, bits, out, reciprocal) if q is None else q


def _quantize_any(x: Any, qparams: tuple[Any, ...], dtype: Any, bits: int, out: Any, reciprocal: bool) -> Any:
    """Of what is converted, broadcast, or copied to its place first."""
    first, *others = _converted((x, *qparams))
    first = np.broadcast_to(first, _shape_with(first, others))
    if bits and not first.ndim:
        raise ValueError("x must have an axis, the last one being packed: np.atleast_1d(x)")
    asked = _checked_out(out).dtype if dtype is None and out is not None and not bits else dtype
    q = _core._quantize(reciprocal, np.atleast_1d(first), *others, asked, bits, None)
    assert q is not None
    return _given(out, q if first.ndim else q.reshape(()))


def _dequantize(q: Any, qparams: tuple[Any, ...], dtype: Any, bits: int, n: int, signed: bool, out: Any) -> Any:
    y = _core._dequantize(q, *qparams, dtype, bits, n, signed, out)
    return _dequantize_any(q, qparams, dtype, bits, n, signed, out) if y is None else y


def _dequantize_any(q: Any, qparams: tuple[Any, ...], dtype: Any, bits: int, n: int, signed: bool, out: Any) -> Any:
    levels = _checked_packed(q, bits, n) if bits else _stored(q)
    like = np.broadcast_to(np.zeros((), dtype), (*levels.shape[:-1], n) if bits else levels.shape)
    _, *others = _converted((like, *qparams, 0, 0))
    shape = _shape_with(like, others)
    if bits and shape[-1] != n:
        raise ValueError(f"the last axis of scale and zero_point must be 1 or n, {n}, got {shape[-1]}")
    levels = np.broadcast_to(levels, (*shape[:-1], levels.shape[-1]) if bits else shape)
    y = _core._dequantize(np.atleast_1d(levels), *others[:2], dtype, bits, n, signed, None)
    assert y is not None
    return _given(out, y if shape else y.reshape(()))


def _converted(given: tuple[Any, ...]) -> list[Array]:
    """x and parameters as C reads them: arrays of the types of a call, in the machine's byte order, and aligned."""
    # Views, whose shapes stay as they are while the conversions of others run code.
    arrays = [_errors.in_memory(one).view() for one in given]
    _errors.check("divide", "forward_packed", tuple(arrays))
    arrays = [one.view(np.ndarray) for one in arrays]
    try:
        dtypes = _core.divide["fake_quantize"].resolve_dtypes((*(one.dtype for one in arrays), None))
    except TypeError as error:
        raise _errors.explain("divide", "fake_quantize", error, given, None) or error from None
    with np.errstate(all="ignore"):
        return [_readable(one.astype(dtype, copy=False)) for one, dtype in zip(arrays, dtypes, strict=False)]


def _readable(array: Array) -> Array:
    return array if array.flags.aligned else array.copy(order="K")


def _shape_with(first: Array, others: list[Array]) -> tuple[int, ...]:
    """The shape of all together."""
    shapes = [one.shape for one in (first, *others)]
    try:
        return _errors.broadcast_shapes(shapes)
    except ValueError as error:
        raise _errors.explain("divide", "fake_quantize", error, (first, *others), None) or error from None


def _stored(q: Any) -> Array:
    """Levels of one of the nine types, in the machine's byte order, and aligned."""
    array = _unmasked("q", q)
    native = array.dtype.newbyteorder("=")
    if native not in _STORAGES:
        way = "; q.astype(np.int32) is one" if native.kind in "iu" else ""
        raise TypeError(f"q must be an array of {_STORAGE_NAMES}, got {array.dtype}{way}")
    return _readable(array.astype(native, copy=False))


def _checked_packed(packed: Any, bits: int, n: int) -> Array:
    """Rows of bytes that hold n integers each."""
    array = _unmasked("packed", packed)
    if array.dtype != np.uint8:
        raise TypeError(f"packed must be an array of uint8, as fq.pack gives it, got {array.dtype}")
    if not array.ndim:
        raise ValueError("packed must have an axis, the last one being packed")
    if array.shape[-1] != _bytes_of(n, bits):
        of = f"{n} integer{'s' if n != 1 else ''} of {bits} bit{'s' if bits > 1 else ''}"
        raise ValueError(f"the last axis of packed must be {_bytes_of(n, bits)} for {of}, got {array.shape[-1]}")
    return array


def _unmasked(label: str, given: Any) -> Array:
    _errors.refuse_masked(label, given)
    return np.asarray(_errors.in_memory(given))


def _integers(label: str, given: Any) -> Array:
    """Integers of any type, those of ml_dtypes as int8 or uint8, whose bits beyond their own are their sign or 0."""
    array = _unmasked(label, given)
    if array.dtype in _STORAGES and array.dtype.kind not in "iu":
        return array.astype(np.int8 if _STORAGES[array.dtype][1] else np.uint8)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{label} must be an array of integers, got {array.dtype}")
    return array


def _check_fits(levels: Array, bits: int) -> None:
    """Refuse the first integer beyond the bits: as levels with a sign if any has one, else without."""
    if not levels.size:
        return
    low = -(2 ** (bits - 1)) if levels.min() < 0 else 0
    high = low + 2**bits - 1
    if levels.min() >= low and levels.max() <= high:
        return
    index = tuple(int(one) for one in np.argwhere((levels < low) | (levels > high))[0])
    kind = "with a sign" if low else "without a sign"
    what = f"an integer of {bits} bit{'s' if bits > 1 else ''} {kind}"
    raise ValueError(f"{what} is {low} to {high}, got {levels[index]} at index {index}")


def _checked_bits(bits: Any) -> int:
    number = operator.index(bits)
    if number not in _BITS:
        raise ValueError(f"bits must be 1, 2 or 4, got {bits}")
    return number


def _checked_n(n: Any) -> int:
    number = operator.index(n)
    if number < 0:
        raise ValueError(f"n must not be negative, got {n}")
    return number


def _bytes_of(n: int, bits: int) -> int:
    return -(-n * bits // 8)


# ---- out ----


def _checked_out(out: Any) -> Array:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, got {type(out).__name__}")
    _unmasked("out", out)
    return out


def _check_place(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    place = _checked_out(out)
    if place.dtype != dtype:
        raise TypeError(f"out must be an array of {dtype}, got {place.dtype}")
    if place.shape != shape or not place.flags.writeable:
        what = "" if place.flags.writeable else ", which is read-only"
        raise ValueError(f"out must be a writable array of shape {shape}, got shape {place.shape}{what}")


def _place(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], read: Array) -> Array:
    """out if it is contiguous and apart from what is read, else a new array."""
    if out is None:
        return np.empty(shape, dtype)
    _check_place(out, shape, dtype)
    contiguous: bool = out.flags.c_contiguous and not np.may_share_memory(out, read)
    return out if contiguous else np.empty(shape, dtype)


def _placed(place: Array, out: Any) -> Array:
    if out is None or out is place:
        return place
    np.copyto(out, place)
    return out  # type: ignore[no-any-return]


def _given(out: Any, result: Array) -> Any:
    """The result, in out if there is one."""
    if out is None:
        return result if result.ndim else result[()]
    _check_place(out, result.shape, result.dtype)
    np.copyto(out, result)
    return out
