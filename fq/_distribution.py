"""The extremes and the distribution of the values of an array, over some of its axes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fq import _seen

__all__ = ["distribution", "exact_ends", "extremes", "finite_or_refused", "shape_of"]

Array = NDArray[Any]

_ROUNDING = 1 - 2.0**-40  # 0.999 of 1,000 values are 999


def finite_or_refused(values: Array, nonfinite: str) -> Array:
    """The values, none of which is NaN or infinite where these are to be refused."""
    if nonfinite == "raise" and not np.isfinite(values).all():
        raise ValueError(f"{_seen.nonfinite_in(values)}; nonfinite='skip' leaves such values out")
    return values


def shape_of(values: Array, reduced: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that broadcasts against the values; () for a single set."""
    every = len(reduced) == values.ndim
    return () if every else tuple(1 if axis in reduced else n for axis, n in enumerate(values.shape))


def extremes(values: Array, reduced: tuple[int, ...]) -> tuple[Array, Array]:
    """The smallest and largest finite value of each set, in float64; NaN where there is none."""
    if values.size == 0:
        nothing = np.full(shape_of(values, reduced), np.nan)
        return nothing, nothing
    seen = _seen_of(values, reduced)
    low, high = (end.astype(np.float64).reshape(seen.shape) for end in (seen.end("low"), seen.end("high")))
    return low, high


def distribution(values: Array, reduced: tuple[int, ...]) -> _seen.Seen:
    """The finite values of each set in the bins of an observer."""
    return _seen_of(values, reduced, distribution=True)


def _seen_of(values: Array, reduced: tuple[int, ...], distribution: bool = False) -> _seen.Seen:
    kept = tuple(axis for axis in range(values.ndim) if axis not in reduced)
    return _seen.Seen.over(values, kept, distribution)


def _rows(values: Array, reduced: tuple[int, ...]) -> Array:
    """A row for each set, in float64."""
    kept = [axis for axis in range(values.ndim) if axis not in reduced]
    moved = values.transpose((*kept, *reduced))
    sets = int(np.prod([values.shape[axis] for axis in kept], dtype=np.int64))
    return moved.reshape(sets, -1).astype(np.float64)


def exact_ends(values: Array, reduced: tuple[int, ...], p: float, symmetric: bool) -> tuple[Array, Array]:
    """The ends of the range that a percentile leaves, each of them a value of its set or its negative."""
    rows = _rows(values, reduced)
    rows[~np.isfinite(rows)] = np.nan  # which are sorted to the end
    rows = np.abs(rows) if symmetric else rows
    count = (~np.isnan(rows)).sum(1)
    share = p / 100 if symmetric else (1 + p / 100) / 2
    rank = np.ceil(count * share * _ROUNDING).astype(np.int64)
    places = np.stack([count - rank, rank - 1])
    rows.partition(np.unique(places), axis=1)
    low, high = np.take_along_axis(rows, places.T, axis=1).T.reshape((2, *shape_of(values, reduced)))
    return (-high, high) if symmetric else (low, high)
