"""Strategies of grids and of the values on which fake quantization goes wrong; all shrink to short, readable cases."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fq.qparams import QParams

__all__ = ["KINDS", "RANGES", "SCALES", "TYPES", "arrays_for", "broadcast_qparams", "qparams", "type_named"]

TYPES = ("float16", "bfloat16", "float32", "float64")
# Simplest first: hypothesis shrinks towards the first.
RANGES = (
    (-8, 7),
    (0, 15),
    (-2, 1),
    (0, 1),
    (-127, 127),
    (-128, 127),
    (0, 255),
    (-32768, 32767),
    (0, 65535),
)
_HIGH = st.booleans().map(lambda low: not low)  # True is the simpler


def type_named(name: str) -> np.dtype[Any]:
    """The dtype, of `ml_dtypes` where NumPy has none.

    Parameters
    ----------
    name : str
        float16, bfloat16, float32 or float64.

    Returns
    -------
    numpy.dtype

    Examples
    --------
    >>> type_named("float16")
    dtype('float16')
    """
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    return np.dtype(name)


def _type_computed_in(dtype: np.dtype[Any]) -> Any:
    return np.float64 if dtype == np.float64 else np.float32


def _scale_strategies(compute: Any) -> dict[str, st.SearchStrategy[float]]:
    """Strategies of floats by what a scale can be."""
    info = np.finfo(compute)
    exact = st.sampled_from([1.0, 0.5, 0.25, 2.0, 4.0, 0.125])
    inexact = st.sampled_from([0.1, 0.3, 1.1, 0.7, 1 / 3, 0.05])
    exponents = [info.minexp, info.minexp + 1, info.maxexp - 3, info.minexp // 2, info.maxexp // 2]
    extreme = [mantissa * 2.0**exponent for mantissa in (1.0, 1.25) for exponent in exponents]
    steps = [2.0 ** (info.nmant - n) for n in (0, 2, 13)] + [3.0, 1.0]
    return {
        "exact": exact,
        "ordinary": exact | inexact | st.floats(2.0**-6, 16.0, width=32),
        "extreme": st.sampled_from(extreme),
        "subnormal": st.sampled_from([n * float(info.smallest_subnormal) for n in steps]),
    }


_SCALES: dict[Any, dict[str, st.SearchStrategy[float]]] = {
    compute: _scale_strategies(compute) for compute in (np.float32, np.float64)
}
SCALES = tuple(_SCALES[np.float32])


def _zero_point(draw: st.DrawFn, which: str, qmin: int, qmax: int) -> Any:
    """A zero point within the range: 0 where it can be, any, any but 0, or an odd one."""
    nearest = min(max(0, qmin), qmax)
    if which == "zero" or (which == "any" and draw(_HIGH)):
        return nearest
    found = draw(st.integers(qmin, qmax))
    assume(which == "any" or (found != 0 if which == "other" else found % 2 == 1))
    return found


@st.composite
def qparams(
    draw: st.DrawFn,
    dtype: str = "float32",
    *,
    scales: str = "ordinary",
    zero_points: str = "any",
    ranges: Sequence[tuple[int, int]] = RANGES,
) -> QParams:
    """Grids: `fq.QParams` of numbers.

    Parameters
    ----------
    dtype : str
        The type of x, which decides the type of scale: float16, bfloat16, float32 or float64.
    scales : str
        "exact" for powers of two, by which a quotient is exact; "ordinary"; "extreme" for normal numbers near both
        ends of the type; "subnormal".
    zero_points : str
        "zero" for 0, or the level of the range nearest to it; "any"; "other" for any but 0; "odd".
    ranges : sequence of (int, int)
        The pairs of qmin and qmax to choose from, the simplest first.

    Returns
    -------
    hypothesis strategy of fq.QParams

    Examples
    --------
    >>> from hypothesis import find
    >>> find(qparams(), lambda grid: grid.zero_point > 2)
    QParams(scale=np.float32(1.0), zero_point=3, qmin=-8, qmax=7)
    """
    compute = _type_computed_in(type_named(dtype))
    qmin, qmax = draw(st.sampled_from(ranges))
    return QParams(compute(draw(_SCALES[compute][scales])), _zero_point(draw, zero_points, qmin, qmax), qmin, qmax)


@st.composite
def broadcast_qparams(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    dtype: str = "float32",
    *,
    axis: int | None = None,
    scales: str = "ordinary",
    zero_points: str = "any",
    ranges: Sequence[tuple[int, int]] = RANGES,
) -> QParams:
    """Grids whose scale and zero_point are arrays that broadcast against arrays of a shape.

    Parameters
    ----------
    shape : tuple of int
        The shape of x.
    dtype, scales, zero_points, ranges
        As for `qparams`; qmin and qmax are numbers.
    axis : int, optional
        The only axis along which they vary, as frameworks have it. By default any of them may be broadcast.

    Returns
    -------
    hypothesis strategy of fq.QParams

    Examples
    --------
    >>> from hypothesis import find
    >>> find(broadcast_qparams((2, 3), axis=0), lambda grid: True).scale
    array([[1.],
           [1.]], dtype=float32)
    """
    first = draw(qparams(dtype, scales=scales, zero_points=zero_points, ranges=ranges))
    compute = type(first.scale)
    lengths: tuple[int, ...]
    if axis is None:
        lengths = tuple(draw(st.sampled_from([n, 1])) for n in shape)
    else:
        lengths = tuple(n if a == axis % len(shape) else 1 for a, n in enumerate(shape))
    count = int(np.prod(lengths, initial=1))
    some = [draw(_SCALES[compute][scales]) for _ in range(count)]
    moved = [_zero_point(draw, zero_points, first.qmin, first.qmax) for _ in range(count)]
    scale = np.array(some, compute).reshape(lengths)
    return QParams(scale, np.array(moved, np.int64).reshape(lengths), first.qmin, first.qmax)


class _Grid(NamedTuple):
    """A grid as its values are made from it: the first and last level less zero_point, and the types."""

    scale: Any
    low: int
    high: int
    compute: Any
    dtype: np.dtype[Any]


def _placed(grid: _Grid, level: int, part: float, steps: int) -> Any:
    """level + part, in steps of the grid, and so many units in the last place beside."""
    x = grid.dtype.type(grid.compute(level + part) * grid.scale)
    for _ in range(abs(steps)):
        x = np.nextafter(x, grid.dtype.type(np.copysign(np.inf, steps)))
    return x


_FRACTIONS = st.sampled_from([0.0, *(sign * n / 64 for n in range(1, 26) for sign in (1, -1))])
_OUTWARDS = st.integers(0, 25).map(lambda n: n / 64)
_SMALL = st.sampled_from([sign * 2.0**-n for n in (2, 5, 20) for sign in (1, -1)])
_HALVES = st.sampled_from([0.5, -0.5])
_BESIDE = st.sampled_from([1, -1])
_AT_OR_BESIDE = st.sampled_from([0, 1, -1])
_FURTHER = st.integers(1, 20)
_MULTIPLES = st.sampled_from([1.0, -1.0, 3.0, -3.0, 100.0, -100.0])
_EXPONENTS = st.sampled_from([31, 32, 33, 40, 53, 62, 63, 64, 65, 80, 100, 1023])


def _level(draw: st.DrawFn, grid: _Grid) -> int:
    return draw(st.integers(grid.low, grid.high))


def _outwards(draw: st.DrawFn, grid: _Grid, part: float, steps: int = 0) -> Any:
    """Beyond the last level, or before the first, by so much."""
    return _placed(grid, grid.high, part, steps) if draw(_HIGH) else _placed(grid, grid.low, -part, -steps)


def _tie(draw: st.DrawFn, grid: _Grid) -> Any:
    return _placed(grid, draw(st.integers(grid.low, max(grid.low, grid.high - 1))), 0.5, 0)


def _end(draw: st.DrawFn, grid: _Grid) -> Any:
    return _placed(grid, grid.high if draw(_HIGH) else grid.low, 0, draw(_AT_OR_BESIDE))


def _tiny(draw: st.DrawFn, grid: _Grid) -> Any:
    smallest = np.finfo(grid.dtype if grid.dtype == np.float16 else grid.compute).smallest_subnormal
    return grid.dtype.type(draw(_MULTIPLES) * float(smallest))


def _huge(draw: st.DrawFn, grid: _Grid) -> Any:
    """Finite values whose levels no integer type holds."""
    largest = float(np.finfo(grid.compute).max) if grid.dtype.itemsize > 2 else 3e4
    x = min(2.0 ** draw(_EXPONENTS) * float(grid.scale), largest)
    return grid.dtype.type(x if draw(_HIGH) else -x)


_VALUES: dict[str, Callable[[st.DrawFn, _Grid], Any]] = {
    "level": lambda draw, grid: _placed(grid, _level(draw, grid), 0, 0),
    "ordinary": lambda draw, grid: _placed(grid, _level(draw, grid), draw(_FRACTIONS), 0),
    "tie": _tie,
    "beside a level": lambda draw, grid: _placed(grid, _level(draw, grid), 0, draw(_BESIDE)),
    "beside a tie": lambda draw, grid: _placed(grid, _level(draw, grid), draw(_HALVES), draw(_BESIDE)),
    "end": _end,
    "past an end": lambda draw, grid: _outwards(draw, grid, draw(_OUTWARDS)),
    "end tie": lambda draw, grid: _outwards(draw, grid, 0.5),
    "beside an end tie": lambda draw, grid: _outwards(draw, grid, 0.5, draw(_BESIDE)),
    "beyond": lambda draw, grid: _outwards(draw, grid, draw(_FURTHER) + draw(_FRACTIONS)),
    "zero": lambda draw, grid: grid.dtype.type(0.0 if draw(_HIGH) else -0.0),
    "near zero": lambda draw, grid: _placed(grid, 0, draw(_SMALL), 0),
    "subnormal": _tiny,
    "huge": _huge,
    "infinite": lambda draw, grid: grid.dtype.type(np.inf if draw(_HIGH) else -np.inf),
    "nan": lambda draw, grid: grid.dtype.type(np.nan if draw(_HIGH) else -np.nan),
}
#: Names of the kinds of values that `arrays_for` draws.
KINDS = tuple(_VALUES)


@st.composite
def _values(draw: st.DrawFn, grid: _Grid, kinds: st.SearchStrategy[str]) -> Any:
    return _VALUES[draw(kinds)](draw, grid)


@st.composite
def arrays_for(
    draw: st.DrawFn, grid: QParams, dtype: str = "float32", *, kinds: Sequence[str] = KINDS, max_size: int = 8
) -> np.ndarray[Any, Any]:
    """Short arrays of the values where bugs live on a grid: its ties, its ends, zeros, subnormals, infinities, NaN.

    Parameters
    ----------
    grid : fq.QParams
        Of numbers, as `qparams` draws them.
    dtype : str
        The type of the array.
    kinds : sequence of str
        Which values, of `KINDS`: a level, an ordinary one, a tie between two levels, a unit in the last place
        beside either; an end, past it by less than half a step, a tie there, beside that tie, and beyond; zero of
        either sign, near zero, subnormal, huge, infinite and NaN.
    max_size : int
        The most elements; the fewest is 1.

    Returns
    -------
    hypothesis strategy of 1-d arrays

    Examples
    --------
    >>> from hypothesis import find
    >>> import fq
    >>> grid = fq.QParams(0.5, 0, -8, 7)
    >>> find(arrays_for(grid, kinds=["tie"]), lambda x: x.max() > 1)
    array([1.25], dtype=float32)
    """
    of = type_named(dtype)
    compute = _type_computed_in(of)
    low, high = (int(end - grid.zero_point) for end in (grid.qmin, grid.qmax))
    with np.errstate(all="ignore"):
        one = _values(_Grid(compute(grid.scale), low, high, compute, of), st.sampled_from(kinds))
        return np.array(draw(st.lists(one, min_size=1, max_size=max_size)), of)
