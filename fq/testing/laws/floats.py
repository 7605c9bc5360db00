"""Laws of rounding to float formats: which number, what lies beyond, zeros, NaN, and the mask."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fq import reference
from fq.formats import FloatGrid
from fq.testing.laws.law import Cases, Difference, Law, different
from fq.testing.rounder import FloatParams
from fq.testing.strategies import type_named
from fq.testing.subject import Array, Case, Supports

__all__ = ["LAWS"]

_ELEMENTS = 64
_AWAY = 0.1, 0.375, 0.625, 0.9  # from numbers, and from ties, by parts of the spacing
Values = Callable[[np.random.Generator, FloatGrid], Array]


def _numbers(rng: np.random.Generator, grid: FloatGrid) -> Array:
    """Numbers of the format, subnormal ones among them, with both signs."""
    top = int(np.frexp(grid.max)[1]) - 1
    exponent = rng.integers(grid.min_exponent, max(top, grid.min_exponent) + 1, _ELEMENTS)
    steps = rng.integers(0, 2 ** (grid.mantissa_bits + 1), _ELEMENTS)
    size = np.minimum(np.ldexp(steps.astype(np.float64), exponent - grid.mantissa_bits), grid.max)
    found: Array = size * rng.choice([-1.0, 1.0], _ELEMENTS)
    return found


def _spacing(x: Array, grid: FloatGrid) -> Any:
    exponent = np.maximum(np.frexp(x)[1] - 1, grid.min_exponent)
    return np.ldexp(1.0, exponent - grid.mantissa_bits)


def _beside(*parts: float) -> Values:
    """Numbers of the format but the largest, and such parts of the spacing beyond them."""

    def values(rng: np.random.Generator, grid: FloatGrid) -> Array:
        x = _numbers(rng, grid)
        x = np.where(abs(x) + _spacing(x, grid) >= grid.max, 0.0, x)
        found: Array = x + np.copysign(rng.choice(parts, _ELEMENTS) * _spacing(x, grid), x)
        return found

    return values


def _ties(rng: np.random.Generator, grid: FloatGrid) -> Array:
    x = _numbers(rng, grid)
    x = np.where(abs(x) >= grid.max, 0.0, x)
    found: Array = x + np.copysign(_spacing(x, grid) / 2, x)
    return found


def _subnormal(rng: np.random.Generator, grid: FloatGrid) -> Array:
    """Below the smallest normal number, away from ties."""
    steps = rng.integers(0, 2**grid.mantissa_bits, _ELEMENTS) + rng.choice([0, 0.2, 0.4, 0.7], _ELEMENTS)
    found: Array = np.ldexp(steps, grid.min_exponent - grid.mantissa_bits) * rng.choice([-1.0, 1.0], _ELEMENTS)
    return found


def _of(*numbers: float) -> Values:
    return lambda rng, _: rng.choice(np.array(numbers), _ELEMENTS) * rng.choice([-1.0, 1.0], _ELEMENTS)


def _beyond(rng: np.random.Generator, grid: FloatGrid) -> Array:
    """Finite, and by more than half the last spacing above the largest number."""
    most = min(grid.max * 8, 60000.0)
    least = grid.max + 0.6 * _spacing(np.array(grid.max), grid)
    size = rng.uniform(least, max(most, float(least)), _ELEMENTS)
    found: Array = size * rng.choice([-1.0, 1.0], _ELEMENTS)
    return found


def _nearly(rng: np.random.Generator, grid: FloatGrid) -> Array:
    """Above the largest number by less than half the last spacing."""
    size = grid.max + _spacing(np.array(grid.max), grid) * rng.choice([0.125, 0.25, 0.375], _ELEMENTS)
    found: Array = size * rng.choice([-1.0, 1.0], _ELEMENTS)
    return found


def _drawn(values: Values, scale: str = "one", dtype: str | None = None) -> Cases:
    """Cases of such values, times a scale: 1, a power of two, or any."""

    @st.composite
    def cases(draw: st.DrawFn, supports: Supports, _arithmetic: str) -> Case:
        name = dtype or supports.dtypes[0]
        format = draw(st.sampled_from(getattr(supports, "formats", ("e4m3fn",))))
        compute: Any = np.float64 if name == "float64" else np.float32
        by = {"one": st.just(1.0), "power": st.sampled_from([0.25, 0.5, 2.0]), "any": st.sampled_from([0.1, 0.3, 1.7])}
        params = FloatParams(compute(draw(by[scale])), format)
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        with np.errstate(all="ignore"):
            x = (values(rng, params.grid) * float(params.scale)).astype(type_named(name))
        return Case(x, params)  # type: ignore[arg-type]

    return cases


def _expected(case: Case) -> tuple[Array, Array]:
    params: Any = case.qparams
    y, mask = reference.floats.forward(case.x, params.scale, *params.grid)
    return np.asarray(y), mask


def _y(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    return different(case, _expected(case)[0], subject.values(case))


def _signs(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    """Of zeros."""
    expected, found = np.signbit(_expected(case)[0]), np.signbit(subject.values(case))
    wrong = np.flatnonzero(expected != found)
    signed = [-0.0 if one else 0.0 for one in (False, True)]
    return (
        Difference(case, signed[int(expected[wrong[0]])], signed[int(found[wrong[0]])], (wrong[0],))
        if wrong.size
        else None
    )


def _mask(subject: Any, case: Case, _arithmetic: str) -> Difference | None:
    return different(case, _expected(case)[1], subject.mask(case))


def _in(name: str) -> Law:
    values = _beside(0.0, *_AWAY)
    return Law(
        f"numbers in {name}", f"In {name} too, y is the nearest number.", _drawn(values, dtype=name), _y, (name,)
    )


LAWS = (
    Law("numbers of the format", "A number of the format stays.", _drawn(_numbers), _y),
    Law("between numbers", "Between two numbers and away from ties, y is the nearer one.", _drawn(_beside(*_AWAY)), _y),
    Law("ties of numbers", "Halfway between two numbers, y is the even one.", _drawn(_ties), _y),
    Law("subnormal numbers", "Below the smallest normal number the spacing stays the same.", _drawn(_subnormal), _y),
    Law("nearly beyond", "What rounds to the largest number gives that.", _drawn(_nearly), _y),
    Law("beyond the largest number", "A finite x beyond the largest number gives that.", _drawn(_beyond), _y),
    Law("infinities of floats", "An infinity gives the largest number of its sign.", _drawn(_of(np.inf)), _y),
    Law("NaN of floats", "NaN stays NaN.", _drawn(_of(np.nan)), _y),
    Law("signs of zero", "-0.0 stays where the format has it, and is 0.0 where not.", _drawn(_of(0.0)), _signs),
    Law(
        "powers of two as scale",
        "A scale that is a power of two moves the numbers.",
        _drawn(_numbers, "power"),
        _y,
        ("scales",),
    ),
    Law(
        "any scale of floats",
        "With another scale, y is the number nearest to the rounded quotient, times scale.",
        _drawn(_beside(*_AWAY), "any"),
        _y,
        ("scales",),
    ),
    *map(_in, ("float16", "bfloat16", "float64")),
    Law(
        "mask of floats",
        "The mask tells what was not beyond the largest number.",
        _drawn(_beside(*_AWAY)),
        _mask,
        ("mask",),
    ),
    Law("mask beyond", "The mask is False beyond the largest number.", _drawn(_beyond), _mask, ("mask",)),
    Law(
        "mask of what is not finite",
        "The mask of NaN and infinities is False.",
        _drawn(_of(np.nan, np.inf)),
        _mask,
        ("mask",),
    ),
)
