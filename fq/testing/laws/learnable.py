"""Laws of the gradients of scale and zero_point: one for each kind of input that y has laws for, as each hides others.

They are judged by `fq.reference.backward_learnable`, to what rounding in the type computed in explains.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from fq import reference
from fq.testing.laws import shapes
from fq.testing.laws.cases import (
    BLOCK,
    FINITE,
    all_of,
    at_an_end,
    away_from_an_end,
    beside_ties,
    between_the_ends,
    channels,
    drawn,
    levels_that_16_bits_hold,
    many_levels,
    normal,
    of_all_types,
    of_type,
    outside,
)
from fq.testing.laws.law import Cases, Difference, Judge, Law, different, listed, some_dy
from fq.testing.laws.values import broadcast
from fq.testing.subject import Array, Case, Subject, Supports

__all__ = ["LAWS"]

_NAMES = ("dscale", "dzero_point")


def _expected(dy: Array, case: Case, arithmetic: str) -> tuple[Array, Array, Array]:
    return reference.backward_learnable(dy, case.x, *case.qparams, arithmetic=arithmetic)


def _compute(case: Case) -> Any:
    return np.float64 if case.x.dtype == np.float64 else np.float32


def _different_sums(case: Case, dy: Array, weights: Array, expected: Any, found: Any) -> Difference | None:
    """The first of dscale and dzero_point that is further off than rounding explains, in sums of these weights."""
    grid = case.qparams
    steps = max(float(np.max(np.abs(end - np.asarray(grid.zero_point)))) for end in (grid.qmin, grid.qmax))
    most = 8 * float(np.finfo(_compute(case)).eps) * float(np.abs(weights.astype(np.float64)).sum())
    for name, one, other, unit in zip(_NAMES, expected, found, (max(steps, 1), np.max(grid.scale)), strict=True):
        one, other = np.asarray(one).astype(np.float64), np.asarray(other).astype(np.float64)
        equal = (one == other) | (np.isnan(one) & np.isnan(other)) | (np.abs(one - other) <= most * float(unit))
        if not equal.all():
            index = tuple(int(i) for i in np.argwhere(~equal)[0])
            more: dict[str, object] = {"gradient": name, **({"at": index} if index else {}), "dy": listed(dy)}
            return Difference(case, one[index], other[index], x=listed(case.x), more=more)
    return None


def _sums(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    dy = some_dy(case.x)
    return _different_sums(case, dy, dy, _expected(dy, case, arithmetic)[1:], subject.learnable(dy, case)[1:])


def _law(name: str, meaning: str, cases: Cases, judge: Judge = _sums, needs: tuple[str, ...] = ()) -> Law:
    return Law(f"learnable {name}", meaning, cases, judge, ("learnable", *needs))


BY_VALUE = (
    _law(
        "inside",
        "Between the end levels, dscale is the sum of dy times what rounding adds to the exact x / scale.",
        drawn(("ordinary", "level"), scales="exact", ranges=many_levels, keep=between_the_ends),
    ),
    _law(
        "ties",
        "Halfway between two levels, dscale takes the even one.",
        drawn(("tie",), scales="exact", ranges=many_levels, keep=between_the_ends),
    ),
    _law(
        "beside ties",
        "A unit in the last place from halfway, dscale takes the level of the quotient as the arithmetic rounds it.",
        beside_ties(between_the_ends),
    ),
    _law(
        "ends",
        "At the end levels, and where x rounds to them, dscale is that of the inside.",
        drawn(("end", "past an end"), scales="exact", keep=at_an_end),
    ),
    _law(
        "outside",
        "Beyond an end, dscale is the end's level less zero_point and dzero_point is -scale, times dy.",
        drawn(("beyond",), scales="exact", keep=outside),
    ),
    _law(
        "huge values",
        "A finite value that no integer type holds counts like one just beyond the range.",
        drawn(("huge",), scales="exact", keep=all_of(lambda x, _: np.isfinite(x), outside)),
    ),
    _law("infinities", "An infinity counts like a value just beyond the range.", drawn(("infinite",), scales="exact")),
    _law("NaN", "A NaN in x makes dscale NaN and adds nothing to dzero_point.", drawn(("nan",))),
    _law(
        "extreme scales",
        "With a scale near either end of the normal numbers, the gradients are the reference's.",
        drawn(
            ("ordinary",),
            scales="extreme",
            ranges=levels_that_16_bits_hold,
            keep=all_of(normal, between_the_ends),
            run=0,
        ),
    ),
    _law(
        "subnormals",
        "A subnormal scale, and subnormal values, count as what they are.",
        drawn(("ordinary",), scales="subnormal", keep=between_the_ends),
    ),
    _law(
        "zero points",
        "With any zero_point, inside and outside the range, the gradients are the reference's.",
        drawn(("ordinary", "beyond"), scales="exact", zero_points="other", keep=away_from_an_end, run=20),
        needs=("zero_points",),
    ),
    _law(
        "several channels",
        "With a scale and zero_point for each channel, each has the sums of its channel.",
        channels,
        needs=("channels",),
    ),
    _law(
        "parameters of two shapes",
        "scale and zero_point of two shapes each have the sums over the axes along which they are broadcast.",
        broadcast,
        needs=("broadcast",),
    ),
)


@st.composite
def _that_cancel(draw: st.DrawFn, supports: Supports, arithmetic: str) -> Case:
    """Of four elements the third takes away what the first adds: 2**24 times what the other two add."""
    cases = drawn(("ordinary", "beyond"), scales="exact", ranges=levels_that_16_bits_hold)
    case = draw(cases(supports, arithmetic))
    x = np.resize(case.x, BLOCK)
    x[2::4] = x[::4]
    large = 2.0**24 if x.dtype.itemsize > 2 else 2.0**14
    return case._replace(x=x, dy=np.resize(np.array([large, 1, -large, 3]), BLOCK).astype(x.dtype))


def _precise(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    dy = some_dy(case.x) if case.dy is None else case.dy
    expected = _expected(dy, case, arithmetic)[1:]
    return _different_sums(case, dy, dy[1::2], expected, subject.learnable(dy, case)[1:])


def _dx(subject: Subject, case: Case, arithmetic: str) -> Difference | None:
    dy = some_dy(case.x)
    return different(case, _expected(dy, case, arithmetic)[0], subject.learnable(dy, case)[0], more={"gradient": "dx"})


def _types(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    found = subject.learnable(some_dy(case.x), case)
    dtypes = case.x.dtype, np.dtype(_compute(case)), np.dtype(_compute(case))
    for name, one, dtype in zip(("dx", *_NAMES), found, dtypes, strict=True):
        if one.dtype.name != dtype.name:
            told = f"{case.x.dtype.name} of shape {case.x.shape}"
            return Difference(case, dtype.name, one.dtype.name, x=told, more={"gradient": name})
    return None


def _in(name: str) -> Law:
    return _law(name, f"In {name} too, the gradients are the reference's.", of_type(name), needs=(name,))


def _additive(subject: Subject, case: Case, _arithmetic: str) -> Difference | None:
    dy = some_dy(case.x)
    cut = [np.s_[: case.length], np.s_[case.length :]]
    first, rest = (subject.learnable(dy[one], case._replace(x=case.x[one])) for one in cut)
    whole = subject.learnable(dy, case)
    sums = [one.astype(np.float64) - other for one, other in zip(whole[1:], rest[1:], strict=True)]
    short = case._replace(x=case.x[cut[0]])
    return different(short, whole[0][cut[0]], first[0]) or _different_sums(short, dy[cut[0]], dy, sums, first[1:])


def _alike(subject: Subject, case: Case, other: Case) -> Difference | None:
    """As the candidate's own gradients of the same elements in another array."""
    dy = some_dy(case.x)
    expected = subject.learnable(dy.reshape(other.x.shape), other)
    found = subject.learnable(dy, case)
    more: dict[str, object] = {"gradient": "dx", "layout": case.layout}
    dx = different(case, expected[0].reshape(case.x.shape), found[0], more=more)
    return dx or _different_sums(case, dy, dy, expected[1:], found[1:])


LAWS = (
    *BY_VALUE,
    *map(_in, ("float16", "bfloat16", "float64")),
    _law(
        "types",
        "dx has the type of x; dscale and dzero_point are float32, or float64 for float64 x.",
        of_all_types,
        _types,
    ),
    _law(
        "sums that cancel",
        "dscale and dzero_point are summed in double precision, and rounded once.",
        _that_cancel,
        _precise,
    ),
    _law(
        "gradient of x",
        "dx is dy where x rounds to a level of the range, and 0 elsewhere.",
        drawn((*FINITE, "infinite", "nan"), scales="exact", zero_points="any"),
        _dx,
    ),
    _law("any length", "The sums of two parts of x are those of the whole.", shapes.lengths, _additive),
    _law("empty", "No elements give sums of 0.", shapes.empty),
    _law(
        "zero-dimensional",
        "A zero-dimensional x has the gradients of an array of one element.",
        shapes.zero_dimensional,
        lambda subject, case, _: _alike(subject, case, case._replace(x=case.x.reshape(1))),
    ),
    _law(
        "non-contiguous",
        "However x lies in memory, the gradients are the same.",
        shapes.layouts,
        lambda subject, case, _: _alike(subject, case, shapes.contiguous(case)),
    ),
)
