"""choose_qparams: the grid covers the range, contains zero exactly, and is usable whatever the range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fq

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
kinds = st.fixed_dictionaries(
    {"bits": st.integers(2, 16), "signed": st.booleans(), "symmetric": st.booleans(), "narrow_range": st.booleans()}
)


@given(ends=st.tuples(finite, finite).map(sorted), kind=kinds)
def test_zero_is_a_level_and_the_range_is_covered(ends, kind):
    xmin, xmax = np.float32(ends)
    qp = fq.choose_qparams(xmin, xmax, **kind)
    assert qp.scale.dtype == np.float32
    assert qp.scale >= np.finfo(np.float32).tiny
    assert qp.qmin <= qp.zero_point <= qp.qmax
    assert qp.qmax - qp.qmin == 2 ** kind["bits"] - 1 - kind["narrow_range"]
    assert fq.fake_quantize(np.float32(0), *qp) == 0
    x = np.float32([xmin, xmax])
    y = fq.fake_quantize(x.astype(np.float64), *qp)
    assert (np.abs(y - x) <= 1.001 * np.float64(qp.scale)).all()  # zero_point and the end levels are rounded
    if kind["symmetric"]:
        assert qp.zero_point == (0 if kind["signed"] else 2 ** (kind["bits"] - 1))


@pytest.mark.parametrize("bits", range(1, 17))
def test_levels(bits):
    assert fq.choose_qparams(-1, 1, bits)[2:] == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert fq.choose_qparams(-1, 1, bits, signed=False)[2:] == (0, 2**bits - 1)
    if bits > 1:
        assert fq.choose_qparams(-1, 1, bits, narrow_range=True)[2:] == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
        assert fq.choose_qparams(-1, 1, bits, signed=False, narrow_range=True)[2:] == (1, 2**bits - 1)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, -1e-45, 1e-40, 3.0, -3.0])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_one_value_gives_a_usable_scale(value, symmetric):
    value = np.float32(value)
    qp = fq.choose_qparams(value, value, symmetric=symmetric)
    assert np.isfinite(1 / qp.scale)
    for functions in (fq, fq.reciprocal):
        y = functions.fake_quantize(value, *qp)
        assert abs(y - value) <= qp.scale
    if value == 0:
        assert qp.scale == 1


def test_arrays_give_a_grid_per_channel():
    xmin, xmax = np.float32([[-1.0], [0.0], [-3.0]]), np.float32([[2.0], [2.0], [-1.0]])
    qp = fq.choose_qparams(xmin, xmax, bits=4)
    assert qp.scale.shape == qp.zero_point.shape == (3, 1)
    np.testing.assert_array_equal(qp.zero_point, [[-3], [-8], [7]])
    for i in range(3):
        one = fq.choose_qparams(xmin[i, 0], xmax[i, 0], bits=4)
        assert (one.scale, one.zero_point) == (qp.scale[i, 0], qp.zero_point[i, 0])


def test_float64_ranges_give_a_float64_scale():
    assert fq.choose_qparams(-1.0, 1.0).scale.dtype == np.float64
    assert fq.choose_qparams(-1, np.float32(1)).scale.dtype == np.float32
    assert fq.choose_qparams(-1.7e308, 1.7e308, 8).scale == pytest.approx(3.4e306 / 255 * 100)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.nan, 1), ValueError, "xmin must be finite"),
        ((0, np.inf), ValueError, "xmax must be finite"),
        ((1, 0), ValueError, "xmin must not exceed xmax"),
        (([0, 3], [1, 2]), ValueError, "xmin must not exceed xmax"),
        ((0, 1, 0), ValueError, "bits must be 1 to 16, got 0"),
        ((0, 1, 17), ValueError, "bits must be 1 to 16, got 17"),
        ((0, 1, 8.0), TypeError, "bits must be an integer"),
        ((0, 1, True), TypeError, "bits must be an integer"),
        ((0, 1j), TypeError, "xmax must be real"),
        ((-1.7e308, 1.7e308, 1), ValueError, "too wide"),
    ],
)
def test_bad_ranges_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fq.choose_qparams(*arguments)


def test_a_narrow_range_needs_two_bits():
    with pytest.raises(ValueError, match="2 to 16 for a narrow range, got 1"):
        fq.choose_qparams(-1, 1, 1, narrow_range=True)


def test_ranges_have_as_many_axes_as_arrays_may():
    qp = fq.choose_qparams(-np.ones((1,) * 40 + (2, 1)), np.ones((1,) * 40 + (3,)), symmetric=True)
    assert qp.scale.shape == qp.zero_point.shape == (1,) * 40 + (2, 3)


def test_an_end_beyond_float64_is_refused_without_a_warning():
    with np.errstate(over="raise"), pytest.raises(ValueError, match="must be finite"):
        fq.choose_qparams(0, np.finfo(np.longdouble).max)
