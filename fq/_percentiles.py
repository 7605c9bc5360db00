"""Percentiles of what an observer saw: from its bins, or exactly with the same arrays once more."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fq._seen import Array, Seen, Sets, bins_of, checked, keys_of, order_of, set_of_bins, shape_of

_CHUNK = 2**20  # elements that NumPy works on at a time


def percentiles(seen: Seen, p: Array, sets: Sets, data: Iterable[ArrayLike] | None) -> Array:
    """Of shape (sets, len(p))."""
    count = seen.finite().astype(np.int64)
    at = (count - 1)[:, None] * (p / 100)
    before = np.floor(at).astype(np.int64)
    ranks = np.concatenate([before, np.minimum(before + 1, (count - 1)[:, None])], axis=1)
    exact = data is not None and seen.dtype.itemsize > 2
    found = _exact(seen, ranks, sets, data) if exact else _interpolated(seen, ranks)  # type: ignore[arg-type]
    for rank, end in ((ranks == 0, seen.low), (ranks == (count - 1)[:, None], seen.high)):
        found = np.where(rank, end[:, None].astype(np.float64), found)
    a, b, t = found[:, : len(p)], found[:, len(p) :], at - before
    with np.errstate(all="ignore"):
        between = np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t))  # as NumPy does
        return np.where(np.isfinite(between), between, a * (1 - t) + b * t)


class _Found(NamedTuple):
    """Where order statistics lie: the bin, counted in the order of values, and the place in it."""

    bin: Array
    place: Array


def _find(seen: Seen, order: Array, ranks: Array) -> _Found:
    assert seen.bins is not None
    counts = seen.bins[2][order, 0].astype(np.int64)
    up_to = np.cumsum(counts)
    before = np.concatenate([[0], up_to])
    at = before[seen.bins[0][:-1], None] + ranks
    bin = np.searchsorted(up_to, at, side="right")
    return _Found(bin, at - before[bin])


def _interpolated(seen: Seen, ranks: Array) -> Array:
    """Order statistics, as if the values of a bin were spread evenly over it."""
    bins = bins_of(seen)
    found = _find(seen, order_of(seen), ranks)
    lower, upper, n = (values[found.bin] for values in bins[1:4])
    with np.errstate(over="ignore", under="ignore"):
        return lower + (upper - lower) * ((found.place + 0.5) / n)


def _exact(seen: Seen, ranks: Array, sets: Sets, data: Iterable[ArrayLike]) -> Array:
    """Order statistics from the values of the bins that they lie in."""
    assert seen.bins is not None
    start, keys, cells = seen.bins
    order, bits = order_of(seen), 8 * seen.dtype.itemsize
    found, rest = _find(seen, order, ranks), bits - (19 if bits == 64 else 16)
    wanted = np.unique(found.bin)
    ids = (set_of_bins(start) * keys_of(seen.dtype) + keys)[order[wanted]]
    values, counts = _values_in(seen, ids, rest, sets, data)
    in_bin = np.bincount((values >> np.uint64(rest)).astype(np.int64), counts, len(wanted)).astype(np.uint64)
    if (in_bin != cells[order[wanted], 0]).any():
        raise ValueError("data must be the arrays that the observer saw, with the values that they had")
    up_to = np.cumsum(counts)
    which = np.searchsorted(wanted, found.bin)
    before = np.concatenate([[0], np.cumsum(in_bin.astype(np.int64))])[which]
    value = values[np.searchsorted(up_to, before + found.place, side="right")]
    key, mask = keys[order[wanted]][which].astype(np.uint64), np.uint64(2**rest - 1)
    low = np.where(key >= np.uint64(keys_of(seen.dtype) // 2), ~value, value) & mask
    pattern: Array = key << np.uint64(rest) | low
    found_values: Array = pattern.astype(f"u{bits // 8}").view(seen.dtype).astype(np.float64)
    return found_values


def _values_in(seen: Seen, ids: Array, rest: int, sets: Sets, data: Iterable[ArrayLike]) -> tuple[Array, Array]:
    """The values in bins of these ids, as place of the id << rest | bits below, ascending; and their counts."""
    by_id = np.argsort(ids)
    values, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for view, where in _parts_of(seen, sets, data):
        pattern = view.view(f"u{view.dtype.itemsize}").astype(np.uint64)
        key = pattern >> np.uint64(rest)
        low = pattern & np.uint64(2**rest - 1)
        low = np.where(key >= np.uint64(keys_of(seen.dtype) // 2), ~pattern & np.uint64(2**rest - 1), low)
        found = where * keys_of(seen.dtype) + key.astype(np.int64)
        place = np.minimum(np.searchsorted(ids, found, sorter=by_id), len(ids) - 1)
        is_in = ids[by_id[place]] == found
        new, times = np.unique(
            by_id[place[is_in]].astype(np.uint64) << np.uint64(rest) | low[is_in], return_counts=True
        )
        values, inverse = np.unique(np.concatenate([values, new]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([counts, times]), len(values)).astype(np.int64)
    return values, counts


def _parts_of(seen: Seen, sets: Sets, data: Iterable[ArrayLike]) -> Iterator[tuple[Array, Array]]:
    """The arrays again, some elements at a time, and the set of each."""
    for given in data:
        x = checked(given)
        if x.size == 0:
            continue
        view, kept = sets.view(x)
        seen.refuse_unlike(x.dtype, kept, shape_of(view, kept), "an array of data")
        along = tuple(n if axis in kept else 1 for axis, n in enumerate(view.shape))
        where = np.broadcast_to(np.arange(len(seen.low)).reshape(along), view.shape)
        step = max(1, _CHUNK // (view.size // len(view))) if view.ndim else 1
        for start in range(0, len(view) if view.ndim else 1, step):
            part = np.s_[start : start + step] if view.ndim else ()
            yield np.ascontiguousarray(view[part]).ravel(), where[part].ravel()
