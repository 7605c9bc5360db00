"""fq.jax in XLA's own operations: the bits of fq's C, on any device, and in what is exported."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import ARITHMETICS, GRIDS, assert_same, bits_of, gradients, hard_values

import fq
from fq import _core

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import fq.jax  # noqa: E402
from fq.jax import _calls, _formula  # noqa: E402

GRID = 0.25, 3, -8, 7
TINY = [(2.0**-100, 0, -8, 7), (1e-40, 3, -8, 7), (2.0**-149, 0, -128, 127)]  # some of them subnormal
SAVED_BY = "JAX saves what it exported by flatbuffers, which is not installed"
NEEDS_C = pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")


def assert_same_bits(x, dy, grids, arithmetic):
    """One compiled function for all grids, as scale and levels are its arguments."""
    reciprocal, functions = arithmetic == "reciprocal", ARITHMETICS[arithmetic]

    @jax.jit
    def run(x, dy, *grid):
        y, bits = _calls.bind("forward_packed", "xla", reciprocal, x, *grid)
        (alone,) = _calls.bind("fake_quantize", "xla", reciprocal, x, *grid)
        return y, bits, alone, *_calls.bind("backward_packed", "xla", reciprocal, dy, bits)

    compute = np.float64 if x.dtype == np.float64 else np.float32
    for scale, *levels in grids:
        y, bits = functions.forward_packed(x, scale, *levels)
        found = run(x, dy, np.array([scale], compute), *(np.array([level]) for level in levels))
        assert_same(tuple(map(np.asarray, found)), (y, bits, y, fq.backward_packed(dy, bits)))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.slow), "float32", "float64"])
def test_bits_are_those_of_c(dtype, arithmetic):
    rng = np.random.default_rng(1)
    with jax.enable_x64(dtype == "float64"):
        dtype = np.dtype(jnp.dtype(dtype))
        grids = GRIDS if arithmetic == "reciprocal" else GRIDS + TINY
        values = np.concatenate([hard_values(dtype, grid, rng, 2**12) for grid in grids])
        if dtype.itemsize == 2:
            values = np.concatenate([np.arange(2**16, dtype=np.uint16).view(dtype), values])
        assert_same_bits(values, gradients(dtype, rng, values.size), grids, arithmetic)


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_bits_of_ten_million_values_are_those_of_c(arithmetic):
    rng = np.random.default_rng(2)
    for grid in GRIDS:
        x = rng.integers(0, 2**32, 10**7 // len(GRIDS), dtype=np.uint32).view(np.float32)
        x[::2] = hard_values(np.dtype(np.float32), grid, rng, x[::2].size)
        assert_same_bits(x, gradients(np.float32, rng, x.size), [grid], arithmetic)


def test_a_quotient_that_is_a_level_off_is_corrected():
    """What a device gives whose division errs in the last places."""
    rng = np.random.default_rng(3)
    for dtype, grid in [(np.float32, GRIDS[0]), (np.float32, GRIDS[5]), (np.float32, (0.7, 0, -(2**20), 2**20))]:
        x = hard_values(np.dtype(dtype), grid, rng, 20000)
        x = x[np.abs(x) < 2**20]
        scale = dtype(grid[0])
        level = np.rint(x / scale)
        for off in (-1, 0, 1):
            near = np.abs(x / scale - level - off / 2) < 1e-3  # only what lies close to a tie may be off
            found = np.asarray(jax.jit(_formula.corrected)(np.where(near, level + off, level), x, scale))
            np.testing.assert_array_equal(found, level)


def test_what_scale_was_computed_from_is_not_seen():
    """XLA may make x * b / a of x / (a / b)."""
    x = np.linspace(-3, 3, 4097, dtype=np.float32)
    run = jax.jit(lambda x, most: fq.jax.fake_quantize(x, most / 127, 0, -127, 127, via="xla"))
    for most in np.linspace(1, 3, 7, dtype=np.float32):
        assert_same(np.asarray(run(x, most)), fq.fake_quantize(x, most / np.float32(127), 0, -127, 127))


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
def test_values_of_16_bits_are_rounded_though_xla_may_leave_out_conversions(dtype):
    x = np.linspace(-3, 3, 4099, dtype=np.float32)
    run = jax.jit(lambda x: fq.jax.fake_quantize(x.astype(dtype), 0.1, 0, -8, 7, via="xla").astype(np.float32))
    narrow = np.asarray(jnp.asarray(x).astype(dtype))
    assert_same(np.asarray(run(x)), fq.fake_quantize(narrow, 0.1, 0, -8, 7).astype(np.float32))


@pytest.mark.parametrize(
    "changed",
    [
        {0: 0.0},
        {0: -1.0},
        {0: np.nan},
        {0: np.inf},
        {2: 8},
        {1: 9},
        {1: -9},
        {3: 2**24 + 4},
        {1: -(2**31), 3: 2**31 - 1},
    ],
    ids=str,
)
def test_parameters_that_c_refuses_make_nan_and_no_gradient(changed):
    grid = [changed.get(i, value) for i, value in enumerate(GRID)]
    with pytest.raises(ValueError, match="must"):
        fq.fake_quantize(np.ones(3, np.float32), *grid)
    call = jax.value_and_grad(lambda x, *q: fq.jax.fake_quantize(x, *q, via="xla").sum())
    y, gradient = jax.jit(call)(jnp.ones(9), *map(jnp.asarray, grid))
    assert np.isnan(y)
    assert not np.any(gradient)


@pytest.mark.parametrize("kinds", [("uint32",) * 3, ("int32", "uint32", "uint32"), ("int8", "uint8", "int32")], ids=str)
def test_levels_of_any_integer_type_are_compared_right(kinds):
    zero_point, qmin, qmax = (np.dtype(kind).type(v) for kind, v in zip(kinds, (3, 2, 7), strict=True))
    x = np.linspace(-3, 3, 33, dtype=np.float32)
    run = jax.jit(lambda x, *q: fq.jax.fake_quantize(x, 0.25, *q, via="xla"))
    assert_same(np.asarray(run(x, zero_point, qmin, qmax)), fq.fake_quantize(x, 0.25, 3, 2, 7))
    if kinds[0] == "uint32":
        far = np.uint32(2**31 + 5)
        assert_same(np.asarray(run(x, far, far, far + np.uint32(7))), fq.fake_quantize(x, 0.25, 0, 0, 7))


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_float64_takes_levels_of_every_integer_type(kind):
    zero_point, qmin, qmax = (np.dtype(kind).type(v) for v in (3, 2, 7))
    x = np.linspace(-3, 3, 33)
    with jax.enable_x64(True):
        run = jax.jit(lambda x, *q: fq.jax.fake_quantize(x, 0.25, *q, via="xla"))
        assert_same(np.asarray(run(x, zero_point, qmin, qmax)), fq.fake_quantize(x, 0.25, 3, 2, 7))
        q = np.arange(8).astype(kind)
        back = jax.jit(lambda q, zero: fq.jax.dequantize(q, 0.25, zero, dtype=np.float64))
        assert_same(np.asarray(back(q, zero_point)), fq.dequantize(q.astype(np.int32), 0.25, 3, np.float64))


@pytest.mark.parametrize("shape", [(), (6, 1), (1, 50), (6, 50)], ids=str)
def test_gradients_of_learned_parameters_are_those_of_c_up_to_the_sums(shape):
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((6, 50)).astype(np.float32) * 3 for _ in range(2))
    scale, zero_point = rng.uniform(0.1, 0.4, shape).astype(np.float32), rng.integers(-8, 8, shape).astype(np.float32)
    call = lambda *a: fq.jax.fake_quantize_learnable(*a, -8, 7, via="xla")  # noqa: E731
    found = jax.jit(lambda *a: jax.vjp(call, *a)[1](dy))(x, scale, zero_point)
    expected = fq.backward_learnable(dy, x, scale, zero_point.astype(int), -8, 7)
    assert_same(np.asarray(found[0]), expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("via", [None, pytest.param("c", marks=NEEDS_C), "xla", "callback"])
def test_reciprocal_has_the_values_of_fq_reciprocal_in_every_way(via):
    x = hard_values(np.dtype(np.float32), (0.1, 0, -128, 127), np.random.default_rng(4), 4096)
    y, mask = fq.reciprocal.forward(x, 0.1, 0, -128, 127)
    assert np.any(bits_of(y) != bits_of(fq.fake_quantize(x, 0.1, 0, -128, 127)))
    call = lambda x: fq.jax.fake_quantize(x, 0.1, 0, -128, 127, reciprocal=True, via=via)  # noqa: E731
    found, vjp = jax.vjp(call, x)
    assert_same(np.asarray(found), y)
    assert_same(np.asarray(vjp(jnp.ones_like(x))[0]), mask.astype(np.float32))


@pytest.mark.parametrize("via", [None, "xla"])
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_every_platform_can_be_exported_for(platform, via):
    run = jax.jit(jax.grad(lambda x, s: fq.jax.fake_quantize_learnable(x, s, *GRID[1:], via=via).sum() ** 2, (0, 1)))
    kinds = jax.ShapeDtypeStruct((3, 16), np.float32), jax.ShapeDtypeStruct((), np.float32)
    checks = [] if via == "xla" else fq.jax.export_checks()
    made = jax.export.export(run, platforms=[platform], disabled_checks=checks)(*kinds)
    calls_c = "custom_call @fq_" in made.mlir_module()
    assert calls_c == (via is None and platform == "cpu" and bool(_core.xla_handlers()))
    if platform == "cpu":
        pytest.importorskip("flatbuffers", reason=SAVED_BY)
        x = np.linspace(-3, 3, 48, dtype=np.float32).reshape(3, 16)
        for one, other in zip(jax.export.deserialize(made.serialize()).call(x, 0.25), run(x, 0.25), strict=True):
            np.testing.assert_allclose(one, other)


LOADS = """
import sys, numpy as np, fq.jax, jax
call = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
np.save(sys.argv[2], call(np.load(sys.argv[2])))
"""


def test_what_was_exported_runs_where_fq_jax_is_only_imported(tmp_path):
    pytest.importorskip("flatbuffers", reason=SAVED_BY)
    x = np.linspace(-3, 3, 35, dtype=np.float32).reshape(5, 7)
    rows, _ = jax.export.symbolic_shape("rows, more")
    run = jax.jit(lambda x: fq.jax.fake_quantize(x, *GRID))
    made = jax.export.export(run, disabled_checks=fq.jax.export_checks())(jax.ShapeDtypeStruct((rows, 7), np.float32))
    (tmp_path / "made").write_bytes(made.serialize())
    np.save(tmp_path / "x.npy", x)
    subprocess.run([sys.executable, "-c", LOADS, tmp_path / "made", tmp_path / "x.npy"], check=True, timeout=60)
    assert_same(np.load(tmp_path / "x.npy"), fq.fake_quantize(x, *GRID))


class Parameter:
    """What modules of flax and others hold: an array behind __jax_array__."""

    def __init__(self, value):
        self.value = value

    def __jax_array__(self):
        return jnp.asarray(self.value)


def test_parameters_of_modules_are_taken_as_arrays():
    x = jnp.linspace(-3, 3, 16)
    assert_same(
        np.asarray(fq.jax.fake_quantize(Parameter(x), *map(Parameter, GRID))), fq.fake_quantize(np.asarray(x), *GRID)
    )
    loss = lambda scale: fq.jax.fake_quantize_learnable(x, scale, *GRID[1:]).sum()  # noqa: E731
    assert jax.grad(lambda scale: loss(Parameter(scale)))(0.25) == jax.grad(loss)(0.25) != 0


def test_other_numbers_are_no_reason_to_compile_again():
    x = jnp.ones(5)
    fq.jax.fake_quantize(x, 0.5, 0, -8, 7)
    made = fq.jax._fixed._cache_size()
    for scale in (0.25, 0.125):
        assert np.array_equal(fq.jax.fake_quantize(x, scale, 1, -8, 7), fq.fake_quantize(np.ones(5), scale, 1, -8, 7))
    assert fq.jax._fixed._cache_size() == made
