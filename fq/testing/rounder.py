"""What the laws of float formats see of a rounding to them: a function from floats to floats, and perhaps a mask."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import fq
from fq.formats import FloatGrid
from fq.testing.strategies import type_named
from fq.testing.subject import Array, Case, Parts, Supports

__all__ = ["FORMATS", "FloatParams", "FloatSupports", "Rounder", "RounderSubject"]

#: The formats of single elements in `fq.formats`, by name.
FORMATS = {name: one for name in fq.formats.__all__ if isinstance(one := getattr(fq.formats, name), FloatGrid)}


class FloatParams(NamedTuple):
    """What a rounding to a float format is given beside x.

    Attributes
    ----------
    scale : float32 or float64
    format : str
        A name of `fq.formats`.
    """

    scale: Any
    format: str

    @property
    def grid(self) -> FloatGrid:
        """The format."""
        return FORMATS[self.format]


@dataclass(frozen=True)
class FloatSupports(Supports):
    """What a rounding to float formats takes.

    Parameters
    ----------
    dtypes : tuple of str
        As of `Supports`.
    formats : tuple of str
        Names of `fq.formats`.
    scales : bool
        Whether scale may be other than 1.

    Examples
    --------
    >>> FloatSupports(formats=("e4m3fn",)).scales
    True
    """

    formats: tuple[str, ...] = tuple(FORMATS)
    scales: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.formats or not all(one in FORMATS for one in self.formats):
            raise ValueError(f"formats must be some of {', '.join(FORMATS)}, got {self.formats!r}")


@dataclass(frozen=True)
class Rounder:
    """A rounding to float formats as `check_floats` takes it, made of a function.

    Parameters
    ----------
    name : str
    round : callable
        Of (x, scale, format), a name of `fq.formats`; gives y or (y, mask).
    supports : FloatSupports
    about : str
        What it does in its own way, in a sentence or two.
    versions : dict
        Of the packages it is made of.

    Examples
    --------
    >>> import fq
    >>> Rounder("fq", lambda x, scale, format: fq.floats.forward(x, scale, *getattr(fq.formats, format))).name
    'fq'
    """

    name: str
    round: Callable[..., Any]
    supports: FloatSupports = field(default_factory=FloatSupports)
    about: str = ""
    versions: dict[str, str] = field(default_factory=dict)


class RounderSubject(Parts):
    """A rounding with its name, what it supports, and what it lacks.

    Parameters
    ----------
    candidate : callable or object
        As for `check_floats`.
    name : str, optional
        In place of its own.
    supports : FloatSupports, optional
        In place of its own.

    Raises
    ------
    TypeError
        If it cannot be called, or what it supports is no `FloatSupports`.
    """

    def __init__(self, candidate: Any, name: str | None = None, supports: FloatSupports | None = None) -> None:
        own = supports or getattr(candidate, "supports", None) or FloatSupports()
        if not isinstance(own, FloatSupports):
            raise TypeError(f"supports must be a FloatSupports, got {own!r}")
        super().__init__(candidate, "round", name, own)
        x = np.zeros(64, type_named(own.dtypes[0]))
        self.add("round", (x, np.float32(1), own.formats[0]))
        self._gives_pairs = isinstance(self.first("round"), tuple)

    def has(self, name: str) -> bool:
        """Whether it has this; a mask comes beside y."""
        return self._gives_pairs if name == "mask" else super().has(name)

    def lacks(self, needs: tuple[str, ...]) -> str | None:
        """Why a law that needs all these does not apply, or None."""
        if "scales" in needs and not getattr(self.supports, "scales", True):
            return "it takes no scale"
        return super().lacks(tuple(need for need in needs if need != "scales"))

    def values(self, case: Case) -> Array:
        """y."""
        found = self.raw("round", case.x, *case.qparams)
        return self.shaped(found[0] if isinstance(found, tuple) else found, case.x.shape)

    def mask(self, case: Case) -> Array:
        """The mask."""
        return self.shaped(self.raw("round", case.x, *case.qparams)[1], case.x.shape)
