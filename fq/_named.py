"""What exporters refuse of a named tensor, before anything is written."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import fq

__all__ = ["check_numbers", "checked_grid"]


def checked_grid(name: str, grid: Any) -> fq.QParams:
    """The grid of a tensor, scale and zero_point of one shape, in the types that fq computes with."""
    try:
        scale, zero_point, qmin, qmax = grid
    except (TypeError, ValueError):
        raise TypeError(f"{name!r}: a grid must be (scale, zero_point, qmin, qmax), got {grid!r}") from None
    try:
        scale, zero_point = np.broadcast_arrays(scale, zero_point)
        fq.fake_quantize(np.zeros(scale.shape, np.float32), scale, zero_point, qmin, qmax)
        return fq.QParams(scale.astype(np.float32), zero_point.astype(np.int64), int(qmin), int(qmax))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name!r}: {error}") from None


def check_numbers(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN, which fq lets through and integers cannot."""
    wrong = np.isnan(array)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name!r} holds NaN at index {index}, which no integer stands for")
