"""fq.jax with float formats and blocks: the bits of NumPy's functions, gradients, transforms, and what is refused."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")

import jax.numpy as jnp  # noqa: E402

import fq  # noqa: E402
import fq.jax  # noqa: E402
from fq import formats  # noqa: E402

TYPES = [np.float16, jnp.bfloat16, np.float32]
FORMATS = {name: getattr(formats, name) for name in formats.__all__ if name[0].islower()}
FORMATS |= {f"mxfp4 {rule}": formats.mxfp4._replace(rule=rule) for rule in ("up", "fit")}
EVERY = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
SCALE = np.linspace(0.05, 0.3, 6, dtype=np.float32)[:, None]


def values(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((6, 70)) * 2.0 ** rng.integers(-10, 8, (6, 70))).astype(dtype)
    x[0, 0], x[1, 1], x[2, 2], x[3, 3] = -0.0, np.nan, np.inf, -np.inf
    return x


def is_block(format):
    return isinstance(format, formats.BlockFormat)


def function_of(format, via=None):
    if is_block(format):
        return lambda x: fq.jax.fake_quantize_blocks(x, format, axis=0)
    return lambda x: fq.jax.fake_quantize_float(x, SCALE, format, via=via)


def expected(x, format):
    return fq.blocks.forward(x, format, axis=0) if is_block(format) else fq.floats.forward(x, SCALE, *format)


def assert_bits(found, y):
    found, is_nan = np.asarray(found), np.isnan(y.astype(np.float32))
    assert found.dtype == y.dtype
    assert (np.isnan(found.astype(np.float32)) == is_nan).all()
    assert found[~is_nan].tobytes() == y[~is_nan].tobytes()


@EVERY
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("via", [None, "c", "xla", "callback"])
def test_y_and_the_gradient_are_those_of_numpy(via, dtype, format):
    if via == "c" and "fq_floats_fake_quantize" not in fq.jax._calls.handlers():
        pytest.skip("fq was built without jaxlib")
    if is_block(format) and via is not None:
        pytest.skip("blocks are computed by XLA alone")
    x, function = values(dtype), function_of(format, via)
    y, mask = expected(x, format)
    assert_bits(function(jnp.asarray(x)), y)
    assert_bits(jax.jit(function)(jnp.asarray(x)), y)
    gradient = jax.grad(lambda x: function(x).astype(np.float32).sum())(jnp.asarray(x))
    assert (np.asarray(gradient).astype(np.float32) == mask).all()


@EVERY
def test_batches_and_tangents(format):
    x = np.nan_to_num(values(np.float32), posinf=1, neginf=1)
    y, mask = expected(x, format)
    function = function_of(format)
    if not (is_block(format) and format.scale == "e4m3"):  # whose tensor scale is that of each sample
        assert_bits(jax.vmap(function)(jnp.stack([x, -x]))[0], y)
    _, tangent = jax.jvp(function, (x,), (np.ones_like(x),))
    assert (np.asarray(tangent) == mask).all()
    second = jax.grad(lambda x: jax.grad(lambda x: (function(x) ** 2).sum())(x).sum())(jnp.asarray(x))
    assert ((np.asarray(second) == 2) == mask).all()


@EVERY
def test_a_bit_an_element_is_kept(format):
    def kept(x):
        return jax.vjp(function_of(format), x)[1]

    sizes = [one.nbytes for one in jax.tree.leaves(jax.eval_shape(kept, jnp.ones((6, 64)))) if hasattr(one, "nbytes")]
    sizes = sizes or [one.size * one.dtype.itemsize for one in jax.tree.leaves(jax.eval_shape(kept, jnp.ones((6, 64))))]
    assert sum(sizes) == 6 * 64 // 8


def test_a_number_and_a_traced_scale():
    assert fq.jax.fake_quantize_float(0.3, 1, formats.e4m3fn) == np.float32(0.3125)
    traced = jax.jit(lambda x, s: fq.jax.fake_quantize_float(x, s, formats.e2m1fn))
    assert_bits(traced(values(np.float32), SCALE), fq.floats.fake_quantize(values(np.float32), SCALE, *formats.e2m1fn))
    x = np.nan_to_num(values(np.float32), posinf=1, neginf=1)
    traced = jax.jit(lambda x, t: fq.jax.fake_quantize_blocks(x, formats.nvfp4, tensor_scale=t))
    assert_bits(traced(x, 0.01), fq.blocks.fake_quantize(x, formats.nvfp4, tensor_scale=0.01))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: fq.jax.fake_quantize_float(x, 1.0, formats.mxfp4), TypeError, "FloatGrid"),
        (lambda x: fq.jax.fake_quantize_float(x, 1.0, formats.FloatGrid(1, 0, 5.0)), ValueError, "max must be"),
        (lambda x: fq.jax.fake_quantize_float(x, 0.0, formats.e4m3fn), ValueError, "scale must be positive"),
        (lambda x: fq.jax.fake_quantize_float(x, np.ones(3), formats.e4m3fn), ValueError, "broadcast into x"),
        (lambda x: fq.jax.fake_quantize_float(x.astype(int), 1.0, formats.e4m3fn), TypeError, "int"),
        (lambda x: fq.jax.fake_quantize_blocks(x, formats.e4m3fn), TypeError, "BlockFormat"),
        (lambda x: fq.jax.fake_quantize_blocks(x, formats.mxfp4, axis=2), ValueError, "axis must lie within"),
        (lambda x: fq.jax.fake_quantize_blocks(x, formats.nvfp4, tensor_scale=-1.0), ValueError, "positive"),
        (lambda x: fq.jax.fake_quantize_blocks(x, formats.mxfp4, tensor_scale=1.0), ValueError, "only scales of e4m3"),
    ],
)
def test_what_is_wrong_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(jnp.ones((2, 4)))
