"""Observers of the chunks of a Dask array, merged along the axes that are not kept, and joined along those that are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np

import fq
from fq._range_arguments import reduced_axes
from fq.dask._blocks import array_of, mapped, of_whole

Array = np.ndarray[Any, Any]
Settings = tuple[Any, ...]  # axis, group, distribution, nonfinite

SPLIT_EVERY = 8  # states that a task merges


def kept_axes(x: da.Array, axis: Any, group: int | None) -> tuple[int, ...]:
    """The axes along which nothing merges."""
    if group is not None and axis is None:
        return tuple(range(x.ndim))
    reduced = reduced_axes(axis, None, x.shape)
    if group is not None and x.ndim - 1 not in reduced:
        raise ValueError(f"axis {axis} must not name the last axis of x, which is cut into groups")
    kept = set(range(x.ndim)) - set(reduced)
    return tuple(sorted(kept | {x.ndim - 1} if group is not None else kept))


def cells(given: Any, axis: Any, group: int | None, settings: Settings) -> tuple[da.Array, da.Array, tuple[int, ...]]:
    """x, an array with an observer for each place of its chunks along the axes that are kept, and these axes."""
    fq.Observer(*settings)  # refuses what it refuses now, not when it is computed
    x = _without_empty_chunks(array_of("x", given))
    fq.Observer().update(np.zeros(1, x.dtype))
    kept = kept_axes(x, axis, group)
    if group is not None:
        if not x.ndim or x.shape[-1] % group:
            raise ValueError(f"the last axis of x must be whole groups of {group}, got shape {x.shape}")
        x = of_whole(x, group, "x", "whole groups")
    observed = of_blocks(partial(_observed, settings), [x])
    return x, merged(observed, kept, _merged), kept


def _without_empty_chunks(x: da.Array) -> da.Array:
    """x, whose chunks of no elements would have observers that saw nothing."""
    chunks = tuple(tuple(filter(None, sizes)) or (0,) for sizes in x.chunks)
    return x if chunks == x.chunks else x.rechunk(chunks)


def of_blocks(function: Callable[..., Any], arrays: list[da.Array]) -> da.Array:
    """An array of objects: what the function makes of each chunk."""
    ones = tuple((1,) * count for count in arrays[0].numblocks)
    (objects,) = mapped(partial(_boxed, function), arrays, [object], [ones])
    return objects


def merged(objects: da.Array, kept: tuple[int, ...], merge: Callable[[list[Any]], Any]) -> da.Array:
    """The objects merged in a tree along all axes but these."""
    reduced = tuple(axis for axis in range(objects.ndim) if axis not in kept)
    if not reduced:
        return objects
    step = partial(_merge_along, merge)
    return da.reduction(
        objects,
        *(step, step),
        combine=step,
        axis=reduced,
        keepdims=True,
        dtype=object,
        split_every=SPLIT_EVERY,
        meta=np.empty((0,) * objects.ndim, object),
    )


def joined(merged_cells: da.Array, settings: Settings) -> Any:
    """One observer, delayed, of all cells."""
    return dask.delayed(partial(_joined, settings))(merged_cells)


def _observed(settings: Settings, block: Array) -> fq.Observer:
    return fq.Observer(*settings).update(block)


def _boxed(function: Callable[..., Any], *blocks: Array) -> Array:
    box = np.empty(1, object)
    box[0] = function(*blocks)
    return box.reshape((1,) * blocks[0].ndim)


def _merge_along(merge: Callable[[list[Any]], Any], objects: Any, axis: Any, keepdims: bool) -> Array:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shape = tuple(1 if place in axes else size for place, size in enumerate(objects.shape))
    found = np.empty(shape, object)
    for place in np.ndindex(shape):
        window = tuple(slice(None) if one in axes else slice(at, at + 1) for one, at in enumerate(place))
        found[place] = merge(list(objects[window].ravel()))
    return found


def _merged(observers: list[fq.Observer]) -> fq.Observer:
    """A new one: a task must not change what another may read."""
    first, *others = observers
    if not others:
        return first
    both = first | others[0]
    for other in others[1:]:
        both.merge(other)
    return both


def _joined(settings: Settings, grid: Any) -> fq.Observer:
    """The ranges of all cells in one observer, in the order of the axes."""
    grid = np.asarray(grid, object)
    if grid.size == 1:
        return grid.item()
    seen = {place: grid[place].state(dense=False) for place in np.ndindex(grid.shape) if grid[place].dtype is not None}
    if not seen:
        return fq.Observer(*settings)
    order, shape = _places(seen)
    into = np.argsort(order)
    states = list(seen.values())
    state = states[0] | {"settings": states[0]["settings"] | {"shape": shape}}
    for op in ("sum", "min", "max"):
        state[op] = {name: np.concatenate([one[op][name] for one in states])[into] for name in states[0][op]}
    if "bins" in state:
        state["bins"] = _bins_in_order([one["bins"] for one in states], into)
    return fq.Observer.from_state(state)


def _places(seen: dict[tuple[int, ...], Any]) -> tuple[Array, tuple[int, ...]]:
    """Where each range of the cells, one after the other, lies among all, and the shape of all."""
    shapes = {place: state["settings"]["shape"] for place, state in seen.items()}
    ndim = len(next(iter(shapes.values())))
    starts: list[dict[int, int]] = []
    sizes = []
    for axis in range(ndim):
        along = dict(sorted((place[axis] if axis < len(place) else 0, shape[axis]) for place, shape in shapes.items()))
        ends = np.cumsum([0, *along.values()])
        starts.append(dict(zip(along, ends.tolist(), strict=False)))
        sizes.append(int(ends[-1]))
    everywhere = np.arange(int(np.prod(sizes))).reshape(sizes)
    order = []
    for place, shape in shapes.items():
        begins = [starts[axis][place[axis] if axis < len(place) else 0] for axis in range(ndim)]
        order.append(everywhere[tuple(slice(b, b + n) for b, n in zip(begins, shape, strict=True))].ravel())
    return np.concatenate(order), tuple(sizes)


def _bins_in_order(parts: list[dict[str, Array]], into: Array) -> dict[str, Array]:
    """The bins of ranges, brought into another order."""
    lengths = np.concatenate([np.diff(part["start"]) for part in parts])
    old = np.cumsum(lengths) - lengths
    start = np.concatenate([[0], np.cumsum(lengths[into])]).astype(np.int64)
    taken = np.repeat(old[into] - start[:-1], lengths[into]) + np.arange(start[-1])
    return {"start": start} | {
        name: np.concatenate([part[name] for part in parts])[taken] for name in ("keys", "cells")
    }


def chunks_of_ranges(x: da.Array, kept: tuple[int, ...], group: int | None) -> tuple[tuple[int, ...], ...]:
    """The chunks of arrays that have a value for each range."""
    chunks: list[tuple[int, ...]] = [sizes if axis in kept else (1,) for axis, sizes in enumerate(x.chunks)]
    if group is not None:
        chunks[-1:] = [tuple(size // group for size in x.chunks[-1]), (1,)]
    return tuple(chunks)
