"""What a candidate is given and what it gave: arrays that it may write to, and numbers of any framework."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fq._arrays import array_of, tensor_over

__all__ = ["MAKERS", "copied", "numbers"]

_MOST_ELEMENTS = 1 << 20  # no case has more than some hundred


def copied(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy with the same strides, in memory of its own.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    ndarray

    Examples
    --------
    >>> copied(np.arange(6)[::-2]).strides
    (-16,)
    """
    if not array.size:
        return array.copy()
    low, high = np.lib.array_utils.byte_bounds(array)
    offset = array.__array_interface__["data"][0] - low
    made: np.ndarray[Any, Any] = np.ndarray(
        array.shape, array.dtype, np.empty(high - low, np.uint8), offset, array.strides
    )
    made[...] = array
    return made


#: Of each framework that a candidate may be made of, by the name of its module: its arrays from NumPy's.
MAKERS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "numpy": lambda array: array,
    "torch": tensor_over,
    "jax": lambda array: sys.modules["jax"].numpy.asarray(array),
}


def numbers(found: Any) -> np.ndarray[Any, Any]:
    """What a candidate gave, as an array of real numbers in memory of its own.

    Parameters
    ----------
    found : array_like, or a tensor of any framework

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If it is something else; the message names it.

    Examples
    --------
    >>> numbers(None)
    Traceback (most recent call last):
        ...
    TypeError: NoneType
    """
    array = array_of(found)
    name = array.dtype.name if array.dtype.names is None else "structures"
    if array.dtype.kind not in "biuf" and name not in ("bfloat16", "int2", "uint2", "int4", "uint4"):
        raise TypeError(type(found).__name__ if array.dtype == object else f"{type(found).__name__} of {name}")
    if isinstance(found, np.ma.MaskedArray):
        raise TypeError("MaskedArray")
    if array.size > _MOST_ELEMENTS:
        raise TypeError(f"array of shape {array.shape}")
    return array.copy()
