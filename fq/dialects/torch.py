"""PyTorch's: ``torch.fake_quantize_per_tensor_affine`` and, with arrays that broadcast, ``..._per_channel_affine``.

Arithmetic: x * (1 / scale), where 1 / scale is rounded to float32, for float64 too; the level times scale in float32.
Rounding: half to even. NaN: the first level, its mask False. Infinities clamp. Zero point: an integer within
[quant_min, quant_max], added after rounding. Gradient: dy * mask. The source is
aten/src/ATen/native/quantized/cpu/kernels/QuantizedOpKernels.cpp.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fq
from fq.dialects._shared import Array, backward, read, to_the_first_level

__all__ = ["backward", "fake_quantize", "forward"]


def fake_quantize(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, quant_min: ArrayLike, quant_max: ArrayLike
) -> Array:
    """What ``torch.fake_quantize_per_tensor_affine`` gives.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
    scale : array_like of float32
        Positive. A scale per channel is one that broadcasts; PyTorch takes it as a vector and an axis.
    zero_point, quant_min, quant_max : array_like of integers
        As of `fq.fake_quantize`.

    Returns
    -------
    y : ndarray of the type of x

    Examples
    --------
    >>> import numpy as np
    >>> fake_quantize(np.float32([0.3, np.nan, 9.0]), 0.25, 0, -8, 7)
    array([ 0.25, -2.  ,  1.75], dtype=float32)
    """
    return forward(x, scale, zero_point, quant_min, quant_max)[0]


def forward(
    x: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, quant_min: ArrayLike, quant_max: ArrayLike
) -> tuple[Array, NDArray[np.bool_]]:
    """The same, and the mask of ``torch.ops.aten.fake_quantize_per_tensor_affine_cachemask``.

    Parameters
    ----------
    x, scale, zero_point, quant_min, quant_max
        As for `fake_quantize`.

    Returns
    -------
    y : ndarray of the type of x
    mask : ndarray of bool

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.float32([0.3, np.nan, 9.0]), 0.25, 0, -8, 7)[1]
    array([ True, False, False])
    """
    x = read(x, "float16", "bfloat16", "float32", "float64")
    scale = np.asarray(scale, np.float32)
    with np.errstate(all="ignore"):
        overflows = np.isinf(np.float32(1) / scale).any()
    if x.dtype == np.float64 or overflows:
        y, mask = _by_formula(x, scale, zero_point, quant_min, quant_max)
    else:
        y, mask = fq.reciprocal.forward(x, scale, zero_point, quant_min, quant_max)
    return to_the_first_level(y, x, scale, zero_point, quant_min), mask


def _by_formula(x: Array, scale: Array, zero_point: Any, qmin: Any, qmax: Any) -> tuple[Array, Any]:
    """With scale, 1 / scale and y in float32, and 1 / scale may overflow, which `fq.reciprocal` refuses."""
    fq.fake_quantize(np.zeros((), np.float32), scale, zero_point, qmin, qmax)
    low, high = (np.asarray(end) - np.asarray(zero_point) for end in (qmin, qmax))
    compute = np.float64 if x.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        level = np.rint(x.astype(compute) * (np.float32(1) / scale).astype(compute))
        clamped = np.where(np.isnan(level), low, np.clip(level, low, high))
        y = clamped.astype(np.float32) * scale
        return (y + np.float32(0)).astype(x.dtype), (low <= level) & (level <= high)
