"""What a law sees of a candidate: functions from NumPy arrays to NumPy arrays, whatever the candidate is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fq.qparams import QParams
from fq.testing.strategies import RANGES, type_named

__all__ = ["Candidate", "CandidateError", "Case", "Subject", "Supports"]


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

    Examples
    --------
    >>> Supports(ranges=((-128, 127),), zero_points=False).dtypes
    ('float32',)
    """

    dtypes: tuple = ("float32",)
    ranges: tuple = RANGES
    zero_points: bool = True
    channels: bool = False


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
    mask, gradient, learnable : callable, optional
        Of (x, scale, ...), and of (dy, x, scale, ...) the other two.

    Examples
    --------
    >>> import fq
    >>> Candidate("fq", fq.forward).supports.dtypes
    ('float32',)
    """

    name: str
    forward: Callable
    supports: Supports = Supports()
    about: str = ""
    versions: dict = field(default_factory=dict)
    mask: Callable | None = None
    gradient: Callable | None = None
    learnable: Callable | None = None


class Case(NamedTuple):
    """An input of a candidate."""

    x: np.ndarray
    qparams: QParams


class CandidateError(Exception):
    """What a candidate raised on an input it supports."""


_OPTIONAL = ("mask", "gradient", "learnable")
_LACKS = {
    "mask": "it gives no mask",
    "gradient": "it gives no gradient of x",
    "learnable": "it gives no gradients of scale and zero_point",
    "zero_points": "it takes no zero_point but 0",
    "channels": "it takes no scale per channel",
}


class Subject:
    """A candidate with its name, what it supports, and what it lacks.

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
        If it cannot be called.
    """

    def __init__(self, candidate, name=None, supports=None):
        self._forward = getattr(candidate, "forward", candidate)
        if not callable(self._forward):
            raise TypeError(f"a candidate is a function or an object with a method forward, got {candidate!r}")
        named = getattr(candidate, "name", None) or getattr(candidate, "__name__", type(candidate).__name__)
        self.name = name or named
        self.supports = supports or getattr(candidate, "supports", None) or Supports()
        self.about = getattr(candidate, "about", "")
        self.versions = dict(getattr(candidate, "versions", {}))
        self._optional = {one: getattr(candidate, one, None) for one in _OPTIONAL}
        if self._optional["mask"] is None and self._gives_pairs():
            self._optional["mask"] = lambda x, *qparams: self._forward(x, *qparams)[1]

    def _gives_pairs(self):
        try:
            x = np.zeros(64, type_named(self.supports.dtypes[0]))
            first = self._forward(x, np.float32(1), 0, *self.supports.ranges[0])
        except Exception:  # the laws will tell what it raised
            return False
        return isinstance(first, tuple)

    def lacks(self, needs):
        """Why a law that needs all these does not apply, or None."""
        has = {name: given is not None for name, given in self._optional.items()}
        has |= {"zero_points": self.supports.zero_points, "channels": self.supports.channels}
        for need in needs:
            if need in has and not has[need]:
                return _LACKS[need]
            if need not in has and need not in self.supports.dtypes[1:]:
                return f"{need} is not among its other types"
        return None

    def forward(self, case):
        """y, without the mask."""
        y = self._called(self._forward, case.x, *case.qparams)
        return np.asarray(y[0] if isinstance(y, tuple) else y)

    def mask(self, case):
        """The mask."""
        return np.asarray(self._called(self._optional["mask"], case.x, *case.qparams))

    def gradient(self, dy, case):
        """dx."""
        return np.asarray(self._called(self._optional["gradient"], dy, case.x, *case.qparams))

    def learnable(self, dy, case):
        """dx, dscale and dzero_point."""
        return tuple(np.asarray(one) for one in self._called(self._optional["learnable"], dy, case.x, *case.qparams))

    def has(self, name):
        """Whether it gives a mask, gradient or learnable."""
        return self._optional[name] is not None

    @staticmethod
    def _called(function, *args):
        try:
            return function(*args)
        except Exception as error:  # another library may raise anything
            told = " ".join(str(error).split())
            raise CandidateError(f"{type(error).__name__}: {told[:200]}") from error
