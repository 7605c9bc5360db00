"""The laws of fake quantization, a row each: a name, what it means, the inputs to try, and how to judge a candidate.

The inputs of a law are of one kind, so that a candidate which goes wrong on one kind breaks the law that names it and
no other: values of which the laws are not about ties stay away from them, and a scale is a power of two wherever the
quotient's rounding is another law's matter. Short arrays are repeated to 64 elements, since lengths have their law too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from fq import gradcheck, reference
from fq.reference import _quotient
from fq.testing.strategies import arrays_for, broadcast_qparams, qparams, type_named
from fq.testing.subject import Case

__all__ = ["ALL", "Difference", "Law", "law_named"]

_BLOCK = 64  # elements: no vector loop leaves a tail


@dataclass(frozen=True)
class Difference:
    """Where a candidate breaks a law: at an index of x or, without one, on the whole of it."""

    case: Case
    expected: object
    found: object
    index: tuple | None = None
    close: bool = False  # the right level, and other last bits
    x: object = None  # in place of the element of x
    more: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Law:
    """What every fake quantization should do.

    Attributes
    ----------
    name : str
    meaning : str
        In a sentence.
    cases : callable
        ``cases(supports, arithmetic)`` is a hypothesis strategy of inputs.
    judge : callable
        ``judge(subject, case, arithmetic)`` gives None, or the difference that it found.
    needs : tuple of str
        What a candidate must have for the law to apply.
    """

    name: str
    meaning: str
    cases: Callable
    judge: Callable
    needs: tuple = ()


# Cases


def _drawn(kinds, *, scales="ordinary", zero_points="zero", dtype=None, ranges=None, keep=None, run=None):
    """Cases of values of these kinds, and with `run` of consecutive levels to so many beyond the ends; those for which
    keep(x, grid) is True, repeated to a block."""

    @st.composite
    def cases(draw, supports, arithmetic):
        name = dtype or supports.dtypes[0]
        usable = [one for one in supports.ranges if ranges is None or ranges(*one)] or [supports.ranges[0]]
        which = zero_points if supports.zero_points else "zero"
        grid = draw(qparams(name, scales=scales, zero_points=which, ranges=usable))
        assume(arithmetic == "divide" or np.isfinite(1 / grid.scale))
        x = draw(arrays_for(grid, name, kinds=kinds))
        if run is not None:
            x = np.concatenate([x, _run_of_levels(draw, grid, x.dtype, run)])
        if keep is not None:
            x = x[keep(x, grid)]
        assume(x.size > 0)
        return Case(np.resize(x, -(-x.size // _BLOCK) * _BLOCK), grid)

    return cases


def _run_of_levels(draw, grid, dtype, beyond):
    """Consecutive levels, all by the same part of a step beside."""
    low, high = grid.qmin - grid.zero_point - beyond, grid.qmax - grid.zero_point + beyond
    first = draw(st.integers(low, max(low, high - 55)))
    levels = np.arange(first, min(first + 56, high + 1)) + draw(st.integers(-25, 25)) / 64
    return (levels.astype(type(grid.scale)) * grid.scale).astype(dtype)


def _levels_of(x, grid):
    """x / scale, nearly, and the first and last level less zero_point."""
    return x.astype(np.float64) / np.float64(grid.scale), grid.qmin - grid.zero_point, grid.qmax - grid.zero_point


def _away_from_ties(x, grid):
    quotient, _, _ = _levels_of(x, grid)
    return np.isfinite(x) & (np.abs(np.abs(quotient - np.rint(quotient)) - 0.5) > 0.05)


def _normal(x, _grid):
    smallest = np.finfo(np.float32 if x.dtype.itemsize == 2 else x.dtype).tiny
    return np.isfinite(x * 2) & ((np.abs(x) >= smallest) | (x == 0))


def _between_the_ends(x, grid):
    quotient, low, high = _levels_of(x, grid)
    return (low < np.rint(quotient)) & (np.rint(quotient) < high)


def _at_an_end(x, grid):
    quotient, low, high = _levels_of(x, grid)
    return np.isin(np.rint(quotient), (low, high))


def _within_the_ends(x, grid):
    quotient, low, high = _levels_of(x, grid)
    return (low <= quotient) & (quotient <= high)


def _outside(x, grid):
    quotient, low, high = _levels_of(x, grid)
    return (np.rint(quotient) < low) | (high < np.rint(quotient))


def _between_levels_at_both_zero_points(x, grid):
    """Ties of two levels that are in range at this zero_point and at the one beside it."""
    quotient, low, high = _levels_of(x, grid)
    other_low, other_high = (end - _beside(grid) for end in (grid.qmin, grid.qmax))
    return (np.floor(quotient) >= max(low, other_low)) & (np.ceil(quotient) <= min(high, other_high))


def _beside(grid):
    return grid.zero_point - 1 if grid.zero_point > grid.qmin else grid.zero_point + 1


def _typed(name):
    return _drawn(("ordinary", "end", "beyond"), dtype=name, keep=_away_from_ties, run=20)


@st.composite
def _beside_ties(draw, supports, arithmetic):
    """A run of ties with a unit in the last place either side, for scales by which the quotient must be rounded."""
    dtype = type_named(supports.dtypes[0])
    grid = draw(qparams(dtype.name, zero_points="zero", ranges=supports.ranges))
    low, high = grid.qmin - grid.zero_point, grid.qmax - grid.zero_point
    first = draw(st.integers(low, max(low, high - 32)))
    ties = (np.arange(first, min(first + 32, high)) + 0.5).astype(type(grid.scale)) * grid.scale
    ties = ties.astype(dtype)
    x = np.concatenate([ties, np.nextafter(ties, dtype.type(np.inf)), np.nextafter(ties, dtype.type(-np.inf))])
    quotient = _quotient(x.astype(type(grid.scale)), grid.scale, arithmetic)
    x = x[np.abs(quotient - np.rint(quotient)) != 0.5]
    assume(x.size > 0)
    return Case(np.resize(x, 2 * _BLOCK), grid)


@st.composite
def _of_all_types(draw, supports, arithmetic):
    case = draw(_drawn(("ordinary",), dtype=draw(st.sampled_from(supports.dtypes)))(supports, arithmetic))
    return case._replace(x=case.x.reshape(2, -1))


@st.composite
def _channels(draw, supports, _arithmetic):
    """Rows or columns with a scale and zero_point each, of levels that are in range with zero_point and without:
    leaving the range is another law's matter."""
    axis = draw(st.sampled_from([0, 1]))
    shape = (2, _BLOCK) if axis == 0 else (_BLOCK, 2)
    kinds = "any" if supports.zero_points else "zero"
    grid = draw(
        broadcast_qparams(shape, supports.dtypes[0], axis=axis, zero_points=kinds, ranges=supports.ranges),
    )
    levels = np.resize(draw(st.lists(st.integers(grid.qmin, grid.qmax), min_size=1, max_size=8)), shape)
    moved = levels + grid.zero_point
    levels = np.where((grid.qmin <= moved) & (moved <= grid.qmax), levels, 0)
    parts = np.resize(draw(st.lists(st.integers(-25, 25), min_size=1, max_size=3)), shape) / 64
    x = (levels + parts).astype(grid.scale.dtype) * grid.scale
    return Case(x.astype(type_named(supports.dtypes[0])), grid)


@st.composite
def _lengths(draw, supports, arithmetic):
    case = draw(_drawn(("ordinary",))(supports, arithmetic))
    length = draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100, 127, 130]))
    return case._replace(x=np.resize(case.x, 3 * _BLOCK)), length


@st.composite
def _empty(draw, supports, _arithmetic):
    shape = draw(st.sampled_from([(0,), (0, 3), (3, 0)]))
    grid = draw(qparams(supports.dtypes[0], zero_points="zero", ranges=supports.ranges))
    return Case(np.zeros(shape, type_named(supports.dtypes[0])), grid)


@st.composite
def _zero_dimensional(draw, supports, arithmetic):
    case = draw(_drawn(("ordinary",))(supports, arithmetic))
    return case._replace(x=case.x[:1].reshape(()))


_LAYOUTS = {
    "x[::2]": lambda x: x.reshape(-1)[::2],
    "x[::-1]": lambda x: x.reshape(-1)[::-1],
    "x.T": lambda x: x.T,
    "x[:, :8]": lambda x: x[:, :8],
    "x[::-1, ::2]": lambda x: x[::-1, ::2],
}


@st.composite
def _layouts(draw, supports, arithmetic):
    case = draw(_drawn(("ordinary",))(supports, arithmetic))
    return case._replace(x=np.resize(case.x, (8, 16))), draw(st.sampled_from(sorted(_LAYOUTS)))


# Judges


def _different(case, expected, found, *, close=False, more=None):
    """The element that differs nearest to 0, or None; 0.0 equals -0.0 and NaN equals NaN. close: whether to say that
    they differ in the last bits alone."""
    more = more or {}
    expected = np.asarray(expected)
    if found.shape != expected.shape:
        return Difference(case, f"shape {expected.shape}", f"shape {found.shape}", x=_shape(case.x), more=more)
    one, other = expected.astype(np.float64), found.astype(np.float64)
    unequal = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if not unequal.any():
        return None
    step = np.broadcast_to(np.asarray(case.qparams.scale, np.float64), one.shape)
    near = np.abs(one - other) < step / 4
    worse = unequal & ~near if (unequal & ~near).any() else unequal
    size = np.where(worse, np.abs(np.nan_to_num(case.x.astype(np.float64), nan=np.inf)), np.nan)
    index = np.unravel_index(np.nanargmin(size), size.shape)
    return Difference(case, expected[index], found[index], index, close and bool(near[index]), more=more)


def _shape(x):
    return f"an array of shape {x.shape}"


def _y(subject, case, arithmetic):
    expected = reference.forward(case.x, *case.qparams, arithmetic=arithmetic)[0]
    return _different(case, expected, subject.forward(case), close=True)


def _clamped(subject, case, _arithmetic):
    """As the candidate's own value a little more than the length of the range beyond the end."""
    grid = case.qparams
    further = grid.qmax - grid.qmin + 8
    low, high = grid.qmin - grid.zero_point - further, grid.qmax - grid.zero_point + further
    beyond = np.where(case.x > 0, high, low).astype(type(grid.scale)) * grid.scale
    expected = subject.forward(case._replace(x=beyond.astype(case.x.dtype)))
    return _different(case, expected, subject.forward(case))


def _unmoved(subject, case, _arithmetic):
    """As the candidate's own value at the zero_point beside."""
    expected = subject.forward(case._replace(qparams=case.qparams._replace(zero_point=_beside(case.qparams))))
    return _different(case, expected, subject.forward(case), close=True)


def _sign_of_zero(subject, case, _arithmetic):
    y = subject.forward(case)
    negative = np.flatnonzero((y == 0) & np.signbit(y))
    return Difference(case, 0.0, -0.0, (negative[0],)) if negative.size else None


def _type(subject, case, _arithmetic):
    y = subject.forward(case)
    told = [f"{array.dtype.name} of shape {array.shape}" for array in (case.x, y)]
    return Difference(case, *told, x=f"{told[0]}") if told[0] != told[1] else None


def _mask(subject, case, arithmetic):
    expected = reference.forward(case.x, *case.qparams, arithmetic=arithmetic)[1]
    return _different(case, expected, subject.mask(case))


def _idempotent(subject, case, _arithmetic):
    y = subject.forward(case)
    return _different(case, y, subject.forward(case._replace(x=y.astype(case.x.dtype))), close=True)


def _monotone(subject, case, _arithmetic):
    case = case._replace(x=np.sort(case.x))
    y = subject.forward(case)
    fallen = np.flatnonzero(np.diff(y.astype(np.float64)) < 0)
    if not fallen.size:
        return None
    first, second = (case.x[fallen[0] + k] for k in (0, 1))
    return Difference(case, f"at least {y[fallen[0]]!s}", y[fallen[0] + 1], x=f"{first!s}, then {second!s}")


def _on_the_grid(subject, case, _arithmetic):
    y, grid = subject.forward(case), case.qparams
    level, low, high = _levels_of(y, grid)
    level = np.clip(np.rint(level), low, high).astype(type(grid.scale))
    return _different(case, (level * grid.scale).astype(case.x.dtype), y, close=True)


def _half_a_step(subject, case, _arithmetic):
    y, x = subject.forward(case).astype(np.float64), case.x.astype(np.float64)
    half = np.float64(case.qparams.scale) / 2
    slack = 4 * np.spacing(np.maximum(np.abs(case.x), np.abs(y).astype(case.x.dtype))).astype(np.float64)
    far = np.flatnonzero(~(np.abs(y - x) <= half + slack))
    if not far.size:
        return None
    return Difference(case, f"within {half} of x", y[far[0]], (far[0],))


def _some_dy(x):
    return np.resize(np.array([1.0, -2.0, 0.5, 3.0]), x.shape).astype(x.dtype)


def _gradient(subject, case, arithmetic):
    dy = _some_dy(case.x)
    expected = reference.backward_recompute(dy, case.x, *case.qparams, arithmetic=arithmetic)
    return _different(case, expected, subject.gradient(dy, case))


def _learnable(subject, case, arithmetic):
    dy = _some_dy(case.x)
    expected = reference.backward_learnable(dy, case.x, *case.qparams, arithmetic=arithmetic)
    found = subject.learnable(dy, case)
    grid = case.qparams
    steps = max(abs(grid.qmin - grid.zero_point), abs(grid.qmax - grid.zero_point), 1)
    tolerance = 1e-6 * steps * float(np.abs(dy.astype(np.float64)).sum())
    for name, one, other, unit in zip(("dscale", "dzero_point"), expected[1:], found[1:], (1, grid.scale), strict=True):
        if other.shape != np.shape(one) or not np.abs(one - other) <= tolerance * unit:
            return Difference(case, one, other, x=_listed(case.x), more={"gradient": name, "dy": _listed(dy)})
    report = gradcheck.check_parameter_gradients(
        lambda dy, x, *_: subject.learnable(dy, case._replace(x=x)), case.x, case.qparams, dy=dy
    )
    if not report.ok:
        name, _, _, one, other = report.worst
        return Difference(case, one, other, x=_listed(case.x), more={"numerical gradient": name, "dy": _listed(dy)})
    return _different(case, expected[0], found[0], more={"gradient": "dx"})


def _listed(x):
    """The elements that repeat."""
    values = list(dict.fromkeys(x.tolist()))
    return f"{values} to {x.size} elements"


def _any_length(subject, case_and_length, _arithmetic):
    case, length = case_and_length
    short = case._replace(x=case.x[:length].copy())
    expected = subject.forward(case)[:length]
    return _different(short, expected, subject.forward(short), more={"length": length})


def _any_layout(subject, case_and_layout, _arithmetic):
    case, layout = case_and_layout
    view = case._replace(x=_LAYOUTS[layout](case.x))
    expected = subject.forward(view._replace(x=np.array(view.x, order="C")))
    return _different(view, expected, subject.forward(view), more={"layout": f"{layout} of shape (8, 16)"})


def _unmodified(subject, case, _arithmetic):
    before, dy = case.x.copy(), _some_dy(case.x)
    subject.forward(case)
    if subject.has("gradient"):
        subject.gradient(dy, case)
        if changed := _different(case, _some_dy(before), dy, more={"input": "dy"}):
            return changed
    return _different(case._replace(x=before), before, case.x)


# Rows

_FINITE = ("ordinary", "level", "tie", "end", "past an end", "end tie", "beside an end tie", "beyond", "near zero")
_ENDS = ("end", "past an end", "end tie", "beside an end tie", "beyond")


def _many_levels(qmin, qmax):
    return qmax - qmin > 2


def _levels_that_16_bits_hold(qmin, qmax):
    return max(-qmin, qmax) <= 128


#: The laws, each a `Law`; their names are the rows of ``python -m fq equivalence``.
ALL = (
    Law(
        "ordinary values",
        "Inside the range and away from ties, y is the reference's bit for bit.",
        _drawn(("ordinary", "level", "near zero"), run=0),
        _y,
    ),
    Law("ties", "Halfway between two levels, y is the even one.", _drawn(("tie",), scales="exact"), _y),
    Law(
        "beside ties",
        "A unit in the last place from halfway, the level is that of the quotient as the arithmetic rounds it.",
        _beside_ties,
        _y,
    ),
    Law(
        "ends",
        "At, beside and beyond both ends of the range, y is the reference's bit for bit.",
        _drawn(_ENDS),
        _y,
    ),
    Law(
        "huge values",
        "A finite value that no integer type holds clamps like one just beyond the range.",
        _drawn(("huge",), zero_points="any", keep=lambda x, grid: np.isfinite(x) & _outside(x, grid)),
        _clamped,
    ),
    Law(
        "infinities",
        "An infinity clamps like a value just beyond the range.",
        _drawn(("infinite",), zero_points="any"),
        _clamped,
    ),
    Law("NaN", "NaN gives NaN.", _drawn(("nan",), zero_points="any"), _y),
    Law(
        "extreme scales",
        "With a scale near either end of the normal numbers, y is the reference's bit for bit.",
        _drawn(("ordinary",), scales="extreme", ranges=_levels_that_16_bits_hold, keep=_normal, run=0),
        _y,
    ),
    Law(
        "subnormals",
        "A subnormal scale, and subnormal values, count as what they are.",
        _drawn(("ordinary", "level"), scales="subnormal"),
        _y,
    ),
    Law(
        "zero points",
        "With any zero_point, inside and outside the range and away from ties, y is the reference's bit for bit.",
        _drawn(("ordinary", "past an end", "beyond"), zero_points="other", run=20),
        _y,
        ("zero_points",),
    ),
    Law(
        "odd zero points",
        "Halfway between two levels, y at an odd zero_point is y at the even one beside it.",
        _drawn(
            ("tie",),
            scales="exact",
            zero_points="odd",
            ranges=_many_levels,
            keep=_between_levels_at_both_zero_points,
        ),
        _unmoved,
        ("zero_points",),
    ),
    Law(
        "several channels",
        "With a scale and zero_point for each channel, y is the reference's bit for bit.",
        _channels,
        _y,
        ("channels",),
    ),
    Law("sign of zero", "y is never -0.0.", _drawn(("near zero", "zero", "ordinary")), _sign_of_zero),
    Law("float16", "In float16 too, y is the reference's bit for bit.", _typed("float16"), _y, ("float16",)),
    Law("bfloat16", "In bfloat16 too, y is the reference's bit for bit.", _typed("bfloat16"), _y, ("bfloat16",)),
    Law("float64", "In float64 too, y is the reference's bit for bit.", _typed("float64"), _y, ("float64",)),
    Law("type and shape", "y has the type and the shape of x.", _of_all_types, _type),
    Law(
        "mask",
        "The mask is True where x rounds to a level of the range; not for infinities and NaN.",
        _drawn((*_FINITE, "infinite", "nan"), scales="exact", zero_points="any"),
        _mask,
        ("mask",),
    ),
    Law(
        "mask beside ties",
        "The mask follows the quotient as the arithmetic rounds it, for scales that are no power of two.",
        _drawn(("beside an end tie", "end tie", "ordinary"), zero_points="any"),
        _mask,
        ("mask",),
    ),
    Law(
        "idempotent",
        "Quantizing y again changes nothing.",
        _drawn(("ordinary", "tie", "beyond"), zero_points="any", ranges=_levels_that_16_bits_hold, run=20),
        _idempotent,
    ),
    Law("monotone", "A larger x never gives a smaller y.", _drawn(_FINITE, zero_points="any", run=20), _monotone),
    Law(
        "on the grid",
        "Every y is a level of the range times scale.",
        _drawn(_FINITE, zero_points="any", run=20),
        _on_the_grid,
    ),
    Law(
        "half a step",
        "In range, y is at most half a step from x.",
        _drawn(
            ("ordinary", "level", "tie", "near zero"),
            zero_points="any",
            ranges=_levels_that_16_bits_hold,
            keep=_within_the_ends,
        ),
        _half_a_step,
    ),
    Law(
        "gradient inside",
        "Between the end levels dx is dy.",
        _drawn(("ordinary", "tie"), scales="exact", zero_points="any", ranges=_many_levels, keep=_between_the_ends),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient at the ends",
        "At the end levels, and wherever x rounds to them, dx is dy.",
        _drawn(("end", "past an end", "end tie"), scales="exact", zero_points="any", keep=_at_an_end),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient outside",
        "Where x rounds to no level of the range, dx is 0.",
        _drawn(("beyond", "beside an end tie", "end tie"), scales="exact", zero_points="any", keep=_outside),
        _gradient,
        ("gradient",),
    ),
    Law(
        "gradient of infinities and NaN",
        "Where x is infinite or NaN, dx is 0.",
        _drawn(("infinite", "nan"), scales="exact", zero_points="any"),
        _gradient,
        ("gradient",),
    ),
    Law(
        "learnable gradients",
        "The gradients of scale and zero_point are the sums that LSQ+ defines, to six digits, and dx is the mask's.",
        _drawn(("ordinary", "end", "beyond"), scales="exact", zero_points="any"),
        _learnable,
        ("learnable",),
    ),
    Law("any length", "The first n elements of x give the first n of y.", _lengths, _any_length),
    Law("empty", "No elements give no elements, of the same shape.", _empty, _y),
    Law("zero-dimensional", "A zero-dimensional x gives its y, zero-dimensional too.", _zero_dimensional, _y),
    Law("non-contiguous", "However x lies in memory, y is the same.", _layouts, _any_layout),
    Law("input unmodified", "x and dy are as they were.", _drawn(_FINITE), _unmodified),
)


def law_named(name):
    """The law of this name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Law

    Raises
    ------
    ValueError
        If there is none; the message lists them.

    Examples
    --------
    >>> law_named("ties").meaning
    'Halfway between two levels, y is the even one.'
    """
    for law in ALL:
        if law.name == name:
            return law
    raise ValueError(f"no law {name!r}: there are {', '.join(law.name for law in ALL)}")
