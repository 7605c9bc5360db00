"""Functions of NumPy's arrays over the chunks of Dask's: aligned, with types given, and errors that name the chunk."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from operator import itemgetter
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.core import PerformanceWarning, unify_chunks

Chunks = tuple[tuple[int, ...], ...]


def array_of(name: str, given: Any) -> da.Array:
    """What is given, as a Dask array of known chunks."""
    array = da.asarray(given)
    if any(np.isnan(size) for sizes in array.chunks for size in sizes):
        raise ValueError(f"{name} has chunks of unknown size: call {name}.compute_chunk_sizes() first")
    return array


def operand(name: str, given: Any) -> Any:
    """Likewise, but a number stays one."""
    return given if is_number(given) else array_of(name, given)


def is_number(given: Any) -> bool:
    """Whether it is one value in memory."""
    return not is_lazy(given) and np.ndim(given) == 0


def is_lazy(given: Any) -> bool:
    """Whether it is a collection of Dask, or holds one."""
    return dask.is_dask_collection(given)


def aligned(operands: Sequence[Any]) -> list[Any]:
    """Operands that broadcast, with the same chunks along each axis."""
    arrays = [one for one in operands if isinstance(one, da.Array)]
    pairs = [part for array in arrays for part in (array, tuple(range(-array.ndim, 0)))]
    chunked = iter(unify_chunks(*pairs)[1])
    return [next(chunked) if isinstance(one, da.Array) else one for one in operands]


def chunked_as(x: da.Array, operands: Sequence[Any]) -> list[Any]:
    """Operands that broadcast against x, with the chunks of x."""
    return [
        one.rechunk({axis: x.chunks[axis - one.ndim] for axis, size in enumerate(one.shape) if size > 1})
        if isinstance(one, da.Array)
        else one
        for one in operands
    ]


def mapped(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    dtypes: Sequence[Any],
    chunks: Sequence[Chunks | None] | None = None,
) -> tuple[da.Array, ...]:
    """The results of a function for each chunk of operands that are aligned, one Dask array for each type.

    chunks has those of a result where they are not the arrays' own.
    """
    chunks = [None] * len(dtypes) if chunks is None else chunks
    told = partial(_in_chunk, function)
    if len(dtypes) == 1:
        return (_map(told, arrays, dtypes[0], chunks[0]),)
    together = _map(told, arrays, object, None)
    return tuple(_map(itemgetter(i), [together], dtype, chunks[i]) for i, dtype in enumerate(dtypes))


def _map(function: Any, operands: Sequence[Any], dtype: Any, chunks: Chunks | None) -> da.Array:
    inputs = max(one.ndim for one in operands if isinstance(one, da.Array))
    ndim = inputs if chunks is None else len(chunks)
    more: dict[str, Any] = {} if chunks is None else {"chunks": chunks}
    if ndim > inputs:
        more["new_axis"] = list(range(inputs, ndim))
    return da.map_blocks(function, *operands, dtype=dtype, meta=np.empty((0,) * ndim, dtype), **more)


def _in_chunk(function: Callable[..., Any], *blocks: Any, block_info: Any = None) -> Any:
    """The function of blocks; what it refuses is told with the place of the chunk."""
    try:
        return function(*blocks)
    except (TypeError, ValueError, OverflowError) as error:
        if not block_info:
            raise
        place = block_info[0]
        index = tuple(map(int, place["chunk-location"]))
        spans = ", ".join(f"{start}:{stop}" for start, stop in place["array-location"])
        raise type(error)(f"in chunk {index}, [{spans}]: {error}") from error


def of_whole(x: da.Array, size: int, name: str, what: str) -> da.Array:
    """x with chunks along the last axis that are multiples of size but for the last; a warning where x has others."""
    sizes = x.chunks[-1]
    if all(one % size == 0 for one in sizes[:-1]):
        return x
    total = x.shape[-1]
    ends = sorted({min(total, -(-end // size) * size) for end in accumulate(sizes)})
    whole = tuple(end - start for start, end in zip([0, *ends], ends, strict=False) if end > start)
    warnings.warn(
        f"{name} is rechunked along its last axis to {what}: chunks of a multiple of {size} would spare that",
        PerformanceWarning,
        stacklevel=4,
    )
    return x.rechunk({x.ndim - 1: whole or (0,)})
