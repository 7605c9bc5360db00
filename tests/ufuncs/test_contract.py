"""The laws of the contract, stated on the results alone."""

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, GRIDS, assert_same, gradients, hard_values

import fq


@pytest.fixture(params=GRIDS, ids=str)
def grid(request):
    return request.param


@pytest.fixture(params=FLOAT_TYPES, ids=str)
def x(request, grid):
    return hard_values(request.param, grid, np.random.default_rng(1), 3000)


@pytest.mark.usefixtures("target")
def test_mask_is_true_exactly_where_the_gradient_passes(x, grid):
    mask = fq.forward(x, *grid)[1]
    dx = fq.backward(np.ones_like(x), mask)
    assert_same(dx == 1, mask)
    assert_same(dx == 0, ~mask)


@pytest.mark.usefixtures("target")
def test_recompute_equals_backward_from_the_mask(x, grid):
    dy = gradients(x.dtype, np.random.default_rng(2), x.size)
    assert_same(fq.backward_recompute(dy, x, *grid), fq.backward(dy, fq.forward(x, *grid)[1]))


@pytest.mark.usefixtures("target")
def test_y_is_never_negative_zero(x, grid):
    y = fq.fake_quantize(x, *grid)
    assert not np.any(np.signbit(y[y == 0]))


@pytest.mark.usefixtures("target")
def test_nan_gives_nan_and_false_and_infinities_clamp():
    y, mask = fq.forward(np.float32([np.nan, np.inf, -np.inf]), 0.5, 1, -8, 7)
    assert_same(y, np.float32([np.nan, 3.0, -4.5]))
    assert not mask.any()


@pytest.mark.usefixtures("target")
def test_masked_nan_and_inf_give_nan_and_masked_numbers_keep_their_sign():
    dx = fq.backward(np.float32([np.nan, np.inf, -np.inf, 3, -3]), np.zeros(5, bool))
    assert np.isnan(dx[:3]).all()
    assert_same(dx[3:], np.float32([0.0, -0.0]))


def test_scalar_types_and_python_numbers_give_numpy_scalars():
    for x, kind in ((0.3, np.float64), (np.float32(0.3), np.float32), (np.float16(0.3), np.float16)):
        y, mask = fq.forward(x, 0.25, 0, -8, 7)
        assert isinstance(y, kind)
        assert isinstance(mask, np.bool_)
        assert y == 0.25


def test_the_arithmetics_differ_on_a_tie():
    """x / scale is 7.5 exactly and goes to even, 8; x * (1 / scale) is just below 7.5 and goes to 7."""
    x, scale = np.float32(8.25), np.float32(1.1)
    assert fq.fake_quantize(x, scale, 0, -8, 8) == 8 * scale
    assert fq.reciprocal.fake_quantize(x, scale, 0, -8, 8) == 7 * scale


@pytest.mark.parametrize("functions", ARITHMETICS.values(), ids=ARITHMETICS)
def test_no_floating_point_warning_whatever_x_holds(functions):
    x = np.float32([np.nan, np.inf, -np.inf, 3e38, 1e-45, 0])
    with np.errstate(all="raise"):
        functions.forward(x, 3e38, 0, -8, 7)
        functions.forward(x, 1e-38, 0, -8, 7)
        functions.backward(x, np.zeros(6, bool))
        assert np.float32(1) + np.float32(1) == 2  # and none is left behind for the next operation
