"""What the dialects share: x as they take it, and the gradient by a mask."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import fq
from fq._errors import in_memory

Array = NDArray[Any]


def read(x: ArrayLike, *types: str) -> Array:
    """x as an array of one of these types, or a TypeError."""
    array = np.asarray(in_memory(x))
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype.name not in types:
        raise TypeError(f"x must be {' or '.join(types)}, got {array.dtype}; convert it: .astype(np.float32)")
    return array


def to_the_first_level(y: Array, x: Array, scale: Any, zero_point: Any, qmin: Any) -> Array:
    """y, in which NaN has become the first level, as of a conversion to integers that clamps."""
    with np.errstate(all="ignore"):
        is_nan = np.isnan(x)
        if is_nan.any():
            first = (np.asarray(qmin) - np.asarray(zero_point)).astype(np.float32) * np.asarray(scale, np.float32)
            y = np.where(is_nan, first.astype(y.dtype), y)
    return y


def backward(dy: ArrayLike, mask: ArrayLike) -> Array:
    """dy where the mask is True, 0 elsewhere: `fq.backward`.

    Parameters
    ----------
    dy : array_like of float16, bfloat16, float32 or float64
    mask : array_like of bool
        As `forward` gave it.

    Returns
    -------
    dx : ndarray of the type of dy
    """
    return fq.backward(dy, mask)
