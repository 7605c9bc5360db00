"""What a law sees of a candidate: functions from NumPy arrays to NumPy arrays, whatever the candidate is made of."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fq._input import one_line
from fq.qparams import QParams
from fq.testing.arrays import MAKERS, copied, numbers
from fq.testing.strategies import RANGES, TYPES, type_named

__all__ = ["Candidate", "CandidateError", "Case", "Parts", "Subject", "Supports"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Supports:
    """What a candidate takes. Laws draw nothing else, so that what it never promised is no failure.

    Parameters
    ----------
    dtypes : tuple of str
        Types of x. Most laws use the first; each other has a law of its own.
    ranges : tuple of (int, int)
        Pairs of qmin and qmax.
    zero_points : bool
        Whether zero_point may be other than 0.
    channels : bool
        Whether scale and zero_point may be arrays that vary along one axis of x and have its other axes of length 1.
    broadcast : bool
        Whether scale and zero_point may each have any shape that broadcasts against that of x.

    Raises
    ------
    ValueError
        If there is no such type or range.

    Examples
    --------
    >>> Supports(ranges=((-128, 127),), zero_points=False).dtypes
    ('float32',)
    """

    dtypes: tuple[str, ...] = ("float32",)
    ranges: tuple[tuple[int, int], ...] = RANGES
    zero_points: bool = True
    channels: bool = False
    broadcast: bool = False

    def __post_init__(self) -> None:
        dtypes: Any = self.dtypes
        ranges: Any = self.ranges
        if not isinstance(dtypes, tuple | list) or not dtypes or not all(one in TYPES for one in dtypes):
            raise ValueError(f"dtypes must be a tuple of some of {', '.join(TYPES)}, got {dtypes!r}")
        if not isinstance(ranges, tuple | list) or not ranges or not all(map(_is_range, ranges)):
            raise ValueError(f"ranges must be a tuple of pairs of integers, qmin <= qmax, got {ranges!r}")


def _is_range(pair: Any) -> bool:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return False
    return all(isinstance(end, int | np.integer) for end in pair) and pair[0] <= pair[1]


@dataclass(frozen=True)
class Candidate:
    """A fake quantization as `check` takes it, made of functions.

    Parameters
    ----------
    name : str
    forward : callable
        Of (x, scale, zero_point, qmin, qmax); gives y or (y, mask).
    supports : Supports
    about : str
        What it does in its own way, in a sentence or two.
    versions : dict
        Of the packages it is made of.
    mask, gradient, learnable, residual, residual4 : callable, optional
        Of (x, scale, ...), and of (dy, x, scale, ...) the others; the last two as learnable, by codes of 8 and 4 bits
        for the residuals of x.

    Examples
    --------
    >>> import fq
    >>> Candidate("fq", fq.forward).supports.dtypes
    ('float32',)
    """

    name: str
    forward: Callable[..., Any]
    supports: Supports = Supports()
    about: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    mask: Callable[..., Any] | None = None
    gradient: Callable[..., Any] | None = None
    learnable: Callable[..., Any] | None = None
    residual: Callable[..., Any] | None = None
    residual4: Callable[..., Any] | None = None


class Case(NamedTuple):
    """An input of a candidate; what some laws need beside x has a default."""

    x: Array
    qparams: QParams
    dy: Array | None = None
    length: int = 0
    layout: str = ""


class CandidateError(Exception):
    """What a candidate did, where it did not give a result of the shape that was expected."""

    def __init__(self, found: str, expected: str = "a result") -> None:
        super().__init__(found)
        self.expected = expected


WITH_DY = "gradient", "learnable", "residual", "residual4"
_LACKS = {
    "mask": "it gives no mask",
    "gradient": "it gives no gradient of x",
    "learnable": "it gives no gradients of scale and zero_point",
    "residual": "it keeps no codes of 8 bits for x",
    "residual4": "it keeps no codes of 4 bits for x",
    "zero_points": "it takes no zero_point but 0",
    "channels": "it takes no scale per channel",
    "broadcast": "it takes no scale and zero_point of two shapes",
}


class Parts:
    """The functions of a candidate, its name, and what it supports.

    Parameters
    ----------
    candidate : callable or object
    main : str
        The method that it must have, unless it can be called itself.
    name, supports : optional
        In place of its own.
    """

    def __init__(self, candidate: Any, main: str, name: str | None, supports: Supports | None) -> None:
        self._main = _read(candidate, main) or candidate
        if not callable(self._main):
            raise TypeError(f"a candidate is a function or an object with a method {main}, got {candidate!r}")
        self.name = one_line(name or _name_of(candidate))
        self.supports: Supports = supports or _read(candidate, "supports") or Supports()
        if not isinstance(self.supports, Supports):
            raise TypeError(f"supports must be a Supports, got {self.supports!r}")
        about, versions = _read(candidate, "about"), _read(candidate, "versions")
        self.about = about if isinstance(about, str) else ""
        self.versions = {str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {}
        self._functions: dict[str, _Function] = {}

    def add(self, name: str, probe: tuple[Any, ...], candidate: Any = None) -> None:
        """The main function under this name, or that of a candidate which has it; probe is what it is tried with."""
        function = self._main if candidate is None else _read(candidate, name)
        if function is not None:
            self._functions[name] = _Function(function, probe)

    def first(self, name: str) -> Any:
        """What it gave for its probe; None where it raised."""
        return self._functions[name].first

    def has(self, name: str) -> bool:
        """Whether there is a function of this name."""
        return name in self._functions

    def raw(self, name: str, *args: Any) -> Any:
        """What a function gives, of any kind."""
        return self._functions[name](*args)

    def call(self, name: str, shape: tuple[int, ...], *args: Any) -> Array:
        """What a function gives: numbers of this shape."""
        return _shaped(self.raw(name, *args), shape)

    def shaped(self, found: Any, shape: tuple[int, ...]) -> Array:
        """Numbers of this shape."""
        return _shaped(found, shape)

    def lacks(self, needs: tuple[str, ...]) -> str | None:
        """Why a law that needs all these does not apply, or None."""
        for need in needs:
            if need in _LACKS:
                if not (self.has(need) if need in ("mask", *WITH_DY) else getattr(self.supports, need)):
                    return _LACKS[need]
            elif need not in self.supports.dtypes[1:]:
                return f"{need} is not among its other types"
        return None


class Subject(Parts):
    """A candidate with its name, what it supports, and what it lacks.

    Its functions get copies, so that what they write reaches no law. They get NumPy's arrays, or those of PyTorch or
    JAX where a function takes no others, with numbers of Python.

    Parameters
    ----------
    candidate : callable or object
        As for `check`.
    name : str, optional
        In place of its own.
    supports : Supports, optional
        In place of its own.

    Raises
    ------
    TypeError
        If it cannot be called, or what it supports is no `Supports`.
    """

    def __init__(self, candidate: Any, name: str | None = None, supports: Supports | None = None) -> None:
        super().__init__(candidate, "forward", name, supports)
        x = np.zeros(64, type_named(self.supports.dtypes[0]))
        probe = x, np.float32(1), 0, *self.supports.ranges[0]
        self.add("forward", probe)
        self._gives_pairs = isinstance(self.first("forward"), tuple)
        self.add("mask", probe, candidate)
        for optional in WITH_DY:
            self.add(optional, (x, *probe), candidate)

    def has(self, name: str) -> bool:
        """Whether it has this function; it may give a mask beside y."""
        return super().has(name) or (name == "mask" and self._gives_pairs)

    def forward(self, case: Case) -> Array:
        """y, without the mask."""
        y = self._functions["forward"](case.x, *case.qparams)
        return _shaped(y[0] if isinstance(y, tuple) and y else y, case.x.shape)

    def mask(self, case: Case) -> Array:
        """The mask."""
        if "mask" in self._functions:
            return _shaped(self._functions["mask"](case.x, *case.qparams), case.x.shape)
        pair = self._functions["forward"](case.x, *case.qparams)
        return _shaped(pair[1] if isinstance(pair, tuple) and len(pair) > 1 else None, case.x.shape)

    def gradient(self, dy: Array, case: Case) -> Array:
        """dx."""
        return _shaped(self._functions["gradient"](dy, case.x, *case.qparams), case.x.shape)

    def learnable(self, dy: Array, case: Case, name: str = "learnable") -> tuple[Array, Array, Array]:
        """dx, dscale and dzero_point; by codes of residuals with another name."""
        found = self._functions[name](dy, case.x, *case.qparams)
        if not isinstance(found, tuple | list) or len(found) != 3:
            raise CandidateError(one_line(type(found).__name__), "dx, dscale and dzero_point")
        shapes = case.x.shape, np.shape(case.qparams.scale), np.shape(case.qparams.zero_point)
        dx, dscale, dzero_point = map(_shaped, found, shapes)
        return dx, dscale, dzero_point

    def after(self, name: str, *arrays: Array, case: Case) -> tuple[Array, ...]:
        """The arrays as they are after a call of forward, gradient or learnable with them."""
        given = tuple(map(copied, arrays))
        self._functions[name].on_these(*given, *case.qparams)
        return given


class _Function:
    """A candidate's function, which may do anything: what goes wrong in it is a CandidateError.

    KeyboardInterrupt alone passes, since it is the user's.
    """

    def __init__(self, function: Callable[..., Any], probe: tuple[Any, ...]) -> None:
        self._function, self._make, self.first = function, MAKERS["numpy"], None
        for name, make in MAKERS.items():
            if name in sys.modules:
                self._make = make
                try:
                    self.first = self(*probe)
                except CandidateError:
                    continue
                return
        self._make = MAKERS["numpy"]  # the laws will tell what it raised

    def __call__(self, *args: Any) -> Any:
        return self.on_these(*(copied(one) if isinstance(one, np.ndarray) else one for one in args))

    def on_these(self, *args: Any) -> Any:
        """What it gives for these arrays, not for copies."""
        try:
            with np.errstate(all="ignore"):
                return self._function(*map(self._argument, args))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and what test runners and other languages' runtimes raise
            raise CandidateError(_told(error)) from error

    def _argument(self, one: Any) -> Any:
        if isinstance(one, np.ndarray):
            return self._make(one.view())  # whose shape may be set
        return one.item() if isinstance(one, np.generic) and self._make is not MAKERS["numpy"] else one


def _shaped(found: Any, shape: tuple[int, ...]) -> Array:
    """Numbers of this shape, or a CandidateError."""
    try:
        array = numbers(found)
    except KeyboardInterrupt:
        raise
    except TypeError as error:
        raise CandidateError(one_line(error), f"numbers of shape {shape}") from error
    except BaseException as error:  # a conversion is the candidate's code too
        raise CandidateError(_told(error)) from error
    if array.shape != shape:
        raise CandidateError(f"shape {array.shape}", f"shape {shape}")
    return array


def _told(error: BaseException) -> str:
    try:
        message = one_line(error)
    except Exception:  # its __str__ is the candidate's
        message = ""
    return f"{type(error).__name__}: {message[:200]}"


def _read(candidate: Any, name: str) -> Any:
    """An attribute, or None; in place of one that cannot be read, a function that raises why."""
    try:
        return getattr(candidate, name, None)
    except Exception as error:
        told = _told(error)

        def unreadable(*_: Any) -> None:
            raise AttributeError(f"{name}: {told}")

        return unreadable


def _name_of(candidate: Any) -> str:
    for attribute in ("name", "__name__"):
        name = _read(candidate, attribute)
        if isinstance(name, str) and name:
            return name
    return type(candidate).__name__
