"""The laws of float formats: each wrong reference breaks the one law that names what is wrong, and fq breaks none."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")

import fq
from fq.testing import OF_FLOATS, FloatSupports, Rounder, RounderSubject, assert_floats, check_floats, law_named
from fq.testing.candidates import load_rounders
from fq.testing.rounder import FORMATS
from fq.testing.strategies import TYPES

EVERY = FloatSupports(tuple(name for name in ("float32", "float16", "bfloat16", "float64") if name in TYPES))


def right(x, scale, format):
    y, mask = fq.reference.floats.forward(x, scale, *FORMATS[format])
    return np.array(y), np.array(mask)


def only(wrong):
    """The reference, with y and the mask changed by wrong(x, scale, grid, y, mask) in place."""

    def rounding(x, scale, format):
        y, mask = right(x, scale, format)
        with np.errstate(all="ignore"):
            wrong(x, scale, FORMATS[format], y, mask)
        return y, mask

    return rounding


def quotients(x, scale):
    return x.astype(np.float64) / np.float64(scale)


def drops_numbers(x, scale, grid, y, mask):
    y[(scale == 1) & (abs(x) == grid.max)] = 0


def rounds_down(x, scale, grid, y, mask):
    q = abs(quotients(x, scale))
    spacing = np.ldexp(1.0, np.maximum(np.frexp(q)[1] - 1, grid.min_exponent) - grid.mantissa_bits)
    down = np.floor(q / spacing) * spacing
    part = q / spacing - np.floor(q / spacing)
    wrong = (x.dtype == np.float32) & (scale == 1) & (part > 0.55) & (q > 2.0**grid.min_exponent) & (q < grid.max)
    y[wrong] = np.copysign(down, x)[wrong]


MUTANTS = {
    "drops the largest number": (drops_numbers, {"numbers of the format"}),
    "rounds down": (rounds_down, {"between numbers"}),
    "no saturation": (
        lambda x, scale, grid, y, mask: np.copyto(y, np.nan, where=np.isfinite(x) & ~mask),
        {"beyond the largest number"},
    ),
    "infinity stays": (lambda x, scale, grid, y, mask: np.copyto(y, x, where=np.isinf(x)), {"infinities of floats"}),
    "NaN is 0": (lambda x, scale, grid, y, mask: np.copyto(y, 0, where=np.isnan(x)), {"NaN of floats"}),
    "no sign of zero": (lambda x, scale, grid, y, mask: np.copyto(y, 0.0, where=y == 0), {"signs of zero"}),
    "no powers": (
        lambda x, scale, grid, y, mask: np.copyto(y, 0, where=np.float32(scale) == 2),
        {"powers of two as scale"},
    ),
    "no scale": (
        lambda x, scale, grid, y, mask: np.copyto(y, 0, where=np.frexp(scale)[0] != 0.5),
        {"any scale of floats"},
    ),
    "mask is False": (
        lambda x, scale, grid, y, mask: np.copyto(mask, False, where=np.isfinite(x) & (abs(x) < grid.max)),
        {"mask of floats"},
    ),
    "mask is True beyond": (
        lambda x, scale, grid, y, mask: np.copyto(mask, True, where=np.isfinite(x)),
        {"mask beyond"},
    ),
    "mask is True of NaN": (
        lambda x, scale, grid, y, mask: np.copyto(mask, True, where=np.isnan(x)),
        {"mask of what is not finite"},
    ),
    **{
        f"wrong in {name}": (
            lambda x, scale, grid, y, mask, name=name: np.copyto(y, 0, where=x.dtype.name == name),
            {f"numbers in {name}"},
        )
        for name in EVERY.dtypes[1:]
    },
}


def broken(candidate, **options):
    report = check_floats(candidate, supports=EVERY, **options)
    return {one.law for one in report.results if one.counterexample is not None}


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_wrong_breaks_the_law_that_names_it(name):
    wrong, expected = MUTANTS[name]
    assert broken(only(wrong)) == expected


def test_ties_subnormal_numbers_and_the_last_half_spacing_have_laws():
    def tie(x, scale, grid, y, mask):
        q = quotients(x, scale)
        spacing = np.ldexp(1.0, np.maximum(np.frexp(q)[1] - 1, grid.min_exponent) - grid.mantissa_bits)
        is_tie = abs(q / spacing - np.trunc(q / spacing)) == 0.5
        y[is_tie] = (np.trunc(q / spacing) * spacing)[is_tie]

    def flush(x, scale, grid, y, mask):
        below = (abs(x) < 2.0**grid.min_exponent) & (scale == 1)
        y[below] = np.copysign(0, x[below])

    def nearly(x, scale, grid, y, mask):
        y[(abs(x) > grid.max) & mask & (scale == 1)] = 0

    assert broken(only(tie)) == {"ties of numbers"}
    assert "subnormal numbers" in broken(only(flush))
    assert broken(only(nearly)) == {"nearly beyond"}


def test_each_law_is_broken_by_something():
    named = set().union(*(expected for _, expected in MUTANTS.values()))
    assert named | {"ties of numbers", "subnormal numbers", "nearly beyond"} == {law.name for law in OF_FLOATS} - {
        f"numbers in {name}" for name in ("float16", "bfloat16", "float64") if name not in EVERY.dtypes
    }
    for law in OF_FLOATS:
        assert law_named(law.name, OF_FLOATS) is law


def test_the_reference_keeps_all_laws():
    assert broken(right) == set()


@pytest.mark.parametrize("candidate", load_rounders()[0], ids=lambda one: one.name)
def test_candidates_break_what_their_page_says(candidate):
    report = check_floats(candidate, examples=40)
    found = {one.law for one in report.results if one.counterexample is not None}
    beyond = {"beyond the largest number", "infinities of floats"}
    if candidate.name.startswith("fq"):
        assert report.ok
    elif candidate.name in ("ml_dtypes cast", "JAX cast"):
        assert beyond <= found <= beyond | {"NaN of floats", "nearly beyond"}
    elif candidate.name == "PyTorch cast":
        assert beyond <= found <= beyond | {"nearly beyond"}
    elif candidate.name == "ml_dtypes clipped cast":
        assert found <= {"NaN of floats"}
    else:
        assert found <= {"NaN of floats", "numbers in float16", "numbers in float64"}, report


def test_what_is_no_rounding_is_refused():
    with pytest.raises(TypeError, match="function or an object"):
        check_floats(3)
    with pytest.raises(TypeError, match="FloatSupports"):
        RounderSubject(right, supports=3)
    with pytest.raises(ValueError, match="formats must be some of"):
        FloatSupports(formats=("float8",))
    with pytest.raises(AssertionError, match="differs"):
        assert_floats(lambda x, scale, format: x, examples=5)
    found = check_floats(Rounder("own", lambda x, scale, format: (x, x == x)), ["between numbers"]).failures[0]
    assert set(found.counterexample.parameters) == {"x", "scale", "format"}
