"""Laws of y by the values of x: inside the range, at its ends, beyond, and what is no ordinary number."""

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fq.qparams import QParams
from fq.testing.laws.cases import (
    BLOCK,
    ENDS,
    FINITE,
    beside_ties,
    channels,
    drawn,
    ends_of,
    levels_of,
    levels_that_16_bits_hold,
    many_levels,
    normal,
    outside,
    within_the_ends,
)
from fq.testing.laws.law import Difference, Law, different, of_y
from fq.testing.strategies import broadcast_qparams, type_named
from fq.testing.subject import Array, Case, Subject, Supports

__all__ = ["LAWS", "broadcast"]

ORDINARY = Law(
    "ordinary values",
    "Inside the range and away from ties, y is the reference's bit for bit.",
    drawn(("ordinary", "level", "near zero"), run=0),
    of_y,
)
TIES = Law("ties", "Halfway between two levels, y is the even one.", drawn(("tie",), scales="exact"), of_y)
BESIDE_TIES = Law(
    "beside ties",
    "A unit in the last place from halfway, the level is that of the quotient as the arithmetic rounds it.",
    beside_ties(),
    of_y,
)
AT_THE_ENDS = Law(
    "ends", "At, beside and beyond both ends of the range, y is the reference's bit for bit.", drawn(ENDS), of_y
)


def _clamped(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    """As the candidate's own value a little more than the length of the range beyond the end."""
    grid = case.qparams
    further = grid.qmax - grid.qmin + 8
    low, high = ends_of(grid)
    beyond = np.where(case.x > 0, high + further, low - further).astype(type(grid.scale)) * grid.scale
    expected = subject.forward(case._replace(x=beyond.astype(case.x.dtype)))
    return different(case, expected, subject.forward(case))


def _finite_and_outside(x: Array, grid: QParams) -> Any:
    return np.isfinite(x) & outside(x, grid)


HUGE = Law(
    "huge values",
    "A finite value that no integer type holds clamps like one just beyond the range.",
    drawn(("huge",), zero_points="any", keep=_finite_and_outside),
    _clamped,
)
INFINITIES = Law(
    "infinities",
    "An infinity clamps like a value just beyond the range.",
    drawn(("infinite",), zero_points="any"),
    _clamped,
)
NAN = Law("NaN", "NaN gives NaN.", drawn(("nan",), zero_points="any"), of_y)
EXTREME_SCALES = Law(
    "extreme scales",
    "With a scale near either end of the normal numbers, y is the reference's bit for bit.",
    drawn(("ordinary",), scales="extreme", ranges=levels_that_16_bits_hold, keep=normal, run=0),
    of_y,
)
SUBNORMALS = Law(
    "subnormals",
    "A subnormal scale, and subnormal values, count as what they are.",
    drawn(("ordinary", "level"), scales="subnormal"),
    of_y,
)
ZERO_POINTS = Law(
    "zero points",
    "With any zero_point, inside and outside the range and away from ties, y is the reference's bit for bit.",
    drawn(("ordinary", "past an end", "beyond"), zero_points="other", run=20),
    of_y,
    ("zero_points",),
)


def _beside(grid: QParams) -> int:
    """The zero_point beside."""
    return int(grid.zero_point - 1 if grid.zero_point > grid.qmin else grid.zero_point + 1)


def _between_levels_at_both_zero_points(x: Array, grid: QParams) -> Array:
    """Ties of two levels that are in range at this zero_point and at the one beside it."""
    quotient, low, high = levels_of(x, grid)
    other_low, other_high = (end - _beside(grid) for end in (grid.qmin, grid.qmax))
    return (np.floor(quotient) >= max(low, other_low)) & (np.ceil(quotient) <= min(high, other_high))


def _unmoved(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    """As the candidate's own value at the zero_point beside."""
    beside = QParams(case.qparams.scale, _beside(case.qparams), *case.qparams[2:])  # type: ignore[arg-type]
    return different(case, subject.forward(case._replace(qparams=beside)), subject.forward(case), close=True)


ODD_ZERO_POINTS = Law(
    "odd zero points",
    "Halfway between two levels, y at an odd zero_point is y at the even one beside it.",
    drawn(("tie",), scales="exact", zero_points="odd", ranges=many_levels, keep=_between_levels_at_both_zero_points),
    _unmoved,
    ("zero_points",),
)
CHANNELS = Law(
    "several channels",
    "With a scale and zero_point for each channel, y is the reference's bit for bit.",
    channels,
    of_y,
    ("channels",),
)


@st.composite
def broadcast(draw: st.DrawFn, supports: Supports, _arithmetic: str) -> Case:
    """scale and zero_point of two shapes, levels inside and outside."""
    shape, dtype = (4, BLOCK // 4), type_named(supports.dtypes[0])
    kinds = "any" if supports.zero_points else "zero"
    usable = [one for one in supports.ranges if levels_that_16_bits_hold(*one)] or [supports.ranges[0]]
    one, other = (draw(broadcast_qparams(shape, dtype.name, zero_points=kinds, ranges=usable)) for _ in range(2))
    zero_point = np.clip(other.zero_point, one.qmin, one.qmax)
    assume(one.scale.shape != zero_point.shape)
    levels = np.resize(draw(st.lists(st.integers(-20, 20), min_size=1, max_size=8)), shape) + draw(
        st.sampled_from([0, one.qmin, one.qmax])
    )
    parts = np.resize(draw(st.lists(st.integers(-25, 25), min_size=1, max_size=3)), shape) / 64
    x = (levels - zero_point + parts).astype(one.scale.dtype) * one.scale
    return Case(x.astype(dtype), one._replace(zero_point=zero_point))


BROADCAST = Law(
    "parameters of two shapes",
    "With a scale and a zero_point of two shapes that broadcast, y is the reference's bit for bit.",
    broadcast,
    of_y,
    ("broadcast",),
)


def _sign_of_zero(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    y = subject.forward(case)
    negative = np.flatnonzero((y == 0) & np.signbit(y))
    return Difference(case, 0.0, -0.0, (negative[0],)) if negative.size else None


SIGN_OF_ZERO = Law("sign of zero", "y is never -0.0.", drawn(("near zero", "zero", "ordinary")), _sign_of_zero)


def _idempotent(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    y = subject.forward(case)
    return different(case, y, subject.forward(case._replace(x=y.astype(case.x.dtype))), close=True)


IDEMPOTENT = Law(
    "idempotent",
    "Quantizing y again changes nothing.",
    drawn(("ordinary", "tie", "beyond"), zero_points="any", ranges=levels_that_16_bits_hold, run=20),
    _idempotent,
)


def _monotone(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    case = case._replace(x=np.sort(case.x))
    y = subject.forward(case)
    fallen = np.flatnonzero(np.diff(y.astype(np.float64)) < 0)
    if not fallen.size:
        return None
    first, second = (case.x[fallen[0] + k] for k in (0, 1))
    return Difference(case, f"at least {y[fallen[0]]!s}", y[fallen[0] + 1], x=f"{first!s}, then {second!s}")


MONOTONE = Law("monotone", "A larger x never gives a smaller y.", drawn(FINITE, zero_points="any", run=20), _monotone)


def _on_the_grid(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    y, grid = subject.forward(case), case.qparams
    level, low, high = levels_of(y, grid)
    level = np.clip(np.rint(level), low, high).astype(type(grid.scale))
    return different(case, (level * grid.scale).astype(case.x.dtype), y, close=True)


ON_THE_GRID = Law(
    "on the grid",
    "Every y is a level of the range times scale.",
    drawn(FINITE, zero_points="any", run=20),
    _on_the_grid,
)


def _half_a_step(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    y, x = subject.forward(case).astype(np.float64), case.x.astype(np.float64)
    half = np.float64(case.qparams.scale) / 2
    slack = 4 * np.spacing(np.maximum(np.abs(case.x), np.abs(y).astype(case.x.dtype))).astype(np.float64)
    far = np.flatnonzero(~(np.abs(y - x) <= half + slack))
    if not far.size:
        return None
    return Difference(case, f"within {half} of x", y[far[0]], (far[0],))


HALF_A_STEP = Law(
    "half a step",
    "In range, y is at most half a step from x.",
    drawn(
        ("ordinary", "level", "tie", "near zero"),
        zero_points="any",
        ranges=levels_that_16_bits_hold,
        keep=within_the_ends,
    ),
    _half_a_step,
)

LAWS = (
    ORDINARY,
    TIES,
    BESIDE_TIES,
    AT_THE_ENDS,
    HUGE,
    INFINITIES,
    NAN,
    EXTREME_SCALES,
    SUBNORMALS,
    ZERO_POINTS,
    ODD_ZERO_POINTS,
    CHANNELS,
    BROADCAST,
    SIGN_OF_ZERO,
    IDEMPOTENT,
    MONOTONE,
    ON_THE_GRID,
    HALF_A_STEP,
)
