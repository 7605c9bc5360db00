"""What an observer must have seen, in plain NumPy and exact integers."""

import numpy as np


def keys_and_rest(x):
    """The key of each element, and the 16 bits below of those types that have any."""
    bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").ravel().astype(np.uint64)
    if x.dtype.itemsize == 2:
        return bits.astype(np.int64), np.zeros(bits.shape, np.uint64)
    key, rest = (16, 0) if x.dtype.itemsize == 4 else (45, 29)
    return (bits >> np.uint64(key)).astype(np.int64), bits >> np.uint64(rest) & np.uint64(0xFFFF)


def cells_of(x):
    """{key: [count, sum, sum of squares]} of the finite elements, ascending."""
    x = np.ascontiguousarray(x).ravel()
    key, rest = keys_and_rest(x[np.isfinite(x)])
    if len(key) < 200:
        found = {}
        for one, r in zip(key.tolist(), rest.tolist(), strict=True):  # Python's integers, which never wrap
            n, s, q = found.get(one, (0, 0, 0))
            found[one] = [n + 1, s + r, q + r * r]
        return dict(sorted(found.items()))
    keys, order = np.unique(key), np.argsort(key, kind="stable")
    start = np.searchsorted(key[order], keys)
    counts = np.bincount(np.searchsorted(keys, key)).astype(np.uint64)
    columns = [counts, *(np.add.reduceat(one[order], start) for one in (rest, rest * rest))]
    return dict(zip(keys.tolist(), np.stack(columns, 1).tolist(), strict=True))


def sets_of(x, axis=None, group=None):
    """The elements of each set, in the order of the sets."""
    kept = () if axis is None else tuple(one % x.ndim for one in np.atleast_1d(axis))
    if group is not None:
        kept = (*(kept if axis is not None else range(x.ndim - 1)), x.ndim - 1)
        x = x.reshape(*x.shape[:-1], -1, group)
    others = [one for one in range(x.ndim) if one not in kept]
    moved = np.ascontiguousarray(np.transpose(x, (*sorted(kept), *others)))
    return moved.reshape(-1, int(np.prod([x.shape[one] for one in others], dtype=int)))


def assert_saw(observer, x, axis=None, group=None):
    """The observer's state is that of x, exactly."""
    with np.errstate(invalid="ignore"):  # of NaN that signal
        compare(observer.state(dense=False), x, sets_of(x, axis, group))


def compare(state, x, sets):
    wide = np.float64 if x.dtype == np.float64 else np.float32
    start, keys, cells = (state["bins"][name] for name in ("start", "keys", "cells"))
    assert start[0] == 0
    assert start[-1] == len(keys) == len(cells)
    for i, one in enumerate(sets):
        finite = one[np.isfinite(one)].astype(wide)
        low, high = (finite.min() + 0, finite.max() + 0) if finite.size else (np.inf, -np.inf)
        assert (state["min"]["low"][i], state["max"]["high"][i]) == (low, high)
        assert not np.signbit(state["min"]["low"][i]) or low < 0
        special = np.isnan(one).sum(), np.isposinf(one).sum(), np.isneginf(one).sum()
        names = ("nan", "positive_inf", "negative_inf")
        assert tuple(int(state["sum"][name][i]) for name in names) == special
        assert state["sum"]["count"][i] == finite.size
        found = slice(start[i], start[i + 1])
        width = 1 if x.dtype.itemsize == 2 else 3
        expected = {key: cell[:width] for key, cell in cells_of(one).items()}
        assert dict(zip(keys[found].tolist(), cells[found].tolist(), strict=True)) == expected
        assert keys[found].tolist() == list(expected)
