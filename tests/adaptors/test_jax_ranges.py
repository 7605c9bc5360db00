"""fq.jax: grids chosen and calibrated inside of what is traced, integers, and scales that a step brought to 0."""

import doctest
import importlib
from functools import cache

import numpy as np
import pytest
from hard_ranges import KINDS, assert_inside, hard_ranges, name_of
from helpers import GRIDS, assert_same, hard_values
from hypothesis import given
from hypothesis import strategies as st

import fq

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402
from jax.sharding import PartitionSpec  # noqa: E402

import fq.jax  # noqa: E402


def sparse(values, every):
    """All of them, one in so many where the slow tests are left out."""
    return [one if k % every == 0 else pytest.param(one, marks=pytest.mark.slow) for k, one in enumerate(values)]


TYPES = ["float16", "bfloat16", "float32", "float64"]
METHODS = ["minmax", "percentile", "mse"]
MSE_IS_SLOW = ["minmax", "percentile", pytest.param("mse", marks=pytest.mark.slow)]
GRID = 0.25, 3, -8, 7
AT_RUN_TIME = ValueError, jax.errors.JaxRuntimeError
X = np.random.default_rng(0).standard_t(3, (6, 64)).astype(np.float32)


@pytest.fixture(params=TYPES)
def dtype(request):
    """The type of x, with 64-bit types where it needs them."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(jnp.dtype(request.param))


@pytest.fixture(params=["bfloat16", "float32", pytest.param("float64", marks=pytest.mark.slow)])
def few_types(request):
    """Likewise, where each type is compiled many times."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(jnp.dtype(request.param))


def in_numpy(qparams):
    return fq.QParams(*map(np.asarray, qparams[:2]), *map(int, qparams[2:]))


@cache
def choosing(**kind):
    """Compiled once for each kind."""
    return jax.jit(lambda *ends: fq.jax.choose_qparams(*ends, **kind)[:2])


def chosen(low, high, **kind):
    return in_numpy(choosing(**kind)(low, high) + levels(kind))


def levels(kind):
    return tuple(fq.choose_qparams(0, 1, **{name: kind[name] for name in ("bits", "signed", "narrow_range")})[2:])


# The choice of a grid


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_both_ends_are_inside_and_the_grid_is_that_of_numpy(kind):
    """Without 64-bit types the last bit of some scales differs: of quotients halfway between two numbers."""
    rng = np.random.default_rng(kind["bits"])
    hard = hard_ranges(kind, rng, 2000)
    plain = np.sort(np.float32(rng.standard_normal((2, 2000)) * 10 ** rng.uniform(-30, 30, 2000)), 0)
    low, high = (
        np.concatenate(ends) / 4 for ends in zip(hard, plain, strict=True)
    )  # the widest have no scale at one bit
    found, expected = chosen(low, high, **kind), fq.choose_qparams(low, high, **kind)
    assert_inside(found, low, high)
    assert found[2:] == expected[2:]
    assert found.scale.dtype == np.float32
    np.testing.assert_array_equal(found.zero_point, expected.zero_point)
    assert np.abs(found.scale / expected.scale - 1).max() <= 2.0**-23
    assert (found.scale != expected.scale).mean() < 0.005


@pytest.mark.parametrize("formula", ["cover", "torch"])
@pytest.mark.parametrize("kind", sparse(KINDS[::3], 2), ids=name_of)
@pytest.mark.parametrize("of", [np.float32, np.float64])
def test_with_64_bits_the_grid_is_that_of_numpy_to_the_last_bit(kind, formula, of):
    low, high = hard_ranges(kind, np.random.default_rng(9), 2000)
    low, high = low.astype(of) / 4, high.astype(of) / 4
    if of is np.float64:
        high = high * (1 + np.random.default_rng(10).integers(-3, 4, high.size) * 2.0**-52)
        low, high = np.minimum(low, high), np.maximum(low, high)
    with jax.enable_x64(True):
        found, expected = (choose(low, high, **kind, formula=formula) for choose in (chosen, fq.choose_qparams))
    assert_same(found.scale, expected.scale)
    np.testing.assert_array_equal(found.zero_point, expected.zero_point)


@given(
    ends=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=64, max_size=64),
    kind=st.sampled_from(KINDS[::5]),  # each is compiled; the test above has all of them
)
def test_any_range_is_inside_by_the_mask_of_the_forward(ends, kind):
    low, high = np.sort(np.float32(ends).reshape(2, 32) / 4, 0)
    assert_inside(chosen(low, high, **kind), low, high)


@pytest.mark.parametrize("kind", sparse(KINDS[:10], 3), ids=name_of)
def test_weights_of_every_type_are_inside_where_their_own_range_is_chosen(kind, dtype):
    x = np.random.default_rng(kind["bits"]).standard_normal((500, 32)).astype(dtype)
    qparams = jax.jit(lambda x: fq.jax.calibrate(x * x.dtype.type(1.1), axis=0, **kind)[:2])(x)
    x = np.asarray(jax.jit(lambda x: x * x.dtype.type(1.1))(x))
    assert_inside((*qparams, *levels(kind)), x)


def test_values_that_xla_may_leave_unrounded_are_inside():
    """XLA may compute in float32 what is bfloat16 between two operations: the range must be that of what is stored."""
    a, b = (np.random.default_rng(i).standard_normal((200, 32)).astype(jnp.bfloat16) for i in (1, 2))

    @jax.jit
    def run(a, b):
        x = a * b
        return x, fq.jax.calibrate(x, axis=0, symmetric=True)[:2]

    x, qparams = jax.tree.map(np.asarray, run(a, b))
    assert_inside((*qparams, -128, 127), x)


def test_numbers_and_arrays_are_refused_as_by_numpy():
    for arguments, error, message in [
        ((np.nan, 1), ValueError, "xmin must be finite"),
        ((1, 0), ValueError, "xmin must not exceed xmax"),
        ((0, 1, 17), ValueError, "bits must be 1 to 16"),
        ((0, 1j), TypeError, "xmax must be real"),
        ((jnp.zeros(3), jnp.ones(3) * 1j), TypeError, "xmax must be real"),
    ]:
        with pytest.raises(error, match=message):
            fq.jax.choose_qparams(*arguments)
    for wrong, error in [({"formula": "x"}, ValueError), ({"eps": 0}, ValueError), ({"eps": "1"}, TypeError)]:
        with pytest.raises(error, match=next(iter(wrong))):
            fq.jax.choose_qparams(X.min(), X.max(), **wrong)


@pytest.mark.parametrize("ends", [(np.nan, 1), (-np.inf, 1), (1, 0), (-3e38, 3e38)], ids=str)
def test_a_traced_range_that_numpy_refuses_gives_a_scale_that_is_refused(ends):
    bits = 1 if ends[1] == 3e38 else 8
    found = jax.jit(lambda *e: fq.jax.choose_qparams(*e, bits)[:2])(*map(jnp.float32, ends))
    assert not np.isfinite(found[0])
    with pytest.raises(AT_RUN_TIME, match="scale must be positive and finite"):
        jax.block_until_ready(jax.jit(lambda x, *q: fq.jax.fake_quantize(x, *q, -8, 7))(X, *found))
    assert np.isnan(jax.jit(lambda x, *q: fq.jax.fake_quantize(x, *q, -8, 7, via="xla"))(X, *found)).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_nothing_or_of_zero_alone_has_a_usable_scale(symmetric):
    run = jax.jit(lambda *e: fq.jax.choose_qparams(*e, symmetric=symmetric)[:2])
    for ends in [(0, 0), (-0.0, 0.0), (np.inf, -np.inf)]:
        assert run(*map(jnp.float32, ends)) == (1, 0 if symmetric else -128)
    eps = jax.jit(lambda *e: fq.jax.choose_qparams(*e, symmetric=symmetric, eps=0.5)[0])
    assert eps(0.0, 0.0) == eps(-0.1, 0.1) == 0.5
    assert eps(-1000.0, 1000.0) > 7
    with jax.enable_x64(True):
        assert eps(0.0, 0.0) == 0.5


def test_eps_is_that_of_numpy():
    low, high = hard_ranges(KINDS[5], np.random.default_rng(3), 500)
    for eps in (1e-30, 2.0**-23, 0.1, 1e30):
        found = in_numpy(fq.jax.choose_qparams(jnp.asarray(low), jnp.asarray(high), 4, eps=eps))
        above = fq.choose_qparams(low, high, 4)
        assert (found.scale >= np.float32(eps)).all()
        large = above.scale > eps * 1.01
        np.testing.assert_array_equal(found.scale[large], above.scale[large])
        assert_inside((found.scale[large], found.zero_point[large], *found[2:]), low[large], high[large])


@pytest.mark.parametrize("calibrated", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_without_jit_all_is_the_same(calibrated):
    """As under jax.disable_jit, and in libraries that use it, such as qwix."""
    with jax.disable_jit():
        qparams = fq.jax.calibrate(X, 4, axis=0) if calibrated else fq.calibrate(X, 4, axis=0)
        y, vjp = jax.vjp(lambda x: fq.jax.fake_quantize(x, *qparams), X)
        (dx,) = vjp(np.ones_like(X))
        learned = fq.jax.fake_quantize_learnable(X, -1.0, 0, -8, 7, eps=0.25)
        q = fq.jax.quantize(X, *qparams)
    expected, mask = fq.forward(X, *in_numpy(qparams))
    assert_same(np.asarray(y), expected)
    assert_same(np.asarray(dx), mask.astype(np.float32))
    assert_same(np.asarray(learned), fq.fake_quantize(X, 0.25, 0, -8, 7))
    assert_same(np.asarray(fq.jax.dequantize(q, *qparams[:2])), expected)


# Calibration


def expected_ends(x, axes, p, symmetric):
    """By NumPy, of float64."""
    x = x.astype(np.float64)
    if symmetric:
        high = np.nanpercentile(np.abs(x), p, axes, keepdims=True)
        return -high, high
    return tuple(np.nanpercentile(x, q, axes, keepdims=True) for q in ((100 - p) / 2, 100 - (100 - p) / 2))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(
    ("axis", "axes"),
    [
        (None, (0, 1, 2)),
        (1, (0, 2)),
        pytest.param((0, -1), (1,), marks=pytest.mark.slow),
        pytest.param((0, 1, 2), (), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_ranges_are_those_of_numpy_with_axes_kept(axis, axes, symmetric, few_types):
    dtype = few_types
    x = np.random.default_rng(4).standard_t(3, (5, 4, 30)).astype(dtype)
    run = jax.jit(lambda x: fq.jax.calibrate(x, 8, axis, symmetric=symmetric)[:2])
    found = run(x)
    expected = fq.choose_qparams(x.min(axes, keepdims=True), x.max(axes, keepdims=True), symmetric=symmetric)
    assert_same(np.asarray(found[0]), np.asarray(expected.scale, found[0].dtype).reshape(found[0].shape))
    np.testing.assert_array_equal(found[1], expected.zero_point.reshape(found[1].shape))
    assert found[0].dtype == (np.float64 if dtype == np.float64 else np.float32)
    for p in (99, 25):
        found = fq.jax.calibrate(jnp.asarray(x), 8, axis, method="percentile", p=p, symmetric=symmetric)
        ends = expected_ends(x, axes, p, symmetric)
        expected = fq.choose_qparams(*ends, symmetric=symmetric).scale
        np.testing.assert_allclose(np.ravel(found.scale), np.ravel(expected), rtol=1e-5)


@pytest.mark.parametrize("method", MSE_IS_SLOW)
def test_groups_are_along_the_last_axis(method):
    groups = fq.jax.grouped(X, 16)
    assert groups.shape == (6, 4, 16)
    found = fq.jax.calibrate(X, 4, group=16, method=method, p=90)
    assert found.scale.shape == found.zero_point.shape == (6, 4, 1)
    for row in range(6):
        for group in range(4):
            one = fq.jax.calibrate(groups[row, group], 4, method=method, p=90)
            np.testing.assert_allclose(found.scale[row, group], one.scale.reshape(1), rtol=1e-6)
    y = fq.jax.fake_quantize(groups, *found).reshape(X.shape)
    assert np.abs(y - X).mean() < 0.5


@pytest.mark.parametrize("how", [{}, {"axis": 1}, {"axis": (0, -1)}, {"group": 8}, {"axis": 1, "group": 8}], ids=str)
def test_grids_have_the_shapes_and_values_of_fq_calibrate(how):
    x = np.random.default_rng(6).standard_normal((3, 4, 16)).astype(np.float32)
    found, expected = fq.jax.calibrate(x, 4, **how), fq.calibrate(x, 4, **how)
    assert tuple(found.scale.shape) == np.shape(expected.scale)
    np.testing.assert_array_equal(found.scale, expected.scale)
    np.testing.assert_array_equal(found.zero_point, expected.zero_point)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_not_finite_is_skipped(method, symmetric):
    x = X.copy()
    x[:, ::7], x[:, 3::7], x[:, 5::7] = np.nan, np.inf, -np.inf
    run = jax.jit(lambda x: fq.jax.calibrate(x, 4, method=method, symmetric=symmetric, p=95)[:2])
    for found, expected in zip(run(x), run(x[np.isfinite(x)]), strict=True):
        np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-6)


@pytest.mark.parametrize("method", MSE_IS_SLOW)
@pytest.mark.parametrize("symmetric", [True, False])
def test_an_array_without_a_finite_value_has_scale_1(method, symmetric):
    for nothing in (np.full((3, 4), np.nan, np.float32), np.zeros((0, 4), np.float32), np.zeros((2, 3), np.float32)):
        assert fq.jax.calibrate(nothing, method=method, symmetric=symmetric).scale == 1
        per_row = fq.jax.calibrate(nothing, axis=0, method=method, symmetric=symmetric)
        assert per_row.scale.shape == (len(nothing), 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_a_number_is_a_number(method):
    assert fq.jax.calibrate(jnp.float32(3), method=method).scale.shape == ()


def noise(x, qparams):
    return float(((fq.fake_quantize(x, *qparams) - x).astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("bits", sparse([2, 3, 4, 8], 2))
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("skewed", [False, True], ids=["around 0", "above 0"])
def test_mse_is_near_the_least_error_of_any_part_of_the_range(bits, symmetric, skewed):
    x = X.copy() if not skewed else np.abs(X) + np.float32(2)
    x[0, 0] *= 20
    found = noise(x, in_numpy(fq.jax.calibrate(x, bits, method="mse", symmetric=symmetric)))
    assert found <= noise(x, in_numpy(fq.jax.calibrate(x, bits, symmetric=symmetric)))
    parts = np.linspace(0.01, 1, 100)
    pairs = zip(parts, parts, strict=True) if symmetric else ((a, b) for a in parts[::3] for b in parts[::3])
    ends = min(x.min(), 0), max(x.max(), 0)
    best = min(noise(x, fq.choose_qparams(ends[0] * a, ends[1] * b, bits, symmetric=symmetric)) for a, b in pairs)
    assert found <= best * 1.02


def traced_in_every_way(x, method):
    """The scale of the whole of x, one way after the other."""
    run = lambda x: fq.jax.calibrate(x, 4, method=method).scale.reshape(())  # noqa: E731
    yield run(x)
    yield jax.jit(run)(x)
    yield jax.vmap(run)(jnp.stack([x, x]))[1]
    yield jax.vmap(run, 2)(jnp.stack([x, x], 2))[0]
    yield jax.lax.scan(lambda c, x: (c, run(x)), 0, jnp.stack([x, x]))[1][1]
    yield jax.lax.cond(x[0, 0] < 1e9, run, lambda x: jnp.float32(0), x)
    yield jax.checkpoint(run)(x)
    mesh = jax.make_mesh((1,), ("d",), devices=jax.devices()[:1], axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec("d")
    sharded = jax.shard_map(lambda x: run(x)[None], mesh=mesh, in_specs=spec, out_specs=spec)
    yield jax.jit(sharded)(x)[0]


@pytest.mark.parametrize("method", MSE_IS_SLOW)
def test_calibration_is_traced_everywhere_alike(method):
    scales = [float(scale) for scale in traced_in_every_way(jnp.asarray(X), method)]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-6)


@pytest.mark.parametrize("method", MSE_IS_SLOW)
def test_no_gradient_passes_into_a_range(method):
    def loss(x, weight):
        return (fq.jax.fake_quantize(x, *fq.jax.calibrate(x, 4, method=method)) * weight).sum()

    weight = np.cos(np.arange(X.size, dtype=np.float32)).reshape(X.shape)
    found = jax.jit(jax.grad(loss))(X, weight)
    qparams = in_numpy(fq.jax.calibrate(X, 4, method=method))
    np.testing.assert_array_equal(found, weight * fq.forward(X, *qparams)[1])
    assert not np.any(jax.grad(lambda x: fq.jax.calibrate(x, 4, method=method).scale.sum())(X))
    tangent = jax.jvp(lambda a, b: fq.jax.choose_qparams(a, b).scale, (-1.0, 1.0), (1.0, 1.0))[1]
    assert tangent == 0


def test_a_training_step_goes_on_where_a_layer_is_zero():
    @jax.jit
    def step(weight, x):
        def loss(weight):
            q = fq.jax.calibrate(weight, 4, axis=0, symmetric=True)
            return (fq.jax.fake_quantize(weight, *q) @ fq.jax.fake_quantize(x, *fq.jax.calibrate(x))).sum()

        return weight - 0.1 * jax.grad(loss)(weight)

    for x in (np.zeros((64, 3), np.float32), np.full((64, 3), np.nan, np.float32), X[:3].T):
        assert np.isfinite(step(np.zeros((5, 64), np.float32), np.nan_to_num(x))).all()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"x": np.zeros(3, int)}, TypeError, "x must be float16, bfloat16"),
        ({"axis": 2}, ValueError, "axis 2 is not there"),
        ({"axis": (0, -2)}, ValueError, "names one axis twice"),
        ({"axis": 0.5}, TypeError, "axis must be an int"),
        ({"group": 10}, ValueError, r"x of shape \(6, 64\) has no last axis that groups of 10 divide"),
        ({"group": 0}, ValueError, "groups of 0"),
        ({"group": 2.0}, TypeError, "must be an int"),
        ({"axis": 1, "group": 8}, ValueError, "axis 1 must not name the last axis of x"),
        ({"method": "entropy"}, ValueError, "method must be"),
        ({"p": 0}, ValueError, "p must be above 0"),
        ({"bits": 0}, ValueError, "bits must be"),
        ({"eps": -1}, ValueError, "eps must be positive"),
        ({"eps": np.inf}, ValueError, "eps must be positive and finite"),
    ],
    ids=str,
)
def test_bad_arguments_of_calibrate_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        fq.jax.calibrate(**({"x": X} | wrong))


# Integers

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32"]


def fits(dtype, grid):
    info = jnp.iinfo(dtype)
    return info.min <= grid[2] and grid[3] <= info.max


@pytest.mark.parametrize("kind", ["int4", "uint4", "int2", "uint2", *INTEGERS])
def test_dequantized_integers_have_the_bits_of_fake_quantize(kind, few_types):
    dtype = few_types
    quantize = jax.jit(lambda x, *grid: fq.jax.quantize(x, *grid, dtype=kind))
    dequantize = jax.jit(lambda q, *grid: fq.jax.dequantize(q, *grid, dtype))
    grids = [grid for grid in [*GRIDS, (0.3, 2, 0, 3), (0.3, -1, -2, 1), (0.3, 7, 0, 15)] if fits(kind, grid)]
    assert grids
    for scale, *levels in grids:
        scale = (np.float64 if dtype == np.float64 else np.float32)(scale)
        x = hard_values(dtype, (scale, *levels), np.random.default_rng(5), 4096)
        expected = fq.fake_quantize(x, scale, *levels)
        expected[np.isnan(x)] = 0
        q = quantize(x, scale, *levels)
        assert q.dtype == jnp.dtype(kind)
        assert (np.asarray(q).astype(np.int64)[np.isnan(x)] == levels[0]).all()
        assert_same(np.asarray(dequantize(q, scale, levels[0])), expected)


@pytest.mark.parametrize("grid", GRIDS[::2], ids=str)
def test_the_type_of_integers_is_the_first_that_holds_them(grid):
    found = fq.jax.quantize(X, *grid)
    assert found.dtype == next(kind for kind in INTEGERS if fits(kind, grid))


def test_integers_per_channel_and_of_scalars():
    scale, zero_point = np.linspace(0.1, 0.4, 6, dtype=np.float32)[:, None], np.arange(-3, 3)[:, None]
    q = fq.jax.quantize(X, scale, zero_point, -8, 7, jnp.int4)
    assert_same(np.asarray(fq.jax.dequantize(q, scale, zero_point)), fq.fake_quantize(X, scale, zero_point, -8, 7))
    assert fq.jax.quantize(jnp.float32(0.6), *GRID) == 5
    assert fq.jax.dequantize(jnp.int8(5), 0.25, 3) == 0.5
    mapped = jax.vmap(lambda x, s, z: fq.jax.quantize(x, s, z, -8, 7, jnp.int4))(X, scale[:, 0], zero_point[:, 0])
    np.testing.assert_array_equal(mapped, q)


def test_the_gradient_of_dequantize_reaches_scale_and_is_linear():
    q = jnp.arange(-8, 8, dtype=jnp.int8)
    weight = np.cos(np.arange(16, dtype=np.float32))
    loss = lambda s: (fq.jax.dequantize(q, s, 3) * weight).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(loss)(0.25), (np.arange(-11, 5) * weight).sum(), rtol=1e-5)
    assert jax.grad(jax.grad(loss))(0.25) == 0
    per_element = jax.jvp(lambda s: fq.jax.dequantize(q, s, 3), (jnp.full(16, 0.5),), (jnp.ones(16),))[1]
    np.testing.assert_array_equal(per_element, np.arange(-11, 5))


BAD = [
    ({"x": np.zeros(3, int)}, TypeError, "x must be float16"),
    ({"scale": 0.0}, ValueError, "scale must be positive and finite"),
    ({"scale": jnp.float32(-1)}, ValueError, "scale must be positive and finite"),
    ({"zero_point": jnp.int32(9)}, ValueError, "zero_point must lie within"),
    ({"zero_point": 0.5}, TypeError, "zero_point must be an integer"),
    ({"scale": np.ones(3)}, ValueError, "broadcast"),
    ({"dtype": np.float32}, TypeError, "dtype must be one of int8"),
    ({"dtype": np.int64}, TypeError, "dtype must be one of int8"),
    ({"dtype": jnp.uint4}, ValueError, "uint4 does not hold the levels -8 to 7"),
    ({"qmax": 200, "dtype": np.int8}, ValueError, "int8 does not hold the levels -8 to 200"),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD, ids=str)
def test_bad_arguments_of_quantize_are_refused(changed, error, message):
    arguments = {"x": X, "scale": 0.25, "zero_point": 3, "qmin": -8, "qmax": 7} | changed
    with pytest.raises(error, match=message):
        fq.jax.quantize(**arguments)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"q": X}, TypeError, "q must be an array of integers"),
        ({"scale": -1.0}, ValueError, "scale must be positive"),
        ({"scale": jnp.float32(np.nan)}, ValueError, "scale must be positive"),
        ({"zero_point": 0.5}, TypeError, "zero_point must be an integer"),
        ({"zero_point": np.zeros(5, int)}, ValueError, "broadcast"),
        ({"dtype": np.int8}, TypeError, "dtype must be float16"),
        ({"dtype": np.float64}, TypeError, "jax_enable_x64"),
    ],
    ids=str,
)
def test_bad_arguments_of_dequantize_are_refused(changed, error, message):
    with pytest.raises(error, match=message):
        fq.jax.dequantize(**({"q": np.zeros((2, 3), np.int8), "scale": 0.25, "zero_point": 3} | changed))


@pytest.mark.parametrize("scale", [0.0, -0.25, np.nan, np.inf])
def test_a_traced_scale_that_is_refused_gives_nan_once_dequantized(scale):
    run = jax.jit(lambda x, s: fq.jax.quantize(x, s, *GRID[1:]))
    q = run(X, jnp.float32(scale))
    assert (np.asarray(q) == 3).all()
    assert np.isnan(jax.jit(lambda q, s: fq.jax.dequantize(q, s, 3))(q, jnp.float32(scale))).all()


def test_traced_levels_need_a_type_and_are_clamped_to_it():
    with pytest.raises(TypeError, match="dtype must be given"):
        jax.jit(fq.jax.quantize)(X, *GRID)
    run = jax.jit(lambda x, *q: fq.jax.quantize(x, *q, dtype=jnp.int8))
    np.testing.assert_array_equal(run(X, 1e-3, 0, -200, 200), np.clip(fq_levels(X, 1e-3, 0, -200, 200), -128, 127))


def fq_levels(x, scale, zero_point, qmin, qmax):
    return np.clip(np.rint(x / np.float32(scale)), qmin - zero_point, qmax - zero_point).astype(int) + zero_point


@pytest.mark.parametrize("far", [2**31 - 1, -(2**31)])
def test_levels_too_far_from_the_zero_point_give_nan(far):
    found = fq.jax.dequantize(jnp.array([far, 0, 2**24 - 1]), 0.5, jnp.int32(-1))
    np.testing.assert_array_equal(found, [np.nan, 0.5, 2.0**23])


# Scales that a step brought to 0 or below


@pytest.mark.parametrize("scale", [0.25, 0.01, 0.0, -3.0, 1e-40])
def test_a_scale_below_eps_is_eps_and_has_the_gradient_of_eps(scale):
    call = lambda x, s, **how: fq.jax.fake_quantize_learnable(x, s, 0, -8, 7, **how).sum()  # noqa: E731
    floored = max(np.float32(scale), np.float32(0.1))
    run = jax.jit(jax.value_and_grad(lambda x, s: call(x, s, eps=0.1), (0, 1)))
    for found, expected in zip(
        jax.tree.leaves(run(X, scale)), jax.tree.leaves(jax.value_and_grad(call, (0, 1))(X, floored)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert_same(
        np.asarray(fq.jax.fake_quantize_learnable(X, scale, 0, -8, 7, eps=0.1)), fq.fake_quantize(X, floored, 0, -8, 7)
    )
    array = np.float32([[scale]] * 6)
    assert_same(
        np.asarray(fq.jax.fake_quantize_learnable(X, array, 0, -8, 7, eps=0.1)), fq.fake_quantize(X, floored, 0, -8, 7)
    )


def test_steps_go_on_and_the_scale_comes_back():
    """Without eps the second step would be refused."""

    @jax.jit
    def step(scale):
        loss = lambda s: ((fq.jax.fake_quantize_learnable(X, s, 0, -8, 7, eps=1e-3) - X) ** 2).mean()  # noqa: E731
        return scale - 0.05 * jax.grad(loss)(scale)

    scale = jnp.float32(-0.02)
    for _ in range(60):
        scale = step(scale)
    assert scale > 0.1
    with pytest.raises(AT_RUN_TIME, match="scale must be positive"):
        jax.block_until_ready(jax.jit(lambda s: fq.jax.fake_quantize_learnable(X, s, 0, -8, 7))(-0.02))


def test_a_scale_of_nan_is_refused_whatever_eps_is():
    with pytest.raises(AT_RUN_TIME, match="got nan"):
        jax.block_until_ready(fq.jax.fake_quantize_learnable(X, jnp.float32(np.nan), 0, -8, 7, eps=0.1))
    for eps, error in [(0, ValueError), (-1.0, ValueError), (np.nan, ValueError), ("1", TypeError), (True, TypeError)]:
        with pytest.raises(error, match="eps must be"):
            fq.jax.fake_quantize_learnable(X, 0.25, 0, -8, 7, eps=eps)
    with pytest.raises(TypeError, match="scale must be"):
        fq.jax.fake_quantize_learnable(X, 1j, 0, -8, 7, eps=0.1)


@pytest.mark.parametrize("name", ["fq.jax", "fq.jax._ranges", "fq.jax._integers"])
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
