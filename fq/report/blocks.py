"""An array in pieces that stay in the cache, so that memory does not grow with it."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fq.report.tensors import Array

__all__ = ["Blocks"]

_BLOCK = 1 << 16  # elements worked on at once
_OF_A_SCALE = 32  # elements that share a scale in float formats
_ROWS = 1 << 12  # and rows, for each of which there are many sums


class Blocks:
    """An array as rows, one for each output channel, in contiguous pieces of float32 (or of float64).

    NaN and infinities are read as 0.0, which makes no noise. Values whose squares float32 cannot hold are divided by
    `unit`, a power of two.
    """

    def __init__(self, array: Array, axis: int, group: int) -> None:
        self._rows = np.moveaxis(array, axis, 0) if array.ndim > 1 else array.reshape(1, -1)
        self.count = len(self._rows)
        self.length = array.size // self.count
        self._step = min(max(1, _BLOCK // self.length), _ROWS)
        unit = math.lcm(group, _OF_A_SCALE)
        self._width = self.length if self.length <= _BLOCK else max(1, _BLOCK // unit) * unit
        self._dtype: type[np.floating[Any]] = np.float64 if array.dtype.itemsize >= 8 else np.float32
        self.finite, self.unit = True, 1.0

    @property
    def piece_type(self) -> type[np.floating[Any]]:
        """float32 or float64."""
        return np.float64 if self.unit != 1.0 else self._dtype

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        for rows, pieces in self.strips():
            for piece in pieces():
                yield rows, piece

    def strips(self) -> Iterator[tuple[slice, Callable[[], Iterator[Array]]]]:
        """(which rows, a function that gives their pieces), as often as that function is called."""
        for start in range(0, self.count, self._step):
            rows = slice(start, min(start + self._step, self.count))
            flat = self._rows[rows].reshape(rows.stop - start, -1)
            whole = [self._converted(flat)] if self._width == self.length else []
            yield rows, partial(iter, whole) if whole else partial(self._cut, flat)

    def _cut(self, flat: Array) -> Iterator[Array]:
        for start in range(0, self.length, self._width):
            yield self._converted(flat[:, start : start + self._width])

    def _converted(self, piece: Array) -> Array:
        with np.errstate(over="ignore"):  # beyond float64
            converted = np.ascontiguousarray(piece, self._dtype)
        if not self.finite:
            converted = np.nan_to_num(converted, nan=0.0, posinf=0.0, neginf=0.0)
        if self.unit != 1.0:
            converted = np.divide(converted, self.unit, dtype=np.float64)
        return converted
