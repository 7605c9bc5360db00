"""ONNX's: QuantizeLinear, then DequantizeLinear, as ONNX Runtime computes them.

Arithmetic: x / scale, correctly rounded. Rounding: half to even. NaN: the first level, its mask False. Infinities
clamp. Zero point: an integer of the type that is stored, whose whole range is the grid; added after rounding. There is
no gradient in ONNX: the straight-through one is here. The source is the operators' specification and
onnxruntime/core/mlas/lib/quantize.cpp.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

import fq
from fq.dialects._shared import Array, backward, read, to_the_first_level

__all__ = ["backward", "dequantize", "fake_quantize", "forward", "quantize"]


def quantize(x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """What QuantizeLinear gives.

    Parameters
    ----------
    x : array_like of float32 or float16
    scale : array_like of real numbers
        Positive; it broadcasts into x.
    zero_point : array_like of integers
        Its type is that of the result, unless dtype is given.
    dtype : dtype, optional
        int8, uint8, int16 or uint16, or int4, uint4, int2 or uint2 of ml_dtypes.

    Returns
    -------
    q : ndarray of that type

    Examples
    --------
    >>> import numpy as np
    >>> quantize(np.float32([0.3, np.nan, 99.0]), 0.25, np.uint8(128))
    array([129,   0, 255], dtype=uint8)
    """
    x, kind, qmin, qmax = _read(x, zero_point, dtype)
    q = fq.quantize(x, scale, np.asarray(zero_point).astype(np.int64), qmin, qmax, kind)
    with np.errstate(all="ignore"):
        is_nan = np.isnan(x)
    return np.where(is_nan, np.asarray(qmin).astype(kind), q) if is_nan.any() else q


def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike) -> Array:
    """What DequantizeLinear gives.

    Parameters
    ----------
    q : array_like of integers
    scale, zero_point
        As for `quantize`.

    Returns
    -------
    y : ndarray of float32

    Examples
    --------
    >>> import numpy as np
    >>> dequantize(np.uint8([129, 0, 255]), 0.25, np.uint8(128))
    array([  0.25, -32.  ,  31.75], dtype=float32)
    """
    y: Array = fq.dequantize(np.asarray(q), scale, np.asarray(zero_point).astype(np.int64))
    return y


def fake_quantize(x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike | None = None) -> Array:
    """`dequantize` of `quantize`, in one pass.

    Parameters
    ----------
    x, scale, zero_point, dtype
        As for `quantize`.

    Returns
    -------
    y : ndarray of the type of x

    Examples
    --------
    >>> import numpy as np
    >>> fake_quantize(np.float32([0.3, np.nan, 99.0]), 0.25, np.uint8(128))
    array([  0.25, -32.  ,  31.75], dtype=float32)
    """
    return forward(x, scale, zero_point, dtype)[0]


def forward(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike | None = None
) -> tuple[Array, NDArray[np.bool_]]:
    """The same, and which elements were inside the range.

    Parameters
    ----------
    x, scale, zero_point, dtype
        As for `quantize`.

    Returns
    -------
    y : ndarray of the type of x
    mask : ndarray of bool

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.float32([0.3, np.nan, 99.0]), 0.25, np.uint8(128))[1]
    array([ True, False, False])
    """
    x, _, qmin, qmax = _read(x, zero_point, dtype)
    level = np.asarray(zero_point).astype(np.int64)
    y, mask = fq.forward(x, scale, level, qmin, qmax)
    return to_the_first_level(y, x, scale, level, qmin), mask


def _read(x: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike | None) -> tuple[Array, Any, int, int]:
    """x, the type that is stored, and its ends."""
    kind = np.dtype(np.asarray(zero_point).dtype if dtype is None else dtype)
    if kind.kind not in "iu" and "int" not in kind.name:
        raise TypeError(f"zero_point must be of the type that is stored, as np.int8(0), got {kind}")
    digits = "".join(one for one in kind.name if one.isdigit())
    bits, signed = int(digits), not kind.name.startswith("u")
    if bits > 16:
        raise TypeError(f"ONNX stores integers of 2 to 16 bits, got {kind}; give dtype, or a zero_point as np.int8(0)")
    low = -(2 ** (bits - 1)) if signed else 0
    return read(x, "float32", "float16"), kind, low, low + 2**bits - 1
