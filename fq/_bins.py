"""The distribution that an observer keeps as numbers: bins in the order of values, with their sums."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bins"]


class Bins(NamedTuple):
    """The distributions of one or more sets, the bins of each in ascending order of their values.

    Attributes
    ----------
    start : ndarray of int64, shape (sets + 1,)
        The bins of set i are ``[start[i], start[i + 1])``.
    lower, upper : ndarray of float64, shape (bins,)
        The ends of each bin, inside of the smallest and largest value of its set. Where they are equal, all of the bin
        lies at that value.
    count : ndarray of float64, shape (bins,)
        How many values lie in the bin: 1 or more.
    total, square : ndarray of float64, shape (bins,)
        The sums of x and of x**2 over the bin. Of float64, an x may be known to 2**-23 of itself only, and a sum beyond
        float64 is infinite.
    """

    start: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    count: NDArray[np.float64]  # type: ignore[assignment]
    total: NDArray[np.float64]
    square: NDArray[np.float64]
