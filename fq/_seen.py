"""What an observer saw, as arrays that are never changed; how two of them merge, and what follows from one."""

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq import _core
from fq._bins import Bins
from fq._errors import in_memory

Array = NDArray[Any]
Shape = tuple[int, ...]

_MOST_IN_A_BIN = 2**32  # the sum of so many squares of 16-bit numbers fits uint64
_COPY = 2**22  # elements whose axes are put in another order at a time
_KINDS = "nan", "positive_inf", "negative_inf"


class Sets(NamedTuple):
    """Which elements share a range."""

    axes: Shape | None
    group: int | None

    @classmethod
    def of(cls, axis: Any, group: Any) -> Self:
        given = axis if isinstance(axis, tuple) else () if axis is None else (axis,)
        axes = tuple(sorted(_integer(one, "axis must be an integer or a tuple of them") for one in given))
        if len(set(axes)) < len(axes):
            raise ValueError(f"axis must not name an axis twice, got {axis}")
        size = None if group is None else _integer(group, "group must be an integer")
        if size is not None and size < 1:
            raise ValueError(f"group must be positive, got {group}")
        return cls(None if axis is None or not (axes or size) else axes, size)

    def view(self, x: Array) -> tuple[Array, Shape]:
        """x with its groups as an axis, and the axes of that along which each place has a range."""
        axes = self._axes(x)
        if self.group is None:
            return x, axes
        if x.ndim == 0 or x.shape[-1] % self.group:
            raise ValueError(f"groups of {self.group} must divide the last axis of x, which has shape {x.shape}")
        if self.axes is None:
            axes = tuple(range(x.ndim - 1))
        elif x.ndim - 1 in axes:
            raise ValueError(
                f"axis {self.axes} must not name the last of the {x.ndim} axes of x, which is cut into groups"
            )
        return x.reshape(*x.shape[:-1], x.shape[-1] // self.group, self.group), (*axes, x.ndim - 1)

    def _axes(self, x: Array) -> Shape:
        axes = tuple(sorted(one + x.ndim * (one < 0) for one in self.axes or ()))
        if axes and not 0 <= axes[0] <= axes[-1] < x.ndim:
            raise ValueError(f"axis {self.axes} must lie within the axes of x, which has shape {x.shape}")
        if len(set(axes)) < len(axes):
            raise ValueError(f"axis {self.axes} names an axis of x twice, which has shape {x.shape}")
        return axes


class Seen(NamedTuple):
    """What was seen of a number of arrays. The bins of set i are [start[i], start[i + 1]), their keys ascending."""

    dtype: np.dtype[Any]
    kept: Shape
    shape: Shape  # of results, one for each set
    elements: int  # of each set
    low: Array
    high: Array
    special: tuple[Array, ...] | None  # counts of NaN, inf and -inf; None where all are 0
    bins: tuple[Array, Array, Array] | None  # start, keys, cells

    @classmethod
    def of(cls, x: Array, sets: Sets, distribution: bool) -> Self:
        return cls.over(*sets.view(x), distribution)

    @classmethod
    def over(cls, view: Array, kept: Shape, distribution: bool) -> Self:
        """What each place along the axes that are kept has."""
        shape = shape_of(view, kept)
        low, high, special = _core._extremes(view, _flags(view, kept))
        seen = cls(view.dtype, kept, shape, view.size // len(low), low, high, special, None)
        return seen._replace(bins=seen._checked(_distribution(view, kept))) if distribution else seen

    def kinds(self) -> tuple[Array, ...]:
        """How many NaN, inf and -inf there are in each set."""
        return self.special or (np.broadcast_to(np.uint64(0), self.low.shape),) * 3

    def finite(self) -> Array:
        """How many finite elements there are in each set."""
        return np.full(self.low.shape, self.elements, np.uint64) - sum(self.kinds())

    def end(self, name: str) -> Array:
        """The smallest or largest values, NaN of a set without any."""
        end: Array = getattr(self, name)
        return np.where(np.isfinite(end), end, end.dtype.type(np.nan))

    def merged(self, other: "Seen", name: str) -> "Seen":
        self.refuse_unlike(other.dtype, other.kept, other.shape, name)
        special = self.special or other.special
        if self.special and other.special:
            special = tuple(a + b for a, b in zip(self.special, other.special, strict=True))
        both = self._replace(
            elements=self.elements + other.elements,
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
            special=special,
        )
        if self.bins is None or other.bins is None:
            return both
        return both._replace(bins=both._checked(_core._merge_bins(*self.bins, *other.bins)))

    def refuse_unlike(self, dtype: np.dtype[Any], kept: Shape, shape: Shape, name: str) -> None:
        """Refuses another type, or other sets."""
        if dtype != self.dtype:
            raise TypeError(f"{name} is of {dtype}, but the observer saw {self.dtype}: .astype the one or the other")
        if (kept, shape) != (self.kept, self.shape):
            raise ValueError(f"{name} has ranges of shape {shape}, but those that the observer saw have {self.shape}")

    def _checked(self, bins: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """The bins, refused where a sum of squares may have wrapped around."""
        cells = bins[2]
        if cells.shape[1] > 1 and self.elements > _MOST_IN_A_BIN and (cells[:, 0] > _MOST_IN_A_BIN).any():
            raise OverflowError("an observer counts at most 2**32 values in a bin: use Observer(distribution=False)")
        return bins

    def arrays(self, dense: bool) -> dict[str, dict[str, Array]]:
        """The arrays of `Observer.state`."""
        counts = dict(zip(_KINDS, map(np.array, self.kinds()), strict=True))
        found = {"sum": {"count": self.finite()} | counts, "min": {"low": self.low + 0}, "max": {"high": self.high + 0}}
        if self.bins is None:
            return found
        start, keys, cells = self.bins
        if not dense:
            return found | {"bins": {"start": start.copy(), "keys": keys.copy(), "cells": cells.copy()}}
        found["sum"]["bins"] = np.zeros((len(self.low), keys_of(self.dtype), cells.shape[1]), np.uint64)
        found["sum"]["bins"][set_of_bins(start), keys] = cells
        return found

    @classmethod
    def from_arrays(cls, settings: dict[str, Any], state: dict[str, Any], distribution: bool) -> Self:
        """What `arrays` gave, or the sum of several of them."""
        types = {known.name: known for known in _core.types()}
        if (name := settings["dtype"]) not in types:
            raise TypeError(f"the state is of {name}, a type that is not known here")
        dtype, ends = types[name], np.float64 if name == "float64" else np.float32
        shape, kept = (tuple(int(i) for i in settings[name]) for name in ("shape", "kept"))
        if any(n < 1 or (n > 1 and axis not in kept) for axis, n in enumerate(shape)) or bool(shape) != bool(kept):
            raise ValueError(f"the state's shape {shape} is none of ranges along the axes {kept}")
        sets = int(np.prod(shape, dtype=np.int64))
        low, high = _taken(state["min"]["low"], ends, (sets,)), _taken(state["max"]["high"], ends, (sets,))
        count, *kinds = (_taken(state["sum"][name], np.uint64, (sets,)) for name in ("count", *_KINDS))
        elements = count + sum(kinds)
        is_range = np.where(
            count > 0, (-np.inf < low) & (low <= high) & (high < np.inf), (low == np.inf) & (high == -np.inf)
        )
        if (elements != elements[0]).any() or not is_range.all():
            raise ValueError("the state's counts and ends do not fit each other")
        special = tuple(kinds) if any(kind.any() for kind in kinds) else None
        seen = cls(dtype, kept, shape, int(elements[0]), low, high, special, None)
        return seen._with_bins_of(state) if distribution else seen

    def _with_bins_of(self, state: dict[str, Any]) -> Self:
        """With the distribution of a state, in which the ends lie."""
        seen = self._replace(bins=self._checked(_bins_of_state(state, self.dtype, self.finite())))
        assert seen.bins is not None
        start, cells = seen.bins[0], seen.bins[2]
        limits = (np.full(len(self.low), end) for end in (-np.inf, np.inf))
        lower, upper = _core._values_of_bins(self.dtype, *seen.bins, *limits)[:2]
        some = start[:-1] < start[1:]
        for end, at in ((self.low, start[:-1]), (self.high, start[1:] - 1)):
            place = at[some]
            if not ((lower[place] <= end[some]) & (end[some] <= upper[place])).all():
                raise ValueError("the state's bins do not fit its ends")
        if not _are_possible(cells):
            raise ValueError("the state's bins do not fit any values")
        return seen


def _are_possible(cells: Array) -> bool:
    """Whether there are values with these counts, sums of 16 bits and sums of their squares."""
    n, *sums = (column.astype(np.float64) for column in cells.T)
    if (n == 0).any() or not sums:
        return not (n == 0).any()
    s, q = sums
    single = (n > 1) | (cells[:, 2] == cells[:, 1] * cells[:, 1])
    slack = 1 - 2.0**-40
    return bool((single & (s <= n * 65535) & (q <= s * 65535) & (q * n >= s * s * slack)).all())


def _taken(array: ArrayLike, dtype: Any, shape: Shape) -> Array:
    """An array of a state, of its own memory."""
    taken = np.array(array, dtype, order="C", copy=True)
    if taken.shape != shape:
        raise ValueError(f"an array of the state has shape {taken.shape}, where {shape} is expected")
    return taken


def _bins_of_state(state: dict[str, Any], dtype: np.dtype[Any], count: Array) -> tuple[Array, Array, Array]:
    sets, width = len(count), 1 if dtype.itemsize == 2 else 3
    if "bins" in state["sum"]:
        dense = _taken(state["sum"]["bins"], np.uint64, (sets, keys_of(dtype), width))
        where, keys = np.nonzero(dense[..., 0])
        start, cells = np.searchsorted(where, np.arange(sets + 1)), dense[where, keys]
    else:
        given = state["bins"]
        start = _taken(given["start"], np.int64, (sets + 1,))
        keys = _taken(given["keys"], np.uint32, (len(given["keys"]),))
        cells = _taken(given["cells"], np.uint64, (len(keys), width))
    bins = start.astype(np.int64), keys.astype(np.uint32), np.ascontiguousarray(cells)
    empty = np.zeros(sets + 1, np.int64), bins[1][:0], bins[2][:0]
    bins = _core._merge_bins(*bins, *empty)  # which refuses starts that are none
    where = set_of_bins(bins[0])
    ids = where * keys_of(dtype) + bins[1]
    counted = np.bincount(where, bins[2][:, 0], sets).astype(np.uint64)
    if (np.diff(ids) <= 0).any() or (bins[1] >= keys_of(dtype)).any() or (counted != count).any():
        raise ValueError("the state's bins do not fit its counts")
    return bins


# ---- Arrays ----


def checked(x: ArrayLike) -> Array:
    """x as an aligned array of a type of fq in the machine's byte order."""
    if np.ma.isMaskedArray(x):
        raise TypeError("x must not be a masked array, whose mask would be lost: x.compressed() or x.filled(value)")
    array = np.asarray(in_memory(x))
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _core.types():
        way = "take its .real and its .imag one by one" if dtype.kind == "c" else "convert it: .astype(np.float32)"
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {array.dtype}; {way}")
    return array if array.flags.aligned and array.dtype.isnative else array.astype(dtype)


def nonfinite_in(x: Array) -> str:
    """What to say of NaN and infinities that are refused."""
    with np.errstate(invalid="ignore"):  # of NaN that signal
        wrong = ~np.isfinite(x)
    index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), x.shape))
    return f"x must be finite, got {x[index]} at index {index}, the first of {np.count_nonzero(wrong)}"


def shape_of(view: Array, kept: Shape) -> Shape:
    """The shape that broadcasts against the view; () for a single set."""
    return tuple(n if axis in kept else 1 for axis, n in enumerate(view.shape)) if kept else ()


def _flags(view: Array, kept: Shape) -> tuple[bool, ...]:
    return tuple(axis in kept for axis in range(view.ndim))


def _distribution(view: Array, kept: Shape) -> tuple[Array, Array, Array]:
    found = None
    for part, axes in _by_sets(view, kept):
        bins = _core._distribution(part, _flags(part, axes))
        found = bins if found is None else _core._merge_bins(*found, *bins)
    assert found is not None
    return found


def _by_sets(view: Array, kept: Shape) -> Iterator[tuple[Array, Shape]]:
    """The view, or copies of its parts in which the elements of a set lie together; and the axes that are kept."""
    steps = [
        (abs(view.strides[axis]), axis) for axis in range(view.ndim) if view.shape[axis] > 1 and view.strides[axis]
    ]
    reduced = [axis for axis in range(view.ndim) if axis not in kept]
    if not steps or min(steps)[1] not in kept or all(view.shape[axis] == 1 for axis in reduced):
        yield view, kept
        return
    long = max(reduced, key=lambda axis: view.shape[axis])
    step = max(1, _COPY // (view.size // view.shape[long]))
    for start in range(0, view.shape[long], step):
        part = view[(slice(None),) * long + (slice(start, start + step),)]
        part = np.ascontiguousarray(part.transpose(*kept, *reduced)).reshape(*(view.shape[a] for a in kept), -1)
        yield part, tuple(range(len(kept)))


# ---- Bins ----


def keys_of(dtype: np.dtype[Any]) -> int:
    return 2**19 if dtype.itemsize == 8 else 2**16


def set_of_bins(start: Array) -> Array:
    return np.repeat(np.arange(len(start) - 1), np.diff(start))


class Parts(NamedTuple):
    """The bins as numbers: x is sign * (base + unit * r), r the 16 bits whose sums s and q they hold; n: how many."""

    where: Array  # the set
    sign: Array
    base: Array
    unit: Array
    n: Array
    s: Array
    q: Array


def parts_of(seen: Seen) -> Parts:
    assert seen.bins is not None
    start, keys, cells = seen.bins
    where, n = set_of_bins(start), cells[:, 0].astype(np.float64)
    half = np.uint32(keys_of(seen.dtype) // 2)
    sign, size = np.where(keys < half, 1.0, -1.0), keys % half
    if cells.shape[1] == 1:
        base, zeros = size.astype(np.uint16).view(seen.dtype).astype(np.float64), np.zeros(len(keys))
        return Parts(where, sign, base, zeros, n, zeros, zeros)
    exponent = np.maximum((size >> 7).astype(np.int64), 1)
    if seen.dtype.itemsize == 8:
        base, unit = (size.astype(np.uint64) << np.uint64(45)).view(np.float64), np.ldexp(1.0, exponent - 1046)
    else:
        base, unit = (size << np.uint32(16)).view(np.float32).astype(np.float64), np.ldexp(1.0, exponent - 150)
    return Parts(where, sign, base, unit, n, cells[:, 1].astype(np.float64), cells[:, 2].astype(np.float64))


def mean_and_deviation(seen: Seen) -> tuple[Array, Array]:
    """Of the finite values of each set, NaN where there are none."""
    parts, count = parts_of(seen), seen.finite().astype(np.float64)
    low, high = (np.where(count > 0, end, 0).astype(np.float64) for end in (seen.low, seen.high))
    # Each set by a power of two, so that no square overflows or vanishes.
    shift = np.frexp(np.maximum(-low, high))[1]
    with np.errstate(under="ignore"):
        base, unit = (np.ldexp(part, -shift[parts.where]) for part in (parts.base, parts.unit))
        at = parts.sign * (base + unit * (parts.s / parts.n))
        inside = unit * unit * np.maximum(parts.q - parts.s * (parts.s / parts.n), 0)

        def over(values: Array) -> Array:
            sums = np.bincount(parts.where, values, len(count))
            return np.where(count > 0, sums / np.maximum(count, 1), np.nan)

        mean = np.clip(np.ldexp(over(parts.n * at), shift), low, high)
        apart = at - np.ldexp(mean, -shift)[parts.where]
        return mean, np.ldexp(np.sqrt(over(parts.n * apart * apart + inside)), shift)


def order_of(seen: Seen) -> Array:
    """The places of the bins in the order of values: of each set those below zero, from the last on, then the rest."""
    assert seen.bins is not None
    start, keys, _ = seen.bins
    n, is_negative = np.diff(start), keys >= keys_of(seen.dtype) // 2
    before = np.concatenate([[0], np.cumsum(is_negative)])
    negative = np.repeat(before[start[1:]] - before[start[:-1]], n)
    first, at = np.repeat(start[:-1], n), np.arange(len(keys))
    i = at - first
    order: Array = np.where(i < negative, first + np.repeat(n, n) - 1 - i, at - negative)
    return order


def bins_of(seen: Seen) -> Bins:
    """The distribution in the order of values."""
    kept = bins_with_ends(seen)
    return Bins(kept[0], *_core._values_of_bins(seen.dtype, *kept))


def bins_with_ends(seen: Seen) -> tuple[Array, Array, Array, Array, Array]:
    """The bins as C takes them: with the smallest and largest value of each set."""
    assert seen.bins is not None
    return *seen.bins, seen.low.astype(np.float64), seen.high.astype(np.float64)


def _integer(value: Any, must: str) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{must}, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{must}, got {value!r}") from None
