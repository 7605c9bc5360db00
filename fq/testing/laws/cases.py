"""The inputs from which laws choose theirs.

The inputs of a law are of one kind, so that a candidate which goes wrong on one kind breaks the law that names it and
no other: values of which the laws are not about ties stay away from them, and a scale is a power of two wherever the
quotient's rounding is another law's matter. Short arrays are repeated to 64 elements, since lengths have their law too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fq.qparams import QParams
from fq.testing.laws.law import Cases
from fq.testing.strategies import arrays_for, broadcast_qparams, qparams, type_named
from fq.testing.subject import Array, Case, Supports

__all__ = [
    "BLOCK",
    "ENDS",
    "FINITE",
    "all_of",
    "at_an_end",
    "away_from_an_end",
    "away_from_ties",
    "beside_ties",
    "between_the_ends",
    "channels",
    "drawn",
    "ends_of",
    "levels_of",
    "levels_that_16_bits_hold",
    "many_levels",
    "normal",
    "of_all_types",
    "of_type",
    "outside",
    "within_the_ends",
]

BLOCK = 64  # elements: no vector loop leaves a tail
FINITE = ("ordinary", "level", "tie", "end", "past an end", "end tie", "beside an end tie", "beyond", "near zero")
ENDS = ("end", "past an end", "end tie", "beside an end tie", "beyond")

Keep = Callable[[Array, QParams], Any]


def drawn(
    kinds: Sequence[str],
    *,
    scales: str = "ordinary",
    zero_points: str = "zero",
    dtype: str | None = None,
    ranges: Callable[[int, int], bool] | None = None,
    keep: Keep | None = None,
    run: int | None = None,
) -> Cases:
    """Cases of values of these kinds, and with `run` of consecutive levels to so many beyond the ends; those for which
    keep(x, grid) is True, repeated to a block."""

    @st.composite
    def cases(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
        name = dtype or supports.dtypes[0]
        usable = [one for one in supports.ranges if ranges is None or ranges(*one)] or [supports.ranges[0]]
        which = zero_points if supports.zero_points else "zero"
        grid = draw(qparams(name, scales=scales, zero_points=which, ranges=usable))
        assume(arithmetic == "divide" or np.isfinite(1 / grid.scale))
        x = draw(arrays_for(grid, name, kinds=kinds))
        if run is not None:
            x = np.concatenate([x, _run_of_levels(draw, grid, x.dtype, run)])
        if keep is not None:
            x = x[keep(x, grid)]
        assume(x.size > 0)
        return Case(np.resize(x, -(-x.size // BLOCK) * BLOCK), grid)

    return cases


def ends_of(grid: QParams) -> tuple[int, int]:
    """The first and last level less zero_point."""
    return int(grid.qmin - grid.zero_point), int(grid.qmax - grid.zero_point)


def _run_of_levels(draw: st.DrawFn, grid: QParams, dtype: Any, beyond: int) -> Any:
    """Consecutive levels, all by the same part of a step beside."""
    low, high = ends_of(grid)
    low, high = low - beyond, high + beyond
    first = draw(st.integers(low, max(low, high - 55)))
    levels = np.arange(first, min(first + 56, high + 1)) + draw(st.integers(-25, 25)) / 64
    return (levels.astype(type(grid.scale)) * grid.scale).astype(dtype)


def levels_of(x: Array, grid: QParams) -> tuple[Array, int, int]:
    """x / scale, nearly, and the first and last level less zero_point."""
    return x.astype(np.float64) / np.float64(grid.scale), *ends_of(grid)


def all_of(*parts: Keep) -> Keep:
    """Keeps what all these keep."""
    return lambda x, grid: np.logical_and.reduce([part(x, grid) for part in parts])


def away_from_ties(x: Array, grid: QParams) -> Any:
    quotient, _, _ = levels_of(x, grid)
    return np.isfinite(x) & (np.abs(np.abs(quotient - np.rint(quotient)) - 0.5) > 0.05)


def normal(x: Array, _grid: QParams) -> Any:
    smallest = np.finfo(np.float32 if x.dtype.itemsize == 2 else x.dtype).tiny
    return np.isfinite(x * 2) & ((np.abs(x) >= smallest) | (x == 0))


def between_the_ends(x: Array, grid: QParams) -> Any:
    quotient, low, high = levels_of(x, grid)
    return np.logical_and(low < np.rint(quotient), np.rint(quotient) < high)


def at_an_end(x: Array, grid: QParams) -> Any:
    quotient, low, high = levels_of(x, grid)
    return np.isin(np.rint(quotient), (low, high))


def away_from_an_end(x: Array, grid: QParams) -> Any:
    return ~at_an_end(x, grid)


def within_the_ends(x: Array, grid: QParams) -> Any:
    quotient, low, high = levels_of(x, grid)
    return np.logical_and(low <= quotient, quotient <= high)


def outside(x: Array, grid: QParams) -> Any:
    quotient, low, high = levels_of(x, grid)
    return np.logical_or(np.rint(quotient) < low, high < np.rint(quotient))


def many_levels(qmin: int, qmax: int) -> bool:
    return qmax - qmin > 2


def levels_that_16_bits_hold(qmin: int, qmax: int) -> bool:
    return max(-qmin, qmax) <= 128


def of_type(name: str) -> Cases:
    """Values inside and outside the range, of this type."""
    return drawn(("ordinary", "end", "beyond"), dtype=name, keep=away_from_ties, run=20)


@st.composite
def of_all_types(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
    """Ordinary values of any type in two dimensions."""
    case = draw(drawn(("ordinary",), dtype=draw(st.sampled_from(supports.dtypes)))(supports, arithmetic))
    return case._replace(x=case.x.reshape(2, -1))


def beside_ties(keep: Keep | None = None) -> Cases:
    """A run of ties with a unit in the last place either side, for scales by which the quotient must be rounded."""

    @st.composite
    def cases(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
        dtype = type_named(supports.dtypes[0])
        grid = draw(qparams(dtype.name, zero_points="zero", ranges=supports.ranges))
        low, high = ends_of(grid)
        first = draw(st.integers(low, max(low, high - 32)))
        ties = (np.arange(first, min(first + 32, high)) + 0.5).astype(type(grid.scale)) * grid.scale
        ties = ties.astype(dtype)
        x = np.concatenate([ties, np.nextafter(ties, dtype.type(np.inf)), np.nextafter(ties, dtype.type(-np.inf))])
        wide = x.astype(type(grid.scale))
        quotient = wide / grid.scale if arithmetic == "divide" else wide * (1 / grid.scale)
        x = x[np.abs(quotient - np.rint(quotient)) != 0.5]
        if keep is not None:
            x = x[keep(x, grid)]
        assume(x.size > 0)
        return Case(np.resize(x, 2 * BLOCK), grid)

    return cases


@st.composite
def channels(draw: st.DrawFn, supports: Supports, _arithmetic: str) -> Case:
    """Rows or columns with a scale and zero_point each, of levels that are in range with zero_point and without:
    leaving the range is another law's matter."""
    axis = draw(st.sampled_from([0, 1]))
    shape = (2, BLOCK) if axis == 0 else (BLOCK, 2)
    kinds = "any" if supports.zero_points else "zero"
    grid = draw(
        broadcast_qparams(shape, supports.dtypes[0], axis=axis, zero_points=kinds, ranges=supports.ranges),
    )
    levels = np.resize(draw(st.lists(st.integers(grid.qmin, grid.qmax), min_size=1, max_size=8)), shape)
    moved = levels + grid.zero_point
    levels = np.where((grid.qmin <= moved) & (moved <= grid.qmax), levels, 0)
    parts = np.resize(draw(st.lists(st.integers(-25, 25), min_size=1, max_size=3)), shape) / 64
    x = (levels + parts).astype(grid.scale.dtype) * grid.scale
    return Case(x.astype(type_named(supports.dtypes[0])), grid)
