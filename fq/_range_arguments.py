"""Arguments of choose_qparams, calibrate and quantize for JAX and PyTorch: what is known of them before any array."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fq.qparams import choose_qparams

__all__ = ["COARSE", "FINE", "OF_LEVELS", "Kind", "check_method", "known_eps", "reduced_axes", "shape_in_groups"]

METHODS = "minmax", "percentile", "mse"
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # whose reciprocal float32 holds too
MARGIN = 2.0**-21  # of `fq.choose_qparams`: docs/decisions/029-ranges-are-covered.md
OF_LEVELS = "int8", "uint8", "int16", "uint16", "int32"  # the first of them that holds the levels is taken

# Parts of the range that the method mse tries: first these, then those of the best of them.
COARSE = 2.0 ** (-np.arange(41) / 4)
FINE = 2.0 ** (np.arange(4, -5, -1) / 20)


class Kind(NamedTuple):
    """What is known of a grid before its range is."""

    qmin: int
    qmax: int
    symmetric: bool
    cover: bool
    least: float  # the least scale
    of_zero: float  # the scale of a range of 0.0 alone

    @classmethod
    def of(cls, bits: Any, signed: Any, symmetric: Any, narrow_range: Any, eps: Any, formula: Any) -> Kind:
        """The kind of grid, or the errors of `fq.choose_qparams`."""
        how = {"signed": signed, "symmetric": symmetric, "narrow_range": narrow_range, "formula": formula}
        *_, qmin, qmax = choose_qparams(0.0, 1.0, bits, **how)
        least = max(known_eps(eps), SMALLEST_SCALE)
        return cls(int(qmin), int(qmax), bool(symmetric), formula == "cover", least, 1.0 if eps is None else least)

    @property
    def steps(self) -> int:
        """How many steps the grid has."""
        return self.qmax - self.qmin

    @property
    def margin(self) -> float:
        """What an end of the range is kept off a tie by, in steps."""
        return self.steps * MARGIN if self.cover else 0.0

    @property
    def enlarged(self) -> float:
        """What a step is made larger by where an end would be at a tie, in parts of itself."""
        return 2 * MARGIN

    @property
    def has_tie(self) -> bool:
        """Whether the largest value of a symmetric range would be at a tie."""
        return self.cover and self.steps % 2 == 1

    @property
    def zero(self) -> int:
        """The level nearest to 0, for a range that is refused."""
        return min(max(0, self.qmin), self.qmax)


def known_eps(eps: Any) -> float:
    """eps as a float, 0.0 where it is None, or an error that says what is accepted."""
    if eps is None:
        return 0.0
    if isinstance(eps, (bool, np.bool_)) or not isinstance(eps, (int, float, np.integer, np.floating)):
        raise TypeError(f"eps must be a number, got {eps!r}")
    if not 0 < eps <= np.finfo(np.float32).max:
        raise ValueError(f"eps must be positive and finite in float32, got {eps}")
    return float(eps)


def check_method(method: Any, p: Any) -> None:
    """ValueError for a method that there is not, or an impossible percentile."""
    if method not in METHODS:
        raise ValueError(f"method must be 'minmax', 'percentile' or 'mse', got {method!r}")
    if not 0 < p <= 100:
        raise ValueError(f"p must be above 0 and at most 100, got {p}")


def reduced_axes(axis: Any, group: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which values share a grid: all but those named, or the last one of groups."""
    if group is not None and axis is None:
        return (len(shape) - 1,)
    if group is not None:  # of x the shape is that in groups, which are one axis more
        of_rows, last = reduced_axes(axis, None, shape[:-1]), len(shape) - 2
        if last not in of_rows:
            raise ValueError(f"axis {axis} must not name the last axis of x, which is cut into groups")
        return (*of_rows[:-1], last + 1)
    ndim, named = len(shape), () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in named:
        if isinstance(one, bool) or not isinstance(one, (int, np.integer)):
            raise TypeError(f"axis must be an int or a tuple of them, got {axis!r}")
        if not -ndim <= one < ndim:
            raise ValueError(f"axis {one} is not there: x has shape {shape}")
    kept = {int(one) % ndim for one in named}
    if len(kept) < len(named):
        raise ValueError(f"axis names one axis twice, got {axis}: x has shape {shape}")
    return tuple(one for one in range(ndim) if one not in kept)


def shape_in_groups(shape: tuple[int, ...], size: Any) -> tuple[int, ...]:
    """The shape of an array whose last axis is cut into groups of this size."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
        raise TypeError(f"the size of a group must be an int, got {size!r}")
    if size < 1 or not shape or shape[-1] % size:
        raise ValueError(f"x of shape {shape} has no last axis that groups of {size} divide")
    return (*shape[:-1], shape[-1] // int(size), int(size))
