"""What fq says of what it refuses: what was given, what is wanted, and the way out."""

from collections.abc import Sequence
from itertools import filterfalse
from typing import Any

import numpy as np

from fq import _core

Shape = tuple[int, ...]

_OPERATIONS = {rule: _core.operations(rule) for rule in _core.rules()}
_LEVELS = "zero_point", "qmin", "qmax", "mantissa_bits", "min_exponent"
_OF_NUMPY = "out", "where", "axes", "axis", "keepdims", "casting", "order", "dtype", "subok", "signature", "sig"


class Told(TypeError):
    """A TypeError that says all there is to say."""


def misnamed(rule: str, name: str, by_position: int, keywords: tuple[str, ...] | None) -> None:
    """The TypeError that Python raises for a function of these arguments, one of which is missing or given twice."""
    names, keywords = _names(rule, name), keywords or ()
    for word in keywords:
        if word in names[:by_position]:
            raise TypeError(f"{name}() got multiple values for argument {word!r}")
        if word not in (*names, *_OF_NUMPY):
            raise TypeError(f"{name}() got an unexpected keyword argument {word!r}")
    missing = list(map(repr, filterfalse(keywords.__contains__, names[by_position:])))
    listed = " and ".join(missing) if len(missing) < 3 else f"{', '.join(missing[:-1])}, and {missing[-1]}"
    several = "s" if len(missing) > 1 else ""
    raise TypeError(f"{name}() missing {len(missing)} required positional argument{several}: {listed}")


def check(rule: str, name: str, given: tuple[Any, ...]) -> None:
    """Refuse what NumPy would take in silence: masked arrays whose mask would be lost, and levels beyond int64."""
    operation = _OPERATIONS[rule][name]
    loses_masks = operation["reduction"] or operation["packed"]
    for label, one in zip(_names(rule, name), given, strict=True):
        if loses_masks:
            refuse_masked(label, one)
        if label in _LEVELS and not isinstance(one, int) and not _overrides(one):
            _check_level(label, one)


def _check_level(label: str, given: Any) -> None:
    try:
        levels = np.asarray(given)
    except MemoryError:
        raise
    except Exception:  # of any kind: NumPy meets it again, and says what is wrong
        return
    if levels.dtype.kind != "u" or not (beyond := levels > np.iinfo(np.int64).max).any():
        return
    index = tuple(int(one) for one in np.argwhere(beyond)[0])
    at = f" at index {index}" if levels.size > 1 else ""
    raise ValueError(f"{label} must be a level of int64, got {levels[index]}{at}")


def explain(rule: str, name: str, error: Exception, given: tuple[Any, ...], out: Any) -> Exception | None:
    """An exception to raise in the place of one that NumPy raised for a ufunc, or None."""
    way = _LAZY if rule in ("divide", "reciprocal") else f"map_blocks with {name} computes one chunk after another"
    try:
        for one in given:
            refuse_lazy(one, way)
    except TypeError as refused:
        return refused
    if any(_overrides(one) for one in given):
        return None
    operation = _OPERATIONS[rule][name]
    if isinstance(error, Told):
        return TypeError(str(error))
    if isinstance(error, TypeError):
        return _about_type(_names(rule, name), str(error), given) or _about_out(operation["outputs"], out)
    shapes = _shapes(given)
    if shapes is None:
        return None
    inputs = operation["inputs"]
    if operation["packed"]:
        for label, shape in zip(inputs, shapes, strict=False):
            if not shape:
                return ValueError(f"{label} must have an axis, the last one being packed: np.atleast_1d({label})")
    for label, shape in zip(operation["parameters"], shapes[len(inputs) :], strict=True):
        if not broadcast_together(shape, shapes[0]):
            return ValueError(misfit(label, shape, shapes[0]))
    return None


def misfit(label: str, shape: Shape, into: Shape, how: str = "broadcast against") -> str:
    """What to say of a parameter whose shape does not broadcast with that of x."""
    text = f"{label} must {how} x of shape {into}, got shape {shape}"
    if len(shape) == 1 and shape[0] in into:
        axis = into.index(shape[0])
        text += f"; one for each index of axis {axis} has shape {(*shape, *(1,) * (len(into) - axis - 1))}"
    return text


def _about_type(names: list[str], text: str, given: tuple[Any, ...]) -> Exception | None:
    """An error of the promoter, with what was given and how to convert it."""
    label, must, accepted = text.partition(" must be ")
    if not must or label not in names:
        return None
    one = given[names.index(label)]
    dtype = np.asarray(one).dtype
    got = _called(one, dtype)
    if label == "dy" and dtype.name in accepted:
        of_x = np.asarray(given[1]).dtype
        return TypeError(
            f"dy of {got} is not cast to {of_x}, the type of x, whose range is smaller: dy.astype(x.dtype)"
        )
    way = _way_out(label, dtype.kind)
    return TypeError(f"{label} must be {accepted}, got {got}{'; ' if way else ''}{way}")


def _called(given: Any, dtype: np.dtype) -> str:
    if isinstance(given, int | float | complex) and not isinstance(given, np.generic):
        return type(given).__name__
    names = {np.str_: "str", np.bytes_: "bytes", np.void: "a structure"}
    return names.get(dtype.type, str(dtype))


def _way_out(label: str, kind: str) -> str:
    if label in ("x", "dy"):
        return "take its .real and its .imag one by one" if kind == "c" else "convert it: .astype(np.float32)"
    if label in _LEVELS and kind == "f":
        return "round it, then .astype(int), or int() of a number"
    return "convert it: .astype(bool)" if label in ("mask", "signed_zero") and kind in "iu" else ""


def _about_out(outputs: list[str], out: Any) -> Exception | None:
    if len(outputs) == 1 or not isinstance(out, np.ndarray):
        return None
    nones = ", ".join("None" for _ in outputs[1:])
    return TypeError(
        f"out must be a tuple of {len(outputs)}: out=({', '.join(outputs)}) or out=({outputs[0]}, {nones})"
    )


def _names(rule: str, name: str) -> list[str]:
    return _OPERATIONS[rule][name]["inputs"] + _OPERATIONS[rule][name]["parameters"]


def refuse_masked(label: str, given: Any) -> None:
    """TypeError for a masked array, whose mask would be lost."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(
            f"{label} must not be a masked array, whose mask would be lost: {label}.filled(value) or {label}.data"
        )


def in_memory(given: Any) -> np.ndarray[Any, Any]:
    """What is given as an array of NumPy, or of a class of it."""
    refuse_lazy(given)
    return np.asanyarray(given)


_LAZY = "fq.dask has the same function chunk by chunk"


def refuse_lazy(given: Any, way: str = _LAZY) -> None:
    """TypeError for a collection of Dask, which would be computed whole, in memory."""
    graph = getattr(type(given), "__dask_graph__", None)
    if graph is not None and graph(given) is not None:
        lazy = type(given).__name__
        raise TypeError(f"a lazy {lazy} would be computed whole, in memory: {way}, or give what its compute() returns")


def _overrides(given: Any) -> bool:
    """Whether an argument says itself what a ufunc does with it."""
    return hasattr(type(given), "__array_ufunc__") and not isinstance(given, np.ndarray | np.generic)


def _shapes(given: tuple[Any, ...]) -> list[Shape] | None:
    try:
        return [np.shape(one) for one in given]
    except ValueError:  # lists of unequal lengths
        return None


def broadcast_shapes(shapes: Sequence[Shape]) -> Shape:
    """As np.broadcast_shapes, which stops at 32 axes, where arrays have up to 64."""
    axes = max(map(len, shapes))
    by_axis = zip(*((1,) * (axes - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(np.broadcast_shapes(*lengths)[0] for lengths in by_axis)


def broadcast_together(shape: Shape, other: Shape) -> bool:
    """Whether arrays of these shapes broadcast."""
    return all(a == b or 1 in (a, b) for a, b in zip(shape[::-1], other[::-1], strict=False))
