"""The arguments of fq.dask's functions: refused at once where they are in memory, and their names and shapes."""

from typing import Any

import dask.array as da
import numpy as np

import fq
from fq import _core, _errors
from fq.dask._blocks import array_of, is_lazy
from fq.learnable import broadcasts_into

LEVELS = "zero_point", "qmin", "qmax"
PARAMETERS = "scale", *LEVELS


def functions(reciprocal: bool) -> Any:
    """The module whose functions are meant."""
    return fq.reciprocal if reciprocal else fq


def names(name: str) -> list[str]:
    """The names of the arguments of a function that is a row."""
    row = _core.operations()[name]
    return row["inputs"] + row["parameters"]


def tried(
    name: str,
    reciprocal: bool,
    inputs: list[Any],
    parameters: tuple[Any, ...],
    *more: Any,
    least: int = 0,
    into: bool = False,
) -> Any:
    """The results of NumPy's function for zeros: what it refuses is refused before there is a graph.

    Of parameters that are Dask arrays nothing is known but the type. least: so many axes the zeros have. into: whether
    the parameters must broadcast into x, and not only against it.
    """
    x = inputs[-1]
    for label, one in zip(PARAMETERS, parameters, strict=False):
        shape, of_x = np.shape(one), np.shape(x)
        if into and not broadcasts_into(shape, of_x):
            raise ValueError(_errors.misfit(label, shape, of_x, "broadcast into"))
        if not _errors.broadcast_together(shape, of_x):
            raise ValueError(_errors.misfit(label, shape, of_x))
    known = _with_values(parameters)
    shape = np.broadcast_shapes(*(np.shape(one) for one in known), (1,) * least)
    zeros = [np.zeros(shape, da.asarray(one).dtype if is_lazy(one) else np.asarray(one).dtype) for one in inputs]
    return getattr(functions(reciprocal), name)(*zeros, *known, *more)


def _with_values(parameters: tuple[Any, ...]) -> list[Any]:
    """The parameters, with values that are not refused in the place of those that are not known yet."""
    scale, *levels = parameters
    some = next((one for one in levels if not is_lazy(one)), 0)
    known = [np.ones((), scale.dtype) if is_lazy(scale) else scale]
    return known + [_as_type(some, one.dtype) if is_lazy(one) else one for one in levels]


def _as_type(level: Any, dtype: np.dtype[Any]) -> Any:
    """The level, or the nearest one that the type has."""
    if dtype.kind in "iu":
        level = np.clip(level, max(np.iinfo(dtype).min, -(2**63)), min(np.iinfo(dtype).max, 2**63 - 1))
    return np.asarray(level).astype(dtype)


def with_an_axis(name: str, given: Any) -> da.Array:
    """A Dask array, whose last axis is packed or cut."""
    array = array_of(name, given)
    if not array.ndim:
        raise ValueError(f"{name} must have an axis, the last one being packed: np.atleast_1d({name})")
    return array


def rows_of(ends: tuple[Any, ...]) -> list[Any]:
    """qmin and qmax, of which a row has one value, with an axis for the elements of the row."""
    return [(one if is_lazy(one) else np.asarray(one))[..., np.newaxis] if np.ndim(one) else one for one in ends]


def broadcast(x: da.Array, parameters: tuple[Any, ...]) -> da.Array:
    """x, of the shape of all together."""
    shape = np.broadcast_shapes(x.shape, *(np.shape(one) for one in parameters))
    return x if shape == x.shape else da.broadcast_to(x, shape)
