"""fq.jax: NumPy's values bit for bit, under every transformation of JAX, with the packed mask as the only residual."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import GRIDS, assert_same, beside_the_tests, gradients, hard_values

import fq
from fq import _core

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import fq.jax  # noqa: E402
from fq.jax import _calls  # noqa: E402

GRID = 0.25, 3, -8, 7
WAYS = [
    pytest.param("c", marks=pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")),
    "callback",
]
TYPES = ["float16", "bfloat16", "float32", "float64"]
AT_RUN_TIME = ValueError, jax.errors.JaxRuntimeError  # as JAX has it
SHAPES = [  # of x, scale, zero_point, qmin and qmax
    ((), (), (), (), ()),
    ((7,), (), (), (), ()),
    ((8,), (8,), (1,), (), ()),
    ((0, 8), (), (), (), ()),
    ((3, 16), (3, 1), (16,), (), (1, 1)),
    ((3, 9), (9,), (3, 1), (3, 1), ()),
    ((2, 3, 5, 8), (3, 1, 1), (), (), (2, 1, 1, 1)),
    ((2, 3, 5, 7), (2, 1, 5, 1), (3, 1, 1), (), ()),
    ((4, 1, 6, 1), (6, 1), (4, 1, 1, 1), (6, 1), ()),
    ((2, 3, 40), (2, 3, 40), (3, 40), (), ()),
]


@pytest.fixture(params=WAYS)
def via(request):
    return request.param


@pytest.fixture(params=TYPES)
def dtype(request):
    """The type of x, with 64-bit types where it needs them."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(jnp.dtype(request.param))


def to_numpy(result):
    return jax.tree.map(np.asarray, result)


def forward_and_backward(x, dy, *qparams, via=None):
    """y, the residuals and dx."""
    y, vjp = jax.vjp(lambda x: fq.jax.fake_quantize(x, *qparams, via=via), x)
    return y, jax.tree.leaves(vjp), vjp(dy)[0]


def qparams_of(shapes, rng):
    """Parameters of these shapes, with scales and levels that differ."""
    scale = rng.uniform(0.1, 0.4, shapes[0]).astype(np.float32)
    zero_point = rng.integers(-3, 4, shapes[1]).astype(np.int32)
    return scale, zero_point, rng.integers(-9, -4, shapes[2]), rng.integers(4, 9, shapes[3])


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_values_masks_and_gradients_are_those_of_numpy(via, dtype, grid):
    rng = np.random.default_rng(1)
    x, dy = hard_values(dtype, grid, rng, 2000).reshape(5, 400), gradients(dtype, rng, 2000).reshape(5, 400)
    y, bits = fq.forward_packed(x, *grid)
    found, residuals, dx = to_numpy(forward_and_backward(x, dy, *grid, via=via))
    assert_same((found, dx), (y, fq.backward_packed(dy, bits)))
    assert_same(tuple(residuals), (bits,))
    assert_same(np.asarray(fq.jax.fake_quantize(x, *grid, via=via)), y)


@pytest.mark.parametrize("shape", [(), (6, 1), (6, 50)], ids=str)
def test_reciprocal_is_the_arithmetic_of_fq_reciprocal(via, dtype, shape):
    rng = np.random.default_rng(9)
    compute = np.float64 if dtype == np.float64 else np.float32
    scale, zero_point = rng.uniform(0.1, 0.4, shape).astype(compute), rng.integers(-8, 8, shape)
    x = ((rng.integers(-15, 15, (6, 50)) + 0.5) * scale).astype(dtype)  # ties
    dy = rng.standard_normal(x.shape).astype(dtype)
    y, bits = fq.reciprocal.forward_packed(x, scale, zero_point, -8, 7)
    assert dtype != np.float32 or np.any(y != fq.fake_quantize(x, scale, zero_point, -8, 7))

    def of(function, zero_point):
        found, vjp = jax.vjp(lambda *a: function(*a, -8, 7, reciprocal=True, via=via), x, scale, zero_point)
        return to_numpy((found, *vjp(dy)))

    assert_same(of(fq.jax.fake_quantize, zero_point)[:2], (y, fq.backward_packed(dy, bits)))
    expected = fq.reciprocal.backward_learnable(dy, x, scale, zero_point, -8, 7)
    assert_same(of(fq.jax.fake_quantize_learnable, zero_point.astype(compute)), (y, *map(np.asarray, expected)))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_parameters_broadcast_as_in_numpy(via, shapes):
    rng = np.random.default_rng(2)
    qparams = qparams_of(shapes[1:], rng)
    x = hard_values(np.dtype(np.float32), GRID, rng, int(np.prod(shapes[0]))).reshape(shapes[0])
    dy = gradients(np.float32, rng, x.size).reshape(x.shape)
    y, mask = fq.forward(x, *qparams)
    found, _, dx = to_numpy(forward_and_backward(x, dy, *qparams, via=via))
    assert_same((found, dx), (np.asarray(y), np.asarray(fq.backward(dy, mask))))


def test_traced_and_jitted_calls_equal_plain_ones(via):
    rng = np.random.default_rng(3)
    x, dy = hard_values(np.dtype(np.float32), GRID, rng, 300).reshape(3, 100), gradients(np.float32, rng, 300)
    qparams = qparams_of([(3, 1), (100,), (), (3, 1)], rng)
    plain = forward_and_backward(x, dy.reshape(3, 100), *qparams, via=via)
    jitted = jax.jit(forward_and_backward, static_argnames="via")(x, dy.reshape(3, 100), *qparams, via=via)
    assert_same(tuple(jax.tree.leaves(to_numpy(jitted))), tuple(jax.tree.leaves(to_numpy(plain))))


@pytest.mark.parametrize("axes", ["xd----", "xds---", "xdszlh", "-ds---", "xd-z--", "x-----", "-d----"])
def test_vmap_equals_a_loop(via, axes):
    """A letter where the argument is batched."""
    rng = np.random.default_rng(4)
    single = [(4, 9), (4, 9), (4, 1), (9,), (), (4, 1)]
    shapes = [(5, *shape) if axis != "-" else shape for shape, axis in zip(single, axes, strict=True)]
    x = hard_values(np.dtype(np.float32), GRID, rng, int(np.prod(shapes[0]))).reshape(shapes[0])
    dy = gradients(np.float32, rng, int(np.prod(shapes[1]))).reshape(shapes[1])
    arguments = [x, dy, *qparams_of(shapes[2:], rng)]

    def call(*arguments):
        y, _, dx = forward_and_backward(*arguments, via=via)
        return y, dx

    found = jax.vmap(call, [0 if axis != "-" else None for axis in axes])(*arguments)
    for i in range(5):
        one = [a[i] if axis != "-" else a for a, axis in zip(arguments, axes, strict=True)]
        assert_same(tuple(np.asarray(each[i]) for each in found), tuple(map(np.asarray, call(*one))))


def test_the_residual_is_an_eighth_of_a_boolean_mask(via):
    x = jnp.ones((16, 64))
    for scale in (0.25, jnp.full((16, 1), 0.25), jnp.full((16, 64), 0.25)):
        _, residuals, _ = forward_and_backward(x, x, scale, 0, -8, 7, via=via)
        assert [(leaf.shape, leaf.dtype) for leaf in residuals] == [((16, 8), np.uint8)]


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint32", "bool", "int64"])
def test_levels_may_be_of_any_integer_type(via, kind):
    x = np.linspace(-3, 3, 48, dtype=np.float32).reshape(3, 16)
    with jax.enable_x64(kind == "int64"):
        zero_point = jnp.asarray([[1], [0], [1]], kind)
        y = fq.jax.fake_quantize(x, jnp.float16(0.25), zero_point, -8, 7, via=via)
        assert_same(np.asarray(y), fq.fake_quantize(x, 0.25, np.asarray(zero_point), -8, 7))
        if kind == "uint32":
            large = jnp.uint32(2**31 + 5)
            y = fq.jax.fake_quantize(x, 0.25, large, large, large + 7, via=via)
            assert_same(np.asarray(y), fq.fake_quantize(x, 0.25, 0, 0, 7))


def test_many_levels_of_32_bits_are_read_right(via):
    rng = np.random.default_rng(5)
    x = hard_values(np.dtype(np.float32), GRID, rng, 600).reshape(20, 30)
    zero_point = rng.integers(-8, 8, (20, 30)).astype(np.int32)
    assert_same(
        np.asarray(fq.jax.fake_quantize(x, 0.25, zero_point, -8, 7, via=via)),
        fq.fake_quantize(x, 0.25, zero_point, -8, 7),
    )


@pytest.mark.parametrize("shape", [(), (6, 1), (1, 50), (6, 50)], ids=str)
def test_learnable_gradients_are_those_of_numpy(via, dtype, shape):
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((6, 50)).astype(dtype) * 3 for _ in range(2))
    compute = np.float64 if dtype == np.float64 else np.float32
    scale = rng.uniform(0.1, 0.4, shape).astype(compute)
    zero_point = rng.integers(-8, 8, shape).astype(compute)

    def call(x, scale, zero_point):
        return fq.jax.fake_quantize_learnable(x, scale, zero_point, -8, 7, via=via)

    y, vjp = jax.vjp(call, x, scale, zero_point)
    integers = zero_point.astype(np.int64)
    assert_same(np.asarray(y), fq.fake_quantize(x, scale, integers, -8, 7))
    expected = fq.backward_learnable(dy, x, scale, integers, -8, 7)
    assert_same(to_numpy(vjp(dy)), tuple(map(np.asarray, expected)))


@pytest.mark.slow
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_learnable_parameters_broadcast_as_in_numpy(via, shapes):
    rng = np.random.default_rng(8)
    scale, zero_point, qmin, qmax = qparams_of(shapes[1:], rng)
    x, dy = (rng.standard_normal(shapes[0]).astype(np.float32) for _ in range(2))
    real = zero_point.astype(np.float32)
    _, vjp = jax.vjp(lambda *a: fq.jax.fake_quantize_learnable(*a, qmin, qmax, via=via), x, scale, real)
    expected = fq.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    for found, values in zip(vjp(dy), expected, strict=True):
        assert found.shape == np.shape(values)
        np.testing.assert_allclose(found, values, rtol=1e-6)  # the sums of sums are added in another order


def test_a_learned_zero_point_is_rounded_and_clamped_and_its_gradient_passes():
    x = jnp.array([0.3, 9.0])
    for real, level in [(2.5, 2), (3.5, 4), (-99.0, -8), (6e4, 7), (np.inf, 7)]:
        call = jax.value_and_grad(lambda z: fq.jax.fake_quantize_learnable(x, 0.25, z, -8, 7).sum())
        y, gradient = call(jnp.float16(real))
        assert y == fq.fake_quantize(np.asarray(x), 0.25, level, -8, 7).sum()
        assert gradient == fq.backward_learnable(np.ones(2, np.float32), np.asarray(x), 0.25, level, -8, 7)[2]
        assert gradient.dtype == np.float16
    with pytest.raises(AT_RUN_TIME, match="zero_point must lie within"):
        jax.block_until_ready(fq.jax.fake_quantize_learnable(x, 0.25, np.nan, -8, 7))
    _, vjp = jax.vjp(lambda z: fq.jax.fake_quantize_learnable(x, 0.25, z, -8, 7), 3)
    assert vjp(x)[0].dtype == jax.dtypes.float0


def test_learnable_under_vmap_and_jit_equals_a_loop(via):
    rng = np.random.default_rng(7)
    x, scale = rng.standard_normal((5, 4, 9)).astype(np.float32), np.float32([[0.1], [0.2], [0.3], [0.4]])

    def gradient(x, scale, zero_point):
        return jax.grad(lambda *a: (fq.jax.fake_quantize_learnable(*a, -8, 7, via=via) * x).sum(), argnums=(0, 1, 2))(
            x, scale, zero_point
        )

    zero_point = jnp.float32(1)
    found = jax.jit(jax.vmap(gradient, (0, None, None)))(x, scale, zero_point)
    for i in range(5):
        one = gradient(x[i], scale, zero_point)
        for each, values in zip(found, one, strict=True):
            assert each[i].shape == values.shape
            np.testing.assert_allclose(each[i], values, rtol=1e-6)


def test_scalar_calls_have_scalar_gradients(via):
    gradient = jax.grad(lambda *a: fq.jax.fake_quantize_learnable(*a, -8, 7, via=via), argnums=(0, 1, 2))
    assert [float(each) for each in gradient(9.0, 0.25, 0.0)] == [0.0, 7.0, -0.25]


BAD = [
    ({"x": np.arange(3)}, TypeError, "x must be float16, bfloat16, float32 or float64, got int"),
    ({"x": np.ones(3, np.complex64)}, TypeError, "x must be float16"),
    ({"zero_point": 1.5}, TypeError, "zero_point must be an integer or an array of them, got float"),
    ({"zero_point": np.ones(1, np.float32)}, TypeError, "zero_point must be an integer or an array of them"),
    ({"qmax": 7.0}, TypeError, "qmax must be an integer or an array of them"),
    ({"scale": 1j}, TypeError, "scale must be a real number or an array of them, got complex"),
    ({"scale": 0.0}, ValueError, "scale must be positive and finite in float32, got 0"),
    ({"scale": np.nan}, ValueError, "scale must be positive and finite in float32, got nan"),
    ({"qmin": 8}, ValueError, "qmin must not exceed qmax, got qmin 8 and qmax 7"),
    ({"zero_point": 9}, ValueError, r"zero_point must lie within \[qmin, qmax\] = \[-8, 7\], got 9"),
    ({"qmax": 2**24 + 4}, ValueError, "every level minus zero_point must be exact in float32"),
    ({"scale": np.ones(3, np.float32)}, ValueError, r"scale must broadcast into x, whose shape is \(2, 8\), but has"),
    ({"scale": np.ones((5, 1, 1), np.float32)}, ValueError, "scale must broadcast into x"),
    ({"qmin": np.full(8, -8)}, ValueError, "qmin must not vary along the last axis of x"),
]


def arguments(**changed):
    return {
        "x": np.ones((2, 8), np.float32),
        **dict(zip(["scale", "zero_point", "qmin", "qmax"], GRID, strict=True)),
    } | changed


@pytest.mark.parametrize(("changed", "error", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_arguments_are_refused_in_numpys_words(changed, error, message):
    with pytest.raises(error, match=message):
        fq.jax.fake_quantize(**arguments(**changed))
    with pytest.raises(error, match=message):  # at the time of tracing, what is not a number's value
        jax.jit(lambda x: fq.jax.fake_quantize(**arguments(**({"x": x} | changed))))(np.ones((2, 8), np.float32))
    if error is TypeError or "broadcast" in message or "vary" in message:
        traced = {name: jnp.asarray(value) for name, value in arguments(**changed).items()}
        with pytest.raises(error, match=message):
            jax.jit(fq.jax.fake_quantize)(**traced)


@pytest.mark.parametrize(
    ("changed", "error", "message"), [b for b in BAD if b[1] is ValueError], ids=lambda v: str(v)[:40]
)
def test_bad_traced_values_are_refused_when_they_run(via, changed, error, message):
    if "broadcast" in message or "vary" in message:
        pytest.skip("refused at the time of tracing")
    traced = {name: jnp.asarray(value) for name, value in arguments(**changed).items()}
    call = jax.jit(lambda *a: fq.jax.fake_quantize(*a, via=via))
    with pytest.raises(AT_RUN_TIME, match=message):
        jax.block_until_ready(call(*traced.values()))
    assert_same(np.asarray(call(*arguments().values())), fq.fake_quantize(*arguments().values()))


def test_bad_arguments_of_the_learnable_function_are_refused_too():
    for changed, error, message in BAD:
        if "zero_point" not in changed:
            bad = arguments(**{"zero_point": jnp.float32(3)} | changed)
            with pytest.raises((error, *AT_RUN_TIME), match=message):
                jax.block_until_ready(fq.jax.fake_quantize_learnable(**bad))


def test_levels_beyond_32_bits_need_x64():
    with pytest.raises(ValueError, match="without jax_enable_x64 levels must fit int32, got 4294967296"):
        fq.jax.fake_quantize(np.ones(3, np.float32), 0.25, 2**32, 2**32, 2**32 + 7)
    with jax.enable_x64(True):
        y = fq.jax.fake_quantize(np.ones(3, np.float32), 0.25, 2**32, 2**32, 2**32 + 7)
    assert_same(np.asarray(y), np.ones(3, np.float32))


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match='via must be None, "c", "xla" or "callback"'):
        fq.jax.fake_quantize(np.ones(3, np.float32), *GRID, via="cuda")


@pytest.fixture
def without_handlers(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(_calls, "handlers", frozenset)
        _calls._body.cache_clear()
        jax.clear_caches()
        yield
    _calls._body.cache_clear()
    jax.clear_caches()


def test_without_handlers_the_first_call_says_so_and_xla_gives_the_same_bits(without_handlers):
    x = np.linspace(-3, 3, 16, dtype=np.float32)
    with pytest.warns(UserWarning, match="fq.jax runs in XLA's own operations.*install jax first"):
        found = fq.jax.fake_quantize(x, *GRID)
    assert_same(np.asarray(found), fq.fake_quantize(x, *GRID))
    assert "custom_call" not in jax.jit(lambda x: fq.jax.fake_quantize(x, *GRID)).lower(x).as_text()
    with pytest.raises(ValueError, match='via="c" needs an fq that was built beside this jaxlib'):
        fq.jax.fake_quantize(x, *GRID, via="c")
    assert fq.jax.export_checks() == []


X, BITS, LEVEL = jnp.ones((2, 16)), jnp.zeros((2, 2), np.uint8), jnp.ones((1, 1), np.int32)
LIKE_X, LIKE_BITS = jax.ShapeDtypeStruct((2, 16), np.float32), jax.ShapeDtypeStruct((2, 2), np.uint8)
WRONG_CALLS = [
    ("fq_fake_quantize", [LIKE_X], [X], "wrong number"),
    ("fq_fake_quantize", [LIKE_X, LIKE_X], [X, LEVEL * 1.0, LEVEL, LEVEL, LEVEL], "wrong number"),
    ("fq_fake_quantize", [LIKE_X], [X, LEVEL, LEVEL, LEVEL, LEVEL], "scale must be of the type computed in"),
    ("fq_fake_quantize", [LIKE_X], [X, LEVEL * 1.0, LEVEL * 1.0, LEVEL, LEVEL], "zero_point, qmin and qmax int32"),
    ("fq_fake_quantize", [LIKE_X], [X, jnp.float32(1), LEVEL, LEVEL, LEVEL], "must have x's rank"),
    ("fq_fake_quantize", [LIKE_X], [X, jnp.ones((2, 3)), LEVEL, LEVEL, LEVEL], "broadcast into it"),
    ("fq_fake_quantize", [LIKE_X], [BITS, LEVEL * 1.0, LEVEL, LEVEL, LEVEL], "the first operand must be float16"),
    ("fq_backward_packed", [LIKE_X], [X, X], "bits must be uint8"),
    ("fq_backward_packed", [LIKE_X], [X, jnp.zeros((2, 3), np.uint8)], "a last axis of an eighth"),
    ("fq_backward_packed", [LIKE_BITS], [X, BITS], "the other arrays of one type"),
    ("fq_backward_packed", [jax.ShapeDtypeStruct((), np.float32)], [X[0, 0], BITS[0, 0]], "1 to 64 axes"),
]


@pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")
@pytest.mark.parametrize(("name", "results", "operands", "message"), WRONG_CALLS)
def test_a_handler_refuses_buffers_that_do_not_fit(name, results, operands, message):
    assert name in _calls.handlers()
    with pytest.raises(AT_RUN_TIME, match=message):
        jax.block_until_ready(jax.ffi.ffi_call(name, results)(*operands))


def run_on_devices(*arguments, devices):
    environment = {**beside_the_tests(), "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    script = Path(__file__).with_name("jax_devices.py")
    return subprocess.Popen(
        [sys.executable, script, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def assert_right(process):
    try:
        output, _ = process.communicate(timeout=110)
    finally:
        process.kill()
    assert "the shards are right" in output, output[-3000:]


@pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")
@pytest.mark.slow
def test_shards_on_four_devices_are_those_of_the_whole_and_nothing_is_gathered():
    assert_right(run_on_devices("one", devices=4))


@pytest.mark.slow
def test_ranges_on_four_devices_are_those_of_the_whole_and_integers_stay_there():
    assert_right(run_on_devices("ranges", devices=4))


@pytest.mark.slow
@pytest.mark.skipif(not _core.xla_handlers(), reason="built without XLA's header")
def test_shards_in_two_processes_are_those_of_the_whole_and_nothing_is_gathered():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [run_on_devices("two", port, rank, devices=2) for rank in range(2)]
    for process in processes:
        assert_right(process)
