"""Codes of residuals in the place of x: what is exact, how far dscale may be off, and what is refused."""

import numpy as np
import pytest
from helpers import (
    ARITHMETICS,
    FLOAT_TYPES,
    OPERATIONS,
    assert_same,
    bfloat16,
    gradients,
    grids_of,
    hard_values,
    kept_as,
    random_kept,
)
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape

import fq

LAST = {"": 126, "_packed": 6}  # the largest code in range
EVERY = pytest.mark.parametrize("suffix", LAST)
GRID = (0.1, 0, -8, 7)


def functions_of(suffix, arithmetic="divide"):
    module = ARITHMETICS[arithmetic]
    return getattr(module, f"forward_residual{suffix}"), getattr(module, f"backward_residual{suffix}")


def through(suffix, dy, x, *qparams, arithmetic="divide"):
    """(dx, dscale, dzero_point) by way of codes."""
    forward, backward = functions_of(suffix, arithmetic)
    return backward(dy, forward(x, *qparams)[1], *qparams)


@EVERY
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("dtype", [one for one in (np.float16, bfloat16) if one is not None], ids=str)
def test_every_value_of_16_bits_has_the_code_of_the_reference(dtype, arithmetic, suffix):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    forward, backward = functions_of(suffix, arithmetic)
    for grid in grids_of("residual"):
        expected = getattr(fq.reference, f"forward_residual{suffix}")(x, *grid, arithmetic=arithmetic)
        found = forward(x, *grid)
        assert_same(found, expected)
        dy = np.where(np.isfinite(x.astype(np.float32)), 1, 0).astype(dtype)
        assert_same(
            backward(dy, found[1], *grid)[0],
            fq.backward(dy, fq.forward(x, *grid)[1])
            if arithmetic == "divide"
            else fq.reciprocal.backward_recompute(dy, x, *grid),
        )


@pytest.mark.parametrize("target", fq._core.targets())
@EVERY
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_every_target_has_the_same_codes_and_sums(dtype, suffix, target):
    rng, before = np.random.default_rng(0), fq._core.target()
    forward, backward = functions_of(suffix)
    for n in (1, 7, 8, 63, 64, 65, 300, 5001):
        for grid in grids_of("residual")[:7]:
            x, dy = hard_values(dtype, grid, rng, n), rng.standard_normal(n).astype(dtype)
            expected = forward(x, *grid), backward(dy, forward(x, *grid)[1], *grid)
            try:
                fq._core._set_target(target)
                found = forward(x, *grid), backward(dy, forward(x, *grid)[1], *grid)
            finally:
                fq._core._set_target(before)
            assert_same(found, expected)


SHAPES = [  # of x, of scale, of zero_point
    ((1000,), (), ()),
    ((40, 33), (40, 1), (40, 1)),
    ((40, 32), (32,), ()),
    ((40, 33), (40, 33), (33,)),
    ((3, 4, 5, 6), (4, 1, 1), (4, 1, 1)),
    ((3000, 16), (3000, 1), ()),
    ((7, 4097), (7, 1), ()),
]


@EVERY
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize(("shape", "of_scale", "of_zero_point"), SHAPES)
def test_dx_and_dzero_point_are_those_of_x_and_dscale_lies_within_its_bound(
    shape, of_scale, of_zero_point, dtype, suffix
):
    rng, compute = np.random.default_rng(1), np.float64 if dtype == np.float64 else np.float32
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    scale = rng.uniform(0.05, 0.3, of_scale).astype(compute)[()]
    qparams = scale, rng.integers(-2, 3, of_zero_point)[()], -8, 7
    dx, dscale, dzero_point = through(suffix, dy, x, *qparams)
    exact = fq.backward_learnable(dy, x, *qparams)
    assert_same((dx, dzero_point), (exact[0], exact[2]))
    assert np.all(np.abs(dscale - exact[1]) <= bound_of(dy, x, scale, LAST[suffix], compute))


def bound_of(dy, x, scale, last, compute):
    """What the codes leave out: half a step of a code, half an ulp of the quotient; and of the sum its rounding."""
    ulp = np.spacing(np.abs(x / scale).astype(compute)).astype(np.float64)
    each = np.abs(dy.astype(np.float64)) * (1 / (4 * last) + ulp / 2 + 64 * np.finfo(compute).eps * 16)
    axes = tuple(i for i, n in enumerate((*(1,) * (x.ndim - np.ndim(scale)), *np.shape(scale))) if n == 1)
    return each.sum(axes).reshape(np.shape(scale))


@EVERY
def test_the_error_of_dscale_is_of_the_size_that_theory_gives_it(suffix):
    """A residual lies anywhere in a step of the code: its error is uniform, of rms 1 / (2 * L * sqrt(12))."""
    rng, errors = np.random.default_rng(2), []
    for _ in range(3000):
        x, dy = rng.uniform(-0.7, 0.7, 500), rng.standard_normal(500)
        found = through(suffix, dy, x, *GRID)[1]
        errors.append((found - fq.backward_learnable(dy, x, *GRID)[1]) / np.linalg.norm(dy))
    expected = 1 / (2 * LAST[suffix] * np.sqrt(12))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(expected, rel=0.05)


@EVERY
def test_ends_of_steps_have_codes_that_are_exact(suffix):
    x = np.array([0, 0.5, 1.5, -0.5, 0.25, -0.75, 1 / 3, 7.4, 7.6, -8.6, np.inf, -np.inf, 1e30])
    dy = np.ones_like(x)
    found, exact = through(suffix, dy, x, 1.0, 0, -8, 7), fq.backward_learnable(dy, x, 1.0, 0, -8, 7)
    last = LAST[suffix]
    assert abs(found[1] - exact[1]) <= 2 / (4 * last)  # 1/3 and 7.4 alone are no multiples of a step
    kept = np.array([0, 0.5, 1.5, -0.5, 0.25, -0.75, 7.6, -8.6, np.inf, -np.inf])
    assert (
        through(suffix, np.ones(10), kept, 1.0, 0, -8, 7)[1]
        == fq.backward_learnable(np.ones(10), kept, 1.0, 0, -8, 7)[1]
    )


@EVERY
def test_a_nan_makes_dscale_nan_and_nothing_else(suffix):
    x, dy = np.array([0.2, np.nan, 9.0], np.float32), np.array([1, 2, 4], np.float32)
    dx, dscale, dzero_point = through(suffix, dy, x, *GRID)
    assert dx.tolist() == [1, 0, 0]
    assert np.isnan(dscale)
    assert dzero_point == np.float32(-4 * np.float32(0.1))
    assert not np.isnan(through(suffix, dy[[0, 2]], x[[0, 2]], *GRID)[1])


@EVERY
@given(st.data())
def test_any_layout_has_the_codes_and_gradients_of_the_reference(suffix, data):
    draw = data.draw
    name, dtype = f"backward_residual{suffix}", draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    order = draw(st.permutations(range(len(shape))))
    back = np.argsort(order)
    x = hard_values(dtype, GRID, rng, int(np.prod(shape))).reshape([shape[i] for i in order]).transpose(back)
    dy = gradients(dtype, rng, x.size).reshape(shape)[..., ::-1][..., ::-1]
    compute = np.float64 if dtype == np.float64 else np.float32
    of_scale, of_zero_point = (broadcasting_shape(shape, draw) for _ in range(2))
    qparams = rng.uniform(0.05, 0.3, of_scale).astype(compute)[()], rng.integers(-2, 3, of_zero_point)[()], -8, 7
    forward, backward = functions_of(suffix)
    y, codes = forward(x, *qparams)
    assert_same((y, codes), getattr(fq.reference, f"forward_residual{suffix}")(x, *qparams))
    assert_same(forward(x, *qparams, subok=True), (y, codes))
    for kept in (codes, random_kept(rng, *kept_as(name, "residual", shape)), np.asfortranarray(codes)):
        found, expected = backward(dy, kept, *qparams), getattr(fq.reference, name)(dy, kept, *qparams)
        assert_same(found[0], expected[0])
        for one, other in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@EVERY
def test_y_may_be_written_over_x_and_dx_over_dy(suffix):
    rng, (forward, backward) = np.random.default_rng(3), functions_of(suffix)
    for dtype in FLOAT_TYPES:
        x = rng.standard_normal((5, 131)).astype(dtype)
        expected, dy = forward(x, *GRID), x[:, ::-1].copy()
        of_dy = backward(dy, expected[1], *GRID)
        y, codes = forward(x, *GRID, out=(x, None))
        assert y is x
        assert_same((y, codes), expected)
        assert backward(dy, codes, *GRID, out=(dy, None, None))[0] is dy
        assert_same(dy, of_dy[0])


@EVERY
def test_a_long_call_stores_past_the_cache_wherever_it_begins(suffix):
    before, rng = fq._core.cache_threshold(), np.random.default_rng(4)
    forward, _ = functions_of(suffix)
    try:
        for dtype in FLOAT_TYPES:
            x = rng.standard_normal(20_011).astype(dtype)
            fq._core._set_cache_threshold(2**30)
            expected = forward(x, *GRID)
            fq._core._set_cache_threshold(1)
            for skipped in range(40):
                y = np.empty(x.size + 64, dtype)[skipped:][: x.size]
                codes = np.full(expected[1].size + 2, 0x55, expected[1].dtype)
                forward(x, *GRID, out=(y, codes[1:-1]))
                assert_same((y, codes[1:-1]), expected)
                assert codes[0] == codes[-1] == 0x55
    finally:
        fq._core._set_cache_threshold(before)


@EVERY
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_levels_of_which_a_code_says_nothing_are_refused_with_the_way_out(dtype, suffix):
    forward, backward = functions_of(suffix)
    most = 2**44 if dtype == np.float64 else 2**15
    x = np.zeros(4, dtype)
    for grid in ((1, 0, -most, most), (1, most, 0, 2 * most)):
        backward(x, forward(x, *grid)[1], *grid)
    codes = forward(x, *GRID)[1]
    words = r"no level may lie further than 2\*\*(15|44) from zero_point.*keep x: backward_learnable takes it"
    for grid in ((1, 0, -most - 1, 7), (1, 0, -8, most + 1), (np.ones(4), 0, -8, most + 1)):
        with pytest.raises(ValueError, match=words):
            forward(x, *grid)
        with pytest.raises(ValueError, match=words):
            backward(x, codes, *grid)
        fq.backward_learnable(x, x, *grid)


@pytest.mark.parametrize(
    ("suffix", "codes", "error", "words"),
    [
        ("", np.zeros(4, np.uint8), TypeError, "residual must be int8, got uint8.*backward_residual_packed uint8"),
        ("_packed", np.zeros(2, np.int8), TypeError, "residual must be uint8, got int8.*backward_residual takes int8"),
        ("", np.zeros(4, bool), TypeError, "residual must be int8, got bool"),
        ("", np.zeros(4), TypeError, "residual must be int8, got float64"),
        ("", np.zeros(3, np.int8), ValueError, r"dy and residual must have one shape, got \(4,\) and \(3,\)"),
        (
            "_packed",
            np.zeros(4, np.uint8),
            ValueError,
            r"residual must be of shape \(2,\) for dy of \(4,\)",
        ),
    ],
)
def test_what_is_no_residual_is_refused(suffix, codes, error, words):
    with pytest.raises(error, match=words):
        functions_of(suffix)[1](np.zeros(4, np.float32), codes, *GRID)


@EVERY
@pytest.mark.parametrize("module", [fq, fq.reference])
def test_a_grid_of_more_axes_than_dy_is_refused(module, suffix):
    dy, codes = np.ones(2), np.zeros(2, np.int8) if not suffix else np.zeros(1, np.uint8)
    with pytest.raises(ValueError, match="broadcast into"):
        getattr(module, f"backward_residual{suffix}")(dy, codes, np.full((1, 1), 0.1), 0, -8, 7)


def test_scalars_have_codes_of_bytes_and_none_of_half_a_byte():
    y, code = fq.forward_residual(0.22, *GRID)
    dx, dscale, dzero_point = fq.backward_residual(2.0, code, *GRID)
    assert (y, dx, dzero_point) == (fq.fake_quantize(0.22, *GRID), 2.0, 0)
    assert dscale == pytest.approx(2 * -0.2, abs=2 / 504)
    with pytest.raises(ValueError, match="must have an axis"):
        fq.forward_residual_packed(0.22, *GRID)
    with pytest.raises(ValueError, match="must have an axis"):
        fq.backward_residual_packed(0.22, np.uint8(1), *GRID)


def test_there_is_a_backward_for_each_forward():
    names = [name for name in OPERATIONS if "residual" in name]
    assert sorted(names) == sorted(f"{way}_residual{suffix}" for way in ("forward", "backward") for suffix in LAST)
