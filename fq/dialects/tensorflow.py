"""TensorFlow's: ``tf.quantization.fake_quant_with_min_max_vars`` and, with ends that broadcast, ``..._per_channel``.

Arithmetic: float32, of a range that is nudged so that 0.0 is a level; the clamped x less the first value, divided by
scale. Rounding: half up, floor(q + 1/2) in float32. NaN stays NaN. Infinities clamp. Zero point: the one nearest to
quant_min - min / scale, halves away from zero, clamped to the range. Gradient: dy where x lies within the nudged ends,
which lie on levels: half a step at either end has none, unlike in `fq`. TensorFlow takes subnormal numbers for 0; here
they are kept. The source is tensorflow/core/kernels/fake_quant_ops_functor.h.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq.dialects._shared import Array, backward, read

__all__ = ["backward", "fake_quantize", "forward", "nudged"]


def nudged(min: ArrayLike, max: ArrayLike, num_bits: int = 8, narrow_range: bool = False) -> tuple[Any, Any, Any]:
    """The ends and the scale that TensorFlow makes of a range.

    Parameters
    ----------
    min, max : array_like of float32
        min <= 0 <= max, as TensorFlow advises.
    num_bits : int
        2 to 16.
    narrow_range : bool
        Whether the first of 2**num_bits levels is left out.

    Returns
    -------
    low, high, scale : float32, or arrays of it

    Examples
    --------
    >>> low, high, scale = nudged(-1.0, 1.0, 2)
    >>> low.item(), round(high.item(), 4), round(scale.item(), 4)
    (-1.3333333730697632, 0.6667, 0.6667)
    """
    if isinstance(num_bits, bool) or not 2 <= num_bits <= 16:
        raise ValueError(f"num_bits must lie within [2, 16], got {num_bits!r}")
    first, last = np.float32(1 if narrow_range else 0), np.float32(2**num_bits - 1)
    low, high = np.asarray(min, np.float32), np.asarray(max, np.float32)
    if not (np.all(low < high) and np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
        raise ValueError(f"min must be less than max, and both finite, got {low} and {high}")
    scale = (high - low) / (last - first)
    from_low = first - low / scale
    away = np.trunc(from_low) + (abs(from_low - np.trunc(from_low)) >= 0.5) * np.sign(from_low)
    zero_point = np.where(from_low < first, first, np.where(from_low > last, last, away)).astype(np.float32)
    return (first - zero_point) * scale, (last - zero_point) * scale, scale


def fake_quantize(x: ArrayLike, min: ArrayLike, max: ArrayLike, num_bits: int = 8, narrow_range: bool = False) -> Array:
    """What ``tf.quantization.fake_quant_with_min_max_vars`` gives.

    Parameters
    ----------
    x : array_like of float32
    min, max, num_bits, narrow_range
        As for `nudged`; min and max broadcast into x.

    Returns
    -------
    y : ndarray of float32

    Examples
    --------
    >>> import numpy as np
    >>> fake_quantize(np.float32([0.3, 9.0]), -6.0, 6.0, 2).tolist()
    [0.0, 4.0]
    """
    return forward(x, min, max, num_bits, narrow_range)[0]


def forward(
    x: ArrayLike, min: ArrayLike, max: ArrayLike, num_bits: int = 8, narrow_range: bool = False
) -> tuple[Array, NDArray[np.bool_]]:
    """The same, and where the gradient passes.

    Parameters
    ----------
    x, min, max, num_bits, narrow_range
        As for `fake_quantize`.

    Returns
    -------
    y : ndarray of float32
    mask : ndarray of bool

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.float32([0.3, 9.0]), -6.0, 6.0, 2)[1].tolist()
    [True, False]
    """
    x = read(x, "float32")
    low, high, scale = nudged(min, max, num_bits, narrow_range)
    half = np.float32(0.5)
    with np.errstate(all="ignore"):
        clamped = np.maximum(np.minimum(x, high), low)
        zero = np.floor(-low / scale + half)
        y = np.floor((clamped - low) / scale - zero + half) * scale
    return np.asarray(y, np.float32), (low <= x) & (x <= high)
