"""What the gradient checks take: a user's functions, x, dy and a grid, and what is said of those that will not do."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq._arrays import taking_numpy, to_numpy
from fq.learnable import broadcasts_into
from fq.qparams import _first, _place
from fq.reference import _TYPE_NAMES, _TYPES

Array = NDArray[Any]

_ARRAYS = {"forward": ("x",), "backward": ("dy", "x")}


class Broken(Exception):
    """A candidate raised, or gave what is no gradient; the message tells which."""


class Candidate:
    """A user's function: called with arrays, and what it gives is taken for nothing but a gradient."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._takes = f"{name}({', '.join([*_ARRAYS[name], 'scale', 'zero_point', 'qmin', 'qmax'])})"
        self._refuse_uncallable(function)
        self._function = taking_numpy(function)

    def gradient(self, name: str, arrays: tuple[Array, ...], qparams: Any) -> Array:
        """y or dx in float64, of the shape of the last array."""
        given = self._called(arrays, qparams)
        first = given[0] if isinstance(given, tuple) and given else given
        return _of_shape(name, first, arrays[-1].shape, arrays[-1].dtype)

    def parameter_gradients(
        self, arrays: tuple[Array, ...], qparams: Any, shapes: tuple[tuple[int, ...], ...]
    ) -> list[Array]:
        """dscale and dzero_point in float64, of these shapes."""
        given = self._called(arrays, qparams)
        if not isinstance(given, tuple) or len(given) < 3:
            raise Broken(f"{self._name} must give (dx, dscale, dzero_point), got {_kind(given)}")
        names = "the gradient of scale", "the gradient of zero_point"
        return [_of_shape(*one) for one in zip(names, given[1:3], shapes, strict=True)]

    def _called(self, arrays: tuple[Array, ...], qparams: Any) -> Any:
        try:
            return to_numpy(self._function(*(np.asarray(one) for one in arrays), *qparams))
        except Exception as error:  # a function of another library may raise anything
            told = " ".join(str(error).split())
            raise Broken(f"{self._takes} raised {type(error).__name__}: {told[:300]}") from error

    def _refuse_uncallable(self, function: Any) -> None:
        if not callable(function):
            raise TypeError(f"{self._name} must be a function, got {function!r}")
        number = len(_ARRAYS[self._name]) + 4
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # one in C may have none, and a ufunc has none before NumPy 2.4
            fewest, most = getattr(function, "nin", number), getattr(function, "nargs", number)
            fits, told = fewest <= number <= most, f"{fewest} to {most} arguments"
        else:
            fits, told = _binds(signature, number), str(signature)
        if not fits:
            called = getattr(function, "__name__", type(function).__name__)
            masks = "; a backward of a mask is given as lambda dy, x, *qparams: backward(dy, forward(x, *qparams)[1])"
            raise TypeError(
                f"the check calls {self._takes}, but {called} takes {told}{masks * (self._name == 'backward')}"
            )


def _binds(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def _kind(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype}, shape {given.shape}"
    return "None" if given is None else f"a tuple of {len(given)}"


def _of_shape(name: str, given: Any, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
    """A gradient in float64; of a type as precise as dtype, if that is given."""
    if not isinstance(given, np.ndarray) or not _is_floating(given.dtype):
        raise Broken(f"{name} must be of a floating type, got {_kind(given)}")
    if given.shape != shape:
        raise Broken(f"{name} must have the shape {shape}, got {given.shape}")
    if dtype is not None and epsilon(given.dtype) > epsilon(dtype):
        raise Broken(f"{name} must be as precise as x, of {dtype}, got {given.dtype}")
    return given.astype(np.float64)


def refuse(message: str, given: ArrayLike, wrong: Any) -> None:
    if np.any(wrong):
        raise ValueError(f"{message}, got {_first(given, wrong)}{_place(wrong)}")


def numbers_of(name: str, given: ArrayLike) -> Array:
    """An array of real numbers."""
    array = np.asarray(given)
    if not (array.dtype.kind in "biu" or _is_floating(array.dtype)):
        raise TypeError(f"{name} must be real numbers, got {array.dtype}")
    return array


def floating(x: ArrayLike) -> Array:
    x = np.asarray(x)
    if x.dtype.name not in _TYPES:
        raise TypeError(f"x must be of a floating type: {_TYPE_NAMES}, got {x.dtype}")
    return x.astype(x.dtype.newbyteorder("="))


def computed_in(x: Array) -> type[np.floating[Any]]:
    return np.float64 if x.dtype == np.float64 else np.float32


def parameters(qparams: Any, x: Array) -> tuple[Array, Array, Array, Array]:
    """scale as it is computed with, in float64, zero_point, qmin and qmax."""
    if not hasattr(qparams, "__len__") or len(qparams) != 4:
        raise TypeError(f"qparams must be one sequence, (scale, zero_point, qmin, qmax), got {qparams!r}")
    arrays = {}
    for name, given in zip(("scale", "zero_point", "qmin", "qmax"), qparams, strict=True):
        array = arrays[name] = numbers_of(name, given)
        if not broadcasts_into(array.shape, x.shape):
            raise ValueError(f"{name} must broadcast into x of shape {x.shape}, got shape {array.shape}")
        refuse(f"{name} must be finite", array, ~np.isfinite(array))
        if array.dtype.kind != "f":
            arrays[name] = array.astype(np.int64)  # differences of unsigned integers would wrap
    with np.errstate(all="ignore"):
        computed = arrays["scale"].astype(computed_in(x))
    refuse(
        f"scale must be positive and finite in {computed.dtype}", computed, ~(np.isfinite(computed) & (computed > 0))
    )
    scale, zero_point, qmin, qmax = computed.astype(np.float64), *list(arrays.values())[1:]
    refuse("qmin must not exceed qmax", qmin, qmin > qmax)
    return scale, zero_point, qmin, qmax


def gradient_of_y(dy: ArrayLike | None, x: Array) -> Array:
    """dy in float64, of the shape of x: what was given, or numbers between 1 and 2."""
    if dy is None:
        return 1 + np.resize(np.arange(7) / 8, x.shape)
    dy = numbers_of("dy", dy)
    if not broadcasts_into(dy.shape, x.shape):
        raise ValueError(f"dy must broadcast into x of shape {x.shape}, got shape {dy.shape}")
    with np.errstate(all="ignore"):
        finite = np.isfinite(dy.astype(x.dtype))
    refuse(f"dy must be finite in {x.dtype}", dy, ~finite)
    return dy.astype(np.float64)


def _is_floating(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"


def epsilon(dtype: np.dtype[Any]) -> float:
    return 2.0**-8 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)
