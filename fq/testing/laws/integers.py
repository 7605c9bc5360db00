"""Laws of quantization to integers: levels, what has none, their values, and their bytes."""

from typing import Any

import numpy as np

from fq import reference
from fq.testing.laws.cases import (
    away_from_ties,
    channels,
    drawn,
    levels_that_16_bits_hold,
    of_type,
    outside,
)
from fq.testing.laws.law import Difference, Law, different
from fq.testing.subject import Array, Case

__all__ = ["LAWS"]


def _levels(subject: Any, case: Case, arithmetic: str) -> Difference | None:
    """q as the reference's."""
    expected = reference.quantize(case.x, *case.qparams, np.int32, arithmetic=arithmetic)
    return _unequal(case, expected, subject.levels(case))


def _unequal(case: Case, expected: Array, found: Array) -> Difference | None:
    """The level that differs, of the x nearest to 0."""
    unequal = expected != found
    if not unequal.any():
        return None
    size = np.where(unequal, np.abs(np.nan_to_num(case.x.astype(np.float64), nan=np.inf)), np.nan)
    index = np.unravel_index(np.nanargmin(size), size.shape)
    return Difference(case, expected[index], found[index], index)


LEVELS = Law(
    "levels",
    "Inside the range and away from ties, q is the nearest level.",
    drawn(("ordinary", "level", "near zero"), run=0),
    _levels,
)
TIES = Law("level ties", "Halfway between two levels, q is the even one.", drawn(("tie",), scales="exact"), _levels)


def _in_range(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    """Whatever x is, q is a level of the grid."""
    q, grid = subject.levels(case), case.qparams
    return _unequal(case, np.clip(q, grid.qmin, grid.qmax), q)


def _finite_and_outside(x: Array, grid: Any) -> Any:
    return np.isfinite(x) & outside(x, grid) & away_from_ties(x, grid)


STAY_IN_RANGE = Law(
    "levels stay in range",
    "Past either end, q is a level of the range, and the one nearest to x.",
    drawn(("past an end", "beyond"), zero_points="any", keep=_finite_and_outside),
    lambda subject, case, arithmetic: _in_range(subject, case, arithmetic) or _levels(subject, case, arithmetic),
)


def _huge(x: Array, grid: Any) -> Any:
    return np.isfinite(x) & outside(x, grid)


HUGE = Law(
    "levels of huge values",
    "A finite value that no integer type holds gives the level at its end.",
    drawn(("huge",), keep=_huge),
    _levels,
)
INFINITIES = Law(
    "levels of infinities", "inf gives qmax, and -inf qmin.", drawn(("infinite",), zero_points="any"), _levels
)
NAN = Law("level of NaN", "NaN gives zero_point, whose value is 0.0.", drawn(("nan",), zero_points="any"), _levels)
ZERO_POINTS = Law(
    "levels at zero points",
    "With any zero_point, inside the range and away from ties, q is the nearest level.",
    drawn(("ordinary", "level"), zero_points="other", run=0),
    _levels,
    ("zero_points",),
)
CHANNELS = Law(
    "levels of several channels",
    "With a scale and zero_point for each channel, q is the nearest level.",
    channels,
    _levels,
    ("channels",),
)


def _in(name: str) -> Law:
    return Law(f"levels in {name}", f"In {name} too, q is the nearest level.", of_type(name), _levels, (name,))


def _type(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    """Of integers that hold the range."""
    found, (_, _, qmin, qmax) = subject.dtype(case), case.qparams
    bits = int(found.lstrip("uint")) if "int" in found else 0
    low = 0 if found.startswith("u") else -(2 ** (bits - 1)) if bits else 0
    holds = bits > 0 and low <= qmin and qmax < low + 2**bits
    return None if holds else Difference(case, f"integers that hold {qmin} to {qmax}", found, x=str(case.x.dtype))


TYPE = Law("type of levels", "q is of a type of integers that holds the range.", drawn(("level",)), _type)


def _values(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    """y of the candidate's own levels as the reference's: where its levels are right, fake quantization's."""
    q, y = subject.values(case)
    expected = reference.dequantize(q, case.qparams.scale, case.qparams.zero_point, case.x.dtype)
    return different(case, expected, y, close=True)


ROUND_TRIP = Law(
    "round trip",
    "What dequantize makes of q is (q - zero_point) * scale, rounded once: the y of fake quantization.",
    drawn(("ordinary", "level", "beyond"), zero_points="any", ranges=levels_that_16_bits_hold, keep=away_from_ties),
    _values,
    ("dequantize",),
)


def _sign_of_zero(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    y = subject.values(case)[1]
    negative = np.flatnonzero((y == 0) & np.signbit(y))
    return Difference(case, 0.0, -0.0, (negative[0],)) if negative.size else None


SIGN_OF_ZERO = Law(
    "sign of zero after a round trip",
    "What dequantize gives is never -0.0.",
    drawn(("zero", "near zero")),
    _sign_of_zero,
    ("dequantize",),
)


def _is_4_bits(qmin: int, qmax: int) -> bool:
    return (qmin, qmax) in ((-8, 7), (0, 15))


def _bytes(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    """The bytes of the candidate's own levels; an odd number of them fills the last byte with 0."""
    case = case._replace(x=case.x[:-1])
    q, found = subject.packed(case)
    expected = reference.pack(q, 4)
    wrong = np.flatnonzero(expected != found)
    if not wrong.size:
        return None
    first = int(wrong[0])
    return Difference(case, expected[first], found[first], x=f"byte {first} of levels {q[:4].tolist()} ... {q[-1]}")


PACKED = Law(
    "packed bytes",
    "Two levels of 4 bits share a byte, the first in its low bits, as ONNX stores them; a last byte is filled with 0.",
    drawn(("level",), ranges=_is_4_bits),
    _bytes,
    ("pack", "4 bits"),
)

LAWS = (
    LEVELS,
    TIES,
    STAY_IN_RANGE,
    HUGE,
    INFINITIES,
    NAN,
    ZERO_POINTS,
    CHANNELS,
    *map(_in, ("float16", "bfloat16", "float64")),
    TYPE,
    ROUND_TRIP,
    SIGN_OF_ZERO,
    PACKED,
)
