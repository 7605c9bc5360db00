"""fq.blocks in plain NumPy, block by block as the standards say: fq.reference.blocks."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq._reference_floats import round_to
from fq.formats import BlockFormat, e4m3fn

__all__ = ["forward"]

Array = NDArray[Any]


def forward(
    x: ArrayLike, format: BlockFormat, *, axis: int = -1, tensor_scale: float = 1.0
) -> tuple[Array, NDArray[np.bool_], Array]:
    """y, the mask, and the scale of each block.

    Parameters
    ----------
    x, format, axis
        As for `fq.blocks.forward`.
    tensor_scale : float
        Of scales of E4M3; here it is always given.

    Returns
    -------
    y : array of the type of x
    mask : array of bool
    scales : array of float32 or float64
        With ceil(n / block) in the place of the axis.
    """
    from fq.reference import _native, _type_computed_in

    x = _native(x)
    compute = _type_computed_in(x)
    rows = np.moveaxis(x, axis, -1).astype(compute)
    n, grid = rows.shape[-1], format.grid
    blocks = -(-n // format.block)
    with np.errstate(all="ignore"):
        padded = np.zeros((*rows.shape[:-1], blocks * format.block), compute)
        padded[..., :n] = rows
        padded = padded.reshape(*rows.shape[:-1], blocks, format.block)
        amax = abs(padded).max(-1) if padded.size else np.zeros(padded.shape[:-1], compute)
        scales = (_e4m3 if format.scale == "e4m3" else _power_of_two)(amax, format, compute(tensor_scale))
        points = round_to(padded / scales[..., np.newaxis], grid.mantissa_bits, grid.min_exponent)
        mask = abs(points) <= grid.max
        y = np.clip(points, -grid.max, grid.max) * scales[..., np.newaxis]
        y = np.copysign(y, padded) if grid.signed_zero else y
    y, mask = (
        np.moveaxis(one.reshape(*rows.shape[:-1], blocks * format.block)[..., :n], -1, axis) for one in (y, mask)
    )
    with np.errstate(all="ignore"):
        y = y.astype(x.dtype)
        return y if grid.signed_zero else y + x.dtype.type(0), mask, np.moveaxis(scales, -1, axis)


def _power_of_two(amax: Array, format: BlockFormat, _: Any) -> Any:
    """2**k by the rule, NaN where amax is none or infinite."""
    largest, compute = format.grid.max, amax.dtype.type
    least = np.frexp(largest)[1] - 1
    k = np.frexp(amax)[1].astype(np.int64) - 1 - least
    if format.rule != "floor":
        fraction = np.ldexp(amax, -k)  # exact, between 2**least and twice that
        rounded = round_to(fraction, format.grid.mantissa_bits, format.grid.min_exponent)
        k += (rounded if format.rule == "fit" else fraction) > largest
    k = np.where(amax == 0, -127, np.clip(k, -127, 127))
    return np.where(np.isfinite(amax), np.ldexp(compute(1), k), compute(np.nan))


def _e4m3(amax: Array, format: BlockFormat, tensor_scale: Any) -> Any:
    """b * tensor_scale, with b = amax / (max * tensor_scale) in E4M3."""
    compute = amax.dtype.type
    b = round_to(amax / (compute(format.grid.max) * tensor_scale), e4m3fn.mantissa_bits, e4m3fn.min_exponent)
    b = np.clip(b, compute(2.0**-9), compute(e4m3fn.max))
    return np.where(np.isfinite(amax), b * tensor_scale, compute(np.nan))
