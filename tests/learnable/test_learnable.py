"""backward_learnable: the gradients of the reference for every layout, and the same bits however it is run."""

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same

import fq
from fq import _core

MODULES = [("divide", fq), ("reciprocal", fq.reciprocal)]
SHAPES = [  # of x, of scale, of zero_point
    ((1000,), (), ()),
    ((4, 5, 6), (5, 1), (5, 1)),
    ((4, 5, 6), (4, 1, 1), ()),
    ((700, 32), (700, 1), (700, 1)),
    ((3, 300, 20), (300, 1), ()),
    ((40, 300), (300,), (300,)),
    ((40, 300), (300,), (40, 1)),
    ((3, 4, 5, 6), (3, 1, 5, 1), (1, 4, 1, 1)),
    ((7, 9), (7, 9), (7, 9)),
    ((2, 3, 1), (1, 3, 1), (1,)),
    ((), (), ()),
    ((1,), (1,), ()),
]


def case(shape, of_scale, of_zero_point, dtype, seed=0):
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.02, 0.2, of_scale)
    zero_point = rng.integers(-3, 4, of_zero_point)
    x = rng.standard_normal(shape)
    return rng.standard_normal(shape).astype(dtype), np.asarray(x).astype(dtype), scale, zero_point, -8, 7


def assert_close(found, expected, dy, scale, computed):
    """Sums of terms up to about 12 |dy|: within rounding of float64 sums, and of the type they are stored in."""
    assert np.shape(found) == np.shape(expected)
    assert np.asarray(found).dtype == computed
    most = 16 * float(np.abs(dy.astype(np.float64)).sum()) + 1
    bound = 1e-13 * most if computed == np.float64 else np.spacing(np.abs(expected)) + 1e-13 * most
    assert np.all(np.abs(np.float64(found) - np.float64(expected)) <= bound)


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize(("arithmetic", "module"), MODULES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_equals_the_reference(target, shapes, arithmetic, module, dtype):
    dy, x, *qparams = case(*shapes, dtype)
    computed = np.float64 if dtype == np.float64 else np.float32
    found = module.backward_learnable(dy, x, *qparams)
    expected = fq.reference.backward_learnable(dy, x, *qparams, arithmetic=arithmetic)
    assert_same(np.asarray(found[0]), np.asarray(expected[0]))
    assert_close(found[1], expected[1], dy, qparams[0], computed)
    assert_close(found[2], expected[2], dy, qparams[0], computed)


def around_the_grid(scale, levels, dtype, seed=4):
    """Levels and ties of every size, a unit or two in the last place beside them, and numbers next to nothing."""
    rng, info = np.random.default_rng(seed), np.finfo(dtype)
    level = np.rint(levels * 2.0 ** rng.uniform(-np.log2(levels), 0, 400) * rng.choice([-1, 1], 400))
    with np.errstate(over="ignore"):
        x = ((level + rng.choice([0, 0.5], 400)) * scale).astype(dtype)
        for _ in range(2):
            x = np.where(rng.random(400) < 0.5, np.nextafter(x, rng.choice([-np.inf, np.inf], 400).astype(dtype)), x)
        tiny = rng.integers(-(2**10), 2**10, 100) * 2.0 ** rng.integers(info.minexp, info.minexp + 60, 100)
    x = np.concatenate([x, tiny.astype(dtype)])
    return x[np.isfinite(x)]


def exact_slope(x, scale, levels):
    """level - x / scale, correctly rounded to float64, in range; else the end of the range."""
    level = np.rint(x / scale)
    if abs(level) > levels:
        return np.clip(level, -levels, levels)
    return float(Fraction(int(level)) - Fraction(float(x)) / Fraction(float(scale)))


@pytest.mark.parametrize("bits", [2, 8, 16, 24])
@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1e-40, 1e-5, 3.0 * 2.0**100, 1e-310, 1e300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_residual_is_that_of_the_numbers(target, dtype, scale, bits):
    levels = 2**bits - 1
    if not 0 < scale < float(np.finfo(dtype).max) or dtype(scale) == 0:
        pytest.skip("float32 has no such scale")
    scale = dtype(scale)
    x = around_the_grid(scale, levels, dtype)
    with np.errstate(over="ignore"):
        expected = np.array([exact_slope(one, scale, levels) for one in x])
    dy = np.ones_like(x)
    each = fq.backward_learnable(dy, x, np.full(x.size, scale), 0, -levels, levels)[1]
    alone = [fq.backward_learnable(dy[:1], one, scale, 0, -levels, levels)[1] for one in x[::4, None]]
    assert_same(np.array(alone), each[::4])
    # Of quotients below the normal numbers the last bit may differ.
    assert np.all(np.abs(each - expected.astype(dtype)) <= np.where(np.abs(expected) < 1e-300, 1e-323, 0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_power_of_two_of_x_and_scale_changes_no_bit_of_the_gradients(target, dtype):
    rng = np.random.default_rng(6)
    x = rng.integers(-1023, 1024, 500) / 2**7
    for dy in (rng.standard_normal(500), 1e-30 * rng.standard_normal(500), 1e300 * rng.standard_normal(500)):
        if np.max(np.abs(dy)) > np.finfo(dtype).max:
            continue
        dy = dy.astype(dtype)
        expected = fq.backward_learnable(dy, x.astype(dtype), 0.625, 0, -8, 7)
        info = np.finfo(dtype)
        for power in range(info.minexp - info.nmant + 9, info.maxexp - 4, 1 + info.maxexp // 50):
            found = fq.backward_learnable(dy, (x * 2.0**power).astype(dtype), 0.625 * 2.0**power, 0, -8, 7)
            assert_same(found[0], expected[0])
            assert found[1] == expected[1]


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize(("arithmetic", "module"), MODULES)
@pytest.mark.parametrize("levels", [(0, -8, 7), (-8, -8, 7), (7, -8, 7), (5, 5, 5)])
def test_special_values_have_the_gradients_of_the_reference(target, levels, arithmetic, module, dtype):
    special = [0.0, 0.2, 0.6, 1.3, 1e30, np.inf, np.nan, 2.0**-24, 1e-40, 5e-324]
    with np.errstate(all="ignore"):
        special = np.array([*special, *(-one for one in special)]).astype(dtype)
    dy, x = (one.ravel() for one in np.meshgrid(special, special))
    found = module.backward_learnable(dy, x, np.full(x.size, 0.25), np.full(x.size, levels[0]), *levels[1:])
    expected = fq.reference.backward_learnable(
        dy, x, np.full(x.size, 0.25), np.full(x.size, levels[0]), *levels[1:], arithmetic=arithmetic
    )
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(("arithmetic", "module"), MODULES)
@pytest.mark.parametrize("scale", [0.1, 2.0**-24, 300.0])
def test_every_float16_has_the_gradients_of_the_reference(target, scale, arithmetic, module):
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    dy = np.roll(x, 12345)
    scale = np.full(x.size, scale)
    found = module.backward_learnable(dy, x, scale, np.zeros(x.size, int), -128, 127)
    expected = fq.reference.backward_learnable(dy, x, scale, np.zeros(x.size, int), -128, 127, arithmetic=arithmetic)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("length", [*range(1, 70), 4095, 4096, 4097, 8200])
def test_every_length(target, length):
    dy, x, *qparams = case((length,), (), (), np.float32, seed=length)
    found, expected = fq.backward_learnable(dy, x, *qparams), fq.reference.backward_learnable(dy, x, *qparams)
    assert_same(found[0], expected[0])
    assert found[1] == expected[1]
    assert found[2] == expected[2]


def test_float64_sums_are_within_1e_12_of_exact_ones():
    dy, x, scale, zero_point, qmin, qmax = case((300_000,), (), (), np.float64)
    dy = np.abs(dy)
    x = np.abs(x) + 3.0  # all above the range: the terms have one sign
    _, dscale, dzero_point = fq.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    assert dscale == pytest.approx(math.fsum(dy) * float(qmax - zero_point), rel=1e-12)
    assert dzero_point == pytest.approx(-math.fsum(dy) * float(scale), rel=1e-12)


def test_float32_sums_are_correctly_rounded():
    dy, x, *qparams = case((200, 1000), (200, 1), (200, 1), np.float32)
    found, expected = fq.backward_learnable(dy, x, *qparams), fq.reference.backward_learnable(dy, x, *qparams)
    assert_same(found[1], expected[1])


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize(
    "shapes", [((200_000,), (), ()), ((7, 300, 97), (300, 1), ()), ((900, 300), (300,), (300,))], ids=str
)
def test_same_bits_on_every_target_and_with_any_number_of_threads(shapes, dtype):
    dy, x, *qparams = case(*shapes, dtype)
    threads, before, seen = fq.get_num_threads(), _core.target(), set()
    try:
        for name in _core.targets():
            for n in (1, 2, 3, 7):
                _core._set_target(name)
                fq.set_num_threads(n)
                seen.add(tuple(np.asarray(one).tobytes() for one in fq.backward_learnable(dy, x, *qparams)))
    finally:
        fq.set_num_threads(threads)
        _core._set_target(before)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "view", [lambda a: a[::2, ::-3], lambda a: a.T, lambda a: np.asfortranarray(a), lambda a: a[:, :1]]
)
def test_any_strides(target, view):
    dy, x, *qparams = case((60, 90), (), (), np.float32)
    dy, x = view(dy), view(x)
    out = view(np.zeros((60, 90), np.float32))
    found = fq.backward_learnable(dy, x, *qparams, out=(out, None, None))
    expected = fq.reference.backward_learnable(dy, x, *qparams)
    assert found[0] is out
    assert_same(np.ascontiguousarray(out), np.ascontiguousarray(expected[0]))
    assert found[1] == expected[1]


@pytest.mark.parametrize("axes", [(1, 2, 3, 0), (0, 3, 1, 2), (3, 2, 1, 0)], ids=str)
@pytest.mark.parametrize("of_scale", [(), (9, 1, 1, 1), (1, 8, 1, 1), (7,), (9, 8, 1, 7)], ids=str)
def test_the_order_of_the_axes_in_memory_decides(target, axes, of_scale):
    dy, x, *qparams = case((9, 8, 40, 7), of_scale, of_scale, np.float64)
    expected = fq.backward_learnable(dy, x, *qparams)
    padded = [np.reshape(one, (1,) * (4 - np.ndim(one)) + np.shape(one)) for one in qparams[:2]]
    views = [one.transpose(axes) for one in (dy, x, *padded)]
    found = fq.backward_learnable(*views, *qparams[2:])
    assert found[0].strides == views[1].strides
    assert_same(np.ascontiguousarray(found[0]), np.ascontiguousarray(expected[0].transpose(axes)))
    for sums, before, given in zip(found[1:], expected[1:], views[2:], strict=True):
        assert_same(sums, np.reshape(before, padded[0].shape).transpose(axes).reshape(given.shape))


@pytest.mark.parametrize("out", [None, "dx"])
def test_values_that_share_memory_have_gradients_of_their_own(out):
    dy, x, scale, zero_point, *levels = case((6, 300), (6, 1), (300,), np.float32)
    repeated = np.broadcast_to(scale.astype(np.float32), x.shape), np.broadcast_to(zero_point, x.shape)
    into = None if out is None else (np.empty_like(x), None, None)
    found = fq.backward_learnable(dy, x, *repeated, *levels, out=into)
    for one, other in zip(found, fq.backward_learnable(dy, x, *map(np.array, repeated), *levels), strict=True):
        assert_same(one, other)


def test_byte_swapped_and_misaligned_input():
    dy, x, *qparams = case((100,), (), (), np.float32)
    expected = fq.backward_learnable(dy, x, *qparams)
    odd = np.zeros(401, np.uint8)[1:].view(np.float32)
    odd[...] = x
    for given in (x.astype(">f4"), odd):
        found = fq.backward_learnable(dy, given, *qparams)
        assert_same(found[0], expected[0])
        assert found[1:] == expected[1:]


def test_in_place_and_overlapping():
    dy, x, *qparams = case((5000,), (), (), np.float32)
    expected = fq.backward_learnable(dy, x, *qparams)
    for shift in (0, 1):
        room = np.zeros(5001, np.float32)
        here = room[:5000]
        here[...] = dy
        found = fq.backward_learnable(here, x, *qparams, out=(room[shift : 5000 + shift], None, None))
        assert_same(found[0], expected[0])
        assert found[1:] == expected[1:]


def test_out_holds_the_sums():
    dy, x, *qparams = case((4, 5, 6), (5, 1), (), np.float32)
    out = np.empty_like(x), np.empty((5, 1), np.float32), np.empty((), np.float32)
    found = fq.backward_learnable(dy, x, *qparams, out=out)
    assert all(one is given for one, given in zip(found, out, strict=True))
    expected = fq.backward_learnable(dy, x, *qparams)
    assert_same(out[1], expected[1])
    assert out[2] == expected[2]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_an_empty_x_gives_zero_gradients(shape):
    dx, dscale, dzero_point = fq.backward_learnable(np.zeros(shape), np.zeros(shape), np.ones(shape[-1:]), 0, 0, 1)
    assert dx.shape == shape
    assert_same(dscale, np.zeros(shape[-1:]))
    assert dzero_point == 0


def test_nan_and_infinities():
    x = np.array([np.inf, -np.inf, 100.0], np.float32)
    dx, dscale, dzero_point = fq.backward_learnable(np.ones(3, np.float32), x, 0.5, 1, -8, 7)
    assert dx.tolist() == [0, 0, 0]
    assert dscale == 6 - 9 + 6
    assert dzero_point == -1.5
    dx, dscale, dzero_point = fq.backward_learnable(np.ones(2), np.array([np.nan, 9.0]), 0.5, 0, -8, 7)
    assert dx.tolist() == [0, 0]
    assert np.isnan(dscale)
    assert dzero_point == -0.5  # NaN was not clamped


def test_no_memory_that_grows_with_x_but_dx():
    dy, x, *qparams = case((1000, 1000), (1000,), (), np.float32)
    out = np.empty_like(x), None, None
    fq.backward_learnable(dy, x, *qparams, out=out)
    tracemalloc.start()
    fq.backward_learnable(dy, x, *qparams, out=out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes / 40


@pytest.mark.parametrize(
    ("dy", "x", "qparams", "error", "message"),
    [
        (np.zeros(3), np.zeros(4), (1, 0, 0, 1), ValueError, r"dy and x must have one shape, got \(3,\) and \(4,\)"),
        (np.zeros(3, int), np.zeros(3), (1, 0, 0, 1), TypeError, "dy must be float16.* got int64"),
        (np.zeros(3), np.zeros(3, complex), (1, 0, 0, 1), TypeError, "x must be float16.* got complex128"),
        (
            np.zeros(3),
            np.zeros(3),
            (np.ones(2), 0, 0, 1),
            ValueError,
            r"scale must broadcast .*\(3,\), got shape \(2,\)",
        ),
        (np.zeros(3), np.zeros(3), (np.ones((2, 1)), 0, 0, 1), ValueError, "scale must broadcast"),
        (np.zeros(3), np.zeros(3), (1, [0, 0], 0, 1), ValueError, "zero_point must broadcast"),
        (np.zeros(3), np.zeros(3), (1, 0.5, 0, 1), TypeError, "zero_point must be an integer .* got float"),
        (np.zeros(3), np.zeros(3), (1j, 0, 0, 1), TypeError, "scale must be a real number .* got complex"),
        (np.zeros(3), np.zeros(3), (0.0, 0, 0, 1), ValueError, "scale must be positive and finite"),
        (np.zeros(3), np.zeros(3), ([1, -1.0, 1], 0, 0, 1), ValueError, "scale must be positive .* got -1"),
        (np.zeros(3), np.zeros(3), (1, 2, 0, 1), ValueError, "zero_point must lie within"),
        (np.zeros(3), np.zeros(3), (1, 0, 2, 1), ValueError, "qmin must not exceed qmax"),
    ],
)
def test_bad_input(dy, x, qparams, error, message):
    with pytest.raises(error, match=message):
        fq.backward_learnable(dy, x, *qparams)


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.zeros(3), TypeError),
        ((np.zeros(3), None), TypeError),
        ((np.zeros(3, "f4"), None, None), TypeError),
        ((np.zeros(4), None, None), ValueError),
        ((None, np.zeros(1), None), ValueError),
    ],
)
def test_bad_out(out, error):
    with pytest.raises(error, match="out"):
        fq.backward_learnable(np.zeros(3), np.zeros(3), 1.0, 0, 0, 1, out=out)


def test_a_reciprocal_that_overflows_is_refused():
    with pytest.raises(ValueError, match="1 / scale must be finite"):
        fq.reciprocal.backward_learnable(np.zeros(3, "f4"), np.zeros(3, "f4"), 1e-40, 0, 0, 1)


@pytest.mark.parametrize(("n", "qmax"), [(0, 7), (10, 0), (-1, 7)])
def test_scale_gradient_factor_refuses(n, qmax):
    with pytest.raises(ValueError, match="positive"):
        fq.scale_gradient_factor(n, qmax)


def test_more_sums_than_the_pieces_can_hold_apart():
    x = np.linspace(-3, 3, 300_000, dtype=np.float32)
    scale = np.linspace(0.1, 0.3, x.size, dtype=np.float32)
    dx, dscale, dzero_point = fq.backward_learnable(x, x, scale, 1, -8, 7)
    for part in (slice(None, 100), slice(-100, None)):
        expected = fq.reference.backward_learnable(x[part], x[part], scale[part], 1, -8, 7)
        assert_same((dx[part], dscale[part]), expected[:2])
    apart = fq.backward_learnable(x, x, scale, np.ones_like(x, int), -8, 7)[2]
    assert dzero_point == pytest.approx(apart.sum(dtype=np.float64), rel=1e-6)


def test_parameters_have_as_many_axes_as_arrays_may():
    dy, x, scale, *levels = case((3, 5), (3, 1), (5,), np.float32)
    wide = (1,) * 62
    found = fq.backward_learnable(
        dy.reshape(*wide, 3, 5),
        x.reshape(*wide, 3, 5),
        scale.reshape(*wide, 3, 1),
        levels[0].reshape(*wide, 5),
        *levels[1:],
    )
    for one, other in zip(found, fq.backward_learnable(dy, x, scale, *levels), strict=True):
        assert one.tobytes() == other.tobytes()


def test_sums_that_overflow_are_infinite_in_the_reference_too():
    dy = np.full(4, 1e308)
    for functions in (fq, fq.reference):
        assert functions.backward_learnable(dy, np.full(4, 9.0), 1.0, 0, -8, 7)[1] == np.inf


def test_more_sets_than_all_pieces_may_keep_sums_of():
    rng = np.random.default_rng(0)
    dy, x = rng.standard_normal((2, 64, 20_000)).astype(np.float32)
    scale = rng.uniform(0.1, 1, 20_000).astype(np.float32)
    dx, dscale, dzero_point = fq.backward_learnable(dy, x, scale, 0, -8, 7)
    for part in (slice(0, 40), slice(19_000, 19_040)):
        expected = fq.reference.backward_learnable(dy[:, part], x[:, part], scale[part], 0, -8, 7)
        assert_same(dx[:, part], expected[0])
        np.testing.assert_allclose(dscale[part], expected[1], rtol=1e-6)
    assert np.ndim(dzero_point) == 0


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_dy_of_another_type_is_cast_before_it_is_summed(dtype):
    rng = np.random.default_rng(5)
    x, dy = (rng.standard_normal(40).astype(dtype) * 9).astype(dtype), rng.standard_normal(40).astype(np.float32)
    for functions in (fq, fq.reference):
        found = functions.backward_learnable(dy, x, 0.1, 0, -8, 7)
        assert_same(found, functions.backward_learnable(dy.astype(dtype), x, 0.1, 0, -8, 7))
