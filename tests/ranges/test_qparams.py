"""choose_qparams: the grid covers the range, contains zero exactly, and is usable whatever the range."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same
from hypothesis import given
from hypothesis import strategies as st

import fq

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
kinds = st.fixed_dictionaries(
    {"bits": st.integers(2, 16), "signed": st.booleans(), "symmetric": st.booleans(), "narrow_range": st.booleans()}
)

every_kind = [
    {"bits": bits, "signed": signed, "symmetric": symmetric, "narrow_range": narrow}
    for bits in range(1, 17)
    for signed in (True, False)
    for symmetric in (True, False)
    for narrow in (True, False)
    if bits > 1 or not narrow
]


def inside(module, x, qparams):
    """Whether all of x, in its own type, is in range for the forward itself."""
    return module.forward(x, *qparams)[1].all()


def near_ties(kind, rng, n):
    """Ranges of n channels, the ends of which are at a level or beside a tie of PyTorch's grid."""
    steps = 2 ** kind["bits"] - 1 - kind["narrow_range"]
    scale = np.float32(2) ** rng.integers(-120, 100, n) * rng.choice(np.float32([1, 1.1, 1.3]), n)
    place = rng.integers(0, steps + 1, n) + rng.choice([0, 0.5, -0.5, 0.3], n)
    place *= rng.choice([1, 1 + 2.0**-20], n)  # at a tie of the grid that was made larger
    low, high = np.float32(-np.abs(place) * scale), np.float32(np.abs(steps - place) * scale)
    low = rng.choice([low, np.nextafter(low, np.float32(-np.inf)), np.nextafter(low, np.float32(np.inf))])
    return np.minimum(low, 0), high


@pytest.mark.parametrize("kind", every_kind, ids=lambda kind: "-".join(map(str, kind.values())))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ends_are_inside_by_the_mask_of_the_forward(kind, dtype):
    low, high = (end.astype(dtype) for end in near_ties(kind, np.random.default_rng(kind["bits"]), 300))
    qp = fq.choose_qparams(low, high, **kind)
    assert qp.scale.dtype == dtype
    for module in (fq, fq.reciprocal, fq.reference):
        if module is not fq.reference:
            assert inside(module, low.astype(np.float32), qp)
            assert inside(module, high.astype(np.float32), qp)
        assert inside(module, low, qp)
        assert inside(module, high, qp)


@given(ends=st.tuples(finite, finite).map(sorted), kind=st.sampled_from(every_kind))
def test_any_range_is_inside_by_the_mask_of_the_forward(ends, kind):
    ends = np.float32(ends) / 4  # at one bit the widest ranges have no scale
    qp = fq.choose_qparams(*ends, **kind)
    for module in (fq, fq.reciprocal):
        assert inside(module, ends, qp)
        assert inside(module, ends.astype(np.float64), qp)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 16])
def test_the_largest_weight_of_a_symmetric_channel_is_inside(dtype, bits):
    weights = np.random.default_rng(bits).standard_normal((1000, 64)).astype(dtype)
    ends = weights.min(1, keepdims=True), weights.max(1, keepdims=True)
    assert inside(fq, weights, fq.choose_qparams(*ends, bits, symmetric=True))
    clamped = ~fq.forward(weights, *fq.choose_qparams(*ends, bits, symmetric=True, formula="torch"))[1]
    assert clamped.any(1).mean() > 0.15 or bits == 1  # what PyTorch's own formula does


def test_python_numbers_give_a_grid_that_covers_float32_as_well():
    qp = fq.choose_qparams(-1.0, 1.0, 8, symmetric=True)
    assert inside(fq, np.array([-1.0, 1.0]), qp)
    assert inside(fq, np.float32([-1, 1]), qp)
    for most in np.random.default_rng(0).standard_normal(200):
        qp = fq.choose_qparams(-abs(most), abs(most), 4, symmetric=True)
        assert inside(fq, np.float32([-most, most]), qp)


@pytest.mark.parametrize("kind", every_kind, ids=lambda kind: "-".join(map(str, kind.values())))
def test_the_scale_that_covers_is_the_least_and_pytorch_s_otherwise(kind):
    low, high = near_ties(kind, np.random.default_rng(kind["bits"]), 300)
    cover, torch = (fq.choose_qparams(low, high, **kind, formula=formula) for formula in ("cover", "torch"))
    assert (cover.scale >= torch.scale).all()
    assert (cover.scale <= torch.scale * np.float64(1 + 2.0**-19)).all()
    assert (cover.scale == torch.scale).any() or (kind["symmetric"] and not kind["narrow_range"])
    if kind["symmetric"] and not kind["narrow_range"]:
        most = np.maximum(-low, high)
        less = cover._replace(scale=cover.scale * np.float32(1 - 2.0**-19))
        assert not fq.forward(most, *less)[1][most > 1e-30].any()


def test_a_tie_at_both_ends_needs_another_scale():
    for formula, covers in (("torch", False), ("cover", True)):
        qp = fq.choose_qparams(np.float32(-1.5), np.float32(13.5), 4, formula=formula)
        assert inside(fq, np.float32([-1.5, 13.5]), qp) == covers


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
        ((np.zeros(3),), TypeError, r"takes the range of x, not x: choose_qparams\(x.min\(\), x.max\(\)\)"),
        (([0, 1, np.nan], 2), ValueError, "xmin must be finite, got nan at index 2"),
        ((-2, [[0, 1], [-np.inf, 3]]), ValueError, r"xmax must be finite, got -inf at index \(1, 0\)"),
        (([0, 3], [1, 2]), ValueError, "got 3 and 2 at index 1"),
        (([0, -1.7e308], [1, 1.7e308], 1), ValueError, r"from -1.7e\+308 to 1.7e\+308 at index 1 is too wide"),
        ((-1.7e308, 1.7e308, 1), ValueError, "too wide"),
    ],
)
def test_bad_ranges_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fq.choose_qparams(*arguments)


@pytest.mark.parametrize("formula", ["Torch", "", None, 0])
def test_an_unknown_formula_is_refused_with_the_two_there_are(formula):
    with pytest.raises(ValueError, match=f"formula must be 'cover' or 'torch', got {formula!r}"):
        fq.choose_qparams(-1, 1, formula=formula)


def test_a_narrow_range_needs_two_bits():
    with pytest.raises(ValueError, match="2 to 16 for a narrow range, got 1"):
        fq.choose_qparams(-1, 1, 1, narrow_range=True)


def test_ranges_have_as_many_axes_as_arrays_may():
    qp = fq.choose_qparams(-np.ones((1,) * 40 + (2, 1)), np.ones((1,) * 40 + (3,)), symmetric=True)
    assert qp.scale.shape == qp.zero_point.shape == (1,) * 40 + (2, 3)


def test_an_end_beyond_float64_is_refused_without_a_warning():
    with np.errstate(over="raise"), pytest.raises(ValueError, match="must be finite"):
        fq.choose_qparams(0, np.finfo(np.longdouble).max)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_the_byte_order_of_a_range_changes_nothing(kind, order):
    ends = np.array([[-1.0, -0.3], [2.0, 0.1]])
    found = fq.choose_qparams(*ends.astype(order + kind), 4)
    native = fq.choose_qparams(*ends.astype(kind), 4)
    assert found.scale.dtype == native.scale.dtype == np.dtype(kind)
    assert_same(found.scale, native.scale)
    assert_same(found.zero_point, native.zero_point)


@pytest.mark.parametrize("which", ["xmin", "xmax"])
def test_a_masked_range_is_refused_where_its_mask_would_be_lost(which):
    x = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], [[False, False], [True, True]])
    ends = {"xmin": [-1.0, -1.0], "xmax": [1.0, 1.0], which: x.max(1)}  # behind the mask lies a large number
    with pytest.raises(TypeError, match=f"{which} must not be a masked array"):
        fq.choose_qparams(**ends)
